"""Looking for known bytes in what nobody has sealed: whether a copy of something, or of a part of it, lies there.

What is looked for is cut into blocks of fixed width, side by side; a copy of twice that width holds at least one of them
whole, at whatever offset it lies. Only so many blocks of each thing are kept, evenly spread over it. Blocks of few
different bytes are left out: zeros lie everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

BLOCKS_OF_EACH = 256
"""Blocks that are kept of one thing."""
DIFFERENT_BYTES = 8
"""A block with fewer different bytes tells nothing."""
_HEAD = 8  # bytes of a block by which it is first looked up, as one number
_FILTER_BITS = 22  # of the hashes by which nearly all that is no head is passed over
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, and its bits look random: multiplicative hashing


def blocks_of(data: bytes, width: int) -> list[bytes]:
    """Blocks to look for `data` by; none if it is shorter than one block."""
    starts = range(0, len(data) - width + 1, width)
    step = max(1, len(starts) // BLOCKS_OF_EACH)
    blocks = (data[start : start + width] for start in starts[::step])
    return [block for block in blocks if len(set(block)) >= DIFFERENT_BYTES]


@dataclass(frozen=True)
class Needles:
    """Blocks to look for.

    Args:
        owners: whose each block is; blocks of several widths, of at least 8 bytes.
    """

    owners: Mapping[bytes, str] = field(repr=False)
    _widths: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _heads: npt.NDArray[np.uint64] = field(init=False, repr=False, compare=False)
    _may_be: npt.NDArray[np.bool_] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the look-up."""
        joined = b"".join({block[:_HEAD] for block in self.owners})
        heads = np.sort(np.frombuffer(joined, "<u8").astype(np.uint64))
        may_be = np.zeros(2**_FILTER_BITS, np.bool_)
        may_be[_hashed(heads)] = True
        object.__setattr__(self, "_widths", tuple(sorted({len(block) for block in self.owners})))
        object.__setattr__(self, "_heads", heads)
        object.__setattr__(self, "_may_be", may_be)

    def owners_in(self, data: bytes) -> frozenset[str]:
        """Whose blocks lie in this. Pieces of one file have to overlap by the widest block, or one may be missed."""
        if not self._widths or len(data) < self._widths[0]:
            return frozenset()
        return frozenset(
            owner
            for start in self._candidates(data)
            for width in self._widths
            if (owner := self.owners.get(data[start : start + width]))
        )

    def _candidates(self, data: bytes) -> Iterator[int]:
        """Where some block's first bytes lie."""
        for shift in range(_HEAD):
            words = np.frombuffer(data, "<u8", count=(len(data) - shift) // _HEAD, offset=shift)
            places = np.flatnonzero(self._may_be[_hashed(words)])
            found = words[places]
            nearest = np.searchsorted(self._heads, found).clip(max=len(self._heads) - 1)
            yield from (places[self._heads[nearest] == found] * _HEAD + shift).tolist()


def _hashed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return (words * _SPREAD) >> np.uint64(64 - _FILTER_BITS)
