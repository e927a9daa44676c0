"""What a client of FedSpaLLM sends, on disk: its pruning masks, and the weights that it kept, in one file.

A safetensors file in the client's own directory. Of each matrix it holds the mask as `secprune.storage.masks` has it, under
the matrix's name, and a U16 tensor (rows, columns) of whole numbers (`secprune.fixedpoint`) under `kept_name` of it. One
file, so that there is never one without the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from secprune.errors import LocalMisuseError
from secprune.protocols.payloads import kept_name
from secprune.pruning.tensorfile import TensorFile, write_tensor_file
from secprune.storage.masks import MaskFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from secprune.fixedpoint import FixedPoint
    from secprune.task import MatrixSpec

_AGAIN = "run `secprune client prune` again"


class KeptMatrix(NamedTuple):
    """One matrix of a client.

    Attributes:
        name: of the weight.
        mask: (rows, columns) bool, True = prune.
        numbers: (rows, columns) uint16, what `FixedPoint.encode` gives.
    """

    name: str
    mask: npt.NDArray[np.bool_]
    numbers: npt.NDArray[np.uint16]


def write_kept_weights(
    path: Path, kept: Iterable[KeptMatrix], matrices: Iterable[MatrixSpec], *, task_id: str
) -> None:
    """Write masks and kept weights of all matrices of a round, in whatever order they come; all or nothing.

    Args:
        path: the file.
        kept: of every matrix once.
        matrices: what the task lists for the round.
        task_id: kept in the file.

    Raises:
        LocalMisuseError: a matrix has not the shape that the task says, or one is missing.
        LocalEnvironmentError: the disk is full.
    """
    specs = {m.name: m for m in matrices}
    masks = [(m.name, "U8", (m.rows, -(-m.columns // 8))) for m in specs.values()]
    numbers = [(kept_name(m.name), "U16", (m.rows, m.columns)) for m in specs.values()]
    missing = set(specs)
    with write_tensor_file(
        path, masks + numbers, metadata={"task_id": task_id, "kind": "kept-weights"}
    ) as writer:
        for one in kept:
            spec = specs.get(one.name)
            if spec is None or not one.mask.shape == one.numbers.shape == (spec.rows, spec.columns):
                raise LocalMisuseError(
                    f"{one.name} of shape {one.mask.shape} is not a matrix of the task",
                    hint="check that the party file names the model of this task",
                )
            writer.write(one.name, np.packbits(one.mask, axis=1, bitorder="little"))
            writer.write(kept_name(one.name), one.numbers)
            missing.discard(one.name)
        if missing:
            raise LocalMisuseError(f"{len(missing)} matrices were not pruned, first {min(missing)}")


class KeptWeightsFile:
    """Reads masks and kept weights row by row.

    Args:
        path: a file that `write_kept_weights` made.
        matrices: what the task lists; every shape is compared.
        fixed: of the task.
        task_id: the task that they must be of.

    Raises:
        LocalMisuseError: of another task, or of other shapes.
    """

    def __init__(
        self, path: Path, matrices: Iterable[MatrixSpec], fixed: FixedPoint, *, task_id: str
    ) -> None:
        specs = list(matrices)
        self.masks, self._file, self._most = (
            MaskFile(path, specs, task_id=task_id),
            TensorFile(path),
            fixed.most,
        )
        for m in specs:
            name = kept_name(m.name)
            if name not in self._file.names or self._file.entry(name) != ("U16", (m.rows, m.columns)):
                raise LocalMisuseError(f"{path.name} has no kept weights of {m.name}", hint=_AGAIN)

    def numbers(self, matrix: str, low: int = 0, high: int | None = None) -> npt.NDArray[np.uint16]:
        """Whole numbers of rows [low, high) of a matrix, (rows, columns).

        Raises:
            LocalMisuseError: the file was damaged or made by other software; the sum would be refused.
        """
        return self.layout_rows(kept_name(matrix), low, high)

    def layout_rows(self, name: str, low: int = 0, high: int | None = None) -> npt.NDArray[np.uint16]:
        """As `numbers`, by the name that the weights have in a layout."""
        rows: npt.NDArray[np.uint16] = self._file.rows(name, low, high)
        if rows.size and int(rows.max()) > self._most:
            raise LocalMisuseError(f"the {name} are damaged: a number is above {self._most}", hint=_AGAIN)
        return rows
