"""What a report holds, and so what a sum of reports must look like and how it is read.

`Votes`    counters of pruning masks, packed (`secprune.packing`)
`VotesAndWeights`  these, and the kept weights as whole numbers (`secprune.fixedpoint`)
`Vectors`  statistics, as they are (`secprune.vectors`)

Whatever differs between payloads after a client's own file and before the coordinator's stands here: the layout of a
round, and the check that everybody makes who sees a whole sum.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from secprune.fixedpoint import FixedPoint
from secprune.packing import Layout, PackedMatrix, row_sums, unpack
from secprune.privacy.votes import are_noised, count_noise
from secprune.protocols.bfv.terms import parameters_of
from secprune.vectors import ONE_WORD, Limbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from secprune.packing import Chunk, Slab, Words
    from secprune.task import MatrixSpec, Task


_KEPT = "kept weights of "


def kept_name(matrix: str) -> str:
    """What the kept weights of a matrix are called in a layout, where its mask has its own name."""
    return _KEPT + matrix


def holds_weights(slab: Slab) -> bool:
    """Whether a slab is one of kept weights."""
    return slab.matrices[0].name.startswith(_KEPT)


class Payload(Protocol):
    """One kind of content of reports."""

    @property
    def what(self) -> str:
        """What is summed, for people: "pruning masks"."""

    def layout(self, task: Task, matrices: Sequence[MatrixSpec]) -> Layout:
        """How the reports of a round lie in slabs and chunks."""

    def read(self, chunk: Chunk, total: Words, *, cohort_size: int) -> npt.NDArray[Any] | None:
        """Read a chunk of the sum of `cohort_size` reports, after checking it as far as it can be checked.

        Args:
            chunk: of the sum.
            total: its words, (groups, columns).
            cohort_size: clients in it.

        Returns:
            (rows, columns) of the chunk's slab, unsigned; None if no honest reports have such a sum.
        """


@dataclass(frozen=True, slots=True)
class Votes:
    """Pruning masks. Every count is at most the cohort's size; with a row budget, every row holds that many each.

    Noised votes (`secprune.privacy.votes`) have no row budget, and with count noise a client counts for up to `most`,
    of which `offset` on average is no vote.
    """

    most: int = 1
    offset: int = 0

    @property
    def what(self) -> str:
        """What is summed."""
        return "pruning masks" if self.most == 1 else "pruning masks with noise"

    def layout(self, task: Task, matrices: Sequence[MatrixSpec]) -> Layout:
        """Slabs of masks (see `Payload`)."""
        noised = are_noised(task)
        packed = [
            PackedMatrix(m.name, m.rows, m.columns, None if noised else task.pruning.row_budget(m.columns))
            for m in matrices
        ]
        # A word is 64 bits on the wire, but for `bfv`, where it is a coefficient of a plaintext.
        digits = parameters_of(task).digits if task.protocol.name == "bfv" else None
        return Layout.of(packed, n_max=task.n_max, digits=digits, base=task.n_max * self.most + 1)

    def read(self, chunk: Chunk, total: Words, *, cohort_size: int) -> npt.NDArray[Any] | None:
        """Counts of votes (see `Payload`)."""
        slab, rows = chunk.slab, chunk.end_row - chunk.first_row
        counts = unpack(total, base=slab.base, digits=slab.digits, rows=rows)
        if int(counts.max()) > cohort_size * self.most:
            return None
        if slab.row_k is not None:
            # Row by row, and the words as a whole: words alone do not show an excess that is a multiple of 2^64, and
            # counters alone not one that went from a counter into the next.
            right = counts.sum(axis=1, dtype=np.int64) == cohort_size * slab.row_k
            if not right.all() or (row_sums(total) != chunk.row_sum_targets(cohort_size)).any():
                return None
        return counts


@dataclass(frozen=True, slots=True)
class VotesAndWeights:
    """Pruning masks, and below them the weights that were kept: one report, so that both sums are about one cohort.

    What a matrix's kept weights are called in layouts and messages is `kept_name`. Of their sum nothing but the range can be
    checked here; that it fits the counts is checked where weights are averaged.
    """

    fixed: FixedPoint

    @property
    def what(self) -> str:
        """What is summed."""
        return "pruning masks and kept weights"

    def layout(self, task: Task, matrices: Sequence[MatrixSpec]) -> Layout:
        """Slabs of masks, then slabs of weights (see `Payload`)."""
        weights = [PackedMatrix(kept_name(m.name), m.rows, m.columns, None) for m in matrices]
        return (
            Votes()
            .layout(task, matrices)
            .beside(Layout.of(weights, n_max=task.n_max, base=task.n_max * self.fixed.most + 1))
        )

    def read(self, chunk: Chunk, total: Words, *, cohort_size: int) -> npt.NDArray[Any] | None:
        """Counts of votes, or sums of whole numbers (see `Payload`)."""
        if not holds_weights(chunk.slab):
            return Votes().read(chunk, total, cohort_size=cohort_size)
        slab, rows = chunk.slab, chunk.end_row - chunk.first_row
        sums = unpack(total, base=slab.base, digits=slab.digits, rows=rows)
        return None if int(sums.max()) > cohort_size * self.fixed.most else sums


@dataclass(frozen=True, slots=True)
class Vectors:
    """Statistics. Nothing but the range of the sum can be checked: cohort times what one client may send."""

    limbs: Limbs

    @property
    def what(self) -> str:
        """What is summed."""
        return "clients' statistics"

    def layout(self, task: Task, matrices: Sequence[MatrixSpec]) -> Layout:  # noqa: ARG002 - the same in every round
        """Slabs of vectors, the limbs of each one above the other (see `Payload`)."""
        packed = [PackedMatrix(name, self.limbs.count, length, None) for name, length in task.vectors.items()]
        return Layout.of(packed, n_max=task.n_max, digits=1)

    def read(self, chunk: Chunk, total: Words, *, cohort_size: int) -> npt.NDArray[Any] | None:
        """Sums of limbs (see `Payload`); `Limbs.decode` makes values of those of a whole vector."""
        offset = 0
        for _, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row):
            piece = total[offset : offset + high - low]
            if not self.limbs.is_sum(piece, cohort=cohort_size, low=low):
                return None
            offset += high - low
        return total


@functools.lru_cache(maxsize=8)
def payload_of(task: Task) -> Votes | VotesAndWeights | Vectors:
    """What the reports of a task hold.

    Raises:
        ConfigurationError: sums of so many clients fit into no ring of `bfv`, or their noise into no counter.
    """
    if task.pruning.algorithm == "fedspallm":
        return VotesAndWeights(FixedPoint(task.pruning.of_fedspallm.weight_bits))
    if task.privacy.payload == "counts":
        noise = count_noise(task)
        return Votes() if noise is None else Votes(noise.most, noise.bound)
    if task.protocol.name != "bfv":
        return Vectors(ONE_WORD)
    parameters = parameters_of(task)
    return Vectors(Limbs.below(parameters.base**parameters.digits, n_max=task.n_max))
