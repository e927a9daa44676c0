"""Votes with count noise on disk: what a client sends for each weight, in its own directory, in place of its mask.

Each matrix is a U8 or U16 tensor (rows, columns): vote + noise + bound (`secprune.privacy.votes`). The noise was
drawn once, and the mask without it is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.errors import LocalMisuseError
from secprune.pruning.tensorfile import TensorFile, write_tensor_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from secprune.packing import Digits
    from secprune.privacy.votes import CountNoise
    from secprune.task import MatrixSpec

_KINDS = {1: "U8", 2: "U16"}
_AGAIN = "ask the coordinator for a new task: noise is drawn once for each"


def write_noisy_votes(
    path: Path,
    blocks: Iterable[tuple[str, int, Digits]],
    matrices: Iterable[MatrixSpec],
    noise: CountNoise,
    *,
    task_id: str,
) -> None:
    """Write the noised votes of all matrices; all or nothing.

    Args:
        path: the file.
        blocks: name, first row, and noised votes of these rows; of every matrix all rows.
        matrices: what the task lists.
        noise: of the task.
        task_id: kept in the file.

    Raises:
        LocalMisuseError: rows that the task does not have, or rows missing.
        LocalEnvironmentError: the disk is full.
    """
    specs = {m.name: m for m in matrices}
    kind = _KINDS[noise.dtype().itemsize]
    shapes = [(m.name, kind, (m.rows, m.columns)) for m in specs.values()]
    metadata = {"task_id": task_id, "kind": "noisy-votes"}
    missing = {name: m.rows for name, m in specs.items()}
    with write_tensor_file(path, shapes, metadata=metadata) as writer:
        for name, first_row, rows in blocks:
            if name not in specs:
                raise LocalMisuseError(
                    f"{name} is not a matrix of the task",
                    hint="check that the party file names the model of this task",
                )
            writer.write(name, rows, first_row=first_row)
            missing[name] -= len(rows)
        if short := sorted(name for name, rows in missing.items() if rows):
            raise LocalMisuseError(f"{len(short)} matrices have not all their votes, first {short[0]}")


class NoisyVotesFile:
    """Reads noised votes row by row.

    Args:
        path: a file that `write_noisy_votes` made.
        matrices: what the task lists; every shape is compared.
        noise: of the task.
        task_id: the task that they must be of.

    Raises:
        LocalMisuseError: votes of another task, or of other shapes.
    """

    def __init__(
        self, path: Path, matrices: Iterable[MatrixSpec], noise: CountNoise, *, task_id: str
    ) -> None:
        self._file, self._most = TensorFile(path), noise.most
        if self._file.metadata.get("task_id") != task_id:
            raise LocalMisuseError(f"{path.name} holds votes of another task", hint=_AGAIN)
        for m in matrices:
            due = (_KINDS[noise.dtype().itemsize], (m.rows, m.columns))
            if m.name not in self._file.names or self._file.entry(m.name) != due:
                raise LocalMisuseError(
                    f"{path.name} has no votes of shape {m.rows}x{m.columns} for {m.name}", hint=_AGAIN
                )

    def rows(self, name: str, low: int = 0, high: int | None = None) -> Digits:
        """Noised votes of rows [low, high) of a matrix.

        Raises:
            LocalMisuseError: the file was damaged or made by other software; the sum would be refused.
        """
        votes: Digits = self._file.rows(name, low, high)
        if votes.size and int(votes.max()) > self._most:
            raise LocalMisuseError(f"the votes of {name} are damaged: one is above {self._most}", hint=_AGAIN)
        return votes
