"""Each patient's statistics, taken once and kept: whatever epsilon is tried, the forward is the same.

What is kept are statistics of single patients: as private as the notes. They lie in the output directory, for this user's eyes
only, and `rm -r` removes them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from secprune.files import PRIVATE_FILE, environment_errors, private_directory
from secprune.ids import sha256, short
from secprune.privacy.grid import COUNT_UNITS
from secprune.pruning.clipping import UnitVectors
from secprune.pruning.patients import Inputs, batches_of_patients, distinct_inputs, mean_squares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from secprune.pruning.calibration import Tokenizer
    from secprune.pruning.notes import Patient


class UnitStatistics:
    """Takes and keeps the square-means of patients and documents.

    Args:
        directory: where they are kept.
        model: a causal LM in eval mode, dense.
        weights: digest of the model.
        tokenizer: the model's own.
        sequence_length: tokens in a window.
        max_windows: of one patient.
        progress: told of the decoder blocks.
    """

    def __init__(
        self,
        directory: Path,
        model: Any,
        *,
        weights: str,
        tokenizer: Tokenizer,
        sequence_length: int,
        max_windows: int,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._directory, self._model, self._weights = private_directory(directory), model, weights
        self._tokenizer, self._length, self._max = tokenizer, sequence_length, max_windows
        self._progress = progress
        self._inputs: Inputs | None = None

    def of(self, name: str, units: Sequence[Patient]) -> list[dict[str, npt.NDArray[np.float64]]]:
        """By input, the square-means of each unit: (features,); those without a token are left out."""
        batches = batches_of_patients(
            units, self._tokenizer, sequence_length=self._length, max_windows=self._max
        )
        if self._inputs is None:
            self._inputs = distinct_inputs(self._model, batches[0][0])
        key = sha256(msgspec.json.encode([self._weights, self._length, self._max, list(units)]))
        path = self._directory / f"{name}-{short(key)}.npy"
        widths = self._widths()
        if not path.exists():
            found = mean_squares(
                self._model,
                batches,
                self._inputs,
                progress=lambda done, steps: self._progress(f"statistics of {name}", done, steps),
            )
            rows = np.stack([np.concatenate(list(one.values())) for one in found])
            partial = path.with_suffix(".part.npy")
            with environment_errors(f"write {path.name}"):
                partial.touch(mode=PRIVATE_FILE)
                np.save(partial, rows.astype(np.float32))
                partial.replace(path)
        table = np.load(path, mmap_mode="r")
        ends = np.cumsum(list(widths.values()))[:-1]
        return [dict(zip(widths, np.split(row.astype(np.float64), ends), strict=True)) for row in table]

    @property
    def inputs(self) -> Inputs:
        """Each distinct input of linear modules; known once statistics were taken."""
        assert self._inputs is not None  # noqa: S101 - `of` comes first
        return self._inputs

    def _widths(self) -> dict[str, int]:
        from secprune.pruning.decoder import Decoder

        weights = Decoder.of(self._model).weights()
        return {group[0]: weights[group[0]].shape[1] for group in self.inputs}


def bounded_vectors(
    units: Sequence[Mapping[str, npt.NDArray[np.float64]]],
    reference: Mapping[str, npt.NDArray[np.float64]],
    clip: Fraction,
) -> npt.NDArray[np.int32]:
    """What each unit adds to a sum, its count last: (units, features + 1)."""
    vector_of = UnitVectors(reference, clip)
    return np.stack([np.append(vector_of(unit), COUNT_UNITS).astype(np.int32) for unit in units])
