"""A client's and the coordinator's work around a real (tiny) model: digests, notes, selection."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import tomli_w
import torch
from families import FAMILIES
from small_study import make_study
from tiny_models import NOTES, make_checkpoint, randomized, save_checkpoint

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties import client
from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.selection import PROVENANCE_FILE, round_masks, select
from secprune.parties.session import open_session
from secprune.parties.study import model_spec
from secprune.pruning.models import load_model
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile, write_tensor_file
from secprune.storage.masks import MaskFile
from secprune.task import PruningSpec
from secprune_cli.demo.referee import Referee


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", seed=5)


@pytest.fixture
def study(tmp_path, checkpoint):
    return study_of(tmp_path, checkpoint)


def study_of(tmp_path, checkpoint, **choices):
    """Three clients and the coordinator "hq", with notes and the model; `choices` go into the pruning."""
    spec = model_spec(checkpoint)
    pruning = PruningSpec(**{"sparsity": "1/2", "sequence_length": 8, "max_windows": 4, **choices})
    made = make_study(tmp_path, clients=3, model=spec, pruning=pruning, with_masks=False)
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


def block_of(name):
    return int(next(part for part in name.split(".") if part.isdecimal()))


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


def test_the_result_says_what_it_took_and_how_uncertain_it_is(study):
    result = prune(study, "clinic-0")
    assert result.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert result.thin_modules == {}
    assert 50 < result.peak_memory_mib < 20_000
    with open_session(study.root / "clinic-0", "client") as session, pytest.raises(LocalMisuseError):
        client.prune(session, device="abacus")


def test_experts_that_saw_few_tokens_are_reported(tmp_path):
    """A mixture of experts through the real parties: masks by the names of the file, under any transformers."""
    checkpoint = save_checkpoint(randomized(FAMILIES["mixtral"].make_config()), tmp_path / "mixtral")
    study = study_of(tmp_path, checkpoint)
    results = {name: prune(study, name) for name in study.clients}
    names = {m.name for m in study.task.model.matrices}
    assert "model.layers.2.block_sparse_moe.experts.4.w3.weight" in names
    assert not any(name.endswith(".gate.weight") for name in names)
    for result in results.values():
        assert {name.split(".")[4] for name in result.thin_modules} == {"experts"}
        assert set(result.thin_modules) < names
        assert all(tokens < 4 * 8 for tokens in result.thin_modules.values())
    study.submit()
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())
    selected(study, tmp_path / "out")
    dense, sparse = load_model(checkpoint), load_model(tmp_path / "out")
    for (name, before), after in zip(dense.named_parameters(), sparse.parameters(), strict=True):
        zeros = torch.count_nonzero(after == 0) / after.numel()
        assert zeros == (0.5 if "experts" in name or "_proj" in name else 0), name
        assert torch.equal(after, before.masked_fill(after == 0, 0))


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


def put_counts(study, cohorts=(3,), seed=4):
    """Counts of every round as the coordinator keeps them, without a round; returns them by matrix."""
    generator, counts = np.random.default_rng(seed), {}
    with open_session(study.root / "hq", "coordinator") as session:
        for index, cohort in enumerate(cohorts):
            here = session.at_round(index)
            matrices = here.round.matrices
            shapes = [(m.name, "U8", (m.rows, m.columns)) for m in matrices]
            metadata = {"task_id": study.task.task_id, "kind": "counts", "cohort": str(cohort)}
            with write_tensor_file(here.work / COUNTS_FILE, shapes, metadata=metadata) as writer:
                for m in matrices:
                    drawn = generator.integers(1, cohort + 1, (m.rows, m.columns), dtype=np.uint8)
                    counts[m.name] = drawn, cohort
                    writer.write(m.name, drawn)
    return counts


def selected(study, output):
    with open_session(study.root / "hq", "coordinator") as session:
        return select(session, output)


def most_voted(counts, pruned):
    return counts[pruned].min() >= counts[~pruned].max()


@pytest.mark.parametrize(
    "choices",
    [
        {"server_comparison": "row"},
        {"server_comparison": "column", "ties": "votes-index"},
        {"pattern": "2:4", "ties": "votes-random"},
        {"ties": "votes-random", "weight_scaling": True},
    ],
    ids=str,
)
def test_every_choice_of_the_task_reaches_the_checkpoint(tmp_path, checkpoint, choices):
    study = study_of(tmp_path, checkpoint, **choices)
    counts = put_counts(study)
    result = selected(study, tmp_path / "out")
    provenance = msgspec.json.decode((tmp_path / "out" / PROVENANCE_FILE).read_bytes())
    for key, value in choices.items():
        assert provenance[key] == value
    assert ("column comparison pruned 0.00% of its weights" in result.warning) == (
        choices.get("server_comparison") == "column"
    )
    dense, sparse = CheckpointFiles(checkpoint), CheckpointFiles(tmp_path / "out")
    for m in study.task.model.matrices:
        votes, cohort = counts[m.name]
        pruned = MaskFile(Path(result.mask), study.task.model.matrices, task_id=None).rows(m.name) == 1
        assert np.count_nonzero(pruned) == study.task.pruning.final_k(m.rows, m.columns)
        match choices:
            case {"server_comparison": "row"}:
                assert all(most_voted(*row) for row in zip(votes, pruned, strict=True))
            case {"server_comparison": "column"}:
                assert all(most_voted(*column) for column in zip(votes.T, pruned.T, strict=True))
            case {"pattern": _}:
                assert (pruned.reshape(-1, 4).sum(axis=1) == 2).all()
            case _:
                assert most_voted(votes, pruned)
        weights = torch.from_numpy(dense.raw(m.name).view(np.float32).copy())
        if study.task.pruning.weight_scaling:
            weights *= (cohort - torch.from_numpy(votes).float()) / cohort
        expected = weights.masked_fill(torch.from_numpy(pruned), 0).numpy().view(np.uint32)
        assert np.array_equal(sparse.raw(m.name), expected)


def test_column_comparison_that_prunes_without_votes_is_refused_or_named(tmp_path, checkpoint):
    """An input column that no client prunes: column comparison prunes half of it all the same."""
    for allowed in ("1/100", "1"):
        root = tmp_path / allowed.replace("/", "-")
        root.mkdir()
        study = study_of(root, checkpoint, server_comparison="column", max_zero_vote_share=allowed)
        for seed, name in enumerate(study.clients):
            random = np.random.default_rng(seed)
            masks = {}
            for m in study.task.model.matrices:
                scores = random.random((m.rows, m.columns))
                scores[:, : m.columns // 4] += 1  # salient for all
                masks[m.name] = scores.argsort(axis=1).argsort(axis=1) < study.task.pruning.row_k(m.columns)
            study.put_masks(name, masks)
        study.submit()
        assert not any(isinstance(o, Exception) for o in study.run_servers().values())
        if allowed == "1/100":
            with pytest.raises(ConfigurationError, match="had no client's vote"):
                selected(study, root / "out")
            assert not (root / "out").exists()
            assert not list((study.root / "hq").rglob("final-*"))
            continue
        result = selected(study, root / "out")
        share = result.zero_votes / result.pruned_weights
        assert share >= 1 / 4
        assert result.warning == f"column comparison pruned {share:.2%} of its weights without any vote"
        provenance = msgspec.json.decode((root / "out" / PROVENANCE_FILE).read_bytes())
        assert Fraction(provenance["zero_vote_share"]) == Fraction(result.zero_votes, result.pruned_weights)


def test_counts_of_all_rounds_make_one_checkpoint(tmp_path, checkpoint):
    """Each decoder block has its own counts, cohort and mask; the smallest cohort is the one reported."""
    study = study_of(tmp_path, checkpoint, schedule="iterative")
    rounds = study.task.rounds
    assert rounds > 1
    put_counts(study, (3,) * (rounds - 1))
    with pytest.raises(LocalMisuseError, match="no counts"):
        selected(study, tmp_path / "out")
    counts = put_counts(study, (*range(3, 2 + rounds), 2))
    result = selected(study, tmp_path / "out")
    provenance = msgspec.json.decode((tmp_path / "out" / PROVENANCE_FILE).read_bytes())
    assert provenance["cohort_size"] == 2
    final = MaskFile(Path(result.mask), study.task.model.matrices, task_id=study.task.task_id)
    dense, sparse = CheckpointFiles(checkpoint), CheckpointFiles(tmp_path / "out")
    with open_session(study.root / "hq", "coordinator") as session:
        by_round = {n: mask for i in range(rounds) for n, mask in round_masks(session.at_round(i))}
    assert by_round.keys() == counts.keys()
    for name, (votes, _) in counts.items():
        pruned = final.rows(name) == 1
        assert np.array_equal(by_round[name], pruned), "clients went on with what was written in the end"
        assert most_voted(votes, pruned)
        assert np.array_equal(sparse.raw(name), np.where(pruned, 0, dense.raw(name)))


def test_matrices_that_the_checkpoint_stores_turned(tmp_path):
    """GPT-2's: masks and counts are outputs by inputs, the file is not; magnitudes break ties rightly."""
    model = make_checkpoint(tmp_path / "gpt2", "gpt2", seed=7)
    study = study_of(tmp_path, model, server_comparison="row", weight_scaling=True)
    counts = put_counts(study)
    result = selected(study, tmp_path / "out")
    final = MaskFile(Path(result.mask), study.task.model.matrices, task_id=study.task.task_id)
    dense, sparse = CheckpointFiles(model), CheckpointFiles(tmp_path / "out")
    for m in study.task.model.matrices:
        weights = dense.raw(m.name).view(np.float32).T.copy()
        votes, cohort = counts[m.name]
        k = study.task.pruning.row_k(m.columns)
        pruned = np.zeros(weights.shape, bool)
        for row in range(m.rows):
            pruned[row, np.lexsort((np.abs(weights[row]), -votes[row].astype(int)))[:k]] = True
        assert np.array_equal(final.rows(m.name) == 1, pruned)
        scaled = torch.from_numpy(weights) * ((cohort - torch.from_numpy(votes).float()) / cohort)
        expected = scaled.masked_fill(torch.from_numpy(pruned), 0).numpy().view(np.uint32)
        assert np.array_equal(sparse.raw(m.name), expected.T)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_the_demos_referee_finds_no_difference_and_finds_one(tmp_path, arch, dtype):
    """It recomputes mask and scaled weights from the local masks, by other code."""
    model = make_checkpoint(tmp_path / "model", arch, dtype=dtype)
    study = study_of(tmp_path, model, weight_scaling=True, server_comparison="row", ties="votes-random")
    for seed, name in enumerate(study.clients):
        study.make_masks(name, seed)
    study.submit()
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())
    selected(study, tmp_path / "out")
    (study.root / "coordinator").symlink_to("hq")
    seen = SimpleNamespace(
        model=model, output=study.root, clients=study.clients, pruned_model=tmp_path / "out"
    )
    assert Referee(seen, study.task).differing_bits() == 0
    path = tmp_path / "out" / "model.safetensors"
    name = study.task.model.matrices[0].name
    data = bytearray(path.read_bytes())
    data[TensorFile(path).span(name)[0]] ^= 1
    path.write_bytes(data)
    assert Referee(seen, study.task).differing_bits() == 1
