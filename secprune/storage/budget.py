"""What a client's data have cost: which units (patients, documents) went into which private sum, and at which rho.

It lies in the party's journal. A unit is known by an HMAC of its id under a key that never leaves the journal, so that
neither a copy of one table nor another site's journal tells who was in a study. (Whoever has the whole file has the
key as well, and can try ids that they know.)

Rule 1: recorded before anything is computed from a note, in the transaction that finds that the budget is enough.
Rule 2: each task costs each unit once, however often it is recorded.
Rule 3: nothing is ever taken back: noise that was drawn and not sent may have been seen.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

SCHEMA = """
CREATE TABLE IF NOT EXISTS budget_key (only INTEGER PRIMARY KEY CHECK (only = 0), value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS spending (number INTEGER PRIMARY KEY, task TEXT NOT NULL UNIQUE, rho TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spending_dataset (dataset TEXT, spending INTEGER, PRIMARY KEY (dataset, spending));
CREATE TABLE IF NOT EXISTS spending_unit (unit BLOB, spending INTEGER, PRIMARY KEY (unit, spending)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Spending:
    """What one task has cost: rho to each of so many units, and the digests of the data sets that they came from."""

    task_id: str
    rho: Fraction
    units: int
    datasets: tuple[str, ...]


def spent(
    db: sqlite3.Connection, key: bytes | None, *, dataset: str, units: Iterable[str], but: str = ""
) -> Fraction:
    """The largest rho that any one of these units has cost, or this very data set, in tasks other than `but`."""
    rho = {
        int(number): Fraction(text)
        for number, text in db.execute("SELECT number, rho FROM spending WHERE task != ?", (but,))
    }
    if not rho or key is None:
        return Fraction(0)
    rows = db.execute("SELECT spending FROM spending_dataset WHERE dataset = ?", (dataset,)).fetchall()
    groups = {tuple(number for (number,) in rows)}
    for unit in units:
        rows = db.execute(
            "SELECT spending FROM spending_unit WHERE unit = ? ORDER BY spending", (_digest(key, unit),)
        ).fetchall()
        groups.add(tuple(number for (number,) in rows))
    return max(sum((rho.get(number, Fraction(0)) for number in group), Fraction(0)) for group in groups)


def largest(db: sqlite3.Connection) -> Fraction:
    """The largest rho that any unit has cost over all tasks."""
    rho = {int(number): Fraction(text) for number, text in db.execute("SELECT number, rho FROM spending")}
    groups = db.execute(
        "SELECT DISTINCT tasks FROM (SELECT group_concat(spending, ' ') AS tasks FROM "
        "(SELECT unit, spending FROM spending_unit ORDER BY unit, spending) GROUP BY unit)"
    ).fetchall()
    totals = [sum((rho[int(number)] for number in tasks.split()), Fraction(0)) for (tasks,) in groups]
    return max(totals, default=Fraction(0))


def spendings(db: sqlite3.Connection) -> list[Spending]:
    """What each task has cost, in the order in which they were recorded."""
    found = []
    for number, task, rho in db.execute("SELECT number, task, rho FROM spending ORDER BY number").fetchall():
        count = db.execute("SELECT count(*) FROM spending_unit WHERE spending = ?", (number,)).fetchone()
        datasets = db.execute(
            "SELECT dataset FROM spending_dataset WHERE spending = ? ORDER BY rowid", (number,)
        ).fetchall()
        found.append(Spending(task, Fraction(rho), int(count[0]), tuple(name for (name,) in datasets)))
    return found


def stored_key(db: sqlite3.Connection) -> bytes | None:
    """The key of the units' digests, or None before the first spending."""
    row = db.execute("SELECT value FROM budget_key").fetchone()
    return None if row is None else bytes(row[0])


def store_key(db: sqlite3.Connection, key: bytes) -> None:
    """Keep the key, inside the caller's transaction."""
    db.execute("INSERT INTO budget_key VALUES (0, ?)", (key,))


def recorded_rho(db: sqlite3.Connection, task_id: str) -> Fraction | None:
    """What each unit of a task was recorded to cost, or None."""
    row = db.execute("SELECT rho FROM spending WHERE task = ?", (task_id,)).fetchone()
    return None if row is None else Fraction(row[0])


def record(
    db: sqlite3.Connection, key: bytes, *, task_id: str, dataset: str, units: Iterable[str], rho: Fraction
) -> None:
    """Record what a task costs these units, inside the caller's transaction; again does nothing."""
    db.execute("INSERT OR IGNORE INTO spending (task, rho) VALUES (?, ?)", (task_id, str(rho)))
    (number,) = db.execute("SELECT number FROM spending WHERE task = ?", (task_id,)).fetchone()
    db.execute("INSERT OR IGNORE INTO spending_dataset VALUES (?, ?)", (dataset, number))
    db.executemany(
        "INSERT OR IGNORE INTO spending_unit VALUES (?, ?)", ((_digest(key, unit), number) for unit in units)
    )


def _digest(key: bytes, unit: str) -> bytes:
    data = unit.encode(errors="surrogatepass")  # names of files may be no UTF-8
    return hmac.digest(key, data, hashlib.sha256)
