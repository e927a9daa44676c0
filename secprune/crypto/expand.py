"""Expand a 32-byte seed into a vector over Z_2^64, seekable to any even or odd word.

Keystream: AES-256-CTR, key = HKDF-SHA256(seed, info = context), counter block from zero; a word is
eight keystream bytes, little-endian. Key and context never repeat, so the zero counter is safe, and any
chunk can be produced alone by setting the counter to its first block.
"""

from __future__ import annotations

import sys

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secprune.packing import WORD_BYTES, Words

SEED_BYTES = 32
PIECE_WORDS = 2**14
"""Words to take from a keystream at a time: 128 KiB, so that they are still in the cache when they are used."""

_BLOCK_WORDS = 2  # an AES block is two words
_ZEROS = bytes(PIECE_WORDS * WORD_BYTES)


def expansion_key(seed: bytes, context: bytes) -> bytes:
    """AES-256 key of one keystream; `context` must be injectively encoded (see `seal.Context`)."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return HKDF(SHA256(), 32, salt=None, info=b"secprune/expand/v1\0" + context).derive(seed)


class Keystream:
    """The keystream of one key from some word on, taken piece by piece into memory of the caller.

    Args:
        key: made by `expansion_key`.
        first_word: where to begin.

    Source: NIST SP 800-38A section 6.5 (CTR mode) with a 128-bit big-endian counter.
    """

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes, *, first_word: int) -> None:
        first_block, skip = divmod(first_word, _BLOCK_WORDS)
        self._encryptor = Cipher(AES256(key), CTR(first_block.to_bytes(16, "big"))).encryptor()
        if skip:
            self._encryptor.update(_ZEROS[: skip * WORD_BYTES])

    def __repr__(self) -> str:
        return "Keystream(<secret>)"

    def fill(self, words: Words) -> None:
        """Overwrite `words`, (any number,) uint64 and contiguous, with the next ones of the keystream."""
        stream = words.data.cast("B")
        for start in range(0, len(stream), len(_ZEROS)):
            piece = stream[start : start + len(_ZEROS)]
            zeros = _ZEROS if len(piece) == len(_ZEROS) else _ZEROS[: len(piece)]
            self._encryptor.update_into(zeros, piece)
        if sys.byteorder == "big":
            words.byteswap(inplace=True)


def expand(key: bytes, *, first_word: int, words: int) -> Words:
    """Words [first_word, first_word + words) of the keystream of `key`: (words,) uint64."""
    stream = np.empty(words, np.uint64)
    Keystream(key, first_word=first_word).fill(stream)
    return stream
