"""A client's and the coordinator's work around a real (tiny) model: digests, notes, selection."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import tomli_w
from small_study import make_study
from tiny_models import NOTES, make_checkpoint

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties import client
from secprune.parties.selection import PROVENANCE_FILE, select
from secprune.parties.session import open_session
from secprune.pruning.checkpoint import tokenizer_digest, weights_digest
from secprune.pruning.models import model_skeleton, prunable_matrices
from secprune.pruning.tensorfile import CheckpointFiles
from secprune.storage.masks import MaskFile
from secprune.task import MatrixSpec, ModelSpec


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", seed=5)


@pytest.fixture
def study(tmp_path, checkpoint):
    matrices = prunable_matrices(model_skeleton(checkpoint))
    spec = ModelSpec(
        name="tiny",
        weights_digest=weights_digest(checkpoint),
        tokenizer_digest=tokenizer_digest(checkpoint),
        matrices=tuple(MatrixSpec(name=m.name, rows=m.rows, columns=m.columns) for m in matrices),
    )
    made = make_study(tmp_path, clients=3, model=spec, with_masks=False)
    for index, name in enumerate((*made.clients, "hq")):
        (tmp_path / name / "notes.txt").write_text("\n\n".join(NOTES[index::4]))
        content = {
            "task": "../task.toml",
            "exchange": "../exchange",
            "model": str(checkpoint),
            "notes": "notes.txt",
        }
        (tmp_path / name / "party.toml").write_text(tomli_w.dumps(content))
    return made


def prune(study, name):
    with open_session(study.root / name, "client") as session:
        return client.prune(session)


def mask_files(study, name):
    return list((study.root / name).rglob("*.safetensors"))


def test_a_model_that_is_not_the_tasks_is_refused(study, checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other", "llama", seed=6)
    path = study.root / "clinic-0" / "party.toml"
    path.write_text(path.read_text().replace(str(checkpoint), str(other)))
    with pytest.raises(
        ConfigurationError, match=r"the weights of the model in other are not those of the task"
    ):
        prune(study, "clinic-0")
    with open_session(study.root / "clinic-0", "client") as session, pytest.raises(ConfigurationError):
        client.check(session)
    assert mask_files(study, "clinic-0") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no notes|holds no"), ("\n\n  \n", "no notes|holds no"), ("Well.", "window"), (None, "notes.txt")],
)
def test_empty_short_and_missing_notes(study, text, message):
    path = study.root / "clinic-0" / "notes.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises((LocalMisuseError, ConfigurationError), match=message) as caught:
        prune(study, "clinic-0")
    assert caught.value.hint
    assert mask_files(study, "clinic-0") == []


def test_short_notes_are_packed_into_windows_not_rejected(study):
    """Each note has fewer tokens than a long window; together they fill several."""
    result = prune(study, "clinic-0")
    assert result.windows == study.task.pruning.max_windows
    assert result.notes == 10


def test_masks_prune_exactly_row_k_in_every_row_and_pruning_again_gives_the_same(study):
    prune(study, "clinic-0")
    before = mask_files(study, "clinic-0")[0].read_bytes()
    masks = MaskFile(mask_files(study, "clinic-0")[0], study.task.model.matrices, task_id=study.task.task_id)
    for m in study.task.model.matrices:
        assert (masks.rows(m.name).sum(axis=1) == study.task.pruning.row_k(m.columns)).all()
    prune(study, "clinic-0")
    assert mask_files(study, "clinic-0")[0].read_bytes() == before


def test_selection_writes_a_checkpoint_once_and_refuses_what_does_not_fit(study, checkpoint, tmp_path):
    for name in study.clients:
        prune(study, name)
    with (
        open_session(study.root / "hq", "coordinator") as session,
        pytest.raises(LocalMisuseError, match="no counts"),
    ):
        select(session, tmp_path / "out")
    study.submit()
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())
    with open_session(study.root / "hq", "coordinator") as session:
        result = select(session, tmp_path / "out")
        with pytest.raises(LocalMisuseError, match="not empty"):
            select(session, tmp_path / "out")
    provenance = msgspec.json.decode((tmp_path / "out" / PROVENANCE_FILE).read_bytes())
    assert provenance["mask_digest"] == result.mask_digest
    assert provenance["cohort_size"] == 3
    dense, sparse = CheckpointFiles(checkpoint), CheckpointFiles(tmp_path / "out")
    counts = study.counts()
    for m in study.task.model.matrices:
        pruned = (sparse.raw(m.name) == 0) & (dense.raw(m.name) != 0)
        assert np.count_nonzero(pruned) == study.task.pruning.layer_k(m.rows, m.columns)
        assert counts[m.name][pruned].min() >= counts[m.name][~pruned].max(), "the most voted ones"


def test_too_many_pruned_weights_without_a_vote_are_refused(study, tmp_path):
    """The guard rail of the task: no mask, no checkpoint."""
    for name in study.clients:
        prune(study, name)
    study.submit()
    study.run_servers()
    from secprune.parties import selection

    with open_session(study.root / "hq", "coordinator") as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            selection, "zero_vote_share", lambda _counts, mask: (int(mask.sum()) // 50, int(mask.sum()))
        )
        with pytest.raises(ConfigurationError, match="had no client's vote"):
            select(session, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list((study.root / "hq").rglob("final-*"))
