"""Whole studies that take statistics of patients, through every protocol, against oracles that see everything."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from private_study import (
    KINDS,
    PRUNING,
    make_public_reference,
    notes_of,
    private_study,
    provenance,
    run_study,
    select_model,
    write_party_file,
)
from tiny_models import make_checkpoint
from transformers import AutoModelForCausalLM

from secprune.errors import ConfigurationError, LocalMisuseError, TooFewPartiesError
from secprune.parties.budget import budget_status
from secprune.parties.schedule import check, prune
from secprune.parties.session import open_session
from secprune.parties.study_privacy import PrivacyOptions
from secprune.parties.sums import SUMS_FILE
from secprune.privacy.grid import COUNT_UNITS, RAW_UNITS
from secprune.pruning.calibration import pack_windows
from secprune.pruning.models import load_tokenizer
from secprune.pruning.reference import read_reference
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.storage.masks import MaskFile
from secprune.task import PATIENTS_VECTOR
from secprune_threat_models import load_system


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """In float64, so that an oracle and the parties agree to the bit."""
    directory = tmp_path_factory.mktemp("model") / "tiny"
    return make_checkpoint(directory, "llama", seed=7, dtype=torch.float64)


@pytest.fixture(scope="module")
def reference(checkpoint, tmp_path_factory):
    return make_public_reference(checkpoint, tmp_path_factory.mktemp("reference"))


def finished(study):
    outcomes = run_study(study)
    assert {name: o for name, o in outcomes.items() if isinstance(o, Exception)} == {}
    return outcomes


def sums_of(study, index=0):
    (path,) = (study.root / "hq").glob(f"tasks/*/round-{index:03d}/{SUMS_FILE}")
    file = TensorFile(path)
    return {name: np.array(file.raw(name)).view(np.int64) for name in file.names}


def statistics_of(study, name, index=0):
    (path,) = (study.root / name).glob(f"tasks/*/round-{index:03d}/statistics.safetensors")
    file = TensorFile(path)
    return {name: np.array(file.raw(name)).view(np.int64) for name in file.names}


def final_mask(study):
    (path,) = (study.root / "hq").glob("tasks/*/round-000/final-pruning-mask.safetensors")
    masks = MaskFile(path, study.task.model.matrices, task_id=None)
    return {m.name: masks.rows(m.name).astype(bool) for m in study.task.model.matrices}


def centralised(study, checkpoint):
    """Square-sums of all clients' windows, and Wanda's masks of them, from whole forwards of the dense model."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float64).eval()
    tokenizer, modules = load_tokenizer(checkpoint), dict(model.named_modules())
    names = [m.name for m in study.task.model.matrices]
    sums = dict.fromkeys(names, 0)

    def keep(name):
        def hook(_module, args):
            x = args[0].reshape(-1, args[0].shape[-1])
            sums[name] = sums[name] + x.square().sum(0)

        return hook

    hooks = [modules[n.removesuffix(".weight")].register_forward_pre_hook(keep(n)) for n in names]
    with torch.no_grad():
        for index in range(len(study.clients)):
            notes = [note["text"] for note in notes_of(index)]
            for window in pack_windows(notes, tokenizer, sequence_length=16, max_windows=4):
                model(window[None])
    for hook in hooks:
        hook.remove()
    masks = {}
    for name in names:
        weight = modules[name.removesuffix(".weight")].weight.detach()
        score = weight.abs() * sums[name].sqrt()
        order = score.argsort(dim=1, stable=True)
        mask = torch.zeros_like(score, dtype=torch.bool)
        mask.scatter_(1, order[:, : PRUNING.row_k(weight.shape[1])], value=True)
        masks[name] = mask.numpy()
    return {name: s.numpy() for name, s in sums.items()}, masks


@pytest.mark.parametrize("kind", KINDS)
def test_raw_square_sums_are_centralised_dense_wanda(tmp_path, checkpoint, reference, kind):
    study = private_study(
        tmp_path, checkpoint, reference, PrivacyOptions(payload="square-sums"), **KINDS[kind]
    )
    finished(study)
    result = select_model(study)
    exact, masks = centralised(study, checkpoint)
    known = read_reference(reference)
    for name, sums in sums_of(study).items():
        step = known.square_means[name] / RAW_UNITS
        assert np.max(np.abs(sums * step - exact[name]) / step) <= len(study.clients) / 2 * (1 + 1e-6)
    found = final_mask(study)
    assert {
        name: int(np.count_nonzero(found[name] != mask)) for name, mask in masks.items()
    } == dict.fromkeys(masks, 0)
    assert result.baseline.mask_agreement < 1
    said = provenance(study)["privacy"]
    assert said["differentially_private"] is False
    assert "tests and rehearsals only" in said["label"]


