"""Weights as whole numbers that clients can sum, and the mean of those that were kept.

A weight w becomes round(w / step), ties to even, at least -half and at most half, where half = 2^(bits-1) - 1 and
step = reach / half. What is sent is that number plus half, so that nothing is negative: 0 to 2 half. A pruned weight is sent as
half, that is as 0. The sum of n clients is at most n 2 half, so counters to the base n_max 2 half + 1 never carry
(`secprune.packing`), and sums of up to 65,535 clients at 16 bits fit into 32 bits.

`reach` is twice the largest |W| of the matrix's dense weights, which are public: SparseGPT adds to the weights that it
keeps what those it prunes would have done. What lies beyond is cut to it; clients count how many weights that concerns.

Error: each client's number is off by at most step / 2 where nothing was cut, so the mean of any number of clients is too:
|mean - exact mean| <= step / 2 = reach / (2^bits - 2), and for weights between -reach and reach no more.
The arithmetic after that is exact: sums are whole numbers below 2^53, and the one division rounds once in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secprune.errors import ConfigurationError, RemoteMisbehaviourError

_ROOM = 2.0
"""How much larger than the largest dense weight a kept one may be."""

_CHUNK = 1 << 20
"""Weights that are worked on together: each takes some 30 bytes meanwhile."""


def reach_of(largest: float) -> float:
    """The largest weight that can be sent of a matrix whose dense weights are at most `largest` in magnitude.

    Raises:
        ConfigurationError: it is not finite, or so large that the reach is not.
    """
    if not np.isfinite(_ROOM * largest):
        raise ConfigurationError(
            "a weight of the model is not finite or too large",
            hint="check the checkpoint; such a model cannot be pruned",
        )
    return _ROOM * largest if largest > 0 else 1.0


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Whole numbers of so many bits, see above."""

    bits: int

    @property
    def half(self) -> int:
        """What zero is sent as, and the largest number that a weight becomes."""
        return (1 << self.bits - 1) - 1

    @property
    def most(self) -> int:
        """The largest number that is sent."""
        return 2 * self.half

    def error(self, reach: float) -> float:
        """Bound on how far the mean of kept weights is from the exact one, in the units of the weights."""
        return reach / self.half / 2

    def encode(
        self, weights: npt.NDArray[np.floating], pruned: npt.NDArray[np.bool_], *, reach: float
    ) -> tuple[npt.NDArray[np.uint16], int]:
        """What a client sends of a matrix.

        Args:
            weights: (rows, columns), float32 or float64, of the client's own model.
            pruned: (rows, columns), True = prune.
            reach: of the matrix.

        Returns:
            (rows, columns) numbers, each at most `most`, and how many kept weights were cut.

        Raises:
            ConfigurationError: a kept weight that is not finite.
        """
        numbers, cut = np.empty(weights.shape, np.uint16), 0
        step = max(1, _CHUNK // max(1, weights.shape[1]))
        for low in range(0, len(weights), step):
            rows = slice(low, low + step)
            scaled = np.where(pruned[rows], 0.0, weights[rows].astype(np.float64) * (self.half / reach))
            if not np.isfinite(scaled).all():
                raise ConfigurationError(
                    "a kept weight is not a finite number",
                    hint="check the model and the notes, or use another local pruner",
                )
            cut += int(np.count_nonzero(np.abs(scaled) > self.half + 0.5))
            numbers[rows] = np.clip(np.rint(scaled), -self.half, self.half) + self.half
        return numbers, cut

    def mean(
        self,
        sums: npt.NDArray[np.unsignedinteger],
        kept: npt.NDArray[np.integer],
        *,
        cohort: int,
        reach: float,
    ) -> npt.NDArray[np.float64]:
        """The mean of the weights that clients kept: FedSpaLLM's l0-norm aggregation (Eq. 5).

        Args:
            sums: (rows, columns), summed over the cohort.
            kept: (rows, columns), how many of the cohort kept each weight.
            cohort: clients in the sums.
            reach: of the matrix.

        Returns:
            (rows, columns), 0 where nobody kept the weight.

        Raises:
            RemoteMisbehaviourError: a sum that so many kept weights do not have.
        """
        total = sums.astype(np.int64) - cohort * self.half
        if (np.abs(total) > kept.astype(np.int64) * self.half).any():
            raise RemoteMisbehaviourError(
                "the summed weights and the counts do not belong together",
                party="cohort",
                hint="a client or an aggregator did not follow the protocol; discard this round",
            )
        mean: npt.NDArray[np.float64] = total / np.maximum(kept, 1) * (reach / self.half)
        return mean
