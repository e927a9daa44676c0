"""Repeatable draws for audits: a function of a seed, so that an auditor can run a check again and find the same.

Nothing secret is ever drawn from here. Where the project's own code takes its randomness from a function of the
operating system's, a check hands it `Draws.entropy` instead.
"""

from __future__ import annotations

import numpy as np

from secprune.crypto.expand import Keystream, expansion_key
from secprune.packing import WORD_BYTES

SEED_LIMIT = 2**53
"""Seeds are below it, so that they survive JSON."""


class Draws:
    """Draws of one purpose.

    Args:
        seed: of the whole audit.
        purpose: what they are for; other purposes get independent ones.

    Attributes:
        numpy: for numbers whose exact distribution does not matter: which documents, which noise in an oracle.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        if not 0 <= seed < SEED_LIMIT:
            raise ValueError(f"a seed is from 0 to 2^53 - 1, not {seed}")
        self._key = expansion_key(seed.to_bytes(32, "big"), f"audit/{purpose}".encode())
        self._next = 0
        self.numpy = np.random.default_rng(list(self.entropy(32)))

    def entropy(self, size: int) -> bytes:
        """`size` bytes, as `crypto.entropy.random_bytes` would give them."""
        words = np.empty(-(-size // WORD_BYTES), np.uint64)
        Keystream(self._key, first_word=self._next).fill(words)
        self._next += len(words)
        return words.astype("<u8").tobytes()[:size]
