"""The interface of an exchange: content-addressed chunks, and messages under a topic.

Nothing here is trusted. A chunk is named by its SHA-256 and checked when read; a message is a signed
envelope and checked by who reads it. Both are immutable: a name never gets a second content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from secprune.errors import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Phase = Literal[
    "reports",
    "checks",
    "close",
    "votes",
    "cohorts",
    "shares",
    "outcomes",
    "keys",
    "key-lists",
    "bundles",
    "bundle-lists",
    "masked-reports",
    "survivors",
    "consents",
    "reveals",
    "key-commitments",
    "key-shares",
    "encrypted-reports",
    "ciphertext-sums",
    "hash-seeds",
    "linear-hashes",
    "openings",
    "partial-decryptions",
    "abandoned",
]
"""A kind of message, and the name of its place in an exchange."""

MAX_CHUNK_BYTES = 64 * 2**20
"""No honest chunk is larger: one row group of the widest matrix we know of has 0.5 MB."""


class ChunkMissingError(NotReadyError):
    """A chunk that a signed message names is not (or no longer) in the exchange."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Where messages of one phase of one round are posted."""

    task_id: str
    round: int
    phase: Phase


class Exchange(Protocol):
    """A bulletin board that parties post to and read from."""

    def put_chunk(self, data: bytes) -> str:
        """Store a chunk and return its digest; storing it again repairs a damaged copy."""

    def get_chunk(self, digest: str) -> bytes:
        """The chunk of that digest, verified.

        Raises:
            ChunkMissingError: it is not there (yet).
            RemoteMisbehaviourError: what is there has another digest; "exchange" is to blame.
        """

    def post(self, topic: Topic, envelope: bytes) -> str:
        """Post a message and return its digest; posting the same bytes again changes nothing."""

    def messages(self, topic: Topic, *, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Messages of a topic that are not in `known`: (digest, bytes), in order of digest."""
