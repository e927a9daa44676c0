"""Wanda masks of statistics that come from elsewhere: noised ones, a sum over hospitals, or public text alone.

Nothing is run: the model's dense weights are compared by given square-sums, one decoder block after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from secprune.pruning.activations import SquareSum
from secprune.pruning.decoder import matrix_view
from secprune.pruning.local import Wanda
from secprune.pruning.offload import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from secprune.pruning.offload import Blocks
    from secprune.pruning.patients import Inputs
    from secprune.task import PruningSpec


def masks_of_statistics(
    model: Any,
    square_means: Mapping[str, NDArray[np.float64]],
    inputs: Inputs,
    *,
    pruning: PruningSpec,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Wanda's pruning masks of all prunable matrices.

    Args:
        model: a causal LM, or its blocks, from `offload`; not changed.
        square_means: by the first weight of each input, (features,); a factor common to an input changes nothing.
        inputs: which weights each input enters.
        pruning: comparison group, pattern and sparsity; its other fields are not looked at.
        progress: called with (blocks done, blocks).

    Yields:
        The weight's name in the checkpoint and its mask (rows, columns), True = prune, in model order.

    Raises:
        ConfigurationError: NaN in the model.

    Source: Wanda (arXiv 2306.11695), sec. 3.
    """
    blocks, wanda = blocks_of(model), Wanda(pruning)
    count = len(blocks.decoder.blocks)
    for index in range(count):
        blocks.bring(index)
        yield from masks_of_block(blocks, index, square_means, inputs, wanda)
        blocks.release()
        progress(index + 1, count)


def masks_of_block(
    blocks: Blocks,
    index: int,
    square_means: Mapping[str, NDArray[np.float64]],
    inputs: Inputs,
    wanda: Wanda,
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The masks of one block, which has been brought: as `masks_of_statistics`."""
    input_of = {name: group[0] for group in inputs for name in group}
    for name, linear in blocks.decoder.linears(index).items():
        weight = matrix_view(linear).contiguous()
        square_sum = torch.from_numpy(square_means[input_of[name]]).to(weight.device)
        mask = wanda.prune(weight, SquareSum(square_sum, tokens=1)).mask
        yield name, np.ascontiguousarray(mask.cpu().numpy())