@pytest.mark.parametrize("kind", KINDS)
def test_noised_square_sums_of_patients(tmp_path, checkpoint, reference, kind):
    wishes = PrivacyOptions(payload="square-sums", epsilon="8", colluders=1)
    study = private_study(tmp_path, checkpoint, reference, wishes, **KINDS[kind])
    finished(study)
    parts = [statistics_of(study, name) for name in study.clients]
    for name, values in sums_of(study).items():
        np.testing.assert_array_equal(values, sum(part[name] for part in parts))
    result = select_model(study, baseline=tmp_path / "baseline")
    assert result.pruned_weights * 2 == result.weights
    said = provenance(study)
    given = said["privacy"]["guarantee"]
    assert given["unit"] == "patient"
    assert 7.9 < given["epsilon"] <= 8 < given["epsilon_collapsed"]
    assert said["privacy"]["differentially_private"]
    assert said["baseline"]["documents"] == 12
    assert said["statistics"]["noise"] > 0
    for directory in ("pruned", "baseline"):
        written = CheckpointFiles(tmp_path / directory)
        zeros = sum(int(np.count_nonzero(written.raw(m.name) == 0)) for m in study.task.model.matrices)
        assert zeros == result.pruned_weights


def test_the_number_of_patients_is_in_the_sum_and_notes_are_not_counted(tmp_path, checkpoint, reference):
    # So much epsilon that the noise is far below one patient.
    wishes = PrivacyOptions(payload="square-sums", epsilon="3000")
    study = private_study(tmp_path, checkpoint, reference, wishes)
    for name in study.clients:
        write_party_file(study, name, checkpoint, max_epsilon="3000")
    finished(study)
    assert round(sums_of(study)[PATIENTS_VECTOR][0] / COUNT_UNITS) == 4 * 5  # of 4 times 7 notes
    assert 19 < select_model(study).statistics.patients < 21


@pytest.mark.parametrize("kind", ["additive", "pairwise"])
def test_recentring_takes_a_second_round_about_the_first(tmp_path, checkpoint, reference, kind):
    wishes = PrivacyOptions(payload="square-sums", epsilon="4000", recentring="0.25")
    study = private_study(tmp_path, checkpoint, reference, wishes, **KINDS[kind])
    for name in study.clients:
        write_party_file(study, name, checkpoint, max_epsilon="4000")
    outcomes = finished(study)
    assert outcomes["hq"].rounds == outcomes["clinic-0"].rounds == 2
    select_model(study)
    system, seen = load_system(), set()
    for party in study.task.parties:
        for path in (study.root / party.name).rglob("*"):
            if path.is_file():
                artefact = system.artefact_at(party.role, str(path.relative_to(study.root / party.name)))
                assert artefact is not None, path
                seen.add(artefact.name)
    assert {"local statistics", "summed statistics", "released sums", "public-only mask"} <= seen

    def length(sums):
        return sum(float(v @ v) for name, v in sums.items() if name != PATIENTS_VECTOR)

    first, second = sums_of(study), sums_of(study, 1)
    assert first.keys() == second.keys()
    assert length(second) < length(first) / 4  # about its own mean there is little left
    with open_session(study.root / "clinic-0", "client") as session:
        assert 3900 < budget_status(session).epsilon < 5000  # both rounds together are paid for once


