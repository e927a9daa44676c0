"""Every falsification of a ledger is found and blamed on the right party; with the honest control."""

from __future__ import annotations

import msgspec
import pytest
from ledger_study import (
    audit,
    blamed,
    entries_of,
    exported_one,
    falsified,
    find,
    posted,
    signed,
)
from small_study import make_study

from secprune.audit.chain import export
from secprune.audit.ledgers import Posted
from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.crypto.identity import Identity
from secprune.ids import sha256
from secprune.messages.ledger import ROOT, LedgerEntry, LedgerExport, LedgerHead
from secprune.messages.types import Cohort, CountedReport, Vote
from secprune.parties.session import open_session


# ---- falsified without the key: anybody who has the file in hands
@pytest.mark.parametrize("place", [0, 1, 3, -1])
def test_an_altered_entry(done, place):
    study, ledgers, _ = done
    lines = ledgers["hq"].splitlines()
    index = range(len(lines) - 1)[place]
    entry = msgspec.json.decode(lines[index], type=LedgerEntry)
    lines[index] = msgspec.json.encode(msgspec.structs.replace(entry, size=entry.size + 1), order="sorted")
    assert blamed(study, ledgers | {"hq": export(lines[:-1], lines[-1])}) == ("chain", "hq", index)


def test_removed_reordered_and_malformed_entries_and_a_cut_tail(done):
    study, ledgers, _ = done
    *lines, end = ledgers["adder-0"].splitlines()
    for wrong, seq in (
        ([*lines[:2], *lines[3:]], 2),
        ([lines[1], lines[0], *lines[2:]], 0),
        ([*lines[:4], b"{}", *lines[5:]], 4),
        (lines[:-1], len(lines) - 2),
        ([], 0),
    ):
        assert blamed(study, ledgers | {"adder-0": export(wrong, end)}) == ("chain", "adder-0", seq)
    assert blamed(study, ledgers | {"adder-0": export(lines, end)}) is None


def test_a_ledger_of_another_key_or_of_nobody(done):
    study, ledgers, _ = done
    *lines, _end = ledgers["hq"].splitlines()
    mine = LedgerExport(entries=len(lines), head=sha256(lines[-1]))
    forged = export(lines, sign(mine, signer="hq", identity=Identity.generate(random_bytes)))
    for data in (
        forged,
        b"",
        b"not a ledger",
        export(lines, sign(mine, signer="nobody", identity=study.identities["hq"])),
    ):
        assert blamed(study, {"hq.ledger": data}) == ("chain", "hq.ledger", None)
    # The entries of one under the signature of another, who has a valid key.
    taken = signed(study, "adder-0", lines)
    assert blamed(study, {"x": taken})[:2] == ("chain", "adder-0")


# ---- falsified by the party itself, chained and signed anew
def test_a_ledger_that_is_cut_behind_a_head_that_was_witnessed(done):
    study, ledgers, messages = done
    for party in ("hq", "adder-1", "clinic-3"):
        head = find(ledgers[party], "sent", phase="ledger-heads")
        cut = falsified(
            study,
            party,
            ledgers[party],
            lambda entries, head=head: entries.__delitem__(slice(head - 1, None)),
        )
        wrong = ("heads", party, head - 1)
        assert blamed(study, ledgers | {party: cut}) == wrong  # by what clinic-0 has witnessed
        assert blamed(study, {party: cut}, messages) == wrong  # by what it has posted
        assert blamed(study, {party: cut}) is None  # control: nothing to compare with


def test_a_chain_that_is_rewritten_from_the_start(done):
    study, ledgers, messages = done
    released = find(ledgers["adder-0"], "released")
    wrong = falsified(study, "adder-0", ledgers["adder-0"], lambda entries: entries.pop(released))
    found = audit(study, ledgers | {"adder-0": wrong}).finding
    assert (found.check, found.party) == ("heads", "adder-0")
    assert "rewritten" in found.what
    assert "witnessed by " in found.what
    assert blamed(study, {"adder-0": wrong}, messages)[:2] == ("heads", "adder-0")
    assert "differ from this entry" in audit_two(study, ledgers["adder-0"], wrong).what


def audit_two(study, one, two):
    from secprune.audit.ledgers import verify_ledgers

    return verify_ledgers(study.task, [("one", one), ("two", two)]).finding


