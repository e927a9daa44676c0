"""Noise on votes: its distribution, the bound where it is cut, and that a mask is looked at after it was drawn."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import numpy as np
import pytest
from gaussian_fit import DRAWS, LIMIT, discrete_misfit, exact, seeded
from hypothesis import given
from hypothesis import strategies as st
from small_study import make_study

from secprune.errors import ConfigurationError
from secprune.privacy import votes
from secprune.privacy.votes import CountNoise, are_noised, count_noise, cut_bound, turned, unbiased_votes
from secprune.protocols.api import Round
from secprune.task import CountNoiseSpec, PrivacySpec, ResponseSpec

VARIANCES = [Fraction(1, 100), Fraction(1, 4), Fraction(7, 3), Fraction(64, 3), Fraction(1000)]


def noisy(sigma="2", colluders=0):
    spec = CountNoiseSpec(sigma=sigma, colluders=colluders)
    return PrivacySpec(mechanism="count-noise", count_noise=spec)


def responding(flip="0.05"):
    return PrivacySpec(mechanism="randomised-response", response=ResponseSpec(flip=flip))


# ---- count noise
def tail(variance, bound):
    """P(|X| > bound), to 50 digits."""
    with decimal.localcontext(prec=60):
        v = decimal.Decimal(variance.numerator) / variance.denominator
        reach = math.isqrt(int(400 * variance)) + bound + 50
        weights = [(-decimal.Decimal(x * x) / (2 * v)).exp() for x in range(reach)]
        return 2 * sum(weights[bound + 1 :]) / (2 * sum(weights) - 1)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("draws", [1, 1000, 7 * 10**9 * 64])
def test_all_draws_of_a_task_together_are_within_the_bound_but_for_one_in_2_to_the_40(variance, draws):
    bound = cut_bound(variance, draws)
    assert draws * tail(variance, bound) <= decimal.Decimal(2) ** -40
    # Control: a bound that is a quarter lower is too low, unless nothing is left to cut.
    assert bound < 4 or draws * tail(variance, 3 * bound // 4) > decimal.Decimal(2) ** -40


@given(st.fractions(Fraction(1, 10**6), 10**6), st.integers(1, 2**56))
def test_the_bound_is_the_smallest_that_the_inequality_allows(variance, draws):
    least = 2 * variance * Fraction(6931471806, 10**10) * (41 + (draws - 1).bit_length())
    bound = cut_bound(variance, draws)
    assert bound**2 < least <= (bound + 1) ** 2
    assert Fraction(6931471806, 10**10) > Fraction(math.log(2))


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_noise_on_a_mask_of_zeros_fits_the_exact_distribution(variance):
    noise = CountNoise(variance, cut_bound(variance, 10**9))
    sent = noise.on(np.zeros((DRAWS // 100, 100), np.bool_), seeded(1))
    assert sent.dtype == noise.dtype
    draws = sent.astype(np.int64).reshape(-1) - noise.bound
    assert max(discrete_misfit(draws, exact(variance)).values()) < LIMIT
    if variance >= Fraction(1, 4):  # the control: of another variance it would be noticed
        assert max(discrete_misfit(draws, exact(variance * Fraction(11, 10))).values()) > LIMIT


def test_a_vote_adds_one_whatever_the_noise_is():
    noise = CountNoise(Fraction(5), 20)
    zeros, ones = (noise.on(np.full((30, 7), value), seeded(3)) for value in (False, True))
    np.testing.assert_array_equal(ones.astype(int) - zeros, 1)


def test_noise_beyond_the_bound_is_cut_there(monkeypatch):
    monkeypatch.setattr(
        votes, "discrete_gaussian", lambda *_: np.array([-(10**6), -10, -9, 0, 9, 10, 10**6], np.int64)
    )
    noise = CountNoise(Fraction(1), 9)
    assert noise.on(np.zeros((1, 7), np.bool_)).tolist() == [[0, 0, 0, 9, 18, 18, 18]]
    assert noise.on(np.ones((1, 7), np.bool_)).tolist() == [[1, 1, 1, 10, 19, 19, noise.most]]


@pytest.mark.parametrize(("bound", "dtype"), [(127, np.uint8), (128, np.uint16), (2**15 - 1, np.uint16)])
def test_the_largest_number_fits_into_its_type(bound, dtype):
    noise = CountNoise(Fraction(1, 100), bound)
    sent = noise.on(np.ones((2, 2), np.bool_), seeded(1))
    assert (sent.dtype, noise.dtype) == (dtype, dtype)
    assert noise.most <= np.iinfo(dtype).max
    assert (abs(sent.astype(int) - bound - 1) <= 1).all()


@pytest.mark.parametrize("noised", ["count noise", "response"])
def test_a_mask_is_looked_at_after_all_noise_was_drawn(noised):
    """Entropy that turns the mask round under way: were it looked at before, the old mask would show."""
    mask = np.zeros((10, 10), np.bool_)

    draw, ones = seeded(5), np.ones((10, 10), np.bool_)

    def entropy(size):
        mask[:] = True
        return draw(size)

    if noised == "count noise":
        noise = CountNoise(Fraction(1), 30)
        found, due = noise.on(mask, entropy), noise.on(ones, seeded(5))
    else:
        found, due = turned(mask, Fraction(1, 3), entropy), turned(ones, Fraction(1, 3), seeded(5))
    np.testing.assert_array_equal(found, due)


# ---- randomised response
@pytest.mark.parametrize("flip", ["0.05", "0.25", "0.499999999999999999", "0.001"])
@pytest.mark.parametrize("vote", [False, True])
def test_votes_are_turned_round_as_often_as_the_task_says(flip, vote):
    p = Fraction(flip)
    mask = np.full((DRAWS // 100, 100), vote)
    found = turned(mask, p, seeded(int(p.denominator) % 97))
    count = int((found != mask).sum())
    sigma = math.sqrt(DRAWS * p * (1 - p))
    assert abs(count - DRAWS * p) < LIMIT * sigma
    assert abs(count - DRAWS * p * Fraction(3, 2)) > LIMIT * sigma  # the control
    assert (mask == vote).all(), "the mask itself stays"


@pytest.mark.parametrize("flip", [Fraction(1, 20), Fraction(123, 1000), Fraction(1, 3)])
def test_of_all_numbers_below_the_denominator_exactly_the_numerator_turns_a_vote(monkeypatch, flip):
    monkeypatch.setattr(votes, "uniform_below", lambda bound, size, _: np.arange(size) % bound)
    mask = np.zeros((flip.denominator, 2), np.bool_)
    assert turned(mask, flip).sum() == 2 * flip.numerator


def test_the_estimate_of_turned_votes_has_the_true_mean():
    flip, clients, size = Fraction(1, 5), 20, 5000
    truth = np.arange(size) % (clients + 1)
    mask = np.arange(clients)[:, np.newaxis] < truth
    counts = turned(mask, flip, seeded(4)).sum(axis=0)
    estimate = unbiased_votes(counts, cohort=clients, flip=flip)
    spread = math.sqrt(clients * size * 0.2 * 0.8) / 0.6
    assert abs((estimate - truth).sum()) < LIMIT * spread
    assert abs((estimate - truth)[truth < 5].sum()) < LIMIT * spread
    assert (counts - truth)[truth < 5].sum() > LIMIT * spread  # the control: the counts themselves are biased
    assert unbiased_votes(np.array([4, 16]), cohort=20, flip=flip).round(9).tolist() == [0, 20]


# ---- tasks
def test_the_noise_of_a_task_is_divided_among_the_honest(tmp_path):
    task = make_study(tmp_path, clients=5, min_clients=4, privacy=noisy("3", 1), with_masks=False).task
    noise = count_noise(task)
    weights = sum(m.rows * m.columns for m in task.model.matrices)
    assert noise.variance == Fraction(9, 3)
    assert noise.bound == cut_bound(noise.variance, weights * 5)
    assert are_noised(task)
    layout = Round.of(task).layout
    assert {slab.base for slab in layout.slabs} == {5 * noise.most + 1}
    assert {slab.row_k for slab in layout.slabs} == {None}
    for slab in layout.slabs:
        assert slab.base**slab.digits <= 2**64 < slab.base ** (slab.digits + 1)


def test_randomised_response_changes_no_word_but_rows_have_no_budget(tmp_path):
    plain = make_study(tmp_path / "a", with_masks=False).task
    task = make_study(tmp_path / "b", privacy=responding(), with_masks=False).task
    assert are_noised(task)
    assert not are_noised(plain)
    assert {(s.base, s.digits) for s in Round.of(task).layout.slabs} == {
        (s.base, s.digits) for s in Round.of(plain).layout.slabs
    }
    assert {slab.row_k for slab in Round.of(task).layout.slabs} == {None}


def test_more_noise_than_a_counter_holds_is_refused(tmp_path):
    study = make_study(tmp_path, privacy=noisy("2"), with_masks=False)
    Round.of(study.task)
    with pytest.raises(ConfigurationError, match="room for 16 bits"):
        Round.of(make_study(tmp_path / "b", privacy=noisy("100000"), with_masks=False).task)
