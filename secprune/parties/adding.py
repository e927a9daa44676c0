"""What an aggregator of `additive` does with reports, as functions of a shard: check them, and add them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.parties.shards import join_digests
from secprune.protocols.additive.aggregate import AggregateWriter, add_shares
from secprune.protocols.additive.row_sums import opened_words
from secprune.protocols.api import secure_sum
from secprune.protocols.words import words_to_bytes

if TYPE_CHECKING:
    from secprune.exchange.api import Exchange
    from secprune.packing import Chunk, Words
    from secprune.parties.shards import Shard
    from secprune.protocols.api import ReportReader, Round


class RowSums:
    """The words to open of one report: the sum of each row group's share over the columns, where a budget is due.

    Args:
        round_: of the report.
        exchange: where its chunks are.
        aggregator: whose share is read.
        client: whose report it is.
        key: of the report, as this aggregator opened it.
    """

    def __init__(self, round_: Round, exchange: Exchange, aggregator: str, client: str, key: bytes) -> None:
        self._round, self._exchange = round_, exchange
        self._reader = secure_sum(round_.task).reader(round_, client, key, aggregator=aggregator)

    def __call__(self, shard: Shard) -> bytes:
        """Words as bytes, one for each row group of the shard that has a row budget; all chunks are read.

        Raises:
            ChunkMissingError: a chunk is not in the exchange (yet).
            RemoteMisbehaviourError: the client signed chunks that do not open, or the exchange altered them.
        """
        chunks = self._round.layout.chunks[shard.first : shard.end]
        (digests,) = shard.digests
        return b"".join(
            words_to_bytes(opened_words(chunk, share_of(self._reader, self._exchange, chunk, digest)))
            for chunk, digest in zip(chunks, digests, strict=True)
        )


class ShareSum:
    """This aggregator's share of the sum, sealed to the coordinator and put into the exchange.

    Args:
        round_: of the sum.
        exchange: where chunks are and go.
        aggregator: whose shares are added.
        keys: client and key of each counted report, as this aggregator opened it.
        content_key: of the aggregate share.
    """

    def __init__(
        self,
        round_: Round,
        exchange: Exchange,
        aggregator: str,
        keys: tuple[tuple[str, bytes], ...],
        content_key: bytes,
    ) -> None:
        protocol = secure_sum(round_.task)
        self._round, self._exchange = round_, exchange
        self._readers = [protocol.reader(round_, client, key, aggregator=aggregator) for client, key in keys]
        self._writer = AggregateWriter(round_, aggregator, content_key)

    def __call__(self, shard: Shard) -> bytes:
        """The digests of the shard's chunks of the sum.

        Raises:
            ChunkMissingError: a chunk is not in the exchange.
            RemoteMisbehaviourError: the exchange altered a chunk.
        """
        written = []
        for place, chunk in enumerate(self._round.layout.chunks[shard.first : shard.end]):
            shares = (
                share_of(reader, self._exchange, chunk, digests[place])
                for reader, digests in zip(self._readers, shard.digests, strict=True)
            )
            total = add_shares(chunk, shares)
            written.append(self._exchange.put_chunk(self._writer.seal(chunk, total)))
        self._exchange.flush()
        return join_digests(written)


def share_of(reader: ReportReader, exchange: Exchange, chunk: Chunk, digest: str) -> Words:
    """An aggregator's share of one chunk of a report, (groups, columns)."""
    return reader.share(chunk, exchange.get_chunk(digest) if reader.needs_bytes else b"")