def test_what_a_ledger_tells_after_its_last_head_can_be_taken_back(done):
    """A documented limit: an entry that no head covers is covered by nothing but the party's next export."""
    study, ledgers, messages = done
    last = max(p for p, e in enumerate(entries_of(ledgers["clinic-0"])) if e.kind == "witnessed")
    cut = falsified(study, "clinic-0", ledgers["clinic-0"], lambda entries: entries.pop(last))
    assert blamed(study, ledgers | {"clinic-0": cut}, messages) is None


def test_a_witness_cannot_frame_anybody(done):
    study, ledgers, _ = done
    place = find(ledgers["clinic-0"], "witnessed", party="hq")

    def frame(entries):
        lie = LedgerHead(task_id=study.task.task_id, round=0, entries=1, head=ROOT)
        evidence = sign(lie, signer="hq", identity=study.identities["clinic-0"])
        entries[place] = msgspec.structs.replace(entries[place], evidence=evidence)

    def misname(entries):
        entries[place] = msgspec.structs.replace(entries[place], party="adder-0")

    for lie in (frame, misname):
        wrong = falsified(study, "clinic-0", ledgers["clinic-0"], lie)
        assert blamed(study, {**ledgers, "clinic-0": wrong}) == ("heads", "clinic-0", place)


# ---- two messages where there is to be one
def test_an_aggregator_that_shows_different_parties_different_votes(done):
    """Both envelopes are signed by it; one lies in the exchange that hq reads, the other was shown to its peer."""
    study, ledgers, messages = done
    place = find(ledgers["adder-1"], "received", phase="votes", party="adder-0")
    other = sign(
        Vote(task_id=study.task.task_id, round=0, accepted=()),
        signer="adder-0",
        identity=study.identities["adder-0"],
    )

    def shown(entries):
        entries[place] = msgspec.structs.replace(entries[place], digest=sha256(other))
        entries[:] = [entry for entry in entries if entry.kind != "witnessed"]

    # adder-1 was shown it from the start, so its own heads fit: all are left out of what others have witnessed
    ledgers = {"adder-0": ledgers["adder-0"], "hq": ledgers["hq"], "adder-1": ledgers["adder-1"]}
    wrong = ledgers | {"adder-1": falsified(study, "adder-1", ledgers["adder-1"], shown)}
    wrong["hq"] = without_witnessed(study, "hq", ledgers["hq"])
    wrong["adder-0"] = without_witnessed(study, "adder-0", ledgers["adder-0"])
    mine = next(e.digest for e in entries_of(ledgers["adder-0"]) if (e.kind, e.phase) == ("sent", "votes"))
    found = audit(study, wrong).finding
    assert (found.check, found.party) == ("messages", "adder-0")
    assert mine in found.what
    assert sha256(other) in found.what
    assert "by the word of these ledgers" in found.what
    there = [m for m in messages if m.phase == "votes"] + [Posted(0, "votes", sha256(other), other)]
    assert "the exchange holds what it signed" in audit(study, wrong, there).finding.what
    control = {n: without_witnessed(study, n, d) for n, d in ledgers.items()}
    assert audit(study, control).finding is None


def without_witnessed(study, party, data):
    def change(entries):
        entries[:] = [e for e in entries if e.kind != "witnessed"]

    return falsified(study, party, data, change)


def test_a_contradiction_that_one_party_saw_names_who_signed_twice(tmp_path):
    study = make_study(tmp_path)
    first, second = (
        sign(
            Cohort(task_id=study.task.task_id, round=0, members=m),
            signer="adder-1",
            identity=study.identities["adder-1"],
        )
        for m in ((), (CountedReport(client="clinic-0", report=ROOT),))
    )
    with open_session(tmp_path / "hq", "coordinator") as session:
        for data in (first, second):
            session.exchange.post(session._topic("cohorts"), data)
        for _ in range(3):
            list(session.read(Cohort, again=True))
    data = exported_one(study, "hq")
    assert [e.kind for e in entries_of(data)] == ["received", "contradiction", "incident"]
    found = audit(study, {"hq": data}, posted(study)).finding
    assert (found.check, found.party, found.ledger, found.seq) == ("messages", "adder-1", "hq", 1)
    assert sha256(first) in found.what
    assert sha256(second) in found.what
    assert "the exchange holds what it signed" in found.what


