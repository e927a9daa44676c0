"""Rounds of square-sums: exact sums of whole numbers through every protocol, and what goes wrong with them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import turns
from small_study import MATRICES, SQUARE_SUMS, make_study

from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError, TooFewPartiesError
from secprune.parties import report_words
from secprune.parties.coordinator import require_counts
from secprune.parties.report_words import STATISTICS_FILE
from secprune.parties.session import open_session
from secprune.parties.status import status
from secprune.parties.sums import SUMS_FILE
from secprune.pruning.tensorfile import TensorFile, write_tensor_file
from secprune.storage.statistics import StatisticsFile, write_statistics
from secprune.task import PATIENTS_VECTOR, PatientNoiseSpec
from secprune.vectors import VALUE_BOUND
from secprune_threat_models import load_system

KINDS = turns.KINDS | {"cleartext": {"protocol": "cleartext", "aggregators": 2}}
OF_PATIENTS = msgspec.structs.replace(
    SQUARE_SUMS,
    mechanism="dp-statistics",
    patients=PatientNoiseSpec(
        unit="patient", epsilon="8", delta="0.000001", clip="4", noise_multiplier="1.5", recentring="0.25"
    ),
)
"""With a number of patients, and two rounds."""


@pytest.fixture(params=KINDS)
def study(request, tmp_path):
    study = make_study(tmp_path, **KINDS[request.param], privacy=SQUARE_SUMS)
    for seed, name in enumerate(study.clients):
        study.make_statistics(name, seed)
    return study


def sums(study, *, index=0):
    return {name: vector.tolist() for name, vector in study.sums(index=index).items()}


def has_no_sum(study):
    return not list((study.root / "hq").rglob(SUMS_FILE))


def test_sums_are_exact_at_both_limits(study):
    outcomes = turns.settle(study)
    assert not [o for o in outcomes.values() if isinstance(o, Exception)], outcomes
    assert sums(study) == study.expected_sums()
    assert any(max(vector) > 2**43 for vector in sums(study).values())  # the control: one client has no such
    assert outcomes["hq"].cohort == study.clients


def test_who_comes_too_late_is_in_no_sum(tmp_path):
    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    for seed, name in enumerate(study.clients):
        study.make_statistics(name, seed)
    study.submit(*study.clients[:3])
    outcomes = study.run_servers(close_after_s=2)
    assert outcomes["hq"].cohort == study.clients[:3]
    assert sums(study) == study.expected_sums(*study.clients[:3])
    assert sums(study) != study.expected_sums()


@pytest.mark.parametrize("kind", ["pairwise", "blind"])
def test_of_several_steps_who_comes_too_late_is_in_no_sum_either(tmp_path, kind):
    study = make_study(tmp_path, **KINDS[kind], privacy=SQUARE_SUMS)
    for seed, name in enumerate(study.clients):
        study.make_statistics(name, seed)
    there = [name for name in turns.everybody(study) if name != study.clients[-1]]
    outcomes = turns.settle(study, *there, close=("keys",) if kind == "pairwise" else ("reports",))
    assert outcomes["hq"].cohort == study.clients[:3]
    assert sums(study) == study.expected_sums(*study.clients[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_both_rounds_of_recentring_have_sums_of_their_own(tmp_path, kind):
    study = make_study(tmp_path, **KINDS[kind], privacy=OF_PATIENTS)
    assert study.task.rounds == 2
    assert study.task.vectors[PATIENTS_VECTOR] == 1
    for seed, name in enumerate(study.clients):
        study.make_statistics(name, seed, bound=10**6)
    outcomes = turns.settle(study)
    assert not [o for o in outcomes.values() if isinstance(o, Exception)], outcomes
    assert sums(study, index=0) == study.expected_sums(index=0)
    assert sums(study, index=1) == study.expected_sums(index=1)
    assert sums(study, index=0) != sums(study, index=1)


def test_the_file_of_sums_says_what_it_is(study):
    turns.settle(study)
    (path,) = (study.root / "hq").rglob(SUMS_FILE)
    stored = TensorFile(path)
    assert stored.metadata == {"task_id": study.task.task_id, "kind": "sums", "cohort": "4"}
    assert {name: stored.entry(name) for name in stored.names} == {
        name: ("I64", (columns,)) for name, _, columns in MATRICES
    }
    with open_session(study.root / "hq", "coordinator") as session:
        assert status(session).stands == "sums ready"
        with pytest.raises(ConfigurationError, match="sums statistics"):
            require_counts(session)


def test_every_file_is_declared(study):
    turns.settle(study)
    system, found = load_system(), set()
    for party in study.task.parties:
        for path in (p for p in (study.root / party.name).rglob("*") if p.is_file()):
            artefact = system.artefact_at(party.role, str(path.relative_to(study.root / party.name)))
            assert artefact is not None, path
            found.add(artefact.name)
    assert found >= {"local statistics", "summed statistics"}


# ---- a client's own file
def test_without_statistics_nothing_is_sent_and_the_hint_says_what_to_do(tmp_path):
    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    with pytest.raises(LocalMisuseError, match="no statistics yet") as caught:
        study.submit("clinic-0")
    assert "client prune" in caught.value.hint
    with open_session(tmp_path / "clinic-0", "client") as session:
        assert status(session).stands == "not pruned yet"
    study.make_statistics("clinic-0", 1)
    with open_session(tmp_path / "clinic-0", "client") as session:
        assert status(session).stands == "statistics ready, not submitted"


@pytest.mark.parametrize("value", [VALUE_BOUND, -VALUE_BOUND - 1])
def test_a_value_out_of_range_is_not_even_stored(tmp_path, value):
    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    vectors = {name: np.zeros(length, np.int64) for name, length in study.task.vectors.items()}
    write_statistics(tmp_path / "s", vectors, study.task)  # the control
    vectors[MATRICES[1][0]][3] = value
    with pytest.raises(LocalMisuseError, match="has a value outside"):
        write_statistics(tmp_path / "s", vectors, study.task)
    assert StatisticsFile(tmp_path / "s", study.task).vector(MATRICES[1][0])[3] == 0


def put_anything(study, name, vectors, **metadata):
    """Statistics that other software has written."""
    shapes = [(n, "I64", v.shape) for n, v in vectors.items()]
    with open_session(study.root / name, "client") as session:
        metadata = {"task_id": study.task.task_id, **metadata}
        with write_tensor_file(session.work / STATISTICS_FILE, shapes, metadata=metadata) as writer:
            for n, v in vectors.items():
                writer.write(n, v.view(np.uint64))


@pytest.mark.parametrize("fault", ["a value", "a length", "a name", "another task"])
def test_a_damaged_file_is_not_sent(study, fault):
    vectors = {name: np.array(v) for name, v in study.statistics["clinic-0", 0].items()}
    metadata = {}
    if fault == "a value":
        vectors[MATRICES[2][0]][5] = 2**50
    elif fault == "a length":
        vectors[MATRICES[2][0]] = vectors[MATRICES[2][0]][1:]
    elif fault == "a name":
        del vectors[MATRICES[2][0]]
    else:
        metadata["task_id"] = "sha256:" + "7" * 64
    put_anything(study, "clinic-0", vectors, **metadata)
    outcomes = turns.settle(study)
    assert isinstance(outcomes["clinic-0"], LocalMisuseError), outcomes
    assert has_no_sum(study)


def test_vectors_that_are_not_the_tasks_are_refused(tmp_path):
    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    with pytest.raises(LocalMisuseError, match="not those of the task"):
        write_statistics(tmp_path / "s", {"other": np.zeros(3, np.int64)}, study.task)


@pytest.mark.parametrize("kind", ["additive", "cleartext"])
def test_statistics_that_change_after_they_were_sent_are_refused(tmp_path, kind):
    study = make_study(tmp_path, **KINDS[kind], privacy=SQUARE_SUMS)
    study.make_statistics("clinic-0", 1)
    study.submit("clinic-0")
    study.submit("clinic-0")  # the control
    study.make_statistics("clinic-0", 99)
    with pytest.raises(LocalMisuseError, match="the statistics have changed"):
        study.submit("clinic-0")


# ---- a client that lies
def lie(monkeypatch, study, excess):
    """One client's own software adds this to one of its values, without checking anything."""
    honest = report_words._VectorWords.words

    def words(self, chunk):
        found = honest(self, chunk)
        if "clinic-2" in self.path.parts and chunk.index == 0:
            found[0, 3] += np.uint64(excess % 2**64)
        return found

    monkeypatch.setattr(report_words._VectorWords, "words", words)
    for name in study.clients:
        study.put_statistics(name, {n: np.zeros(c, np.int64) for n, _, c in MATRICES})


