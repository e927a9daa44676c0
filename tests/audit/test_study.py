"""Studies of all protocols are read as they are, nothing is written into them, and honest ones are in order."""

from __future__ import annotations

import json
import shutil

import pytest
from audited import KINDS, Declared, finished, measured, opened, results, snapshot

from secprune.audit.check import Verdict
from secprune.crypto.envelope import sign
from secprune.errors import ConfigurationError, LocalMisuseError, SecpruneError
from secprune.ids import sha256
from secprune.messages.types import Cohort
from secprune.parties.auditing import export_ledger
from secprune.parties.auditor.study import open_study, records_of


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def study(kind, tmp_path_factory):
    return finished(tmp_path_factory.mktemp(kind), kind)


def test_an_honest_study_is_in_order_and_every_fault_planted_in_it_is_found(study, kind):
    before = snapshot(study.root)
    found = results(opened(study))
    assert snapshot(study.root) == before
    assert list(found) == ["declared-flows", "residue", "ledgers-agree", "cohort-size", "one-release"]
    wrong = {name: result for name, result in found.items() if result.verdict is not Verdict.CONFORMS}
    if kind == "cleartext":  # votes travel as they are
        assert {name: result.verdict for name, result in wrong.items()} == {
            "declared-flows": Verdict.REFUTED,
            "residue": Verdict.REFUTED,
        }
        assert "clinic-0" in found["residue"].measurement.says
    else:
        assert not wrong


def test_facts(study, kind):
    facts = opened(study).facts
    assert (facts.task_id, facts.roster, facts.cohort) == (study.task.task_id, 4, study.clients)
    assert facts.weights == 90 * 64 + 8 * 33 + 40 * 16
    assert {party.name for party in facts.parties} == {party.name for party in study.task.parties}
    if kind in {"additive", "pairwise"}:
        assert "2 of 4" in facts.label.label or "1 of 4" in facts.label.label


def test_nothing_of_clients_is_in_what_a_study_says_of_itself(additive):
    """Needles are in the subject of one check only, and in no result."""
    found = opened(additive)
    text = repr((found.facts, found.kept, found.flows, records_of(found), results(found)))
    assert "fever" not in text
    assert "clinic-0" in text


@pytest.fixture(scope="module")
def additive(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("additive"), "additive")


@pytest.fixture
def copy(additive, tmp_path):
    """The additive study, to be altered."""
    shutil.copytree(additive.root, tmp_path / "study")
    return tmp_path / "study"


def test_the_exchange_alone_is_enough_for_flows(additive, copy):
    whole = open_study(copy, Declared)
    for party in additive.task.parties:
        shutil.rmtree(copy / party.name)
    alone = open_study(copy, Declared)
    assert alone.flows == whole.flows
    assert alone.inputs == {name: d for name, d in whole.inputs.items() if not name.startswith("ledger ")}
    subjects = {check.id: subject for check, subject in records_of(alone)}
    assert subjects["ledgers-agree"] == "no party's ledger is at hand"
    found = results(alone)
    no_disk = found.pop("residue")
    assert no_disk.verdict is Verdict.NO_POWER  # a leak on a disk would not have been found
    assert all(result.verdict is Verdict.CONFORMS for result in found.values())
    assert "by its form" in no_disk.measurement.says


def test_exported_ledgers_stand_for_directories(additive, copy):
    for party in additive.task.parties:
        export_ledger(copy / party.name, copy / f"{party.name}.ledger")
        shutil.rmtree(copy / party.name)
    study = open_study(copy, Declared)
    assert len(study.ledgers) == len(additive.task.parties)
    assert measured(study, "ledgers-agree").figures[0].value == len(additive.task.parties)
    assert results(study)["ledgers-agree"].verdict is Verdict.CONFORMS


def test_an_exchange_elsewhere_and_a_renamed_directory(additive, copy, tmp_path):
    (copy / "exchange").rename(tmp_path / "copied")
    (copy / "clinic-1").rename(copy / "st-marys")
    study = open_study(copy, Declared, exchange=tmp_path / "copied")
    assert "clinic-1" not in {one.party.name for one in study.parties}
    (copy / "st-marys" / "clinic-1.card.json").write_text("{}")
    study = open_study(copy, Declared, exchange=tmp_path / "copied")
    assert {one.party.name for one in study.parties} == {party.name for party in additive.task.parties}


def test_the_result_of_a_demo_says_what_public_text_alone_gives(copy):
    assert open_study(copy, Declared).facts.public_only == {}
    said = {
        "privacy": {"baseline_perplexity": 31.5, "baseline_mask_agreement": 0.9, "worth": "x"},
        "other": 1,
    }
    (copy / "result.json").write_text(json.dumps(said))
    assert open_study(copy, Declared).facts.public_only == {"perplexity": 31.5, "mask agreement": 0.9}
    (copy / "result.json").write_text("{")
    with pytest.raises(LocalMisuseError):
        open_study(copy, Declared)


def test_what_is_no_study_is_refused(copy, tmp_path):
    with pytest.raises(LocalMisuseError, match="no study"):
        open_study(tmp_path / "nothing", Declared)
    shutil.move(copy / "exchange", tmp_path / "away")
    with pytest.raises(LocalMisuseError, match="no exchange"):
        open_study(copy, Declared)
    (copy / "task.toml.sig").unlink()
    with pytest.raises(SecpruneError):
        open_study(copy, Declared, exchange=tmp_path / "away")
    (copy / "task.toml").write_text("study = 1")
    with pytest.raises(ConfigurationError):
        open_study(copy, Declared, exchange=tmp_path / "away")


def test_inputs_name_every_public_file_and_change_with_it(copy):
    before = open_study(copy, Declared).inputs
    assert {"task.toml", "task.toml.sig", "exchange reports", "exchange chunks", "ledger hq"} <= set(before)
    chunk = next((copy / "exchange" / "chunks").glob("*/*"))
    chunk.unlink()
    after = open_study(copy, Declared).inputs
    assert {name for name in before if before[name] != after[name]} == {"exchange chunks"}


def test_nobody_but_a_server_can_make_a_study_look_as_if_it_had_released_something(additive, copy):
    task, name = additive.task, "clinic-0"
    lie = Cohort(task_id=task.task_id, round=0, members=())
    data = sign(lie, signer=name, identity=additive.identities[name])
    folder = next((copy / "exchange" / "messages").glob("*/0/cohorts"))
    (folder / sha256(data).removeprefix("sha256:")).write_bytes(data)
    study = open_study(copy, Declared)
    assert {one.party for one in study.released} == {"hq", *task.names("aggregator")}
    assert len(study.facts.cohort) == 4
    assert ("client", "cohorts", False) in {(f.sender_role, f.artefact, f.declared) for f in study.flows}
