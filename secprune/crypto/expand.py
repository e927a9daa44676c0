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
_BLOCK_WORDS = 2  # an AES block is two words


def expansion_key(seed: bytes, context: bytes) -> bytes:
    """AES-256 key of one keystream; `context` must be injectively encoded (see `seal.Context`)."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return HKDF(SHA256(), 32, salt=None, info=b"secprune/expand/v1\0" + context).derive(seed)


def expand(key: bytes, *, first_word: int, words: int) -> Words:
    """Words [first_word, first_word + words) of the keystream of `key`: (words,) uint64.

    Source: NIST SP 800-38A section 6.5 (CTR mode) with a 128-bit big-endian counter.
    """
    first_block, skip = divmod(first_word, _BLOCK_WORDS)
    blocks = -(-(skip + words) // _BLOCK_WORDS)
    encryptor = Cipher(AES256(key), CTR(first_block.to_bytes(16, "big"))).encryptor()
    stream = np.zeros(blocks * _BLOCK_WORDS, np.dtype("<u8"))
    encryptor.update_into(bytes(blocks * _BLOCK_WORDS * WORD_BYTES), stream.data.cast("B"))
    if sys.byteorder == "big":
        return stream.astype(np.uint64)[skip : skip + words]
    return stream[skip : skip + words]
