"""Masks: what a client adds to its words, and what the aggregator takes away again, mod 2^64.

A client's masked words are its words plus the expansion of its self-mask seed, plus that of every pair
seed it shares with a later client of the roster, minus that of every pair seed it shares with an
earlier one. In the sum over all clients the pairs cancel.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), fig. 4, round 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.expand import PIECE_WORDS, Keystream, expansion_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secprune.packing import Chunk, Words
    from secprune.protocols.api import Round
    from secprune.protocols.pairwise.keys import Binding


@dataclass(frozen=True, slots=True)
class Mask:
    """One keystream, added or subtracted.

    Attributes:
        first: the earlier client of a pair, or the client of a self mask.
        second: the later client of a pair; empty for a self mask.
        seed: 32 bytes.
        added: whether the client whose words these are adds it.
    """

    first: str
    second: str
    seed: bytes = field(repr=False)
    added: bool


class Masking:
    """All masks of one client on its words, or those that are left in a sum.

    Args:
        round_: whose layout the words have.
        binding: of the round, with the digest of its list of keys.
        masks: any number.
    """

    def __init__(self, round_: Round, binding: Binding, masks: Iterable[Mask]) -> None:
        self._keys: list[tuple[bool, list[bytes]]] = []
        for mask in masks:
            context = binding.context("mask", mask.first, mask.second)
            keys = [expansion_key(mask.seed, context.encode(slab.index)) for slab in round_.layout.slabs]
            self._keys.append((mask.added, keys))

    def __repr__(self) -> str:
        return f"Masking(<{len(self._keys)} secret masks>)"

    def put_on(self, chunk: Chunk, words: Words) -> None:
        """Add the masks to the words of one chunk, (groups, columns), in place."""
        self._apply(chunk, words, adding=True)

    def take_off(self, chunk: Chunk, words: Words) -> None:
        """The inverse of `put_on`, in place."""
        self._apply(chunk, words, adding=False)

    def _apply(self, chunk: Chunk, words: Words, *, adding: bool) -> None:
        """All masks on a few rows, then on the next ones: rows and masks stay in the processor's cache."""
        if words.shape != chunk.shape:
            raise ValueError(f"words of shape {words.shape} are not those of a chunk of shape {chunk.shape}")
        streams = [
            (added == adding, Keystream(keys[chunk.slab.index], first_word=chunk.first_word))
            for added, keys in self._keys
        ]
        columns = chunk.slab.columns
        step = max(1, PIECE_WORDS // columns)
        stream = np.empty(min(step, chunk.groups) * columns, np.uint64)
        for low in range(0, chunk.groups, step):
            rows = words[low : low + step]
            mask = stream[: rows.size]
            for added, keystream in streams:
                keystream.fill(mask)
                if added:
                    rows += mask.reshape(rows.shape)
                else:
                    rows -= mask.reshape(rows.shape)
