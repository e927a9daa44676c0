"""The only source of randomness in secprune: the operating system's generator."""

from __future__ import annotations

import secrets


def random_bytes(size: int) -> bytes:
    """Draw `size` bytes of key material or of an unpredictable name."""
    return secrets.token_bytes(size)
