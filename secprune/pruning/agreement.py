"""How much of a model's pruning mask stays as it is when the statistics that it is made of are off.

Measured on the model itself: its Wanda masks of the public reference against those of a reference whose features are off by
normal errors of a known size. No private data are in it. Blocks are streamed; a few stand for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.pruning.from_statistics import masks_of_block
from secprune.pruning.local import Wanda
from secprune.pruning.offload import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from secprune.pruning.patients import Inputs
    from secprune.task import PruningSpec

LADDER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Errors of the logarithm of a feature's square-mean, root mean square: from next to none to a factor of seven."""

_SEED = 2024
"""Of the errors: two plans of one study agree."""


def sampled_blocks(count: int) -> tuple[int, ...]:
    """The first, the middle and the last of `count` blocks, each once."""
    return tuple(sorted({0, count // 2, count - 1}))


def agreement_ladder(
    model: Any,
    square_means: Mapping[str, NDArray[np.float64]],
    inputs: Inputs,
    *,
    pruning: PruningSpec,
    errors: Sequence[float] = LADDER,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[tuple[float, float], ...]:
    """Which share of the mask is unchanged, for each size of error.

    The errors of one size are those of another, scaled, so that the ladder is smooth.

    Args:
        model: a causal LM, or its blocks, from `offload`; not changed.
        square_means: of the public reference, by the first weight of each input, (features,).
        inputs: which weights each input enters.
        pruning: comparison group, pattern and sparsity; its other fields are not looked at.
        errors: root mean squares, above 0.
        progress: called with (steps done, steps); a step is one size in one block.

    Returns:
        (error, share of the weights of the sampled blocks whose bit is the same), in the order of `errors`.

    Raises:
        ConfigurationError: NaN in the model.
    """
    blocks, wanda = blocks_of(model), Wanda(pruning)
    generator = np.random.default_rng(_SEED)
    normal = {name: generator.standard_normal(len(values)) for name, values in square_means.items()}
    chosen = sampled_blocks(len(blocks.decoder.blocks))
    same, weights = [0] * len(errors), 0
    for number, index in enumerate(chosen):
        blocks.bring(index)
        exact = dict(masks_of_block(blocks, index, square_means, inputs, wanda))
        weights += sum(mask.size for mask in exact.values())
        for rung, error in enumerate(errors):
            moved = {name: values * np.exp(error * normal[name]) for name, values in square_means.items()}
            for name, mask in masks_of_block(blocks, index, moved, inputs, wanda):
                same[rung] += int(np.count_nonzero(mask == exact[name]))
            progress(number * len(errors) + rung + 1, len(chosen) * len(errors))
        blocks.release()
    return tuple((error, count / weights) for error, count in zip(errors, same, strict=True))
