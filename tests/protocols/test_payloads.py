"""What everybody who sees a whole sum of votes checks of it."""

from __future__ import annotations

import numpy as np

from secprune.packing import Layout, PackedMatrix, pack, row_sums
from secprune.protocols.additive.row_sums import row_sum_fault
from secprune.protocols.payloads import Votes


def test_an_excess_that_wraps_around_passes_the_words_and_not_the_rows():
    """Four votes too many in the last of 32 counters to the base 4: 4 times 4^31 is 2^64."""
    layout = Layout.of([PackedMatrix("w", rows=32, columns=8, row_k=4)], n_max=3)
    chunk = layout.chunks[0]
    honest = np.tile(np.array([1, 1, 1, 1, 0, 0, 0, 0], np.uint8), (32, 1))
    stuffed = honest.copy()
    stuffed[31] = 1
    words, more = (pack(mask, base=4, digits=32) for mask in (honest, stuffed))
    assert row_sum_fault(layout, [row_sums(more)]) == ""
    assert Votes().read(chunk, words * np.uint64(3), cohort_size=3) is not None
    assert Votes().read(chunk, words * np.uint64(2) + more, cohort_size=3) is None
    stuffed[31] = honest[31]
    stuffed[30, :] = 1  # control: one row earlier it shows
    assert row_sum_fault(layout, [row_sums(pack(stuffed, base=4, digits=32))]) != ""
