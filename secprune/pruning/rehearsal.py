"""The first few decoder blocks of a model, for a rehearsal of attacks: documents' statistics, and masks of any.

An adversary has the whole model; attacks that already succeed on a few blocks need no more, and take seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from secprune.errors import LocalMisuseError
from secprune.pruning.activations import SquareSum
from secprune.pruning.calibration import first_window
from secprune.pruning.decoder import matrix_view
from secprune.pruning.devices import choose_device
from secprune.pruning.local import Wanda
from secprune.pruning.models import load_tokenizer
from secprune.pruning.notes import Patient
from secprune.pruning.offload import open_blocks
from secprune.pruning.patients import batches_of_patients, distinct_inputs, mean_squares
from secprune.pruning.reference import PublicStatistics, reference_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secprune.pruning.patients import Inputs
    from secprune.task import PruningSpec

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rehearsed:
    """What documents gave.

    Attributes:
        inputs: of the blocks that were run, as the weights that each enters.
        weights: by the first weight of each input: (rows, features) float32, of all its matrices one above the other.
        documents: of each document, the public ones last, its square-means by input: (features,).
        public: the reference that follows from the public ones.
    """

    inputs: Inputs
    weights: dict[str, npt.NDArray[np.float32]]
    documents: list[dict[str, Floats]]
    public: PublicStatistics


def rehearse(
    directory: Path,
    documents: Sequence[str],
    public: Sequence[str],
    *,
    blocks: int,
    sequence_length: int,
    device: str = "auto",
) -> Rehearsed:
    """Run documents, and public text, through the first blocks of a model.

    Args:
        directory: of the model.
        documents: notes of a rehearsal, each by itself.
        public: public documents, which make the reference.
        blocks: how many decoder blocks.
        sequence_length: tokens that are taken of a document, at most.
        device: as for `client.prune`.

    Raises:
        LocalMisuseError: a text without tokens, or no public text.
    """
    tokenizer = load_tokenizer(directory)
    model = open_blocks(directory, device=choose_device(device))

    def batches(texts: Sequence[str]) -> list[Any]:
        units = [Patient(id=str(place), notes=(text,)) for place, text in enumerate(texts)]
        found = batches_of_patients(units, tokenizer, sequence_length=sequence_length, max_windows=1)
        if len(found) != len(units) or not units:
            raise LocalMisuseError("a text of the rehearsal has no token", hint="remove empty notes")
        return found

    given = batches([*documents, *public])
    probe = first_window(public, tokenizer, sequence_length=sequence_length)
    inputs = distinct_inputs(model, probe, first=blocks)
    found = list(mean_squares(model, given, inputs, first=blocks))
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for index in range(blocks):
        model.bring(index)
        linears = model.decoder.linears(index)
        for group in inputs:
            if group[0] in linears:
                parts = [matrix_view(linears[name]).detach().float().cpu().numpy() for name in group]
                weights[group[0]] = np.concatenate(parts)
    model.release()
    return Rehearsed(inputs, weights, found, reference_of(found[len(documents) :]))


class Pruner:
    """Wanda's masks of any statistics, on the blocks of a rehearsal.

    Args:
        weights: by input: (rows, features) float32.
        pruning: sparsity; compared within rows, whatever the task says: that is what attacks on masks read.
    """

    def __init__(self, weights: Sequence[npt.NDArray[np.float32]], pruning: PruningSpec) -> None:
        self._weights = [torch.from_numpy(np.ascontiguousarray(one)) for one in weights]
        self._wanda = Wanda(pruning)
        self._workers = ThreadPoolExecutor()  # selection lets other threads run

    def __call__(self, square_means: Sequence[Floats]) -> list[npt.NDArray[np.bool_]]:
        """(rows, features) of each input, True = pruned."""
        return list(self._workers.map(self._mask, self._weights, square_means))

    def _mask(self, weight: torch.Tensor, values: Floats) -> npt.NDArray[np.bool_]:
        return self._wanda.prune(weight, SquareSum(torch.from_numpy(values), tokens=1)).mask.numpy()
