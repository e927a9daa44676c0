"""Weights as whole numbers: the mean of what clients kept, against float64 and exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune import fixedpoint
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.fixedpoint import FixedPoint, reach_of

BITS = st.integers(8, 16)
ROUNDING = 1 + 1e-9
"""What float64 may add to a bound that holds for exact arithmetic."""


@st.composite
def _cohorts(draw):
    """Weights and masks of some clients, (clients, rows, columns), none beyond the reach."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    reach = reach_of(draw(st.sampled_from([1e-42, 3e-5, 0.37, 1.0, 65504.0, 1e30])))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    # Drawn as shares, so that ties between two whole numbers and both ends come up.
    shares = draw(
        hnp.arrays(
            np.float64, shape, elements=st.one_of(st.floats(-1, 1), st.sampled_from([-1.0, 1.0, 0.5, -0.25]))
        )
    )
    masks = draw(hnp.arrays(np.bool_, shape))
    return (shares * reach).astype(dtype), masks, reach


def summed(fixed, weights, masks, reach):
    encoded = [fixed.encode(w, mask, reach=reach) for w, mask in zip(weights, masks, strict=True)]
    assert [cut for _, cut in encoded] == [0] * len(weights)
    return np.sum([numbers.astype(np.uint32) for numbers, _ in encoded], axis=0, dtype=np.uint32)


@given(_cohorts(), BITS)
def test_the_mean_is_within_the_stated_bound_and_zero_where_nobody_kept(cohort, bits):
    weights, masks, reach = cohort
    fixed, kept = FixedPoint(bits), (~masks).sum(axis=0)
    sums = summed(fixed, weights, masks, reach)
    assert int(sums.max()) <= len(weights) * fixed.most
    mean = fixed.mean(sums, kept, cohort=len(weights), reach=reach)
    assert mean.dtype == np.float64
    for place in np.ndindex(mean.shape):
        mine = [Fraction(float(w[place])) for w, mask in zip(weights, masks, strict=True) if not mask[place]]
        exact = sum(mine) / len(mine) if mine else Fraction(0)
        error = abs(Fraction(float(mean[place])) - exact)
        assert error <= Fraction(fixed.error(reach)) * Fraction(ROUNDING)
        assert mine or mean[place] == 0


@pytest.mark.parametrize("bits", [8, 15, 16])
def test_the_bound_is_reached_and_halves_with_every_bit(bits):
    fixed, reach = FixedPoint(bits), 2.0
    step = reach / fixed.half
    weights = np.array([[2.4999, -7.5001, 0.4999]]) * step
    mean = fixed.mean(
        summed(fixed, [weights], [np.zeros((1, 3), bool)], reach), np.ones((1, 3), int), cohort=1, reach=reach
    )
    error = np.abs(mean - weights)
    assert (error <= fixed.error(reach) * ROUNDING).all()
    assert (error > 0.999 * fixed.error(reach)).all()
    assert fixed.error(reach) == pytest.approx(2 / (2**bits - 2))


def test_ties_go_to_even_and_a_pruned_weight_is_sent_as_zero():
    fixed = FixedPoint(8)  # half = 127
    weights = np.array([[0.5, 1.5, -0.5, -1.5, 3, 3]])
    pruned = np.array([[False, False, False, False, False, True]])
    numbers, cut = fixed.encode(weights, pruned, reach=127.0)
    assert numbers.tolist() == [[127, 129, 127, 125, 130, 127]]
    assert numbers.dtype == np.uint16
    assert cut == 0


@given(
    BITS,
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)),
    hnp.arrays(np.bool_, (3, 4)),
)
def test_kept_weights_beyond_the_reach_are_cut_to_it_and_counted(bits, weights, pruned):
    fixed, reach = FixedPoint(bits), 10.0
    numbers, cut = fixed.encode(weights, pruned, reach=reach)
    step = reach / fixed.half
    beyond = ~pruned & (np.abs(weights) > reach + step)
    assert np.count_nonzero(beyond) <= cut <= np.count_nonzero(~pruned & (np.abs(weights) > reach))
    assert (numbers[beyond] == np.where(weights[beyond] > 0, fixed.most, 0)).all()
    assert int(numbers.max()) <= fixed.most
    assert (numbers[pruned] == fixed.half).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_kept_weight_that_is_not_finite_is_refused_and_a_pruned_one_is_not_looked_at(value):
    weights = np.array([[0.5, value]], np.float32)
    with pytest.raises(ConfigurationError, match="not a finite number"):
        FixedPoint(15).encode(weights, np.zeros((1, 2), bool), reach=1.0)
    numbers, cut = FixedPoint(15).encode(weights, np.array([[False, True]]), reach=1.0)
    assert (numbers[0, 1], cut) == (FixedPoint(15).half, 0)


def test_rows_are_worked_on_in_pieces(monkeypatch):
    rng = np.random.default_rng(5)
    weights, pruned = rng.normal(size=(7, 3)) * 2, rng.random((7, 3)) < 0.5
    whole, cut = FixedPoint(12).encode(weights, pruned, reach=2.0)
    assert cut > 0
    for chunk in (1, 3, 6, 8):
        monkeypatch.setattr(fixedpoint, "_CHUNK", chunk)
        pieces, again = FixedPoint(12).encode(weights, pruned, reach=2.0)
        np.testing.assert_array_equal(pieces, whole)
        assert again == cut


@pytest.mark.parametrize("excess", [1, -1])
@pytest.mark.parametrize("keepers", [0, 1, 3])
def test_a_sum_that_so_many_kept_weights_do_not_have_is_refused(excess, keepers):
    """At the limit it passes, one more does not: also where nobody kept the weight, of which any sum but zero is one."""
    fixed, cohort = FixedPoint(10), 3
    limit = cohort * fixed.half + excess * keepers * fixed.half
    sums, kept = np.full((2, 2), cohort * fixed.half, np.uint32), np.full((2, 2), keepers)
    sums[1, 0] = limit
    assert fixed.mean(sums, kept, cohort=cohort, reach=5.0)[1, 0] == (excess * 5.0 if keepers else 0)
    sums[1, 0] = limit + excess if limit + excess >= 0 else 2**32 - 1
    with pytest.raises(RemoteMisbehaviourError, match="do not belong together"):
        fixed.mean(sums, kept, cohort=cohort, reach=5.0)


def test_more_votes_than_clients_are_refused_whatever_the_sum():
    fixed = FixedPoint(10)
    with pytest.raises(RemoteMisbehaviourError):
        fixed.mean(np.full((1, 1), 2 * fixed.half, np.uint32), np.array([[-1]]), cohort=2, reach=1.0)


def test_the_largest_roster_and_width_fit_into_32_bits():
    assert (2**16 - 1) * FixedPoint(16).most < 2**32


@pytest.mark.parametrize("largest", [np.inf, np.nan, 1e308])
def test_weights_without_a_finite_reach_are_refused(largest):
    with pytest.raises(ConfigurationError, match="not finite"):
        reach_of(largest)


def test_the_reach_of_a_matrix_of_zeros_is_not_zero():
    assert reach_of(0.0) == 1.0
    assert reach_of(0.25) == 0.5
