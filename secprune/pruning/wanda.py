"""Wanda's local pruning masks: weight magnitude times activation norm, compared within each row.

Order of the steps, as in the paper's code: for each decoder block in turn, (1) statistics of its dense
weights on inputs that come from the already pruned blocks before it, (2) the pruning mask of each of its
matrices, (3) its weights set to zero, (4) the block run again, so that the next one sees what it sees in
the pruned model.

Source: Wanda (Sun et al. 2023, arXiv 2306.11695), sec. 3; FedPrLLM (arXiv 2505.13547), client side.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from secprune.errors import ConfigurationError
from secprune.pruning.activations import BlockRunner
from secprune.task import row_k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from fractions import Fraction

    from numpy.typing import NDArray
    from torch import Tensor

_log = logging.getLogger(__name__)

_SELECTION_ENTRIES = 1 << 20
"""Entries selected at a time: a few MB that stay in the processor's cache."""


def wanda_score(weight: Tensor, square_sum: Tensor) -> Tensor:
    """Wanda's pruning score |W| * ||x||, in float32 (float64 weights: in float64).

    The paper's code divides the square-sum by the number of sequences; a common factor changes no
    comparison within a row, so it is left out.

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


def prune_mask_by_row(score: Tensor, k: int) -> Tensor:
    """The k smallest scores of each row, ties by the lowest column index, without sorting.

    Bit-identical to a stable ascending sort of each row and its first k columns, in linear time: the
    k-th smallest value by quickselect, everything below it, and the first of those equal to it.

    Args:
        score: (rows, columns) float.
        k: 0 <= k <= columns, from `selection.row_k`.

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
    step = max(1, _SELECTION_ENTRIES // columns)
    if rows <= step:
        return _select(score, k) if rows else score.bool()
    return torch.cat([_select(score[start : start + step], k) for start in range(0, rows, step)])


def local_pruning_masks(
    model: Any,
    windows: Tensor,
    *,
    sparsity: Fraction,
    progress: Callable[[int, int], None] | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """One client's pruning masks of all prunable matrices, by sequential Wanda.

    The weights of `model` are set to zero in place as the masks are made: afterwards it is this client's
    locally pruned model. Nothing is written to disk. Every mask has exactly floor(columns * s) ones in
    each row, the invariant that the aggregators check.

    Args:
        model: a causal LM in eval mode, from `models.load_model`; consumed, see above.
        windows: (windows, sequence_length) int64, from `calibration.pack_windows`.
        sparsity: s in [0, 1), exact.
        progress: called with (blocks done, blocks) after each decoder block.
        device: where to compute; blocks are moved there one at a time. Default: where the model is.

    Yields:
        The weight's name in the checkpoint and its mask (rows, columns), True = prune, in model order.

    Raises:
        ConfigurationError: a model without decoder blocks that can be pruned, a sparsity out of range,
            or NaN in the model.
    """
    row_k(1, sparsity)  # refuse a bad sparsity before the first forward pass
    runner = BlockRunner(model, windows, device=device)
    for index in range(runner.blocks):
        masks: list[tuple[str, NDArray[np.bool_]]] = []
        for name, statistic in runner.statistics(index).items():
            weight = runner.weight(name)
            square_sum = statistic.square_sum
            if statistic.tokens == 0:
                # Its norms are all zero, so Wanda would prune the first columns of each row. Equal norms
                # are what is known about it: the magnitude of its weights decides.
                _log.warning("%s saw no calibration token; its weights are pruned by magnitude", name)
                square_sum = torch.ones_like(square_sum)
            mask = prune_mask_by_row(
                wanda_score(weight.to(runner.device), square_sum), row_k(weight.shape[1], sparsity)
            ).to(weight.device)
            with torch.no_grad():
                weight.masked_fill_(mask, 0)
            masks.append((name, mask.cpu().numpy()))
        if index + 1 < runner.blocks:  # nothing would look at what the last block puts out
            runner.advance(index)
        if progress is not None:
            progress(index + 1, runner.blocks)
        yield from masks


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
