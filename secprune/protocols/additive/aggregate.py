"""Adding shares, at an aggregator over clients and at the coordinator over aggregators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.crypto.seal import KEY_BYTES, ChunkCipher, Context, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import AggregateShare, SealedKey
from secprune.protocols.words import words_from_bytes, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from secprune.crypto.identity import Identity
    from secprune.packing import Chunk, Words
    from secprune.protocols.api import Round
    from secprune.protocols.payloads import Payload


def add_shares(chunk: Chunk, shares: Iterable[Words]) -> Words:
    """Sum of one aggregator's shares of a chunk over the cohort, mod 2^64: (groups, columns)."""
    total = np.zeros(chunk.shape, np.uint64)
    for share in shares:
        total += share
    return total


def share_context(round_: Round, aggregator: str) -> Context:
    """What an aggregate share is bound to."""
    coordinator = round_.task.coordinator.name
    return Context(round_.task_id, round_.index, "aggregate", aggregator, coordinator, coordinator)


class AggregateWriter:
    """Seals an aggregator's share of the sum to the coordinator."""

    def __init__(self, round_: Round, aggregator: str, content_key: bytes) -> None:
        context = share_context(round_, aggregator)
        self._cipher = ChunkCipher(content_key, context, count=len(round_.layout.chunks))

    def seal(self, chunk: Chunk, total: Words) -> bytes:
        """Bytes of one chunk for the exchange."""
        return self._cipher.seal(chunk.index, words_to_bytes(total))


def seal_share_key(round_: Round, aggregator: str, content_key: bytes) -> SealedKey:
    """The key of an aggregate share, sealed to the coordinator."""
    context = share_context(round_, aggregator)
    return SealedKey(
        receiver=context.receiver,
        sealed=seal_secret(content_key, round_.task.coordinator.sealing_key, context),
    )


class AggregateReader:
    """Opens one aggregator's share of the sum. Run by the coordinator.

    Raises:
        RemoteMisbehaviourError: the aggregator sealed something else than a share of this round.
    """

    def __init__(self, round_: Round, aggregator: str, message: AggregateShare, identity: Identity) -> None:
        context = share_context(round_, aggregator)
        if len(message.parcel.chunks) != len(round_.layout.chunks):
            raise RemoteMisbehaviourError(
                "an aggregate share has the wrong number of chunks", party=aggregator
            )
        content_key = open_secret(message.parcel.key.sealed, identity.opening, context)
        if len(content_key) != KEY_BYTES:
            raise RemoteMisbehaviourError(
                "an aggregate share has a key of the wrong length", party=aggregator
            )
        self._cipher = ChunkCipher(content_key, context, count=len(round_.layout.chunks))
        self._aggregator = aggregator

    def open(self, chunk: Chunk, data: bytes) -> Words:
        """This aggregator's share of the chunk's sum."""
        return words_from_bytes(self._cipher.open(chunk.index, data), chunk, sender=self._aggregator)


def check_sum(chunk: Chunk, total: Words, *, payload: Payload, cohort_size: int, culprits: str) -> None:
    """Refuse, before it is released, a sum that is not one of honest reports. Run by who sees the whole sum.

    Args:
        chunk: of the sum.
        total: its words, (groups, columns).
        payload: of the round.
        cohort_size: clients in it.
        culprits: who can have brought it about, for people.

    Raises:
        RemoteMisbehaviourError: no honest reports have such a sum, see `Payload.read`.
    """
    if payload.read(chunk, total, cohort_size=cohort_size) is None:
        raise RemoteMisbehaviourError(
            f"the sum of chunk {chunk.index} is not one of {cohort_size} {payload.what}: {culprits} sent something "
            "else, and nobody can say which",
            party=culprits,
            hint="nothing was released; the protocol additive checks each client's report, where that can be done",
        )


def unshard(chunk: Chunk, shares: Sequence[Words], *, payload: Payload, cohort_size: int) -> npt.NDArray[Any]:
    """Put the sum together, check it as far as it can be checked, and read it: (rows, columns), see `Payload.read`.

    That shows *that* somebody cheated after the reports were checked, not who.

    Raises:
        RemoteMisbehaviourError: the shares do not add up to a sum of honest reports.
    """
    found = payload.read(chunk, add_shares(chunk, shares), cohort_size=cohort_size)
    if found is None:
        raise RemoteMisbehaviourError(
            f"the aggregators' shares of chunk {chunk.index} do not add up to a sum of {cohort_size} {payload.what}",
            party="the aggregators",
            hint="no sum was written; compare the aggregators' records of this round",
        )
    return found
