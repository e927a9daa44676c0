"""The bounded vectors of a few units on the first blocks of a model: as clients compute them, and as they must not.

For audits of whether one unit's text changes what others add. `FirstBlocks.dense` is what clients do (`patients`,
`clipping`). `FirstBlocks.sequential` is what a client would do that prunes block after block: the second block sees what the
common mask of all units leaves of the first. Two blocks show the difference; more only take longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from secprune.pruning.activations import BlockRunner, SquareSum
from secprune.pruning.clipping import UnitVectors
from secprune.pruning.decoder import matrix_view
from secprune.pruning.from_statistics import masks_of_block
from secprune.pruning.local import Wanda
from secprune.pruning.models import load_tokenizer
from secprune.pruning.notes import Patient
from secprune.pruning.offload import open_blocks
from secprune.pruning.patients import batches_of_patients, distinct_inputs, mean_squares

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from secprune.pruning.patients import Batches
    from secprune.task import PruningSpec

_BLOCKS = 2
_TOKENS = 64
"""In the one window of each unit."""


class FirstBlocks:
    """The first two decoder blocks of a checkpoint, and units' vectors on them.

    Args:
        directory: of the model and its tokenizer.
        texts: that some units may have, synthetic ones; of the first, the public inputs are found.
        clip: bound C of the norm of a unit's statistics.
        pruning: sparsity and comparison of the masks that sequential pruning makes.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: transformers cannot load it.
    """

    def __init__(
        self, directory: Path, texts: Sequence[str], *, clip: Fraction, pruning: PruningSpec
    ) -> None:
        self._tokenizer = load_tokenizer(directory)
        self._blocks = open_blocks(directory)
        decoder = self._blocks.decoder
        self._blocks.decoder = replace(decoder, blocks=decoder.blocks[:_BLOCKS])
        self._inputs = distinct_inputs(self._blocks, self._windows(texts[:1])[0][0])
        self._blocks.release()
        widths = {
            name: linear.weight.numel() // matrix_view(linear).shape[0]
            for index in range(len(self._blocks.decoder.blocks))
            for name, linear in self._blocks.decoder.linears(index).items()
        }
        self._wanda = Wanda(pruning)
        self._vector_of = UnitVectors({group[0]: np.ones(widths[group[0]]) for group in self._inputs}, clip)

    def dense(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Each unit's vector, from the unpruned model: (features,) int64, in order of the texts."""
        found = mean_squares(self._blocks, self._windows(texts), self._inputs)
        return [self._vector_of(square_means) for square_means in found]

    def sequential(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The same if the second block sees the first one under the mask of all these units together."""
        windows = self._windows(texts)
        first = list(mean_squares(self._blocks, windows, self._inputs))
        self._blocks.bring(0)
        linears = self._blocks.decoder.linears(0)
        together = {name: np.sum([one[name] for one in first], axis=0) for name in first[0]}
        dense = {name: matrix_view(linear).clone() for name, linear in linears.items()}
        for name, mask in masks_of_block(self._blocks, 0, together, self._inputs, self._wanda):
            matrix_view(linears[name]).masked_fill_(torch.from_numpy(mask), 0)
        runner = BlockRunner(self._blocks, [batch for batches in windows for batch in batches])
        runner.advance(0)
        for name, weight in dense.items():
            matrix_view(linears[name]).copy_(weight)
        second = list(runner.collect_apart(1, SquareSum))
        self._blocks.release()
        later = {name for group in self._inputs for name in group} - linears.keys()
        for one, seen in zip(first, second, strict=True):
            for name in later & one.keys():
                one[name] = (seen[name].square_sum / max(1, seen[name].tokens)).numpy()
        return [self._vector_of(square_means) for square_means in first]

    def _windows(self, texts: Sequence[str]) -> list[Batches]:
        units = [Patient(str(place), (text,)) for place, text in enumerate(texts)]
        return batches_of_patients(units, self._tokenizer, sequence_length=_TOKENS, max_windows=1)
