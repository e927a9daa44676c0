"""From pruning scores to a pruning mask: the k smallest scores of each comparison group.

All of these work in linear time and break ties by the lowest index (of the column within a row, of the row
within a column, of row * columns + column within a matrix), so that equal scores give equal masks on every
machine. Bit-identical to a stable ascending sort of each group and its first k entries.

Source: FedPrLLM (arXiv 2505.13547), sec. 3.2 (row, layer and column comparison), and Wanda
(arXiv 2306.11695), sec. 3 (row, N:M).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from secprune.errors import ConfigurationError
from secprune.task import layer_k, row_k

if TYPE_CHECKING:
    from fractions import Fraction

    from torch import Tensor

    from secprune.task import Comparison

_SELECTION_ENTRIES = 1 << 20
"""Entries selected at a time: a few MB that stay in the processor's cache."""


def prune_mask(
    score: Tensor, *, comparison: Comparison, sparsity: Fraction, pattern: tuple[int, int] | None = None
) -> Tensor:
    """The smallest scores of each comparison group, as many as the sparsity says.

    Args:
        score: (rows, columns) float32 or float64.
        comparison: "row" prunes floor(C * s) in each row, "layer" floor(R * C * s) in the matrix, "column"
            floor(R * s) in each column.
        sparsity: s in [0, 1), exact.
        pattern: (N, M) prunes N of each M consecutive columns of a row instead; the other two are then
            not looked at.

    Returns:
        (rows, columns) bool, True = prune.

    Raises:
        ConfigurationError: a score that is not finite, a sparsity out of range, or columns that are no
            multiple of M.
    """
    rows, columns = score.shape
    if pattern is not None:
        return prune_mask_by_group(score, *pattern)
    if comparison == "row":
        return prune_mask_by_row(score, row_k(columns, sparsity))
    if comparison == "column":
        return prune_mask_by_column(score, row_k(rows, sparsity))
    return prune_mask_by_layer(score, layer_k(rows, columns, sparsity))


def prune_mask_by_row(score: Tensor, k: int) -> Tensor:
    """The k smallest scores of each row, ties by the lowest column index, without sorting.

    The k-th smallest value by quickselect, everything below it, and the first of those equal to it.

    Args:
        score: (rows, columns) float32 or float64.
        k: 0 <= k <= columns, from `task.row_k`.

    Returns:
        (rows, columns) bool, True = prune; exactly k in each row.

    Raises:
        ConfigurationError: k out of range, or a score that is not finite.
    """
    rows, columns = score.shape
    if not 0 <= k <= columns:
        raise ConfigurationError(f"cannot prune {k} of {columns} weights in a row", hint="take k from row_k")
    # The sum is not finite if any score is not; it is a third of the work. Only an overflow needs the rest.
    if not bool(torch.isfinite(score.sum())) and not bool(torch.isfinite(score).all()):
        raise ConfigurationError(
            "a pruning score is not a finite number: the model has NaN or infinite weights or activations",
            hint="check the checkpoint, or load it in a type with a wider range (bfloat16 or float32)",
        )
    if k in {0, columns}:
        return torch.full((rows, columns), k == columns, dtype=torch.bool, device=score.device)
    # An accelerator has all rows at once: its threads are many, and every call to it costs.
    step = max(1, _SELECTION_ENTRIES // columns) if score.device.type == "cpu" else rows
    if rows <= step:
        return _select(score, k) if rows else score.bool()
    return torch.cat([_select(score[start : start + step], k) for start in range(0, rows, step)])


def prune_mask_by_layer(score: Tensor, k: int) -> Tensor:
    """The k smallest scores of the whole matrix, ties by the lowest row * columns + column.

    Args:
        score: (rows, columns) float32 or float64.
        k: 0 <= k <= rows * columns, from `task.layer_k`.

    Returns:
        (rows, columns) bool, True = prune; exactly k.

    Raises:
        ConfigurationError: k out of range, or a score that is not finite.
    """
    return prune_mask_by_row(score.reshape(1, -1), k).reshape(score.shape)


def prune_mask_by_column(score: Tensor, k: int) -> Tensor:
    """The k smallest scores of each column, ties by the lowest row index.

    Args:
        score: (rows, columns) float32 or float64.
        k: 0 <= k <= rows, from `task.row_k` of the number of rows.

    Returns:
        (rows, columns) bool, True = prune; exactly k in each column.

    Raises:
        ConfigurationError: k out of range, or a score that is not finite.
    """
    return prune_mask_by_row(score.T.contiguous(), k).T.contiguous()


def prune_mask_by_group(score: Tensor, pruned: int, group: int) -> Tensor:
    """N:M pattern: the N smallest scores of each M consecutive columns of a row, ties by the lowest column.

    N is what is pruned, as in Wanda's code; of 1:4, some libraries mean that one is kept.

    Args:
        score: (rows, columns) float32 or float64.
        pruned: N, 0 <= N <= M.
        group: M; the number of columns is a multiple of it.

    Returns:
        (rows, columns) bool, True = prune; exactly N in each group.

    Raises:
        ConfigurationError: N or the number of columns does not fit M, or a score is not finite.
    """
    check_groups(score.shape[1], group)
    return prune_mask_by_row(score.reshape(-1, group), pruned).reshape(score.shape)


def check_groups(columns: int, group: int) -> None:
    """Refuse a matrix that an N:M pattern does not fill.

    Raises:
        ConfigurationError: the number of columns is not a multiple of M.
    """
    if columns % group:
        raise ConfigurationError(
            f"{columns} columns are not a multiple of {group}", hint="choose another pattern"
        )


def _select(score: Tensor, k: int) -> Tensor:
    # numpy's partition is vectorised, 5 to 15 times as fast as torch.kthvalue on a CPU.
    if score.device.type == "cpu":
        kth = np.partition(score.numpy(), k - 1, axis=1)[:, k - 1 : k]
        threshold = torch.from_numpy(np.ascontiguousarray(kth))  # (rows, 1)
    else:
        threshold = torch.kthvalue(score, k, dim=1, keepdim=True).values
    chosen = score <= threshold  # (rows, columns), at least k in each row
    if int(torch.count_nonzero(chosen)) == k * len(chosen):
        return chosen  # no row is tied at its threshold, as almost always with real weights
    below = score < threshold
    equal = score == threshold
    missing = k - below.sum(dim=1, keepdim=True)  # (rows, 1)
    return below | (equal & (equal.cumsum(dim=1) <= missing))
