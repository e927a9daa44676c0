"""The row-sum check: a report is refused if its rows do not hold the number of ones they must.

Each aggregator opens one word per row group, the sum of its share over the columns, to the other
aggregators. All of them together sum to a public constant for an honest report, so they say nothing
beyond that. What it catches: any net excess or deficit in a row group. What it does not: a +5/-5 pair in
one row group (the counts are then wrong, and no single client's privacy is touched), and an aggregator
that lies about its words.

Slabs without a row budget have no such constant. Their words would tell every aggregator how many weights a client
prunes in each row, and nothing could be checked with them, so they are never opened. Where no slab has a budget the
vector of words is empty: it is sealed all the same, and says that its aggregator could read the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.crypto.seal import KEY_BYTES, ChunkCipher, Context, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import Parcel, SealedKey
from secprune.packing import row_sums
from secprune.protocols.words import vector_from_bytes, words_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secprune.crypto.identity import Identity
    from secprune.packing import Chunk, Layout, Words
    from secprune.protocols.api import Round


def _context(round_: Round, sender: str, receiver: str, client: str) -> Context:
    return Context(round_.task_id, round_.index, "row-sums", sender, receiver, client)


def seal_row_sums(
    round_: Round,
    words: Words,
    *,
    sender: str,
    receiver: str,
    client: str,
    entropy: Callable[[int], bytes],
    put: Callable[[bytes], str],
) -> Parcel:
    """Open one report's row-sum words to one other aggregator: sealed, stored with `put`, named in a parcel."""
    context = _context(round_, sender, receiver, client)
    content_key = entropy(KEY_BYTES)
    digest = put(ChunkCipher(content_key, context, count=1).seal(0, words_to_bytes(words)))
    sealed = seal_secret(content_key, round_.task.party(receiver).sealing_key, context)
    return Parcel(key=SealedKey(receiver=receiver, sealed=sealed), chunks=(digest,))


def open_row_sums(
    round_: Round,
    parcels: Sequence[Parcel],
    *,
    sender: str,
    receiver: str,
    client: str,
    identity: Identity,
    fetch: Callable[[str], bytes],
) -> Words:
    """Read the row-sum words of one report that `sender` opened to `receiver`: (row groups,).

    Raises:
        RemoteMisbehaviourError: `sender` opened none, or something else.
    """
    parcel = next((p for p in parcels if p.key.receiver == receiver), None)
    if parcel is None or len(parcel.chunks) != 1:
        raise RemoteMisbehaviourError(f"{sender} opened no row sums of {client}'s report", party=sender)
    context = _context(round_, sender, receiver, client)
    content_key = open_secret(parcel.key.sealed, identity.opening, context)
    if len(content_key) != KEY_BYTES:
        raise RemoteMisbehaviourError(f"{sender} sealed a key of the wrong length", party=sender)
    data = ChunkCipher(content_key, context, count=1).open(0, fetch(parcel.chunks[0]))
    return vector_from_bytes(data, row_group_count(round_.layout), sender=sender)


def opened_words(chunk: Chunk, share: Words) -> Words:
    """What an aggregator opens of its share of a chunk: one word for each row group, or none without a row budget.

    Args:
        chunk: of the report.
        share: the aggregator's, (groups, columns).
    """
    return np.zeros(0, np.uint64) if chunk.slab.row_k is None else row_sums(share)


def row_group_count(layout: Layout) -> int:
    """Row groups of all slabs with a row budget: how many words an aggregator opens for a report."""
    return sum(slab.groups for slab in layout.slabs if slab.row_k is not None)


def row_sum_fault(layout: Layout, opened: Sequence[Words]) -> str:
    """Compare the aggregators' opened words with the public constant. Run by every aggregator.

    Args:
        layout: of the round.
        opened: one (row groups,) vector from each aggregator, of the slabs that have a row budget.

    Returns:
        "" if they fit, else which rows of which matrix do not.
    """
    total: Words = np.add.reduce(np.stack(opened), axis=0)  # (row groups,), wraps modulo 2^64
    targets = [due for chunk in layout.chunks if (due := chunk.row_sum_targets()) is not None]
    if not targets:
        return ""
    wrong = np.flatnonzero(total != np.concatenate(targets))
    if not len(wrong):
        return ""
    group = int(wrong[0])
    for slab in (slab for slab in layout.slabs if slab.row_k is not None):
        if group < slab.groups:
            first = group * slab.digits
            matrix, low, high = next(slab.pieces(first, min(first + slab.digits, slab.rows)))
            return (
                f"{len(wrong)} row groups do not hold {slab.row_k} pruned weights a row, first rows "
                f"{low} to {high - 1} of {matrix.name}"
            )
        group -= slab.groups
    raise AssertionError("a row group outside every slab")