@pytest.mark.parametrize("kind", ["additive", "pairwise", "cleartext"])
@pytest.mark.parametrize(("excess", "passes"), [(4 * 2**43, True), (4 * 2**43 + 1, False), (2**63, False)])
def test_a_sum_outside_the_range_of_the_cohort_is_never_written(tmp_path, monkeypatch, kind, excess, passes):
    """And one inside is: nothing bounds a single client (docs/attacks.md, 38)."""
    study = make_study(tmp_path, **KINDS[kind], privacy=SQUARE_SUMS)
    lie(monkeypatch, study, excess)
    outcomes = turns.settle(study)
    if passes:
        assert study.sums()[MATRICES[0][0]][3] == excess
        return
    assert has_no_sum(study)
    errors = [o for o in outcomes.values() if isinstance(o, RemoteMisbehaviourError)]
    assert any("clients' statistics" in str(error) for error in errors), outcomes


@pytest.mark.parametrize("kind", ["blind", "simple"])
def test_of_bfv_no_sum_of_limbs_out_of_range_is_released(tmp_path, monkeypatch, kind):
    study = make_study(tmp_path, **KINDS[kind], privacy=SQUARE_SUMS)
    lie(monkeypatch, study, 4 * 2**43)
    outcomes = turns.settle(study)
    assert has_no_sum(study)
    assert any(isinstance(o, RemoteMisbehaviourError | TooFewPartiesError) for o in outcomes.values())


def test_shares_that_do_not_add_up_write_no_sums(tmp_path, monkeypatch):
    from secprune.parties import adding

    study = make_study(tmp_path, privacy=SQUARE_SUMS)
    for seed, name in enumerate(study.clients):
        study.make_statistics(name, seed)
    study.submit()
    honest = adding.add_shares

    def wrong(chunk, shares):
        return honest(chunk, shares) + np.uint64(2**62)

    monkeypatch.setattr(adding, "add_shares", wrong)
    outcomes = study.run_servers()
    assert isinstance(outcomes["hq"], RemoteMisbehaviourError)
    assert "the aggregators" in outcomes["hq"].party
    assert has_no_sum(study)
