"""The row-sum check: a report is refused if its rows do not hold the number of ones they must.

Each aggregator opens one word per row group, the sum of its share over the columns, to the other
aggregators. All of them together sum to a public constant for an honest report, so they say nothing
beyond that. What it catches: any net excess or deficit in a row group. What it does not: a +5/-5 pair in
one row group (the counts are then wrong, and no single client's privacy is touched), and an aggregator
that lies about its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.packing import row_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from secprune.messages.types import Report
    from secprune.packing import Layout, Words
    from secprune.protocols.api import ReportReader


def report_row_sums(
    reader: ReportReader, layout: Layout, report: Report, fetch: Callable[[str], bytes]
) -> Words:
    """Read a whole report once and sum its words over the columns. Run by an aggregator.

    Args:
        reader: this aggregator's view of the report.
        layout: of the round.
        report: names the chunks.
        fetch: returns the bytes that a digest names, verified against it.

    Returns:
        (row groups of all slabs,), the words to open.

    Raises:
        RemoteMisbehaviourError: the client signed chunks that do not open.
    """
    sums = []
    for chunk, digest in zip(layout.chunks, report.chunks, strict=True):
        data = fetch(digest) if reader.needs_bytes else b""
        sums.append(row_sums(reader.share(chunk, data)))
    return np.concatenate(sums)


def row_sum_fault(layout: Layout, opened: Sequence[Words]) -> str:
    """Compare the aggregators' opened words with the public constant. Run by every aggregator.

    Args:
        layout: of the round.
        opened: one (row groups,) vector from each aggregator.

    Returns:
        "" if they fit, else which rows of which matrix do not.
    """
    total = np.sum(opened, axis=0, dtype=np.uint64)  # (row groups,), wraps modulo 2^64
    expected = np.concatenate([chunk.row_sum_targets() for chunk in layout.chunks])
    wrong = np.flatnonzero(total != expected)
    if not len(wrong):
        return ""
    group = int(wrong[0])
    for slab in layout.slabs:
        if group < slab.groups:
            first = group * slab.digits
            matrix, low, high = next(slab.pieces(first, min(first + slab.digits, slab.rows)))
            return (
                f"{len(wrong)} row groups do not hold {slab.row_k} pruned weights a row, first rows "
                f"{low} to {high - 1} of {matrix.name}"
            )
        group -= slab.groups
    raise AssertionError("a row group outside every slab")
