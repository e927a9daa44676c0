"""SparseGPT: prune a matrix column by column and let the kept weights make up for the error.

Differences from the published code, all of them small:

* It prunes every score `<= sorted[int(n * s)]` of a block of n, which is one weight too many (more with
  ties). Here exactly floor(n * s) are pruned in each block, ties by the lowest flat index in the block.
* When the damped Hessian is not positive definite in floating point, it fails. Here the damping is
  raised tenfold, up to the mean of the diagonal itself; after that the caller is told to do without.
* With an N:M pattern whose M does not divide 128, blocks are the largest multiple of M below 128 columns,
  so that no group lies in two blocks.

Source: SparseGPT (Frantar & Alistarh 2023, arXiv 2301.00774), algorithm 1 and sec. 3.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from secprune.pruning.comparison import check_groups, prune_mask_by_layer, prune_mask_by_row
from secprune.task import layer_k

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from torch import Tensor

_log = logging.getLogger(__name__)

BLOCK_COLUMNS = 128
"""Columns among which weights are compared, and whose errors are passed on together."""

DAMPINGS = (0.01, 0.1, 1.0)
"""Shares of the mean diagonal that are added to the Hessian's diagonal, tried in this order."""


def inverse_factor(hessian: Tensor) -> Tensor | None:
    """Upper Cholesky factor U of the inverse of the damped Hessian: H^-1 = U^T U.

    Columns that no activation reached ("dead", H_jj = 0) count as H_jj = 1.

    Args:
        hessian: (columns, columns) float32 or float64, symmetric, not changed.

    Returns:
        (columns, columns) of the same type, upper triangular; None if no damping makes the Hessian
        positive definite.

    Source: SparseGPT (arXiv 2301.00774), sec. 3.3.
    """
    diagonal = hessian.diagonal()
    diagonal = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal)
    for damping in DAMPINGS:
        damped = hessian.clone()
        damped.diagonal().copy_(diagonal + damping * diagonal.mean())
        lower, failed = torch.linalg.cholesky_ex(damped)
        if int(failed) == 0:
            upper: Tensor
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if int(failed) == 0 and bool(torch.isfinite(upper).all()):
                return upper
        _log.info("Hessian not positive definite with damping %s", damping)
    return None


class LastFactor:
    """`inverse_factor`, remembering the last one: the projections of an attention share their Hessian."""

    def __init__(self) -> None:
        self._hessian: Tensor | None = None
        self._factor: Tensor | None = None

    def __call__(self, hessian: Tensor) -> Tensor | None:
        """As `inverse_factor`."""
        if self._hessian is None or not _same(self._hessian, hessian):
            self._hessian, self._factor = hessian, inverse_factor(hessian)
        return self._factor


def prune_and_reconstruct(
    weight: Tensor,
    hessian: Tensor,
    *,
    sparsity: Fraction,
    pattern: tuple[int, int] | None = None,
    factorise: Callable[[Tensor], Tensor | None] = inverse_factor,
) -> tuple[Tensor, Tensor] | None:
    """SparseGPT's pruning mask of one matrix, and its kept weights adjusted to what was pruned.

    In each block of 128 columns, the floor(rows * 128 * s) smallest scores w^2 / U_jj^2 over all of its
    rows are pruned (of a narrower last block, as many as belong to it); an N:M pattern chooses on reaching
    each group, with the weights as they are by then. The error of each pruned weight is passed on to the
    columns to its right.

    Args:
        weight: (rows, columns), any float dtype, not changed.
        hessian: (columns, columns) float32 or float64: 2 / n * sum over tokens of x x^T, not changed.
        sparsity: s in [0, 1), exact; not looked at if there is a pattern.
        pattern: (N, M): N are pruned of each M consecutive columns, which are a multiple of M.
        factorise: `inverse_factor`, or one that remembers what it computed.

    Returns:
        The mask (rows, columns) bool, True = prune, and the new weights (rows, columns) in float32 or
        float64: zero where pruned, and in dead columns. None if the Hessian cannot be inverted.

    Raises:
        ConfigurationError: a weight that is not finite, or columns that are no multiple of M.

    Source: SparseGPT (arXiv 2301.00774), algorithm 1.
    """
    if pattern is not None:
        check_groups(weight.shape[1], pattern[1])
    factor = factorise(hessian)
    if factor is None:
        return None
    dead = hessian.diagonal() == 0
    columns_first = weight.detach().to(hessian.dtype).T.clone(memory_format=torch.contiguous_format)
    columns_first[dead] = 0  # (columns, rows): a column of W is read and written as a whole
    chosen = torch.zeros_like(columns_first, dtype=torch.bool)  # (columns, rows)
    step = BLOCK_COLUMNS if pattern is None else BLOCK_COLUMNS // pattern[1] * pattern[1]
    for start in range(0, len(columns_first), step):
        here, later = slice(start, start + step), slice(start + step, None)
        errors = _prune_block(columns_first[here], factor[here, here], chosen[here], sparsity, pattern)
        columns_first[later] -= factor[here, later].T @ errors
    return chosen.T.contiguous(), columns_first.T.contiguous()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and one.dtype == other.dtype and torch.equal(one, other)


def _prune_block(
    block: Tensor, factor: Tensor, chosen: Tensor, sparsity: Fraction, pattern: tuple[int, int] | None
) -> Tensor:
    """Prune one block in place; all but `factor` are (block columns, rows). Returns the scaled errors."""
    columns, rows = block.shape
    curvature = factor.diagonal().square()[:, None]  # (block columns, 1)
    if pattern is None:
        score = (block.square() / curvature).T.contiguous()  # (rows, block columns)
        chosen.copy_(prune_mask_by_layer(score, layer_k(rows, columns, sparsity)).T)
    errors = torch.empty_like(block)
    for j in range(columns):
        if pattern is not None and j % pattern[1] == 0:
            group = slice(j, j + pattern[1])
            score = (block[group].square() / curvature[group]).T.contiguous()  # (rows, M)
            chosen[group] = prune_mask_by_row(score, pattern[0]).T
        errors[j] = block[j] * chosen[j] / factor[j, j]
        block[j + 1 :].addr_(factor[j, j + 1 :], errors[j], alpha=-1)
    block.masked_fill_(chosen, 0)
    return errors
