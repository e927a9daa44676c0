"""A client's statistics on disk: whole numbers, a safetensors file in the client's own directory.

Each vector of the task is an I64 tensor (length,). The file's metadata names the task, so that statistics of one
task never go into another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.errors import LocalMisuseError
from secprune.pruning.tensorfile import TensorFile, write_tensor_file
from secprune.vectors import check_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from secprune.task import Task
    from secprune.vectors import Integers

_AGAIN = "run `secprune client prune` again"


def write_statistics(path: Path, vectors: Mapping[str, Integers], task: Task) -> None:
    """Write all vectors of one round; all or nothing. Run by a client.

    Args:
        path: the file.
        vectors: by name, (length,) each; exactly those of `task.vectors`.
        task: kept in the file.

    Raises:
        LocalMisuseError: vectors that are not the task's, or a value out of range (`secprune.vectors`).
        LocalEnvironmentError: the disk is full.
    """
    lengths = {name: vector.size for name, vector in vectors.items()}
    if lengths != task.vectors:
        differing = sorted(set(lengths.items()) ^ set(task.vectors.items()))
        raise LocalMisuseError(
            f"these vectors are not those of the task: {differing[0][0]} differs",
            hint="compute the statistics from this task",
        )
    for name, vector in vectors.items():
        check_values(vector, f"the vector {name}")
    shapes = [(name, "I64", (length,)) for name, length in task.vectors.items()]
    metadata = {"task_id": task.task_id, "kind": "statistics"}
    with write_tensor_file(path, shapes, metadata=metadata) as writer:
        for name in task.vectors:
            writer.write(name, vectors[name].view(np.uint64))


class StatisticsFile:
    """Reads statistics vector by vector.

    Args:
        path: a file that `write_statistics` made.
        task: whose statistics they must be.

    Raises:
        LocalMisuseError: statistics of another task, or of other lengths.
    """

    def __init__(self, path: Path, task: Task) -> None:
        self._file = TensorFile(path)
        if self._file.metadata.get("task_id") != task.task_id:
            raise LocalMisuseError(f"{path.name} holds statistics of another task", hint=_AGAIN)
        for name, length in task.vectors.items():
            if name not in self._file.names or self._file.entry(name) != ("I64", (length,)):
                raise LocalMisuseError(f"{path.name} has no vector {name} of {length} numbers", hint=_AGAIN)

    def vector(self, name: str) -> Integers:
        """One vector, (length,).

        Raises:
            LocalMisuseError: the file was damaged or made by other software: a value is out of range.
        """
        values: Integers = self._file.rows(name).view(np.int64)
        check_values(values, f"the vector {name}")
        return values
