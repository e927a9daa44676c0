"""What corrupted parties see is their part of the transcript, and nothing else."""

from __future__ import annotations

import pytest
from audited import DECLARED, Declared, finished, opened

from secprune.audit.transcript import EVERYBODY, Sent
from secprune.audit.views import StoredFile, make_flows, make_kept, make_view

TRANSCRIPT = (
    Sent("clinic-0", "reports", EVERYBODY, 100, "a", 0),
    Sent("clinic-0", "reports chunks", "adder-0", 10, "b", 0),
    Sent("clinic-0", "reports chunks", "adder-0", 20, "c", 0),
    Sent("clinic-1", "reports chunks", "adder-0", 30, "d", 0),
    Sent("adder-0", "ciphertext-sums chunks", "holder-0", 7, "e", 0),
    Sent("adder-0", "ciphertext-sums chunks", "holder-1", 7, "e", 0),
)


def seen(part):
    return {(one.sender, one.artefact): (one.count, one.bytes) for one in part}


def test_views():
    nobody = make_view(TRANSCRIPT, (), exchange=False)
    assert (nobody.reads, nobody.carries) == ((), ())
    exchange = make_view(TRANSCRIPT, (), exchange=True)
    assert seen(exchange.reads) == {("clinic-0", "reports"): (1, 100)}
    assert seen(exchange.carries) == {
        ("clinic-0", "reports chunks"): (2, 30),
        ("clinic-1", "reports chunks"): (1, 30),
        ("adder-0", "ciphertext-sums chunks"): (1, 7),  # one chunk, however many can open it
    }
    aggregator = make_view(TRANSCRIPT, ["adder-0"], exchange=False)
    assert seen(aggregator.reads) == seen(exchange.reads) | seen(
        exchange.carries
    )  # received, or made by itself
    both = make_view(TRANSCRIPT, ["holder-1", "clinic-0"], exchange=True)
    assert both.corrupted == ("clinic-0", "holder-1")
    assert seen(both.reads) == {
        ("clinic-0", "reports"): (1, 100),
        ("clinic-0", "reports chunks"): (2, 30),
        ("adder-0", "ciphertext-sums chunks"): (1, 7),
    }
    assert seen(both.carries) == {("clinic-1", "reports chunks"): (1, 30)}


def test_flows_add_up_and_say_what_is_declared():
    roles = {"clinic-0": "client", "clinic-1": "client", "adder-0": "aggregator", EVERYBODY: EVERYBODY}
    flows = make_flows(
        TRANSCRIPT[:4], roles, lambda *flow: flow == ("client", "aggregator", "reports chunks")
    )
    assert [(f.sender, f.receiver_role, f.artefact, f.count, f.bytes, f.declared) for f in flows] == [
        ("clinic-0", "aggregator", "reports chunks", 2, 30, True),
        ("clinic-0", "everybody", "reports", 1, 100, False),
        ("clinic-1", "aggregator", "reports chunks", 1, 30, True),
    ]


def test_what_is_kept_is_counted_by_kind_and_a_stranger_is_taken_for_the_worst():
    files = [
        StoredFile("adder-0", "aggregator", "journal.sqlite", 5),
        StoredFile("adder-0", "aggregator", "journal.sqlite-wal", 6),
        StoredFile("adder-0", "aggregator", "pruning-masks.safetensors", 9),
        StoredFile("clinic-0", "client", "party.toml", 1),
        StoredFile("clinic-0", "client", "journal.sqlite", 7),
        StoredFile("clinic-0", "client", "what.bin", 8),
    ]
    kept = make_kept(files, Declared())
    assert [(k.party, k.artefact, k.files, k.bytes, k.derived_from_notes) for k in kept] == [
        ("adder-0", "journal", 2, 11, True),
        ("adder-0", "undeclared", 1, 9, True),
        ("clinic-0", "journal", None, None, True),  # says how many patients there are
        ("clinic-0", "party file", 1, 1, False),
        ("clinic-0", "undeclared", 1, 8, True),
    ]


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    return opened(finished(tmp_path_factory.mktemp("study"), "bfv-blind"))


def test_a_key_holder_reads_no_report_and_the_aggregator_no_other_clients_parcel(blind):
    holder = make_view(blind.transcript.sent, ["holder-0"], exchange=True)
    assert not any(one.artefact == "encrypted-reports chunks" for one in holder.reads)
    assert ("adder-0", "ciphertext-sums chunks") in seen(holder.reads)
    assert ("holder-1", "partial-decryptions chunks") in seen(holder.carries)
    aggregator = make_view(blind.transcript.sent, ["adder-0"], exchange=False)
    assert {one.sender for one in aggregator.reads if one.artefact == "encrypted-reports chunks"} == {
        "clinic-0",
        "clinic-1",
        "clinic-2",
        "clinic-3",
    }


def test_a_whole_study_is_covered_by_its_flows(blind):
    assert sum(flow.count for flow in blind.flows) == len(blind.transcript.sent)
    assert all(flow.declared for flow in blind.flows)
    assert {(f.sender_role, f.receiver_role, f.artefact) for f in blind.flows} <= DECLARED
