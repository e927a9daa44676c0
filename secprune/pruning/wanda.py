"""Wanda: weight magnitude times activation norm as the pruning score, and its adaptive threshold.

Source: Wanda (Sun et al. 2023, arXiv 2306.11695), sec. 3, and the `use_variant` option of its code.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from secprune.pruning.comparison import prune_mask_by_row

if TYPE_CHECKING:
    from torch import Tensor

ADAPTIVE_TOLERANCE = Fraction(1, 1000)
"""The adaptive variant stops this close to the sparsity that was asked for."""

_FIRST_ALPHA, _LAST_ALPHA = 0.4, 0.8
_NARROWEST = 0.001  # the bisection also ends with an interval narrower than this


def wanda_score(weight: Tensor, square_sum: Tensor) -> Tensor:
    """Wanda's pruning score |W| * ||x||, in float32 (float64 weights: in float64).

    The paper's code divides the square-sum by the number of sequences; a common factor changes no
    comparison within a matrix, so it is left out.

    Args:
        weight: (rows, columns), any float dtype.
        square_sum: (columns,) float64, sum over tokens of x_j^2.

    Returns:
        (rows, columns), float32 or float64.

    Source: Wanda (arXiv 2306.11695), eq. 1.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    norm = square_sum.sqrt().to(device=weight.device, dtype=dtype)  # (columns,)
    return weight.detach().abs().to(dtype).mul_(norm)  # (rows, columns)


def prune_mask_adaptive(score: Tensor, sparsity: Fraction) -> Tensor:
    """Wanda's adaptive variant: rows with many small scores lose more weights than others.

    A row's threshold is the largest of its sorted scores up to which their sum is at most alpha times the
    row's sum; everything up to the threshold is pruned, ties with it included. Alpha, the same in all rows,
    begins at 0.4 and is bisected in [0, 0.8] until the sparsity of the matrix is within 0.001 of s, or the
    interval narrower than 0.001: a sparsity that no alpha gives is missed, as in the original code. The
    number of ones thus differs from row to row and, slightly, from floor(R * C * s).

    A row whose smallest score alone exceeds alpha times its sum loses nothing; the original stops there
    with an index out of range.

    Args:
        score: (rows, columns) float32 or float64, not negative; sums are taken in float64.
        sparsity: s in [0, 1), exact.

    Returns:
        (rows, columns) bool, True = prune.

    Raises:
        ConfigurationError: a score that is not finite.

    Source: `use_variant` and `return_given_alpha` in Wanda's lib/prune.py.
    """
    prune_mask_by_row(score, 0)  # nothing is selected: it refuses scores that are not finite
    ordered = score.contiguous().sort(dim=1).values  # (rows, columns)
    running = ordered.cumsum(dim=1, dtype=torch.float64)  # (rows, columns)
    total = score.sum(dim=1, keepdim=True, dtype=torch.float64)  # (rows, 1)
    low, alpha, high = 0.0, _FIRST_ALPHA, _LAST_ALPHA
    while True:
        threshold = _row_thresholds(ordered, running, total * alpha)
        # As many as `score <= threshold` has, but without going through the whole matrix.
        pruned = int(torch.searchsorted(ordered, threshold, right=True).sum())
        reached = Fraction(pruned, score.numel())
        if abs(reached - sparsity) <= ADAPTIVE_TOLERANCE or high - low < _NARROWEST:
            return score <= threshold
        if reached > sparsity:
            high, alpha = alpha, (alpha + low) / 2
        else:
            low, alpha = alpha, (alpha + high) / 2


def _row_thresholds(ordered: Tensor, running: Tensor, limit: Tensor) -> Tensor:
    """Of each row the last ordered score whose running sum is within the limit, or -1: (rows, 1)."""
    within = torch.searchsorted(running, limit, right=True)  # (rows, 1), how many are
    last = ordered.gather(1, (within - 1).clamp(min=0))
    return torch.where(within > 0, last, -torch.ones_like(last))
