"""The coordinator's file of a sum, written chunk by chunk as the sum is put together.

| payload | file | tensors |
|---|---|---|
| counts | `counts.safetensors` | of each matrix, (rows, columns): votes to prune, unsigned |
| counts, of FedSpaLLM | `counts.safetensors` | the same, and U32 (rows, columns) of each `kept_name`: summed whole numbers |
| square-sums | `sums.safetensors` | of each vector, I64 (length,) |

The metadata has `task_id`, `kind` (`counts` or `sums`) and `cohort`, the number of clients in the sum. Counts with
noise stand there as they were summed, cohort times the bound of the noise above the votes, and never below 0:
`offset` says how much. Their order is that of the noisy votes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from secprune.files import file_digest
from secprune.ids import sha256
from secprune.protocols.payloads import Vectors, Votes, VotesAndWeights, holds_weights, kept_name
from secprune.pruning.tensorfile import write_tensor_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from secprune.packing import Chunk, Layout, Words
    from secprune.parties.session import Session
    from secprune.pruning.tensorfile import TensorFileWriter
    from secprune.task.privacy import Payload
    from secprune.vectors import Limbs

COUNTS_FILE = "counts.safetensors"
SUMS_FILE = "sums.safetensors"
SUM_FILE: dict[Payload, str] = {"counts": COUNTS_FILE, "square-sums": SUMS_FILE}
"""Which file a task's sum stands in, by payload."""


def digest_of_sums(paths: Sequence[Path]) -> str:
    """Of the one file of a sum; with several rounds, of their digests, one a line."""
    digests = [file_digest(path) for path in paths]
    return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())


class SumWriter(Protocol):
    """Takes the chunks of a sum in layout order."""

    def write(self, chunk: Chunk, rows: npt.NDArray[Any]) -> None:
        """Write what `Payload.read` gave of a chunk."""


@contextmanager
def open_sum_writer(session: Session, *, cohort: int) -> Iterator[SumWriter]:
    """Write the sum of a round into this party's directory: all of it, or nothing.

    Args:
        session: the coordinator's.
        cohort: clients in the sum.
    """
    round_, payload = session.round, session.round.payload
    path = session.work / SUM_FILE[session.task.privacy.payload]
    metadata = {"task_id": round_.task_id, "cohort": str(cohort)}
    if isinstance(payload, Vectors):
        vectors = [(name, "I64", (length,)) for name, length in session.task.vectors.items()]
        with write_tensor_file(path, vectors, metadata=metadata | {"kind": "sums"}) as file:
            yield _VectorsWriter(file, payload.limbs, cohort)
    else:
        kind, dtype = counts_dtype(round_.layout)
        weights = round_.matrices if isinstance(payload, VotesAndWeights) else ()
        matrices = [(m.name, kind, (m.rows, m.columns)) for m in round_.matrices]
        if isinstance(payload, Votes) and payload.offset:
            metadata["offset"] = str(cohort * payload.offset)
        matrices += [(kept_name(m.name), "U32", (m.rows, m.columns)) for m in weights]
        with write_tensor_file(path, matrices, metadata=metadata | {"kind": "counts"}) as file:
            yield _CountsWriter(file, dtype)


def counts_dtype(layout: Layout) -> tuple[str, type[np.uint8 | np.uint16 | np.uint32]]:
    """Narrowest type that holds a count of this roster, as safetensors and numpy name it."""
    highest = max(slab.base for slab in layout.slabs if not holds_weights(slab)) - 1
    if highest <= np.iinfo(np.uint8).max:
        return "U8", np.uint8
    return ("U16", np.uint16) if highest <= np.iinfo(np.uint16).max else ("U32", np.uint32)


@dataclass(slots=True)
class _CountsWriter:
    file: TensorFileWriter
    dtype: type[np.unsignedinteger[Any]]

    def write(self, chunk: Chunk, rows: npt.NDArray[Any]) -> None:
        dtype, offset = np.uint32 if holds_weights(chunk.slab) else self.dtype, 0
        counts = rows.astype(dtype, copy=False)
        for matrix, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row):
            self.file.write(matrix.name, counts[offset : offset + high - low], first_row=low)
            offset += high - low


@dataclass(slots=True)
class _VectorsWriter:
    """A vector whose limbs lie in several chunks is kept until the last of them: at most one is."""

    file: TensorFileWriter
    limbs: Limbs
    cohort: int
    pending: list[Words] = field(default_factory=list)

    def write(self, chunk: Chunk, rows: npt.NDArray[Any]) -> None:
        offset = 0
        for matrix, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row):
            self.pending.append(rows[offset : offset + high - low])
            offset += high - low
            if high == matrix.rows:
                sums = self.limbs.decode(np.concatenate(self.pending), cohort=self.cohort)
                self.file.write(matrix.name, sums.view(np.uint64))
                self.pending = []
