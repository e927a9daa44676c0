"""The baseline: one 64-bit word per weight, as secure aggregation frameworks send a flattened model.

Written for this comparison and kindly: one mask per weight (pairwise protocols need one per neighbour),
no encoding, no message framework, whole pieces at a time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

WEIGHTS = 2**24
_PIECE = 2**19


def stored_bits() -> npt.NDArray[np.uint8]:
    """A pruning mask of WEIGHTS weights, one bit each."""
    return np.random.default_rng(2).integers(0, 256, WEIGHTS // 8, np.uint8)


def protect(bits: npt.NDArray[np.uint8], path: Path) -> None:
    """Mask each weight's bit with a PCG64 word and write all words."""
    rng = np.random.default_rng(3)
    with path.open("wb") as stream:
        for start in range(0, WEIGHTS, _PIECE):
            words = np.unpackbits(bits[start // 8 : (start + _PIECE) // 8]).astype(np.uint64)
            words += rng.integers(0, 2**64, _PIECE, np.uint64)
            stream.write(words.data)
        stream.flush()
        os.fsync(stream.fileno())


def add(path: Path, total: npt.NDArray[np.uint64]) -> None:
    """Read one client's words and add them."""
    with path.open("rb") as stream:
        for start in range(0, WEIGHTS, _PIECE):
            total[start : start + _PIECE] += np.frombuffer(stream.read(8 * _PIECE), np.uint64)
