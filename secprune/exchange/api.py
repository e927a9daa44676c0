"""The interface of an exchange: content-addressed chunks, and messages under a topic.

Nothing here is trusted. A chunk is named by its SHA-256 and checked when read; a message is a signed
envelope and checked by who reads it. Both are immutable: a name never gets a second content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from secprune.errors import NotReadyError, RemoteMisbehaviourError
from secprune.ids import short

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
    "ledger-heads",
    "tasks",
]
"""A kind of message, and the name of its place in an exchange."""

MAX_CHUNK_BYTES = 64 * 2**20
"""No honest chunk is larger: one row group of the widest matrix we know of has 0.5 MB."""


class ChunkMissingError(NotReadyError):
    """A chunk that a signed message names is not (or no longer) in the exchange; its digest, if that is known."""

    def __init__(self, message: str, *, digest: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.digest = digest


class ChunkAlteredError(RemoteMisbehaviourError):
    """What is in the exchange under a chunk's name is something else; its sender can repair it."""

    def __init__(self, message: str, *, digest: str, hint: str = "") -> None:
        super().__init__(message, party="exchange", hint=hint)
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Topic:
    """Where messages of one phase of one round are posted."""

    task_id: str
    round: int
    phase: Phase


class Exchange(Protocol):
    """A bulletin board that parties post to and read from."""

    @property
    def poll_s(self) -> float:
        """Seconds between two looks of somebody who waits; each look is a few listings."""

    def put_chunk(self, data: bytes) -> str:
        """Store a chunk and return its digest; storing it again repairs a damaged copy.

        It may still be on its way when this returns, and a failure may show at the next call. `post` and
        `flush` wait for it. What is on its way is lost with the process, so commit to nothing that names a
        chunk before one of them has returned.
        """

    def get_chunk(self, digest: str) -> bytes:
        """The chunk of that digest, verified.

        Raises:
            ChunkMissingError: it is not there (yet).
            ChunkAlteredError: what is there has another digest; "exchange" is to blame.
        """

    def post(self, topic: Topic, envelope: bytes) -> str:
        """Post a message and return its digest, after all chunks; posting the same bytes again changes nothing."""

    def messages(self, topic: Topic, *, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Messages of a topic that are not in `known`: (digest, bytes), in order of digest."""

    def flush(self) -> None:
        """Wait until every chunk that was put is stored.

        Raises:
            SecpruneError: one could not be stored.
        """


def missing_chunk(digest: str) -> ChunkMissingError:
    """What to say of a chunk that is not there."""
    return ChunkMissingError(
        f"chunk {short(digest)} is not in the exchange",
        digest=digest,
        hint="if it stays away, let its sender run the same command again: it sends what is missing",
    )


def altered_chunk(digest: str) -> ChunkAlteredError:
    """What to say of a chunk that is not what its name says."""
    return ChunkAlteredError(
        f"chunk {short(digest)} was altered in the exchange",
        digest=digest,
        hint="find out who can write there; its sender repairs it by running the same command again",
    )
