"""What this machine can do at best, measured in the same run as everything that is held against it, on one core."""

from __future__ import annotations

import time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secprune.crypto.entropy import random_bytes
from secprune.crypto.expand import PIECE_WORDS
from secprune.packing import WORD_BYTES

LINE_BYTES = 2**30
ADD_BYTES = 2**30
_ADDED_WORDS = 2**23
"""64 MiB: no cache holds it."""


def aes_ctr_seconds() -> float:
    """Seconds that AES-256-CTR takes for LINE_BYTES, into memory that stays in the cache."""
    zeros = bytes(PIECE_WORDS * WORD_BYTES)
    out = np.empty(PIECE_WORDS, np.uint64).data.cast("B")
    encryptor = Cipher(AES256(random_bytes(32)), CTR(bytes(16))).encryptor()
    start = time.perf_counter()
    for _ in range(LINE_BYTES // len(zeros)):
        encryptor.update_into(zeros, out)
    return time.perf_counter() - start


def memory_add_seconds() -> float:
    """Seconds to add ADD_BYTES of 64-bit words to others, both in memory that no cache holds."""
    total, words = np.zeros(_ADDED_WORDS, np.uint64), np.ones(_ADDED_WORDS, np.uint64)
    start = time.perf_counter()
    for _ in range(ADD_BYTES // (_ADDED_WORDS * WORD_BYTES)):
        total += words
    return time.perf_counter() - start
