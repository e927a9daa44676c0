"""Directories of a study as an auditor finds them: exchange and parties, read only.

A journal is opened as a copy: SQLite would write beside the original even to read it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secprune.audit.ledgers import Posted
from secprune.audit.transcript import PartyRecord
from secprune.audit.views import StoredFile
from secprune.crypto.envelope import MAX_ENVELOPE_BYTES
from secprune.exchange.api import Topic
from secprune.exchange.layout import chunk_key, topic_folder
from secprune.files import environment_errors, file_digest, read_bytes
from secprune.ids import sha256
from secprune.parties.auditing import signed_ledger
from secprune.parties.config import IDENTITY_FILE, JOURNAL_FILE, PARTY_FILE
from secprune.parties.one_task import study_topic
from secprune.storage.journal import Journal
from secprune.storage.keyfile import read_identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secprune.task import PartySpec, Task

EXCHANGE = "exchange"
"""Keeper of what lies in the exchange."""


@dataclass(frozen=True, slots=True)
class PartyDirectory:
    """A party's directory.

    Attributes:
        party: whose.
        path: where.
        record: what it has recorded as sent; None if it has no journal.
        ledger: exported in memory, if its key is there to sign it.
    """

    party: PartySpec
    path: Path
    record: PartyRecord | None
    ledger: bytes | None


@dataclass(frozen=True, slots=True)
class ExchangeDirectory:
    """What lies in an exchange.

    Attributes:
        path: where.
        posted: all that lies where messages lie, whoever has put it there.
        chunks: sizes of all that lies where chunks lie, by digest.
    """

    path: Path
    posted: tuple[Posted, ...]
    chunks: dict[str, int]


def files_below(root: Path) -> Iterator[Path]:
    """All files below a directory, in order; links are not followed."""
    with environment_errors(f"read {root}"):
        for path in sorted(root.iterdir()):
            if path.is_dir() and not path.is_symlink():
                yield from files_below(path)
            elif path.is_file():
                yield path


def stored_files(root: Path, *, party: str, role: str) -> Iterator[StoredFile]:
    """All files of a keeper."""
    for path in files_below(root):
        yield StoredFile(party, role, path.relative_to(root).as_posix(), path.stat().st_size)


def read_exchange(root: Path, task: Task) -> ExchangeDirectory:
    """Read the exchange of a task.

    Chunks are known by their names and sizes here, if they have the name of one; what is in them is read by the check
    `residue`.
    """
    posted, chunks = [], {}
    folders = {
        topic_folder(topic).split("/")[1] for topic in (Topic(task.task_id, 0, "reports"), study_topic(task))
    }
    for path in files_below(root):
        match path.relative_to(root).parts:
            case ("messages", folder, index, phase, name):
                posted.append(_posted(path, index if folder in folders else "", phase, name))
            case ("chunks", *_, name):
                digest = f"sha256:{name}"
                known = path == root / chunk_key(digest)
                chunks[digest if known else file_digest(path)] = path.stat().st_size
    return ExchangeDirectory(root, tuple(posted), chunks)


def _posted(path: Path, index: str, phase: str, name: str) -> Posted:
    """A message; its phase is empty if it does not lie where messages of this task do, or is not what its name says."""
    data = b"" if path.stat().st_size > MAX_ENVELOPE_BYTES else read_bytes(path, what="a message")
    digest, round_ = sha256(data), int(index) if re.fullmatch("[0-9]{1,9}", index) else None
    if round_ is None or digest != f"sha256:{name}":
        return Posted(0, "", digest, data)
    return Posted(round_, phase, digest, data)


def find_parties(root: Path, task: Task) -> Iterator[PartyDirectory]:
    """Directories of the task's parties: named like them, or holding their card."""
    names = {party.name: party for party in task.parties}
    with environment_errors(f"read {root}"):
        directories = [path for path in sorted(root.iterdir()) if path.is_dir()]
    for path in directories:
        if not any((path / name).exists() for name in (PARTY_FILE, JOURNAL_FILE, IDENTITY_FILE)):
            continue
        cards = [card.name.removesuffix(".card.json") for card in sorted(path.glob("*.card.json"))]
        if party := next((names[name] for name in (path.name, *cards) if name in names), None):
            yield _read_party(path, party, task)


def _read_party(path: Path, party: PartySpec, task: Task) -> PartyDirectory:
    if not (path / JOURNAL_FILE).is_file():
        return PartyDirectory(party, path, None, None)
    with _copied_journal(path, party, task) as journal:
        messages = [
            Posted(index, sent.phase, sha256(sent.envelope), sent.envelope)
            for index in range(task.rounds)
            for sent in journal.at_round(index).outbox()
        ]
        record = PartyRecord(party.name, tuple(messages), journal.recorded_chunks())
        lines = journal.ledger_lines()
    return PartyDirectory(party, path, record, _exported(path, lines) if lines else None)


def _exported(path: Path, lines: list[bytes]) -> bytes | None:
    """What `secprune auditor export` would write of this directory."""
    if not (path / IDENTITY_FILE).is_file():
        return None
    return signed_ledger(lines, *read_identity(path / IDENTITY_FILE))


@contextlib.contextmanager
def _copied_journal(path: Path, party: PartySpec, task: Task) -> Iterator[Journal]:
    with tempfile.TemporaryDirectory() as directory:  # mode 0700: a journal holds secrets
        with environment_errors(f"copy the journal of {party.name}"):
            for part in path.glob(f"{JOURNAL_FILE}*"):
                if not part.name.endswith("-shm"):  # shared memory of whoever has it open
                    shutil.copy(part, directory)
        copy = Path(directory) / JOURNAL_FILE
        with contextlib.closing(
            Journal(copy, task_id=task.task_id, round_index=0, party=party.name)
        ) as journal:
            yield journal
