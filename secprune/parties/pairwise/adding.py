"""What the aggregator of `pairwise` does with masked reports, as functions of a shard: check them, and add them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.crypto.seal import ChunkCipher
from secprune.parties.shards import join_digests
from secprune.protocols.additive.aggregate import AggregateWriter, add_shares, check_sum
from secprune.protocols.pairwise.keys import Binding, report_context
from secprune.protocols.pairwise.masks import Mask, Masking
from secprune.protocols.words import words_from_bytes

if TYPE_CHECKING:
    from secprune.exchange.api import Exchange
    from secprune.packing import Chunk, Words
    from secprune.parties.shards import Shard
    from secprune.protocols.api import Round

OpenedReport = tuple[str, bytes, str]
"""Whose masked report, its content key, and the list of shares whose masks are on it."""


class MaskedWords:
    """The masked words of one report, still under its masks; as a function of a shard it only checks them.

    Args:
        round_: of the report.
        exchange: where its chunks are.
        report: as the aggregator opened it.
    """

    def __init__(self, round_: Round, exchange: Exchange, report: OpenedReport) -> None:
        self._client, key, shares = report
        self._round, self._exchange = round_, exchange
        context = report_context(round_, self._client, shares)
        self._cipher = ChunkCipher(key, context, count=len(round_.layout.chunks))

    def read(self, chunk: Chunk, digest: str) -> Words:
        """Masked words of one chunk, (groups, columns), read-only.

        Raises:
            ChunkMissingError: it is not in the exchange (yet).
            RemoteMisbehaviourError: the client signed a chunk that does not open, or the exchange altered it.
        """
        data = self._cipher.open(chunk.index, self._exchange.get_chunk(digest))
        return words_from_bytes(data, chunk, sender=self._client)

    def __call__(self, shard: Shard) -> bytes:
        """Nothing, if all of the shard's chunks are there and open; raises as `read` otherwise."""
        (digests,) = shard.digests
        for chunk, digest in zip(self._round.layout.chunks[shard.first : shard.end], digests, strict=True):
            self.read(chunk, digest)
        return b""


class UnmaskedSum:
    """The sum without its masks, checked, sealed to the coordinator and put into the exchange.

    Args:
        round_: of the sum.
        exchange: where chunks are and go.
        aggregator: who does it.
        reports: all that are counted.
        keys: digest of the round's list of keys.
        masks: all that are left in the sum.
        content_key: of the aggregate share.
    """

    def __init__(
        self,
        round_: Round,
        exchange: Exchange,
        aggregator: str,
        reports: tuple[OpenedReport, ...],
        keys: str,
        masks: tuple[Mask, ...],
        content_key: bytes,
    ) -> None:
        self._round, self._exchange = round_, exchange
        self._reports = [MaskedWords(round_, exchange, report) for report in reports]
        self._masking = Masking(round_, Binding(round_, keys), masks)
        self._writer = AggregateWriter(round_, aggregator, content_key)

    def __call__(self, shard: Shard) -> bytes:
        """The digests of the shard's chunks of the sum.

        Raises:
            ChunkMissingError: a chunk is not in the exchange.
            RemoteMisbehaviourError: the sum is not one of honest reports, or the exchange altered a chunk.
        """
        written = []
        for place, chunk in enumerate(self._round.layout.chunks[shard.first : shard.end]):
            total = add_shares(
                chunk,
                (
                    report.read(chunk, digests[place])
                    for report, digests in zip(self._reports, shard.digests, strict=True)
                ),
            )
            self._masking.take_off(chunk, total)
            check_sum(
                chunk,
                total,
                payload=self._round.payload,
                cohort_size=len(self._reports),
                culprits="one of the counted clients",
            )
            written.append(self._exchange.put_chunk(self._writer.seal(chunk, total)))
        self._exchange.flush()
        return join_digests(written)
