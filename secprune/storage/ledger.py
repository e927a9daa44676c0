"""The ledger of a party: an append-only chain of what it did, over all tasks and rounds of its directory.

It lies in the party's journal, and an entry is written in the transaction of what it records; so after any
crash there are both or none. There is no clock in it: order is what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secprune.ids import sha256
from secprune.messages.ledger import ROOT, EntryKind, LedgerEntry, entry_bytes

if TYPE_CHECKING:
    import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (seq INTEGER PRIMARY KEY, entry BLOB NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS contradiction (task TEXT, round INTEGER, phase TEXT, sender TEXT, subject TEXT,
    PRIMARY KEY (task, round, phase, sender, subject));
CREATE TABLE IF NOT EXISTS witnessed (digest TEXT PRIMARY KEY);
"""


def append(
    db: sqlite3.Connection, key: tuple[str, int], kind: EntryKind, digest: str, **what: Any
) -> LedgerEntry:
    """Add an entry for a task and round, inside the caller's transaction."""
    seq, previous = head(db)
    entry = LedgerEntry(
        seq=seq, previous=previous, task_id=key[0], round=key[1], kind=kind, digest=digest, **what
    )
    data = entry_bytes(entry)
    db.execute("INSERT INTO ledger VALUES (?, ?, ?)", (seq, data, sha256(data)))
    return entry


def head(db: sqlite3.Connection) -> tuple[int, str]:
    """How many entries there are, and the digest of the last one."""
    row = db.execute("SELECT seq, digest FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, ROOT) if row is None else (int(row[0]) + 1, str(row[1]))


def lines(db: sqlite3.Connection) -> list[bytes]:
    """All entries in canonical form, in order."""
    return [bytes(entry) for (entry,) in db.execute("SELECT entry FROM ledger ORDER BY seq")]


def is_behind(db: sqlite3.Connection) -> bool:
    """Whether this journal was begun before there were ledgers: it has sent or released, and has no entry."""
    begun = db.execute("SELECT EXISTS (SELECT 1 FROM outbox) OR EXISTS (SELECT 1 FROM release)").fetchone()
    return bool(begun[0]) and head(db)[0] == 0


def begin_late(db: sqlite3.Connection, party: str) -> None:
    """Start the ledger of such a journal with what it has committed itself to so far."""
    for task, index, phase, subject, envelope in db.execute(
        "SELECT task, round, phase, subject, envelope FROM outbox ORDER BY rowid"
    ).fetchall():
        what = {"phase": phase, "party": party, "subject": subject, "size": len(envelope)}
        append(db, (task, index), "sent", sha256(envelope), **what)
    for task, index, model, members in db.execute(
        "SELECT task, round, model, members FROM release ORDER BY rowid"
    ).fetchall():
        append(db, (task, index), "released", model, party=party, members=tuple(members.split()))
