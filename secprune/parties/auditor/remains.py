"""Where no client's data may lie in the clear, and the data to look for.

Clients' own directories are not searched: masks of two clients agree on most weights, so one is full of pieces of the
other's. For the same reason what a coordinator keeps of a sum is not: where all votes agree, the sum is every one
of them (docs/attacks.md, 1). What is looked for is compared in memory only, and never written anywhere.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from secprune.audit.needles import Needles, blocks_of
from secprune.audit.records import Haystack
from secprune.audit.transcript import EVERYBODY, UNKNOWN
from secprune.exchange.layout import chunk_key
from secprune.files import environment_errors
from secprune.ids import short
from secprune.parties.auditor.directories import files_below
from secprune.parties.config import PARTY_FILE, read_party_file
from secprune.parties.report_words import contents_for, open_report_file
from secprune.protocols.api import Round
from secprune.pruning.notes import read_notes
from secprune.pruning.tensorfile import TensorFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from secprune.audit.transcript import Sent
    from secprune.audit.views import Declaration
    from secprune.parties.auditor.directories import ExchangeDirectory, PartyDirectory
    from secprune.task import Task

_BINARY_WIDTH = 32  # of a mask, 256 votes: no two hospitals' sums or shares have them in common by chance
_TEXT_WIDTH = 64  # a sentence: shorter phrases stand in many notes, and in what a model writes
_PIECE_BYTES = 16 * 2**20


def find_haystacks(
    root: Path,
    exchange: ExchangeDirectory,
    parties: Iterable[PartyDirectory],
    sent: Iterable[Sent],
    declaration: Declaration,
) -> Iterator[Haystack]:
    """Everything to search: the exchange, directories of servers, logs, and what lies beside them.

    Args:
        root: the study's directory.
        exchange: of the study.
        parties: whose directories are at hand.
        sent: the transcript, which says which chunks are sealed.
        declaration: of files.
    """
    yield from _in_exchange(exchange, sent)
    for one in parties:
        if one.party.role != "client":
            yield from _in_party(one, declaration)
    beside = [path for path in sorted(root.iterdir()) if path.is_file()]
    logs = list(files_below(root / "logs")) if (root / "logs").is_dir() else []
    for where, paths in (("logs", logs), ("the study's directory", beside)):
        for path in paths:
            yield Haystack(where, sealed=False, read=partial(_pieces, path))


def _in_exchange(exchange: ExchangeDirectory, sent: Iterable[Sent]) -> Iterator[Haystack]:
    named: dict[str, Sent] = {one.digest: one for one in sent if one.digest in exchange.chunks}
    places = {exchange.path / chunk_key(digest): one for digest, one in named.items()}
    for path in files_below(exchange.path):
        one = places.get(path)
        if one is None:
            yield Haystack("the exchange", sealed=False, read=partial(_pieces, path))
        elif one.artefact != "outcomes chunks":  # what the study publishes
            where = f"the exchange, {one.artefact} from {one.sender}"
            sealed = one.receiver not in {EVERYBODY, UNKNOWN}
            yield Haystack(where, sealed=sealed, read=partial(_pieces, path))


def _in_party(one: PartyDirectory, declaration: Declaration) -> Iterator[Haystack]:
    for path in files_below(one.path):
        inside = path.relative_to(one.path).as_posix()
        is_sum = one.party.role == "coordinator" and inside.startswith("tasks/")
        if not (is_sum and declaration.artefact_at(one.party.role, inside)):
            where = f"the directory of {one.party.name}"
            yield Haystack(where, sealed=False, read=partial(_pieces, path))


def find_needles(task: Task, parties: Iterable[PartyDirectory]) -> Needles:
    """Blocks of what clients whose directories are at hand have derived from their notes, and of the notes.

    Raises:
        SecpruneError: such a file is damaged.
    """
    owners: dict[bytes, str] = {}
    for one in parties:
        if one.party.role == "client":
            for data in _derived(one.path, task):
                owners |= dict.fromkeys(blocks_of(data, _BINARY_WIDTH), one.party.name)
            for data in _notes(one.path):
                owners |= dict.fromkeys(blocks_of(data, _TEXT_WIDTH), one.party.name)
    return Needles(owners)


def _derived(directory: Path, task: Task) -> Iterator[bytes]:
    """Masks, votes or statistics as they lie on the client's disk, and as words of its report."""
    for index in range(task.rounds):
        work = directory / "tasks" / short(task.task_id) / f"round-{index:03d}"
        path = work / contents_for(task).file
        if not path.is_file():
            continue
        stored = TensorFile(path)
        yield from (stored.raw(name).tobytes() for name in stored.names)
        round_ = Round.of(task, index)
        report = open_report_file(path, round_)
        yield from (report.words(chunk).astype("<u8").tobytes() for chunk in round_.layout.chunks)


def _notes(directory: Path) -> Iterator[bytes]:
    if not (directory / PARTY_FILE).is_file():
        return
    notes = read_party_file(directory).notes
    if notes and (directory / notes).exists():
        yield from (note.encode() for note in read_notes(directory / notes))


def _pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, in pieces that overlap by more than any needle."""
    overlap = b""
    with environment_errors(f"read {path}"), path.open("rb") as stream:
        while data := stream.read(_PIECE_BYTES):
            yield overlap + data
            overlap = data[-_TEXT_WIDTH:]