def test_counts_of_noised_statistics_leave_nothing_else_on_disk(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    finished(study)
    result = select_model(study)
    assert result.pruned_weights * 2 == result.weights
    own = {path.name for path in (study.root / "clinic-0").rglob("*") if path.is_file()}
    assert own == {
        "identity.key",
        "party.toml",
        "notes.jsonl",
        "journal.sqlite",
        ".lock",
        "pruning-masks.safetensors",
    } | {name for name in own if name.startswith("journal.sqlite-")}
    given = provenance(study)["privacy"]["guarantee"]
    assert given["epsilon"] <= 8
    assert given["epsilon_collapsed"] is None


def test_noise_differs_between_clients_and_is_drawn_once(tmp_path, checkpoint, reference):
    wishes = PrivacyOptions(payload="square-sums", epsilon="1")
    study = private_study(tmp_path, checkpoint, reference, wishes)
    notes = (study.root / "clinic-0" / "notes.jsonl").read_text()
    (study.root / "clinic-1" / "notes.jsonl").write_text(notes)
    run_study(study, without=("clinic-2", "clinic-3"))
    one, other = statistics_of(study, "clinic-0"), statistics_of(study, "clinic-1")
    for name in one:
        assert np.count_nonzero(one[name] != other[name]) >= 0.99 * len(one[name])
    run_study(study, without=("clinic-2", "clinic-3"))
    again = statistics_of(study, "clinic-0")
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])


# ---- refusals
def refused(study, match, *, client="clinic-0"):
    with (
        open_session(study.root / client, "client") as session,
        pytest.raises(ConfigurationError, match=match),
    ):
        prune(session)
    assert not list((study.root / client).glob("tasks/*/*/*.safetensors"))


def test_a_reference_with_this_sites_notes_is_refused(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    public = (reference.parent / "public.txt").read_text().split("\n\n")[3]
    text = f'{{"patient": "x", "text": "  {public} "}}\n'
    (study.root / "clinic-0" / "notes.jsonl").write_text(text)
    refused(study, "1 notes of this site stand in the task's public reference")
    with open_session(study.root / "clinic-1", "client") as session:
        prune(session)  # the control


def test_another_reference_is_refused(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    file = tmp_path / "task.toml.reference"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    refused(study, "not the task's public reference")


def test_a_site_without_budget_does_not_take_part(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    write_party_file(study, "clinic-0", checkpoint, max_epsilon="7")
    refused(study, "this site's budget is 7")


def test_a_check_says_so_before_hours_of_work_and_spends_nothing(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    for limit, match in (("7", "this site's budget is 7"), ("9", None)):
        write_party_file(study, "clinic-0", checkpoint, max_epsilon=limit)
        with open_session(study.root / "clinic-0", "client") as session:
            if match is None:
                found = check(session)
                assert found.privacy_budget.epsilon == 0
                assert found.privacy.guarantee.epsilon <= 8
            else:
                with pytest.raises(ConfigurationError, match=match):
                    check(session)
    with open_session(study.root / "clinic-0", "client") as session:
        prune(session)
        assert 7.2 < check(session).privacy_budget.epsilon < 7.4  # at the policy's larger delta
    public = (reference.parent / "public.txt").read_text().split("\n\n")[3]
    (study.root / "clinic-1" / "notes.jsonl").write_text(json.dumps({"patient": "x", "text": public}))
    with (
        open_session(study.root / "clinic-1", "client") as session,
        pytest.raises(ConfigurationError, match="stand in the task's public reference"),
    ):
        check(session)


def test_square_sums_are_opt_in(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(payload="square-sums", epsilon="8"))
    write_party_file(study, "clinic-0", checkpoint, payloads=["counts"])
    with (
        pytest.raises(ConfigurationError, match="does not allow the payload square-sums"),
        open_session(study.root / "clinic-0", "client"),
    ):
        pass


def test_nothing_is_released_below_min_clients(tmp_path, checkpoint, reference):
    study = private_study(
        tmp_path,
        checkpoint,
        reference,
        PrivacyOptions(payload="square-sums", epsilon="8"),
        **KINDS["pairwise"],
    )
    outcomes = run_study(study, without=("clinic-2", "clinic-3"))
    assert isinstance(outcomes["hq"], Exception)
    assert not isinstance(outcomes["hq"], TooFewPartiesError)  # it still waits
    assert not list(tmp_path.rglob(SUMS_FILE))


def test_the_clip_bound_is_public(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    assert study.task.privacy.of_patients.clip == read_reference(reference).typical_clip
    assert Fraction(study.task.privacy.of_patients.clip) > 0


def test_noise_is_not_drawn_a_second_time_for_other_noise(tmp_path, checkpoint, reference):
    study = private_study(tmp_path, checkpoint, reference, PrivacyOptions(epsilon="8"))
    with open_session(study.root / "clinic-0", "client") as session:
        prune(session)
        with pytest.raises(LocalMisuseError, match="noise is drawn once"):
            prune(session)
