"""One study, all parties in one process and without cryptography: statistics, noise, masks, judgement.

The secure sum gives the same whole numbers bit for bit, so its cryptography would change nothing here but the time it takes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from secprune.packing import Counts
from secprune.parties.planning import noises_that_count
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import NORM
from secprune.privacy.mechanism import Estimate, parted
from secprune.pruning.from_statistics import masks_of_statistics
from secprune.pruning.reference import PublicStatistics
from secprune.pruning.selection import final_mask
from secprune.task import PruningSpec
from secprune_cli.utility.cells import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from secprune.pruning.patients import Inputs
    from secprune.task import MatrixSpec
    from secprune_cli.experiment.bench import Bench


class Finding(Struct, frozen=True, kw_only=True):
    """What one cell gave.

    Attributes:
        perplexity: mean over the held-out texts; None if it is no finite number.
        agreement: share of weights treated as Wanda does that has all the same patients' sums in one place; None of the
            public-only baseline, which is about no patients.
        agreement_of_public: of that pooled mask with the public-only baseline of each reference; of pooled masks only.
    """

    perplexity: float | None
    agreement: float | None = None
    agreement_of_public: dict[str, float] = {}


class Public(Struct, frozen=True):
    """A public reference, the clip bound that follows from it, and what each hospital's patients are about it."""

    statistics: PublicStatistics
    clip: Fraction
    vectors: list[Any]


class Measurer:
    """Makes measurements.

    Args:
        bench: the model and the held-out texts.
        inputs: each distinct input of linear modules.
        pruning: how to prune.
        public: references by name.
        square_means: of each hospital's patients, by input.
        multipliers: noise multiplier of each epsilon.
        texts: of so many hospitals masks are judged on, the first ones, so that all cells are judged on the same.
    """

    def __init__(
        self,
        bench: Bench,
        inputs: Inputs,
        *,
        pruning: PruningSpec,
        public: Mapping[str, Public],
        square_means: Sequence[Sequence[Mapping[str, npt.NDArray[np.float64]]]],
        multipliers: Mapping[str, Fraction],
        texts: int,
    ) -> None:
        self._bench, self._inputs, self._pruning = bench, inputs, pruning
        self._public, self._square_means, self._multipliers = public, square_means, multipliers
        self._texts = texts
        self._kept: dict[Cell, dict[str, npt.NDArray[np.uint8]]] = {}

    def measure(self, cell: Cell) -> Finding:
        """Make the mask of one cell and judge it."""
        masks = self._baseline(cell) if cell.kind != "study" else self._packed(self._masks(cell))
        if cell.kind == "public only":
            return Finding(perplexity=self._judge(masks))
        if cell.kind == "pooled":
            public = {name: Cell(kind="public only", reference=name) for name in self._public}
            agreement = {name: self._agreement(masks, self._baseline(one)) for name, one in public.items()}
            return Finding(perplexity=self._judge(masks), agreement=1.0, agreement_of_public=agreement)
        pooled = Cell(kind="pooled", hospitals=cell.hospitals, patients=cell.patients)
        return Finding(
            perplexity=self._judge(masks), agreement=self._agreement(masks, self._baseline(pooled))
        )

    # ---- masks
    def _masks(self, cell: Cell) -> Iterable[tuple[str, npt.NDArray[np.bool_]]]:
        match cell.kind:
            case "public only":
                return self._wanda(self._public[cell.reference].statistics.square_means)
            case "pooled":
                return self._wanda(self._pooled(cell))
            case "study":
                return self._sums(cell) if cell.payload == "square-sums" else self._counts(cell)

    def _wanda(
        self, square_means: Mapping[str, npt.NDArray[np.float64]]
    ) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        self._bench.restore()
        return masks_of_statistics(self._bench.model, square_means, self._inputs, pruning=self._pruning)

    def _pooled(self, cell: Cell) -> dict[str, npt.NDArray[np.float64]]:
        """Mean over all patients of their square-means."""
        units = [
            unit for hospital in self._square_means[: cell.hospitals] for unit in hospital[: cell.patients]
        ]
        return {name: np.mean([unit[name] for unit in units], axis=0) for name in units[0]}

    def _sums(self, cell: Cell) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Square-sums: one noised sum over all hospitals, each adding its part as the task's defaults have it."""
        public = self._public[cell.reference]
        total = np.sum([v[: cell.patients].sum(axis=0) for v in public.vectors[: cell.hospitals]], axis=0)
        part = (self._multipliers[cell.epsilon] * NORM) ** 2 / noises_that_count(cell.hospitals)
        return self._wanda(self._released(public, total, part, parties=cell.hospitals))

    def _counts(self, cell: Cell) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Counts: each hospital noises its own sum, makes a mask of it, and votes."""
        public = self._public[cell.reference]
        whole = (self._multipliers[cell.epsilon] * NORM) ** 2
        counts: dict[str, Counts] = {}
        for vectors in public.vectors[: cell.hospitals]:
            own = self._released(public, vectors[: cell.patients].sum(axis=0), whole, parties=1)
            for name, mask in self._wanda(own):
                counts[name] = counts.get(name, np.zeros(mask.shape, np.uint16)) + mask.view(np.uint8)
        for matrix in self._bench.matrices:
            yield (
                matrix.name,
                final_mask(
                    counts.pop(matrix.name),
                    self._bench.key(matrix),
                    pruning=self._pruning,
                    cohort=cell.hospitals,
                    tie_seed=bytes(32),
                ),
            )

    def _released(
        self, public: Public, total: npt.NDArray[np.int64], variance: Fraction, *, parties: int
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Square-means that follow from a sum, on which each party has put noise of that variance."""
        noised = total.astype(np.int64)
        for _ in range(parties if variance else 0):
            noised += discrete_gaussian(variance, len(noised))
        square_means = public.statistics.square_means
        found = Estimate(
            parted(noised[:-1], {name: len(values) for name, values in square_means.items()}),
            int(noised[-1]),
            clip=public.clip,
            variance=variance * parties,
            directions=public.statistics.directions,
        )
        return found.square_means(square_means)

    # ---- judgement
    def _baseline(self, cell: Cell) -> dict[str, npt.NDArray[np.uint8]]:
        if cell not in self._kept:
            self._kept[cell] = self._packed(self._masks(cell))
        return self._kept[cell]

    @staticmethod
    def _packed(
        masks: Iterable[tuple[str, npt.NDArray[np.bool_]]],
    ) -> dict[str, npt.NDArray[np.uint8]]:
        return {name: np.packbits(mask, axis=1) for name, mask in masks}

    def _agreement(
        self, one: Mapping[str, npt.NDArray[np.uint8]], other: Mapping[str, npt.NDArray[np.uint8]]
    ) -> float:
        differing = sum(
            int(np.bitwise_count(one[m.name] ^ other[m.name]).sum()) for m in self._bench.matrices
        )
        return round(1 - differing / sum(m.rows * m.columns for m in self._bench.matrices), 6)

    def _judge(self, masks: Mapping[str, npt.NDArray[np.uint8]]) -> float | None:
        self._bench.begin()
        for matrix in self._bench.matrices:
            self._bench.prune(matrix, unpacked(masks[matrix.name], matrix))
        found = list(self._bench.judge(self._texts).values())
        values = [value for value in found if value is not None]
        return round(sum(values) / len(values), 4) if len(values) == len(found) else None


def unpacked(bits: npt.NDArray[np.uint8], matrix: MatrixSpec) -> npt.NDArray[np.bool_]:
    """(rows, columns) of a packed mask."""
    return np.unpackbits(bits, axis=1, count=matrix.columns).view(np.bool_)
