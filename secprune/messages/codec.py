"""The strict codec of all messages: canonical JSON, bounded, never pickle.

Decoding refuses unknown or duplicate keys, white space, trailing bytes and anything else that does not
encode back to the very same bytes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from secprune.errors import RemoteMisbehaviourError

T = TypeVar("T")


def encode(message: object) -> bytes:
    """Canonical JSON of a message: sorted keys, no white space, bytes as base64."""
    return msgspec.json.encode(message, order="sorted")


def decode(data: bytes, kind: type[T], *, party: str) -> T:
    """Parse canonical JSON into `kind` (a Struct or a union of tagged Structs).

    Raises:
        RemoteMisbehaviourError: `data` is not exactly what `encode` makes; `party` is blamed.
    """
    try:
        message = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # msgspec quotes what it does not know, and a stranger's envelope may be megabytes.
        raise RemoteMisbehaviourError(f"malformed message: {str(error)[:200]}", party=party) from error
    if encode(message) != data:
        raise RemoteMisbehaviourError("malformed message: not in canonical form", party=party)
    return message
