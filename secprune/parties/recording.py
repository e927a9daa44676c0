"""What leaves a party is recorded: every chunk that it puts into the exchange stands in its journal, once.

Which message names a chunk, and for whom, is in the message, which is in the journal too; so a chunk that no message
names can be told from all others, by the party itself and by an auditor (`secprune.audit.transcript`).
A party that dies between the two has sent a chunk that is not recorded yet. It sends the same one when it is run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from secprune.exchange.api import Exchange, Topic
    from secprune.storage.journal import Journal


class RecordingExchange:
    """An exchange whose chunks are recorded by who puts them (see `Exchange`).

    Args:
        exchange: where they go.
        journal: of the party; any round's.
    """

    def __init__(self, exchange: Exchange, journal: Journal) -> None:
        self._exchange, self._journal = exchange, journal

    @property
    def poll_s(self) -> float:
        """As the exchange says."""
        return self._exchange.poll_s

    def put_chunk(self, data: bytes) -> str:
        """Put a chunk and record that it left."""
        digest = self._exchange.put_chunk(data)
        self._journal.record_chunks([(digest, len(data))])
        return digest

    def get_chunk(self, digest: str) -> bytes:
        """The chunk of that digest, verified."""
        return self._exchange.get_chunk(digest)

    def post(self, topic: Topic, envelope: bytes) -> str:
        """Post a message; the journal holds it already."""
        return self._exchange.post(topic, envelope)

    def messages(self, topic: Topic, *, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Messages of a topic that are not in `known`."""
        return self._exchange.messages(topic, known=known)

    def flush(self) -> None:
        """Wait until every chunk that was put is stored."""
        self._exchange.flush()
