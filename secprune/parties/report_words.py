"""What a client's report is made of: a file in its own directory, and words of it, chunk by chunk.

| payload | file | made by |
|---|---|---|
| counts | `pruning-masks.safetensors` | local pruning, with randomised response if the task says so |
| counts with count noise | `noisy-votes.safetensors` | local pruning and the noise |
| counts, of FedSpaLLM | `kept-weights.safetensors` | local pruning, which keeps masks and weights |
| square-sums | `statistics.safetensors` | the statistics of its patients |

The three clients (of one message, of `pairwise`, of `bfv`) differ in how they protect words, not in where they take
them from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from secprune.errors import LocalMisuseError
from secprune.files import file_digest
from secprune.packing import pack
from secprune.privacy.votes import count_noise
from secprune.protocols.payloads import Vectors, VotesAndWeights, holds_weights
from secprune.storage.kept_weights import KeptWeightsFile
from secprune.storage.masks import MaskFile
from secprune.storage.noisy_votes import NoisyVotesFile
from secprune.storage.statistics import StatisticsFile

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from secprune.packing import Chunk, Words
    from secprune.parties.session import Session
    from secprune.protocols.api import Round
    from secprune.task import Task
    from secprune.vectors import Limbs

MASKS_FILE = "pruning-masks.safetensors"
NOISY_VOTES_FILE = "noisy-votes.safetensors"
KEPT_WEIGHTS_FILE = "kept-weights.safetensors"
STATISTICS_FILE = "statistics.safetensors"


@dataclass(frozen=True, slots=True)
class Contents:
    """The file that a report is made of, and what is in it, for people."""

    file: str
    what: str


_MASKS = Contents(MASKS_FILE, "pruning masks")
_NOISY_VOTES = Contents(NOISY_VOTES_FILE, "noised votes")
_KEPT_WEIGHTS = Contents(KEPT_WEIGHTS_FILE, "pruning masks and kept weights")
_STATISTICS = Contents(STATISTICS_FILE, "statistics")


class ReportWords(Protocol):
    """The words of one report, before they are protected."""

    @property
    def digest(self) -> str:
        """Of the whole file: secrets of a report belong to it."""

    def words(self, chunk: Chunk) -> Words:
        """Words of one chunk, (groups, columns); the caller owns them.

        Raises:
            LocalMisuseError: the file was damaged or made by other software.
        """


def contents_of(session: Session) -> Contents:
    """What reports of this session's task are made of."""
    return contents_for(session.task)


def contents_for(task: Task) -> Contents:
    """What reports of a task are made of."""
    if task.privacy.payload == "square-sums":
        return _STATISTICS
    if task.pruning.algorithm == "fedspallm":
        return _KEPT_WEIGHTS
    return _MASKS if task.privacy.mechanism != "count-noise" else _NOISY_VOTES


def report_is_ready(session: Session) -> bool:
    """Whether there is what this client is to report in this round."""
    return _path(session).exists()


def require_report(session: Session) -> None:
    """Refuse to go on before there is something to report.

    Raises:
        LocalMisuseError: there is nothing yet.
    """
    if not report_is_ready(session):
        raise LocalMisuseError(
            f"there are no {contents_of(session).what} yet", hint="run `secprune client prune` first"
        )


def report_digest(session: Session) -> str:
    """Digest of the file that the report is made of."""
    return file_digest(_path(session))


def open_report(session: Session) -> ReportWords:
    """Start reading what this client reports in this round.

    Raises:
        LocalMisuseError: the file is of another task, or does not have the form of this one.
    """
    return open_report_file(_path(session), session.round)


def open_report_file(path: Path, round_: Round) -> ReportWords:
    """Start reading a file that a report of a round is made of; raises as `open_report` does."""
    if isinstance(round_.payload, Vectors):
        return _VectorWords(path, StatisticsFile(path, round_.task), round_.payload.limbs)
    if isinstance(round_.payload, VotesAndWeights):
        kept = KeptWeightsFile(path, round_.matrices, round_.payload.fixed, task_id=round_.task_id)
        return _KeptWords(path, kept)
    if noise := count_noise(round_.task):
        votes = NoisyVotesFile(path, round_.matrices, noise, task_id=round_.task_id)
        return _NoisyWords(path, votes)
    return _MaskWords(path, MaskFile(path, round_.matrices, task_id=round_.task_id))


def _path(session: Session) -> Path:
    return session.work / contents_of(session).file


@dataclass(frozen=True, slots=True)
class _MaskWords:
    path: Path
    masks: MaskFile

    @property
    def digest(self) -> str:
        return file_digest(self.path)

    def words(self, chunk: Chunk) -> Words:
        return chunk_words(self.masks, chunk)


@dataclass(frozen=True, slots=True)
class _KeptWords:
    path: Path
    kept: KeptWeightsFile

    @property
    def digest(self) -> str:
        return file_digest(self.path)

    def words(self, chunk: Chunk) -> Words:
        slab = chunk.slab
        if not holds_weights(slab):
            return chunk_words(self.kept.masks, chunk)
        pieces = [
            self.kept.layout_rows(matrix.name, low, high)
            for matrix, low, high in slab.pieces(chunk.first_row, chunk.end_row)
        ]
        return pack(np.concatenate(pieces), base=slab.base, digits=slab.digits)


@dataclass(frozen=True, slots=True)
class _NoisyWords:
    path: Path
    votes: NoisyVotesFile

    @property
    def digest(self) -> str:
        return file_digest(self.path)

    def words(self, chunk: Chunk) -> Words:
        slab = chunk.slab
        pieces: list[npt.NDArray[Any]] = [
            self.votes.rows(matrix.name, low, high)
            for matrix, low, high in slab.pieces(chunk.first_row, chunk.end_row)
        ]
        return pack(np.concatenate(pieces), base=slab.base, digits=slab.digits)


@dataclass(frozen=True, slots=True)
class _VectorWords:
    path: Path
    statistics: StatisticsFile
    limbs: Limbs

    @property
    def digest(self) -> str:
        return file_digest(self.path)

    def words(self, chunk: Chunk) -> Words:
        pieces = [
            self.limbs.encode(self.statistics.vector(matrix.name), low, high)
            for matrix, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row)
        ]
        return np.concatenate(pieces)


def chunk_words(masks: MaskFile, chunk: Chunk) -> Words:
    """Pack the pruning-mask rows that one chunk covers: (groups, columns)."""
    slab = chunk.slab
    pieces = [
        masks.checked_rows(matrix, low, high)
        for matrix, low, high in slab.pieces(chunk.first_row, chunk.end_row)
    ]
    bits = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return pack(bits, base=slab.base, digits=slab.digits)
