"""Pruning masks on disk: one bit a weight, a safetensors file in the client's own directory.

Each matrix is a U8 tensor (rows, ceil(columns / 8)), bit c % 8 of byte c // 8 (least significant first) is
column c; 1 = prune. The file's metadata names the task, so that masks of one task never go into another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.errors import LocalMisuseError
from secprune.pruning.tensorfile import TensorFile, write_tensor_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from secprune.packing import Bits, PackedMatrix
    from secprune.task import MatrixSpec


def write_masks(
    path: Path,
    masks: Iterable[tuple[str, npt.NDArray[np.bool_]]],
    matrices: Iterable[MatrixSpec],
    *,
    task_id: str,
    each: Callable[[str, npt.NDArray[np.bool_]], None] = lambda _name, _mask: None,
) -> None:
    """Write the masks of all matrices, in whatever order they come; all or nothing.

    Args:
        path: the file.
        masks: (name, Boolean (rows, columns)) of every matrix once.
        matrices: what the task lists.
        task_id: kept in the file.
        each: called after each matrix.

    Raises:
        LocalMisuseError: a mask has not the shape that the task says, or one is missing.
        LocalEnvironmentError: the disk is full.
    """
    specs = {m.name: m for m in matrices}
    shapes = [(m.name, "U8", (m.rows, -(-m.columns // 8))) for m in specs.values()]
    with write_tensor_file(path, shapes, metadata={"task_id": task_id, "kind": "pruning-masks"}) as writer:
        missing = set(specs)
        for name, mask in masks:
            spec = specs.get(name)
            if spec is None or mask.shape != (spec.rows, spec.columns):
                due = "none" if spec is None else f"{spec.rows}x{spec.columns}"
                raise LocalMisuseError(
                    f"the pruning mask of {name} is {'x'.join(map(str, mask.shape))}, the task says {due}",
                    hint="check that the party file names the model of this task",
                )
            writer.write(name, np.packbits(mask, axis=1, bitorder="little"))
            missing.discard(name)
            each(name, mask)
        if missing:
            raise LocalMisuseError(f"{len(missing)} matrices have no pruning mask, first {min(missing)}")


class MaskFile:
    """Reads pruning masks row by row.

    Args:
        path: a file that `write_masks` made.
        matrices: what the task lists; every shape is compared.
        task_id: the task the masks must be of, or None to take any.

    Raises:
        LocalMisuseError: masks of another task, or of other shapes.
    """

    def __init__(self, path: Path, matrices: Iterable[MatrixSpec], *, task_id: str | None) -> None:
        self._file = TensorFile(path)
        if task_id is not None and self._file.metadata.get("task_id") != task_id:
            raise LocalMisuseError(
                f"{path.name} holds pruning masks of another task", hint="run `secprune client prune` again"
            )
        self._columns = {}
        for m in matrices:
            due = ("U8", (m.rows, -(-m.columns // 8)))
            if m.name not in self._file.names or self._file.entry(m.name) != due:
                raise LocalMisuseError(
                    f"{path.name} has no pruning mask of shape {m.rows}x{m.columns} for {m.name}",
                    hint="run `secprune client prune` again",
                )
            self._columns[m.name] = m.columns

    def rows(self, name: str, low: int = 0, high: int | None = None) -> Bits:
        """Bits of rows [low, high) of a matrix: (rows, columns), 0 or 1."""
        return self._unpacked(name, self._file.rows(name, low, high))

    def _unpacked(self, name: str, packed: Bits) -> Bits:
        return np.unpackbits(packed, axis=1, count=self._columns[name], bitorder="little")

    def checked_rows(self, matrix: PackedMatrix, low: int, high: int) -> Bits:
        """As `rows`, and every row must hold exactly the ones the task prescribes (if it does).

        Raises:
            LocalMisuseError: the file was damaged or made by other software; aggregators would refuse it.
        """
        packed = self._file.rows(matrix.name, low, high)
        ones = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
        padding = packed[:, -1] >> (matrix.columns % 8) if matrix.columns % 8 else np.zeros_like(ones)
        wrong = np.flatnonzero((padding != 0) | (matrix.row_k is not None and ones != matrix.row_k))
        if len(wrong):
            row = low + int(wrong[0])
            raise LocalMisuseError(
                f"row {row} of the pruning mask of {matrix.name} is damaged or does not prune {matrix.row_k} weights",
                hint="run `secprune client prune` again",
            )
        return self._unpacked(matrix.name, packed)
