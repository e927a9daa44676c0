"""Long work on the chunks of a round, in shards: each result is kept, and what is done is not done again.

What is applied to a shard is a pure function of it and of what it was made with, wherever it runs: in this
process, in others, or on a cluster. Chunks it writes are named by their content, and a shard's result stands
in the journal as a whole or not at all; so a crash at any moment costs at most the shards that were under way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from secprune.compute.api import Work
from secprune.crypto.seal import TAG_BYTES
from secprune.errors import LocalEnvironmentError
from secprune.exchange.api import Topic
from secprune.exchange.directory import open_exchange
from secprune.packing import WORD_BYTES
from secprune.parties.session import PHASE_OF, REPORT_OF
from secprune.protocols.api import Round
from secprune.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from secprune.packing import Layout
    from secprune.parties.session import Session

CHUNKS_IN_SHARD = 16
"""64 MiB of words of each client: seconds of work, so that neither starting it nor losing it costs much."""


class Shard(Struct, frozen=True):
    """A run of a round's chunks, and the digests of each report's bytes for them.

    Attributes:
        index: of the shard.
        first: its first chunk.
        end: one past its last chunk.
        digests: for each report, one for each of these chunks.
    """

    index: int
    first: int
    end: int
    digests: tuple[tuple[str, ...], ...]


class ShardFunction(Protocol):
    """Made of a round, an open exchange and whatever else it needs; every chunk it put is stored when it returns."""

    def __call__(self, shard: Shard) -> bytes:
        """The shard's result."""


def shards_of(layout: Layout, reports: Sequence[Sequence[str]]) -> list[Shard]:
    """All shards of a round.

    Args:
        layout: of the round.
        reports: the digests of the chunks of each report.
    """
    count = len(layout.chunks)
    return [
        Shard(
            index,
            first,
            min(first + CHUNKS_IN_SHARD, count),
            tuple(tuple(digests[first : first + CHUNKS_IN_SHARD]) for digests in reports),
        )
        for index, first in enumerate(range(0, count, CHUNKS_IN_SHARD))
    ]


def run_shards(
    session: Session,
    purpose: str,
    function: Callable[..., ShardFunction],
    arguments: tuple[Any, ...],
    shards: Sequence[Shard],
    *,
    is_intact: Callable[[bytes], bool] = lambda _result: True,
    done: Callable[[int], object] = lambda _chunks: None,
) -> list[bytes]:
    """Results of all shards, in order.

    Args:
        session: whose journal keeps them, and whose workers make them.
        purpose: what the results are kept under in this round.
        function: of a module; `function(round, exchange, *arguments)` is applied to the shards.
        arguments: picklable, may be secret.
        shards: of the round.
        is_intact: whether a result that was kept is still good; one that is not is made again.
        done: told how many chunks are done.

    Raises:
        SecpruneError: whatever the function raises, of the first shard that does not work.
    """
    journal, round_ = session.journal, session.round
    kept_as = _kept_as(purpose)
    results = {index: kept for index, kept in journal.shards(kept_as).items() if is_intact(kept)}
    due = [shard for shard in shards if shard.index not in results]
    if not due:
        return [results[shard.index] for shard in shards]
    work = Work(
        _elsewhere,
        (function, session.task.canonical, round_.index, session.exchange_location, *arguments),
        here=function(round_, session.exchange, *arguments),
    )
    for shard, result in zip(due, session.workers.map(work, due, count=len(due)), strict=True):
        journal.keep_shard(kept_as, shard.index, result)
        results[shard.index] = result
        done(shard.end)
    return [results[shard.index] for shard in shards]


def write_shards(
    session: Session,
    purpose: str,
    function: Callable[..., ShardFunction],
    arguments: tuple[Any, ...],
    reports: Sequence[Sequence[str]],
    *,
    done: Callable[[int], object],
) -> tuple[str, ...]:
    """The digests of all chunks that a function writes, in order; what is still in the exchange is not made again.

    They are recorded here: other processes have put some of them.

    Args:
        session: as `run_shards` takes it, and so `purpose`, `function`, `arguments` and `done`.
        purpose: likewise.
        function: likewise; its results are made by `join_digests`.
        arguments: likewise.
        reports: the digests of the chunks of each report.
        done: likewise.
    """
    written = run_shards(
        session,
        purpose,
        function,
        arguments,
        shards_of(session.round.layout, reports),
        is_intact=lambda result: session.are_there(_split_digests(result)),
        done=done,
    )
    digests = tuple(digest for result in written for digest in _split_digests(result))
    sizes = (chunk.words * WORD_BYTES + TAG_BYTES for chunk in session.round.layout.chunks)
    session.journal.record_chunks(zip(digests, sizes, strict=True))
    return digests


def forget_shards(session: Session, purpose: str) -> None:
    """Remove results that are not needed any more."""
    session.journal.forget_shards(_kept_as(purpose))


def _kept_as(purpose: str) -> str:
    """With the size of shards: another release may cut the same round into others."""
    return f"{purpose} by {CHUNKS_IN_SHARD}"


def _elsewhere(
    function: Callable[..., ShardFunction], task: bytes, index: int, exchange: str, *arguments: object
) -> ShardFunction:
    """Make the function in another process, which has nothing but what is sent to it."""
    round_ = Round.of(msgspec.json.decode(task, type=Task), index)
    board = open_exchange(exchange, base=Path("/"))
    # A worker that does not see the exchange would put what it makes where nobody looks.
    topic = Topic(round_.task_id, index, PHASE_OF[REPORT_OF[round_.task.protocol.name]])
    if next(iter(board.messages(topic)), None) is None:
        raise LocalEnvironmentError(
            "a worker sees no report of this round in the exchange",
            hint="all workers must reach the exchange under the same path or URL as this party; then run the same "
            "command again; what is done is kept",
        )
    return function(round_, board, *arguments)


def join_digests(digests: Iterable[str]) -> bytes:
    """The result of a shard that wrote chunks."""
    return " ".join(digests).encode()


def _split_digests(result: bytes) -> list[str]:
    return result.decode().split()
