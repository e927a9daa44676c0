"""The tests behind views: tails against other libraries' figures, power against a planted bias, false alarms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.audit.figures import proportion
from secprune.audit.sums.ciphertext_view import scaled
from secprune.audit.sums.uniformity import (
    chi_square_tail,
    coin_tail,
    same,
    together,
    told_apart,
    uniform,
)


# Of scipy.stats.chi2.sf.
@pytest.mark.parametrize(
    ("statistic", "degrees", "tail"),
    [
        (3.841458820694124, 1, 0.05),
        (0.1, 2, 0.951229424500714),
        (255.0, 255, 0.48822252177040637),
        (400.0, 255, 1.6600025244123397e-08),
        (600.0, 255, 7.531973752277973e-30),
        (10.0, 64, 0.9999999999999993),
        (150.0, 64, 7.3276748528037015e-09),
    ],
)
def test_tails_of_chi_square_are_those_of_another_library(statistic, degrees, tail):
    assert chi_square_tail(statistic, degrees) == pytest.approx(tail, rel=1e-6)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_bound_on_coins_is_never_below_the_truth(coins):
    heads, tosses = coins
    far = abs(heads - tosses / 2)
    exact = sum(math.comb(tosses, k) for k in range(tosses + 1) if abs(k - tosses / 2) >= far) / 2**tosses
    assert coin_tail(heads, tosses) >= exact * (1 - 1e-12)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_value(hits):
    figure = proportion("share", *hits)
    assert 0 <= figure.low <= figure.value + 1e-12
    assert figure.value - 1e-12 <= figure.high <= 1


def words(rng, n=8192):
    return rng.integers(0, 2**64, (4, n), np.uint64)


def test_p_values_of_uniform_words_are_uniform():
    """As many below one half and one tenth as there should be: neither blind nor hysterical."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(40):
        one, other = words(rng), words(rng)
        found += [p for _, p in (*uniform("one", one), *same("both", one, other))]
    found = np.array(found)
    assert abs((found < 0.5).mean() - 0.5) < 0.06
    assert abs((found < 0.1).mean() - 0.1) < 0.04


def test_a_bit_that_is_set_a_little_too_often_is_found():
    rng = np.random.default_rng(2)
    biased = words(rng) | (rng.random((4, 8192)) < 0.1).astype(np.uint64) << np.uint64(17)
    assert min(p for _, p in uniform("biased", biased)) < 1e-20
    assert min(p for _, p in same("biased", biased, words(rng))) < 1e-8
    assert min(p for _, p in uniform("control", words(rng))) > 1e-6


def test_a_classifier_learns_a_small_difference_and_nothing_where_there_is_none():
    rng = np.random.default_rng(3)
    mostly = words(rng) & ~((rng.random((4, 8192)) < 0.2).astype(np.uint64) << np.uint64(40))
    right, asked = told_apart(words(rng), mostly)
    assert coin_tail(right, asked) < 1e-9
    right, asked = told_apart(words(rng), words(rng))
    assert coin_tail(right, asked) > 1e-6


def test_a_classifier_that_sees_no_difference_is_right_half_of_the_time():
    same_word = np.full((2, 100), 5, np.uint64)
    assert told_apart(same_word, same_word) == (100, 200)


def test_pairs_that_agree_too_often_are_found():
    rng = np.random.default_rng(4)
    one = words(rng)
    assert together("same", one, one)[1] == 0
    assert together("inverse", one, ~one)[1] == 0
    assert together("others", one, words(rng))[1] > 1e-6


@given(st.integers(2, 2**62), st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_scaling_residues_is_exact(q, values):
    residues = np.array([value % q for value in values], np.uint64)
    assert scaled(residues, q).tolist() == [(int(value) << 64) // q for value in residues]
