"""Ledgers: consistent after an honest study, whole after any crash, and without secrets."""

from __future__ import annotations

import base64
import shutil
import sqlite3

import msgspec
import pytest
from faulty_exchange import Rates, World, fast_directory
from ledger_study import (
    audit,
    blamed,
    chained,
    entries_of,
    exported,
    exported_one,
    journal_of,
    posted,
    run_additive,
    signed,
)
from small_study import make_study

from secprune.crypto.envelope import open_envelope
from secprune.errors import LocalEnvironmentError
from secprune.ids import sha256
from secprune.messages.ledger import ROOT, LedgerEntry, LedgerHead
from secprune.parties.session import open_session
from secprune.parties.witness import witness
from secprune.storage import ledger
from secprune.storage.journal import Journal, Outgoing


# ---- honest studies
def run_pairwise(study):
    return study.run_pairwise()


def run_bfv(study):
    return study.run_bfv()


@pytest.mark.parametrize(
    ("protocol", "run", "options"),
    [
        ("additive", run_additive, {}),
        ("pairwise", run_pairwise, {"aggregators": 1}),
        ("bfv", run_bfv, {"aggregators": 1, "key_holders": 2}),
    ],
)
def test_a_whole_study_is_consistent_with_and_without_the_exchange(tmp_path, protocol, run, options):
    study = make_study(tmp_path, protocol=protocol, **options)
    assert not [outcome for outcome in run(study).values() if isinstance(outcome, Exception)]
    ledgers, everything = exported(study), posted(study)
    messages = [m for m in everything if m.phase != "tasks"]  # those are no message of a party's own
    assert len(everything) == len(messages) + 1
    result = audit(study, ledgers, everything)
    assert result.finding is None
    assert result.consistent
    assert result.heads == len(study.task.parties)
    assert result.messages == len(messages)
    assert result.releases >= 2
    assert result.no_ledger_of == ()
    assert audit(study, ledgers).finding is None
    for party, data in ledgers.items():
        sent = {e.digest for e in entries_of(data) if e.kind == "sent"}
        mine = {
            m.digest for m in messages if msgspec.json.decode(m.envelope)["signatures"][0]["keyid"] == party
        }
        assert sent == mine
        assert audit(study, {n: d for n, d in ledgers.items() if n != party}, messages).finding is None


def test_a_task_of_several_rounds_has_a_head_of_each_and_heads_of_a_round_are_witnessed_in_the_next(tmp_path):
    study = make_study(tmp_path)
    with (
        open_session(tmp_path / "hq", "coordinator") as one,
        open_session(tmp_path / "adder-0", "aggregator") as two,
    ):
        for index in (0, 1):
            witness(one.at_round(index))
            witness(two.at_round(index))
            witness(two.at_round(index))  # again: nothing new
    ledgers = {name: exported_one(study, name) for name in ("hq", "adder-0")}
    heads = [e for e in entries_of(ledgers["hq"]) if e.phase == "ledger-heads" and e.kind == "sent"]
    assert [e.round for e in heads] == [0, 1]
    seen = [(e.party, e.round) for e in entries_of(ledgers["hq"]) if e.kind == "witnessed"]
    assert seen == [("adder-0", 0)]
    assert [e.round for e in entries_of(ledgers["adder-0"]) if e.kind == "witnessed"] == [0, 1]
    assert audit(study, ledgers).finding is None


# ---- how it is kept
def assert_whole(path, party=""):
    """Everything that stands in a journal has its one entry, and the chain is unbroken."""
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT entry, digest FROM ledger ORDER BY seq").fetchall()
        outbox = [(p, s, sha256(e)) for p, s, e in db.execute("SELECT phase, subject, envelope FROM outbox")]
        inbox = db.execute("SELECT phase, sender, subject, digest FROM inbox").fetchall()
        releases = [tuple(m.split()) for (m,) in db.execute("SELECT members FROM release")]
        incidents = [(p, sha256(w.encode())) for p, w in db.execute("SELECT party, what FROM incident")]
    entries = [msgspec.json.decode(entry, type=LedgerEntry) for entry, _ in rows]
    assert [entry for entry, _ in rows] == chained(entries)
    assert [digest for _, digest in rows] == [sha256(entry) for entry, _ in rows]
    of = {
        kind: [e for e in entries if e.kind == kind] for kind in ("sent", "received", "released", "incident")
    }
    assert sorted((e.phase, e.subject, e.digest) for e in of["sent"]) == sorted(outbox)
    assert sorted((e.phase, e.party, e.subject, e.digest) for e in of["received"]) == sorted(inbox)
    assert [e.members for e in of["released"]] == releases
    assert sorted((e.party, e.digest) for e in of["incident"]) == sorted(incidents)
    return entries