def test_a_message_that_its_sender_does_not_tell_of(done):
    study, ledgers, messages = done
    clean = {n: without_witnessed(study, n, d) for n, d in ledgers.items()}
    place = find(clean["adder-0"], "sent", phase="cohorts")
    lied = falsified(study, "adder-0", clean["adder-0"], lambda entries: entries.pop(place))
    assert blamed(study, clean | {"adder-0": lied})[:2] == ("messages", "adder-0")
    assert blamed(study, clean) is None
    no_heads = [m for m in messages if m.phase != "ledger-heads"]
    assert blamed(study, {"adder-0": lied}, no_heads)[:2] == ("messages", "adder-0")
    early = falsified(
        study, "adder-0", clean["adder-0"], lambda entries: entries.__delitem__(slice(place, None))
    )
    assert blamed(study, {"adder-0": early}, no_heads) is None  # control: exported before it had sent it


# ---- cohorts and releases
def test_different_cohorts_and_different_members(done):
    study, ledgers, messages = done
    clean = {n: without_witnessed(study, n, d) for n, d in ledgers.items()}
    assert blamed(study, clean) is None
    place = find(clean["hq"], "released")

    def other_members(entries):
        entries[place] = msgspec.structs.replace(entries[place], members=study.clients[:3])

    def too_few(entries):
        entries[place] = msgspec.structs.replace(entries[place], members=study.clients[:2])

    cohorts = [m for m in messages if m.phase == "cohorts"]
    for lie in (other_members, too_few):
        wrong = clean | {"hq": falsified(study, "hq", clean["hq"], lie)}
        assert blamed(study, wrong) == ("cohorts", "hq", place)
        assert blamed(study, wrong, cohorts) == ("cohorts", "hq", place)
    assert blamed(study, clean, cohorts) is None
    lie = Cohort(task_id=study.task.task_id, round=0, members=())
    envelope = sign(lie, signer="adder-1", identity=study.identities["adder-1"])
    honest = [m for m in cohorts if msgspec.json.decode(m.envelope)["signatures"][0]["keyid"] == "adder-0"]
    split = [*honest, Posted(0, "cohorts", sha256(envelope), envelope)]
    assert blamed(study, {}, split) == ("cohorts", "adder-1", None)
    votes = [m for m in messages if m.phase == "votes"]
    assert blamed(study, {}, [*reversed(split), *votes]) == ("cohorts", "adder-1", None)
    assert blamed(study, {}, [*cohorts, split[1]]) == ("messages", "adder-1", None)
    assert blamed(study, {}, cohorts) is None


def test_whoever_can_write_to_the_exchange_can_frame_nobody(done):
    """All messages copied into all phases and rounds, and others under names of the roster with other keys."""
    study, ledgers, messages = done
    phases = {m.phase for m in messages} | {"abandoned"}
    copies = [
        Posted(r, phase, m.digest, m.envelope) for phase in sorted(phases) for m in messages for r in (0, 1)
    ]
    stranger = Identity.generate(random_bytes)
    for name in study.identities:
        for message in (
            LedgerHead(task_id=study.task.task_id, round=0, entries=1, head=ROOT),
            Cohort(task_id=study.task.task_id, round=0, members=()),
        ):
            forged = sign(message, signer=name, identity=stranger)
            copies += [Posted(0, phase, sha256(forged), forged) for phase in sorted(phases)]
    copies.append(Posted(0, "votes", sha256(b"junk"), b"junk"))
    assert blamed(study, ledgers, copies) is None
    assert blamed(study, ledgers, copies[::-1]) is None


def test_two_releases(done):
    study, ledgers, _ = done
    data = without_witnessed(study, "adder-1", ledgers["adder-1"])
    again = entries_of(data)[find(data, "released")]
    other_task = sha256(b"another task")
    for change, guilty in (
        ({}, True),
        ({"members": study.clients[:3]}, True),
        ({"task_id": other_task}, True),
        ({"task_id": other_task, "members": ("clinic-3", "elsewhere")}, True),
        ({"task_id": other_task, "members": ("elsewhere",)}, False),
        ({"task_id": other_task, "digest": sha256(b"another model")}, False),
        ({"round": 1}, False),
    ):
        second = msgspec.structs.replace(again, **change)
        wrong = falsified(study, "adder-1", data, lambda entries, second=second: entries.append(second))
        place = len(entries_of(wrong)) - 1
        expected = ("releases", "adder-1", place) if guilty else None
        assert blamed(study, {"adder-1": wrong}) == expected, change
