"""Ledgers on their way to an auditor: a party exports its own, and anybody compares what parties exported."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from secprune.audit.chain import export
from secprune.audit.ledgers import Audit, Posted, verify_ledgers
from secprune.crypto.envelope import sign
from secprune.errors import LocalMisuseError
from secprune.exchange.api import Phase, Topic
from secprune.exchange.directory import open_exchange
from secprune.files import SHARED_FILE, read_bytes, write_atomically
from secprune.ids import sha256
from secprune.messages.ledger import LedgerExport
from secprune.parties.config import IDENTITY_FILE, JOURNAL_FILE
from secprune.parties.one_task import study_topic
from secprune.parties.session import load_task
from secprune.storage.journal import Journal
from secprune.storage.keyfile import read_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from secprune.crypto.identity import Identity
    from secprune.task import PartySpec, Task


class ExportResult(Struct, frozen=True, kw_only=True):
    """An exported ledger."""

    party: str
    entries: int
    head: str
    ledger: str


def export_ledger(directory: Path, out: Path) -> ExportResult:
    """Write the whole ledger of a party's directory, signed by that party; there is nothing secret in it.

    Raises:
        LocalMisuseError: the party has not taken part in anything yet.
    """
    identity, card = read_identity(directory / IDENTITY_FILE)
    path = directory / JOURNAL_FILE
    if not path.exists():
        raise LocalMisuseError(f"{card.name} has no ledger yet", hint="it begins with the first task")
    with contextlib.closing(Journal(path, task_id="", round_index=0, party=card.name)) as journal:
        lines = journal.ledger_lines()
    if not lines:
        raise LocalMisuseError(f"{card.name}'s ledger is empty", hint="it begins with the first task")
    write_atomically(out, signed_ledger(lines, identity, card), mode=SHARED_FILE)
    return ExportResult(party=card.name, entries=len(lines), head=sha256(lines[-1]), ledger=str(out))


def signed_ledger(lines: list[bytes], identity: Identity, card: PartySpec) -> bytes:
    """A ledger of one entry or more as its party exports it."""
    end = LedgerExport(entries=len(lines), head=sha256(lines[-1]))
    return export(lines, sign(end, signer=card.name, identity=identity))


def verify(task_file: Path, ledgers: Sequence[Path], exchange: str | None = None) -> Audit:
    """Compare exported ledgers with each other, and with an exchange if there is one.

    Raises:
        ConfigurationError: the task is not valid, or not signed by its coordinator.
        LocalMisuseError: there is no exchange where it should be.
    """
    task = load_task(task_file)
    files = [(path.name, read_bytes(path, what="a ledger")) for path in ledgers]
    return verify_ledgers(task, files, list(_posted(task, exchange)) if exchange else ())


def _posted(task: Task, location: str) -> Iterator[Posted]:
    if "://" not in location and not Path(location).is_dir():
        raise LocalMisuseError(f"there is no exchange at {location}")
    exchange = open_exchange(location, base=Path())
    phase: Phase
    for index in range(task.rounds):
        for phase in get_args(Phase):
            for digest, envelope in exchange.messages(Topic(task.task_id, index, phase)):
                yield Posted(index, phase, digest, envelope)
    place = study_topic(task)
    for digest, envelope in exchange.messages(place):
        yield Posted(place.round, place.phase, digest, envelope)
