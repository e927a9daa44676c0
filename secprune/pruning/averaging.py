"""FedSpaLLM's aggregation at the coordinator: the mean of the weights that clients kept, as the checkpoint stores it.

Source: FedSpaLLM (arXiv 2410.14852), Eq. 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.fixedpoint import FixedPoint, reach_of
from secprune.pruning.checkpoint import bfloat16_bits
from secprune.pruning.selection import magnitude_key

if TYPE_CHECKING:
    import numpy.typing as npt

    from secprune.pruning.tensorfile import CheckpointFiles

_ROWS_BYTES = 8 << 20
"""Of float64 that are worked on together."""


def matrix_reach(weights: CheckpointFiles, matrix: str) -> float:
    """The reach of a matrix (`secprune.fixedpoint`), the same for all who have the dense checkpoint, bit for bit.

    Raises:
        ConfigurationError: a weight that is not finite, or no float matrix.
    """
    dtype = weights.entry(matrix)[0]
    largest = magnitude_key(weights.raw(matrix), dtype).max()
    if dtype == "BF16":
        return reach_of(float(np.uint32(int(largest) << 16).view(np.float32)))
    return reach_of(float(largest.view(f"f{largest.itemsize}")))


def mean_bits(
    counts: npt.NDArray[np.unsignedinteger[Any]],
    sums: npt.NDArray[np.unsignedinteger[Any]],
    *,
    fixed: FixedPoint,
    cohort: int,
    reach: float,
    dtype: str,
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The mean of kept weights in the type of the checkpoint, to the nearest, ties to even.

    For BF16 and F16 it is rounded to float32 first.

    Args:
        counts: (rows, columns), votes to prune.
        sums: (rows, columns), summed whole numbers.
        fixed: of the task.
        cohort: clients in both.
        reach: of the matrix.
        dtype: "F16", "BF16", "F32" or "F64".

    Returns:
        (rows, columns) bit patterns; 0 where nobody kept the weight.

    Raises:
        RemoteMisbehaviourError: sums and counts do not belong together.
    """
    bits = np.empty(counts.shape, {"F16": "<u2", "BF16": "<u2", "F32": "<u4", "F64": "<u8"}[dtype])
    step = max(1, _ROWS_BYTES // (8 * counts.shape[1]))
    for low in range(0, len(counts), step):
        here = slice(low, low + step)
        kept = cohort - counts[here].astype(np.int64)
        mean = fixed.mean(sums[here], kept, cohort=cohort, reach=reach)
        if dtype == "F64":
            bits[here] = mean.view("<u8")
        elif dtype == "BF16":
            bits[here] = bfloat16_bits(mean.astype(np.float32))
        else:
            bits[here] = mean.astype(np.float32).astype(f"<f{bits.itemsize}").view(bits.dtype)
    return bits
