"""A party's journal: what it must not forget between a crash and the next start. SQLite, WAL.

Rule 1: checkpoint, then send. What is sent stands here first, byte for byte, and a retry sends these
bytes; one message for each (round, phase, subject), so that a party cannot contradict itself.
Rule 2: the first valid message of a peer for (round, phase, subject) stands; a different second one is
evidence, not an update.
Rule 3: a release is recorded before it is made.
Rule 4: what is sent, read, released or noted is in the ledger (`secprune.storage.ledger`) from the same transaction on.
"""

from __future__ import annotations

import contextlib
import copy
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secprune.errors import LocalEnvironmentError
from secprune.files import PRIVATE_FILE
from secprune.ids import sha256
from secprune.storage import budget, ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from fractions import Fraction
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (task TEXT, round INTEGER, purpose TEXT, value BLOB NOT NULL,
    PRIMARY KEY (task, round, purpose));
CREATE TABLE IF NOT EXISTS state (task TEXT, round INTEGER, value BLOB NOT NULL, PRIMARY KEY (task, round));
CREATE TABLE IF NOT EXISTS outbox (task TEXT, round INTEGER, phase TEXT, subject TEXT, envelope BLOB NOT NULL,
    PRIMARY KEY (task, round, phase, subject));
CREATE TABLE IF NOT EXISTS chunk (task TEXT, round INTEGER, phase TEXT, subject TEXT, place INTEGER,
    data BLOB NOT NULL, PRIMARY KEY (task, round, phase, subject, place));
CREATE TABLE IF NOT EXISTS sent_chunk (task TEXT, digest TEXT, size INTEGER NOT NULL, PRIMARY KEY (task, digest));
CREATE TABLE IF NOT EXISTS inbox (task TEXT, round INTEGER, phase TEXT, sender TEXT, subject TEXT,
    digest TEXT NOT NULL, PRIMARY KEY (task, round, phase, sender, subject));
CREATE TABLE IF NOT EXISTS row_sums (task TEXT, round INTEGER, report TEXT, value BLOB NOT NULL,
    PRIMARY KEY (task, round, report));
CREATE TABLE IF NOT EXISTS shard (task TEXT, round INTEGER, purpose TEXT, place INTEGER, result BLOB NOT NULL,
    PRIMARY KEY (task, round, purpose, place));
CREATE TABLE IF NOT EXISTS release (model TEXT, task TEXT, round INTEGER, members TEXT NOT NULL,
    part TEXT NOT NULL DEFAULT '', PRIMARY KEY (task, round));
