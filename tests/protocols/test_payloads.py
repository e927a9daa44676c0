"""What everybody who sees a whole sum of votes, or of votes and kept weights, checks of it."""

from __future__ import annotations

import numpy as np
import pytest
from small_study import MATRICES, make_study

from secprune.fixedpoint import FixedPoint
from secprune.packing import Layout, PackedMatrix, pack, row_sums
from secprune.protocols.additive.row_sums import row_sum_fault
from secprune.protocols.api import Round
from secprune.protocols.payloads import Votes, VotesAndWeights, holds_weights, kept_name
from secprune.task import FedSpaLLMSpec, PruningSpec


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


@pytest.fixture(scope="module")
def with_weights(tmp_path_factory):
    """A round of four clients of FedSpaLLM, whose numbers have 12 bits."""
    pruning = PruningSpec(
        algorithm="fedspallm",
        sparsity="1/2",
        sequence_length=8,
        max_windows=4,
        fedspallm=FedSpaLLMSpec(weight_bits=12),
    )
    return Round.of(make_study(tmp_path_factory.mktemp("study"), pruning=pruning, with_masks=False).task)


def test_slabs_of_votes_come_first_and_then_the_same_matrices_weights(with_weights):
    fixed, slabs = FixedPoint(12), with_weights.layout.slabs
    assert with_weights.payload == VotesAndWeights(fixed)
    kinds = [holds_weights(slab) for slab in slabs]
    assert kinds == sorted(kinds)
    assert [slab.index for slab in slabs] == list(range(len(slabs)))
    votes, weights = ([s for s, kind in zip(slabs, kinds, strict=True) if kind == w] for w in (False, True))
    assert {slab.base for slab in votes} == {5}
    assert {slab.base for slab in weights} == {4 * fixed.most + 1}
    assert {slab.row_k for slab in slabs} == {None}, "no sums of words are opened: they would tell more"
    named = [
        {(m.name, m.rows, m.columns) for slab in half for m in slab.matrices} for half in (votes, weights)
    ]
    assert named == [set(MATRICES), {(kept_name(name), *shape) for name, *shape in MATRICES}]


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("cohort", [3, 4])
def test_of_both_sums_the_cohort_s_limit_passes_and_no_more(with_weights, weights, cohort, excess):
    """Whatever chunk and row it is in, the last real one too; of the whole roster more than the limit has no digit."""
    most = FixedPoint(12).most if weights else 1
    for chunk in (c for c in with_weights.layout.chunks if holds_weights(c.slab) == weights):
        rows = chunk.end_row - chunk.first_row
        for row in (0, rows - 1):
            sums = np.zeros((rows, chunk.slab.columns), np.uint16)
            sums[row, -1] = cohort * most + (excess if cohort == 3 else 0)
            words = pack(sums, base=chunk.slab.base, digits=chunk.slab.digits)
            read = with_weights.payload.read(chunk, words, cohort_size=cohort)
            if excess and cohort == 3:
                assert read is None
            else:
                np.testing.assert_array_equal(read, sums)
