"""Names, roles and digests: the few plain types that every other module speaks.

The bounds below are enforced wherever a message, task or party file is decoded (msgspec checks them),
so that no later code meets a name that could leave a directory or a digest of the wrong length.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from msgspec import Meta

Role = Literal["client", "aggregator", "key-holder", "coordinator", "auditor"]
"""What a party is. An auditor signs what it found, and stands in no roster."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
"""A party's name: lower-case letters, digits and hyphens, so that it is also a safe file name."""

StudyName = Annotated[str, Meta(min_length=1, max_length=200)]
"""What people call a study; it stands for one task of its coordinator."""

Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
"""Algorithm-prefixed SHA-256 of some bytes."""

RoundIndex = Annotated[int, Meta(ge=0, lt=2**31)]
"""Number of a secure sum inside a task, from 0."""

MatrixName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")]
"""Key of a weight matrix in the checkpoint, such as `model.layers.0.self_attn.q_proj.weight`."""

Reason = Annotated[str, Meta(max_length=1000)]
"""Why a party refused something, for people to read; never derived from one client's data."""


def sha256(data: bytes | bytearray | memoryview) -> str:
    """Digest of `data` as `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def short(digest: str) -> str:
    """First 12 hex digits of a digest, for file names and for people."""
    return digest.removeprefix("sha256:")[:12]
