"""What one hospital pruned, read from its own disk by the referee: masks, and with FedSpaLLM the weights that it kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.fixedpoint import FixedPoint
from secprune.parties.report_words import contents_for
from secprune.storage.kept_weights import KeptWeightsFile
from secprune.storage.masks import MaskFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from secprune.task import MatrixSpec, Task


class HospitalModel:
    """One hospital's masks of all its rounds.

    Args:
        name: the hospital's.
        directory: its directory of a round, by number.
        task: the study's.
    """

    def __init__(self, name: str, directory: Callable[[int], Path], task: Task) -> None:
        self._masks: dict[str, MaskFile] = {}
        self._kept: dict[str, KeptWeightsFile] = {}
        self._fixed: FixedPoint | None = None
        file = contents_for(task).file
        for index in task.client_rounds(name):
            path, matrices = directory(index) / file, task.round_matrices(index)
            masks = MaskFile(path, matrices, task_id=task.task_id)
            self._masks |= {m.name: masks for m in matrices}
            if task.pruning.algorithm == "fedspallm":
                self._fixed = FixedPoint(task.pruning.of_fedspallm.weight_bits)
                kept = KeptWeightsFile(path, matrices, self._fixed, task_id=task.task_id)
                self._kept |= {m.name: kept for m in matrices}

    def has(self, matrix: MatrixSpec) -> bool:
        """Whether it pruned this matrix; with layer sampling it has some decoder blocks only."""
        return matrix.name in self._masks

    def mask(self, matrix: MatrixSpec) -> npt.NDArray[np.bool_]:
        """Its mask, (rows, columns), True = prune; of a matrix that it did not prune, nothing."""
        if not self.has(matrix):
            return np.zeros((matrix.rows, matrix.columns), np.bool_)
        return self._masks[matrix.name].rows(matrix.name).view(np.bool_)

    def numbers(self, matrix: MatrixSpec) -> npt.NDArray[np.int64] | None:
        """The weights that it kept, as whole numbers, (rows, columns), 0 where pruned; None if they are the dense ones."""
        if self._fixed is None or not self.has(matrix):
            return None
        return self._kept[matrix.name].numbers(matrix.name).astype(np.int64) - self._fixed.half
