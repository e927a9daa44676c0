"""Which checks of sums a report runs for which task, and what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from audit_draws import SEED, draws
from msgspec.structs import replace
from small_study import SQUARE_SUMS, make_study

from secprune.audit.check import Verdict, not_run, run
from secprune.messages.types import AggregateShare, Parcel, Report, SealedKey
from secprune.parties.auditor.sums import checks_of, sealed_keys

IDS = {
    "all-aggregators",
    "bfv-malleability",
    "bfv-view",
    "colluders-subtract",
    "differencing",
    "hybrid-sealing",
    "model-pinned",
    "paired-votes",
    "pairwise-view",
    "randomness-source",
    "release-policy",
    "row-sums",
    "share-view",
    "share-view-exhaustive",
}
OF = {
    "additive": {"share-view-exhaustive", "share-view", "all-aggregators", "row-sums"},
    "cleartext": {"share-view-exhaustive", "share-view", "all-aggregators", "row-sums"},
    "pairwise": {"pairwise-view"},
    "bfv": {"bfv-view", "bfv-malleability"},
}
OPTIONS = {"pairwise": {"aggregators": 1}, "bfv": {"aggregators": 1, "key_holders": 1}}
DIGEST = "sha256:" + "0" * 64


def planned(tmp_path, protocol, **options):
    study = make_study(
        tmp_path / "study", protocol=protocol, with_masks=False, **{**OPTIONS.get(protocol, {}), **options}
    )
    return {check.id: (check, subject) for check, subject in checks_of(study.task, draws, scratch=tmp_path)}


@pytest.mark.parametrize("protocol", OF)
def test_a_task_gets_the_checks_of_its_protocol(tmp_path, protocol):
    if protocol == "bfv":
        pytest.importorskip("tenseal.sealapi")
    found = planned(tmp_path, protocol)
    assert set(found) == IDS
    left_out = {name for name, (_, subject) in found.items() if isinstance(subject, str)}
    assert left_out == set().union(*OF.values()) - OF[protocol]
    for name in left_out:
        check, why = found[name]
        assert not_run(check, why).why == why


def test_where_nothing_is_summed_by_rows_nothing_is_checked_by_rows(tmp_path):
    found = planned(tmp_path, "additive", privacy=SQUARE_SUMS)
    assert found["row-sums"][1] == found["paired-votes"][1] == "no votes are summed"
    assert not isinstance(found["share-view"][1], str)


def test_without_tenseal_the_checks_of_bfv_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = planned(tmp_path, "bfv")
    assert "secprune[he]" in found["bfv-view"][1]
    assert "secprune[he]" in found["bfv-malleability"][1]


@pytest.mark.parametrize("protocol", ["additive", "cleartext"])
def test_the_shares_of_a_task(tmp_path, protocol):
    found = planned(tmp_path, protocol)
    for name, honest in (
        ("share-view", Verdict.CONFORMS),
        ("share-view-exhaustive", Verdict.PROVED),
        ("row-sums", Verdict.CONFORMS),
        ("model-pinned", Verdict.CONFORMS),
    ):
        check, subject = found[name]
        result = run(check, subject, draws, seed=SEED, clock=lambda: 0.0)
        is_bad = protocol == "cleartext" and name.startswith("share-view")
        assert result.verdict == (Verdict.REFUTED if is_bad else honest), result.measurement
        assert all(control.measurement.refuted for control in result.controls)


def test_sealed_keys_are_found_wherever_they_lie():
    keys = [SealedKey(receiver="hq", sealed=bytes([i])) for i in range(3)]
    messages = [
        Report(task_id=DIGEST, round=0, keys=tuple(keys[:2]), chunks=(DIGEST,)),
        AggregateShare(task_id=DIGEST, round=0, members=(), parcel=Parcel(key=keys[2], chunks=())),
    ]
    assert sealed_keys(messages) == (b"\0", b"\1", b"\2")


def test_a_large_roster_costs_no_more(tmp_path):
    study = make_study(tmp_path / "study", clients=24, with_masks=False)
    task = replace(study.task, study="large")
    found = {check.id: subject for check, subject in checks_of(task, draws, scratch=tmp_path)}
    assert len(found["share-view"].audit.clients) == 16
    assert Path(tmp_path / "model").is_dir()