@pytest.mark.parametrize("seed", range(6))
def test_after_any_crash_there_is_an_entry_of_what_was_done_and_of_nothing_else(seed):
    with fast_directory() as root:
        study = make_study(root / "study", aggregators=1, protocol="pairwise", matrices=(("a", 5, 16),))
        world = World(
            study, root / "world", seed=seed, rates=Rates(killed=0.03, full=0.01, stopped=0.1, doubled=0.1)
        )
        seen = {name: [] for name in world.parties}
        for _ in range(25):
            world.sweep()
            for name in world.parties:
                path = world.root / f"{name}.sqlite"
                if path.exists():
                    entries = assert_whole(path)
                    assert entries[: len(seen[name])] == seen[name]  # only ever longer
                    seen[name] = entries
        assert world.happened["killed"] > 0
        assert any(entry.kind == "sent" for entry in seen["adder-0"])
        world.close()


def test_nothing_is_sent_or_released_without_its_entry(tmp_path, monkeypatch):
    study = make_study(tmp_path, with_masks=False)

    def full(*_args, **_options):
        raise sqlite3.OperationalError("database or disk is full")

    with journal_of(study, "hq") as journal:
        with monkeypatch.context() as patched:
            patched.setattr(ledger, "append", full)
            for write in (
                lambda: journal.checkpoint(state=b"{}", outgoing=[Outgoing("close", "", b"x")]),
                lambda: journal.first_seen("votes", "adder-0", "", ROOT),
                lambda: journal.record_release(ROOT, ["clinic-0"]),
                lambda: journal.note("exchange", "broke"),
            ):
                with pytest.raises(LocalEnvironmentError):
                    write()
        assert (journal.outbox(), journal.state(), journal.releases(ROOT), journal.incidents()) == (
            [],
            None,
            [],
            [],
        )
        for _ in range(2):
            journal.checkpoint(outgoing=[Outgoing("close", "", b"x")])
            journal.first_seen("votes", "adder-0", "", ROOT, size=3)
            journal.record_release(ROOT, ["clinic-0"])
            journal.note("exchange", "broke")
    entries = assert_whole(tmp_path / "hq" / "journal.sqlite")
    assert [e.kind for e in entries] == ["sent", "received", "released", "incident"]
    assert [e.size for e in entries] == [1, 3, 0, 0]
    assert [e.party for e in entries] == ["hq", "adder-0", "hq", "exchange"]


def test_a_journal_from_before_there_were_ledgers_starts_with_what_it_has_committed_itself_to(done, tmp_path):
    study, ledgers, messages = done
    path = tmp_path / "journal.sqlite"
    for file in (study.root / "adder-0").glob("journal.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM outbox WHERE phase = 'ledger-heads'")
        for table in ("ledger", "witnessed", "contradiction"):
            db.execute(f"DROP TABLE {table}")
    for _ in range(2):
        with journal_of(study, "adder-0", path) as journal:
            late = signed(study, "adder-0", journal.ledger_lines())
    kinds = [(e.kind, e.digest) for e in entries_of(late)]
    before = [(e.kind, e.digest) for e in entries_of(ledgers["adder-0"]) if e.kind in ("sent", "released")]
    assert set(kinds) == {
        (k, d) for k, d in before if d not in {m.digest for m in messages if m.phase == "ledger-heads"}
    }
    assert blamed(study, {"adder-0": late}, [m for m in messages if m.phase != "ledger-heads"]) is None
    with Journal(tmp_path / "new.sqlite", task_id="t", round_index=0)._transaction() as db:
        assert ledger.lines(db) == []


# ---- what is in it
def test_a_ledger_holds_nothing_secret_and_no_content(done):
    study, ledgers, messages = done
    known = {m.digest for m in messages} | {study.task.model.weights_digest}
    raw = b"".join(ledgers.values())
    for data in ledgers.values():
        for entry in entries_of(data):
            assert entry.digest in known or entry.kind == "incident"
            assert entry.party in {*study.identities, "exchange"}
            assert entry.subject in {"", *study.clients}
            assert set(entry.members) <= set(study.clients)
            if entry.evidence:
                keys = {p.name: p.signing_key for p in study.task.parties}
                assert open_envelope(entry.evidence, LedgerHead, signing_keys=keys)[0] == entry.party
    secrets = [identity.secret for identity in study.identities.values()]
    for party in study.task.parties:
        with sqlite3.connect(study.root / party.name / "journal.sqlite") as db:
            secrets += [value for (value,) in db.execute("SELECT value FROM secret")]
            secrets += [value for (value,) in db.execute("SELECT value FROM row_sums")]
    for masks in study.masks.values():
        secrets += [mask.tobytes() for mask in masks.values()]
    assert len(secrets) > 10
    for secret in secrets:
        for form in (secret, base64.b64encode(secret), secret.hex().encode()):
            assert form[:32] not in raw
            assert form[-34:-2] not in raw
    assert sha256(b"x")[7:20].encode() not in raw
    assert study.task.task_id.encode() in raw  # control: what is in it is found
