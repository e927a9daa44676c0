"""Words on the wire: 64-bit little-endian, groups by columns, nothing around them."""

from __future__ import annotations

import numpy as np

from secprune.errors import RemoteMisbehaviourError
from secprune.packing import WORD_BYTES, Chunk, Words

_WIRE = np.dtype("<u8")


def words_to_bytes(words: Words) -> memoryview:
    """Wire form of words, without a copy on little-endian machines."""
    if not words.size:  # of which numpy gives no view
        return memoryview(b"")
    return np.ascontiguousarray(words.astype(_WIRE, copy=False)).data.cast("B")


def words_from_bytes(data: bytes, chunk: Chunk, *, sender: str) -> Words:
    """Words of one chunk, (groups, columns), read-only.

    Raises:
        RemoteMisbehaviourError: `data` does not have exactly the chunk's length.
    """
    if len(data) != chunk.words * WORD_BYTES:
        raise RemoteMisbehaviourError(
            f"chunk {chunk.index} holds {len(data)} bytes, not {chunk.words * WORD_BYTES}", party=sender
        )
    return np.frombuffer(data, _WIRE).astype(np.uint64, copy=False).reshape(chunk.shape)


def vector_from_bytes(data: bytes, length: int, *, sender: str) -> Words:
    """A plain vector of `length` words.

    Raises:
        RemoteMisbehaviourError: another length.
    """
    if len(data) != length * WORD_BYTES:
        raise RemoteMisbehaviourError(
            f"{len(data)} bytes came where {length * WORD_BYTES} were due", party=sender
        )
    return np.frombuffer(data, _WIRE).astype(np.uint64, copy=False)