CREATE TABLE IF NOT EXISTS counted (model TEXT, task TEXT, round INTEGER, members TEXT NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (task, round, members));
CREATE TABLE IF NOT EXISTS task (canonical BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS incident (task TEXT, round INTEGER, party TEXT, what TEXT,
    PRIMARY KEY (task, round, party, what));
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send: phase, what it is about (a client's name, or ""), its envelope, and small chunks it names.

    Large chunks are not kept here: their sender makes them again, with the same bytes.
    """

    phase: str
    subject: str
    envelope: bytes
    chunks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """One aggregate share that this party let go, or a sum in which it was counted.

    `part` of the model that it is over: all matrices if empty, else a decoder block.
    """

    model: str
    task_id: str
    round: int
    members: tuple[str, ...]
    part: str


class Journal:
    """The journal of one party for one round of one task (several rounds share a file).

    Args:
        path: the SQLite file, created with mode 0600.
        task_id: of the task.
        round_index: of the round.
        party: whose journal it is, as the ledger names it.
    """

    def __init__(self, path: Path, *, task_id: str, round_index: int, party: str = "") -> None:
        self._key = (task_id, round_index)
        self._party = party
        with _database_errors():
            path.touch(mode=PRIVATE_FILE, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = ON")  # a state that is replaced may have held secrets
            self._db.executescript(_SCHEMA + ledger.SCHEMA + budget.SCHEMA)
            if "part" not in {row[1] for row in self._db.execute("PRAGMA table_info(release)")}:
                self._db.execute("ALTER TABLE release ADD COLUMN part TEXT NOT NULL DEFAULT ''")
        if ledger.is_behind(self._db):
            with self._transaction() as db:
                if ledger.is_behind(db):  # nobody else was faster
                    ledger.begin_late(db, party)

    def at_round(self, round_index: int) -> Journal:
        """The same file, for another round of the same task."""
        other = copy.copy(self)
        other._key = (self._key[0], round_index)  # noqa: SLF001 - a copy of itself
        return other

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def secret(self, purpose: str, make: Callable[[], bytes]) -> bytes:
        """The secret drawn for `purpose` in this round; drawn by `make` and stored the first time."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT value FROM secret WHERE task = ? AND round = ? AND purpose = ?", (*self._key, purpose)
            ).fetchone()
            if row is not None:
                return bytes(row[0])
            value = make()
            db.execute("INSERT INTO secret VALUES (?, ?, ?, ?)", (*self._key, purpose, value))
            return value

    def has_secret(self, purpose: str) -> bool:
        """Whether a secret for `purpose` has been drawn in this round."""
        with _database_errors():
            found = self._db.execute(
                "SELECT 1 FROM secret WHERE task = ? AND round = ? AND purpose = ?", (*self._key, purpose)
            ).fetchone()
        return found is not None

    def state(self) -> bytes | None:
        """The state of the last checkpoint, or None."""
        with _database_errors():
            row = self._db.execute(
                "SELECT value FROM state WHERE task = ? AND round = ?", self._key
            ).fetchone()
        return None if row is None else bytes(row[0])

    def checkpoint(self, *, state: bytes | None = None, outgoing: Sequence[Outgoing] = ()) -> None:
        """Store a state and the messages that belong to it in one transaction.

        What a replaced state held is overwritten, in the write-ahead log as well, if nobody else reads the file now.
        """
        with self._transaction() as db:
            if state is not None:
                db.execute("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", (*self._key, state))
            for message in outgoing:
                key = (*self._key, message.phase, message.subject)
                new = db.execute(
                    "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?)", (*key, message.envelope)
                )
                if new.rowcount:
                    ledger.append(
                        db, self._key, "sent", sha256(message.envelope), phase=message.phase, party=self._party,
                        subject=message.subject, size=len(message.envelope),
                    )  # fmt: skip
                    db.executemany(
                        "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)",
                        [(*key, place, data) for place, data in enumerate(message.chunks)],
                    )
        if state is not None:
            with _database_errors():
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def outbox(self) -> list[Outgoing]:
        """All messages this party has committed itself to in this round."""
        with _database_errors():
            rows = self._db.execute(
                "SELECT phase, subject, envelope FROM outbox WHERE task = ? AND round = ? ORDER BY rowid",
                self._key,
            ).fetchall()
        return [Outgoing(phase, subject, bytes(envelope)) for phase, subject, envelope in rows]

    def chunks(self, *, but: Collection[int] = ()) -> Iterator[tuple[int, bytes]]:
        """The chunks that came with messages of the outbox, one at a time: number and data, without some numbers."""
        with _database_errors():
            numbers = self._db.execute(
                "SELECT rowid FROM chunk WHERE task = ? AND round = ? ORDER BY rowid", self._key
            ).fetchall()
        for (number,) in numbers:
            if number not in but:
                with _database_errors():
                    row = self._db.execute("SELECT data FROM chunk WHERE rowid = ?", (number,)).fetchone()
                yield number, bytes(row[0])

    def record_chunks(self, chunks: Iterable[tuple[str, int]]) -> None:
        """Record digest and size of chunks that left this party, of any round of this task; each once."""
        task_id = self._key[0]
        with self._transaction() as db:
            rows = ((task_id, digest, size) for digest, size in chunks)
            db.executemany("INSERT OR IGNORE INTO sent_chunk VALUES (?, ?, ?)", rows)

    def recorded_chunks(self) -> dict[str, int]:
        """Sizes of all chunks that left this party in any round of this task, by digest."""
        query = "SELECT digest, size FROM sent_chunk WHERE task = ?"
        with _database_errors():
            return dict(self._db.execute(query, self._key[:1]).fetchall())

    def first_seen(self, phase: str, sender: str, subject: str, digest: str, *, size: int = 0) -> str:
        """Record a peer's message of `size` bytes unless there is one; the digest of the one that stands."""
        key = (*self._key, phase, sender, subject)
        what = {"phase": phase, "party": sender, "subject": subject, "size": size}
        with self._transaction() as db:
            new = db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?, ?, ?, ?, ?)", (*key, digest))
            if new.rowcount:
                ledger.append(db, self._key, "received", digest, **what)
            row = db.execute(
                "SELECT digest FROM inbox WHERE task = ? AND round = ? AND phase = ? AND sender = ?"
                " AND subject = ?",
                key,
            ).fetchone()
            if row[0] != digest:
                new = db.execute("INSERT OR IGNORE INTO contradiction VALUES (?, ?, ?, ?, ?)", key)
                if new.rowcount:
                    ledger.append(db, self._key, "contradiction", digest, **what)
        return str(row[0])

    def row_sums(self, report: str) -> bytes | None:
        """This aggregator's own row-sum words of a report it has read, or None."""
        with _database_errors():
            row = self._db.execute(
                "SELECT value FROM row_sums WHERE task = ? AND round = ? AND report = ?", (*self._key, report)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def keep_row_sums(self, report: str, words: bytes) -> None:
        """Store this aggregator's own row-sum words of a report."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO row_sums VALUES (?, ?, ?, ?)", (*self._key, report, words))

    def shards(self, purpose: str) -> dict[int, bytes]:
        """Results of the shards that are done, by place."""
        with _database_errors():
            rows = self._db.execute(
                "SELECT place, result FROM shard WHERE task = ? AND round = ? AND purpose = ?",
                (*self._key, purpose),
            ).fetchall()
        return {place: bytes(result) for place, result in rows}

    def keep_shard(self, purpose: str, place: int, result: bytes) -> None:
        """Store the result of a shard."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?, ?)", (*self._key, purpose, place, result)
            )

    def forget_shards(self, purpose: str) -> None:
        """Remove results that are not needed any more."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM shard WHERE task = ? AND round = ? AND purpose = ?", (*self._key, purpose)
            )

    def record_release(self, model: str, members: Sequence[str], *, part: str = "") -> None:
        """Record that this round's share is about to be released; one release per round, for ever."""
        with self._transaction() as db:
            new = db.execute(
                "INSERT OR IGNORE INTO release VALUES (?, ?, ?, ?, ?)",
                (model, *self._key, " ".join(members), part),
            )
            if new.rowcount:
                ledger.append(db, self._key, "released", model, party=self._party, members=tuple(members))

    def learn_release(
        self, model: str, task_id: str, round_index: int, members: Sequence[str], *, part: str
    ) -> None:
        """Record that others released, or can release, a sum in which this party was counted.

        Several of a round are all kept: whoever signed two of them lied, and nobody here can tell about which.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO counted VALUES (?, ?, ?, ?, ?)",
                (model, task_id, round_index, " ".join(members), part),
            )

    def releases(self, model: str) -> list[Release]:
        """All sums over this model that this party released, any task."""
        return self._releases("SELECT model, task, round, members, part FROM release WHERE model = ?", model)

    def counted(self, model: str) -> list[Release]:
        """All sums over this model that this party was counted in, as far as it has learned, any task."""
        return self._releases("SELECT model, task, round, members, part FROM counted WHERE model = ?", model)

    def _releases(self, query: str, model: str) -> list[Release]:
        with _database_errors():
            rows = self._db.execute(query, (model,)).fetchall()
        return [
            Release(m, task, index, tuple(members.split()), part) for m, task, index, members, part in rows
        ]

    def keep_task(self, canonical: bytes) -> None:
        """Keep a task that this party takes part in, to know its roster later."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO task VALUES (?)", (canonical,))

    def tasks(self) -> list[bytes]:
        """Canonical forms of the tasks that were kept."""
        with _database_errors():
            return [bytes(text) for (text,) in self._db.execute("SELECT canonical FROM task ORDER BY rowid")]

    def note(self, party: str, what: str) -> bool:
        """Remember an incident for `status`; whether it is a new one."""
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT OR IGNORE INTO incident VALUES (?, ?, ?, ?)", (*self._key, party, what)
            )
            if cursor.rowcount:
                ledger.append(db, self._key, "incident", sha256(what.encode()), party=party)
            return cursor.rowcount > 0

    def incidents(self) -> list[tuple[str, str]]:
        """Incidents of this round: (who is to blame, what happened)."""
        with _database_errors():
            return self._db.execute(
                "SELECT party, what FROM incident WHERE task = ? AND round = ? ORDER BY rowid", self._key
            ).fetchall()

    # ---- the privacy budget
    def spend(
        self,
        *,
        dataset: str,
        units: Sequence[str],
        rho: Fraction,
        allow: Callable[[Fraction, Fraction | None], None],
        make_key: Callable[[], bytes],
    ) -> None:
        """Record that this task costs each of these units `rho`, if that is allowed; all in one transaction.

        Args:
            dataset: digest of the data set that the units come from.
            units: their ids, of which only keyed digests are kept.
            rho: what the whole task costs each of them.
            allow: raises if it is too much; gets the largest rho that any of them has cost in other tasks, and what
                this task was recorded to cost before, if it was.
            make_key: draws the key of the digests, the first time.
        """
        task_id = self._key[0]
        with self._transaction() as db:
            key = budget.stored_key(db)
            others = budget.spent(db, key, dataset=dataset, units=units, but=task_id)
            allow(others, budget.recorded_rho(db, task_id))
            if key is None:
                key = make_key()
                budget.store_key(db, key)
            budget.record(db, key, task_id=task_id, dataset=dataset, units=units, rho=rho)

    def spent(self, *, dataset: str, units: Sequence[str]) -> Fraction:
        """The largest rho that any of these units, or this data set, has cost in tasks other than this one."""
        with _database_errors():
            key = budget.stored_key(self._db)
            return budget.spent(self._db, key, dataset=dataset, units=units, but=self._key[0])

    def spendings(self) -> tuple[list[budget.Spending], Fraction]:
        """What each task has cost, and the largest rho that any one unit has cost over all of them."""
        with _database_errors():
            return budget.spendings(self._db), budget.largest(self._db)

    # ---- the ledger
    def ledger_head(self) -> tuple[int, str]:
        """How many entries the ledger has, and the digest of the last one."""
        with _database_errors():
            return ledger.head(self._db)

    def ledger_lines(self) -> list[bytes]:
        """All entries of the ledger, of all tasks and rounds, in canonical form."""
        with _database_errors():
            return ledger.lines(self._db)

    def witness(self, phase: str, party: str, envelope: bytes) -> None:
        """Record, once, the head of another party's ledger."""
        digest = sha256(envelope)
        what = {"phase": phase, "party": party, "size": len(envelope), "evidence": envelope}
        with self._transaction() as db:
            if db.execute("INSERT OR IGNORE INTO witnessed VALUES (?)", (digest,)).rowcount:
                ledger.append(db, self._key, "witnessed", digest, **what)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _database_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:  # a full disk makes SQLite roll back by itself
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextlib.contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LocalEnvironmentError(
            f"the journal cannot be used: {error}",
            hint="check free space and permissions of the party's directory, then run the same command again",
        ) from error
