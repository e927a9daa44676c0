"""Bounds from one run, against slow implementations of the same theorems, other bounds, and simulated mechanisms."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from secprune.audit.guarantees.curve import epsilon_of_mu, mu_of_epsilon
from secprune.audit.guarantees.one_run import (
    epsilon_bound,
    gaussian_epsilon_bound,
    mu_bound,
    p_value,
)
from secprune.errors import LocalEnvironmentError

NORMAL = NormalDist()


def slow_p_value(m, r, v, ratio, delta):
    """Theorem 5.2 in fractions, for exp(epsilon) = ratio."""
    q = Fraction(ratio) / (1 + Fraction(ratio))
    pmf = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    alpha = max((sum(pmf[v - i : v], Fraction(0)) / i for i in range(1, v + 1)), default=Fraction(0))
    return min(Fraction(1), sum(pmf[v:], Fraction(0)) + 2 * m * Fraction(delta) * alpha)


def slow_exceeds(m, r, v, level, mu):
    """Algorithm 3 of Mahloujifar et al., written down index by index."""

    def inverse(x):
        return 0.0 if x <= 0 else 1.0 if x >= 1 else NORMAL.cdf(NORMAL.inv_cdf(x) - mu)

    R, H = {v: level * v / m}, {v: level * (r - v) / m}
    for i in range(v - 1, -1, -1):
        H[i] = max(H[i + 1], inverse(R[i + 1]))
        R[i] = R[i + 1] + i / (r - i) * (H[i] - H[i + 1])
    return R[0] + H[0] > r / m


@given(
    st.integers(1, 40).flatmap(lambda r: st.tuples(st.just(r), st.integers(0, r))),
    st.fractions(1, 50, max_denominator=20),
    st.sampled_from([Fraction(0), Fraction(1, 10**6), Fraction(1, 100)]),
)
@settings(max_examples=60, deadline=None)
def test_p_value_is_the_theorems(guesses, ratio, delta):
    r, v = guesses
    found = p_value(canaries=r + 7, guesses=r, right=v, epsilon=math.log(ratio), delta=float(delta))
    assert found == pytest.approx(float(slow_p_value(r + 7, r, v, ratio, delta)), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("m", "r", "v"), [(100, 100, 80), (1000, 50, 45), (2000, 400, 300), (60, 60, 60)])
def test_gaussian_bound_is_the_algorithms(m, r, v):
    bound = mu_bound(canaries=m, guesses=r, right=v, level=0.05)
    assert bound > 0
    assert slow_exceeds(m, r, v, 0.05, bound * (1 - 1e-6))
    assert not slow_exceeds(m, r, v, 0.05, bound * (1 + 1e-6))


def test_one_guess_at_one_canary_is_a_test_between_two_normals():
    # The best guess is right with probability Phi(mu / 2): at level p it refutes mu < 2 Phi^-1(p).
    for level in (0.6, 0.8, 0.95):
        bound = mu_bound(canaries=1, guesses=1, right=1, level=level)
        assert bound == pytest.approx(0.0 if level < 0.5 else 2 * NORMAL.inv_cdf(level), rel=1e-6)


@pytest.mark.parametrize(("r", "v"), [(200, 170), (1000, 632), (20_000, 12_000), (50, 50)])
def test_without_delta_the_bound_is_clopper_and_pearsons(r, v):
    share = beta.ppf(0.05, v, r - v + 1)
    bound = epsilon_bound(canaries=r, guesses=r, right=v, delta=0, level=0.05)
    assert bound == pytest.approx(math.log(share / (1 - share)), rel=1e-6)


@pytest.mark.parametrize("bound", [epsilon_bound, gaussian_epsilon_bound])
def test_guesses_that_are_no_better_than_a_coin_show_nothing(bound):
    for r, v in ((0, 0), (100, 0), (100, 50), (1000, 500), (5, 5 - 1)):
        assert bound(canaries=1000, guesses=r, right=v, delta=1e-6, level=0.05) == 0


@pytest.mark.parametrize("bound", [epsilon_bound, gaussian_epsilon_bound])
def test_more_right_guesses_show_more(bound):
    found = [bound(canaries=1000, guesses=200, right=v, delta=1e-6, level=0.05) for v in range(120, 201, 10)]
    assert all(less < more for less, more in pairwise(found))


def test_a_large_delta_leaves_little():
    with_delta = [
        epsilon_bound(canaries=1000, guesses=200, right=180, delta=d, level=0.05) for d in (0, 1e-5, 1e-3)
    ]
    assert with_delta[0] > with_delta[1] > with_delta[2] > 0
    assert epsilon_bound(canaries=1000, guesses=200, right=180, delta=0.1, level=0.05) == 0


def test_impossible_guesses_are_refused():
    for m, r, v in ((10, 11, 5), (10, 5, 6), (10, 5, -1)):
        with pytest.raises(ValueError, match="cannot be right"):
            p_value(canaries=m, guesses=r, right=v, epsilon=1, delta=0)
        with pytest.raises(ValueError, match="cannot be right"):
            mu_bound(canaries=m, guesses=r, right=v, level=0.05)


def guessed(rng, m, r, mu):
    """Right ones of the r surest guesses about m canaries under Gaussian noise."""
    included = rng.integers(0, 2, m)
    scores = included * mu - mu / 2 + rng.standard_normal(m)
    surest = np.argsort(-np.abs(scores))[:r]
    return int(((scores > 0) == included)[surest].sum())


@pytest.mark.parametrize("epsilon", [1, 4])
@pytest.mark.parametrize("bound", [epsilon_bound, gaussian_epsilon_bound])
def test_a_bound_is_above_the_truth_in_no_more_than_one_run_of_twenty(bound, epsilon):
    rng, mu = np.random.default_rng(epsilon), mu_of_epsilon(epsilon, 1e-5)
    found = {}
    rights = [guessed(rng, 500, 60, mu) for _ in range(300)]
    for v in set(rights):
        found[v] = bound(canaries=500, guesses=60, right=v, delta=1e-5, level=0.05)
    assert sum(found[v] > epsilon for v in rights) <= 0.05 * 300
    assert np.mean([found[v] for v in rights]) > epsilon / 10  # and it says something


def test_randomised_response_meets_the_bound_for_any_mechanism():
    # The mechanism for which the theorem is tight: coins that are right with probability e^eps / (e^eps + 1).
    rng, epsilon = np.random.default_rng(5), 1.5
    right = rng.binomial(400, 1 / (1 + math.exp(-epsilon)), size=400)
    bounds = {
        v: epsilon_bound(canaries=400, guesses=400, right=v, delta=0, level=0.05) for v in set(right.tolist())
    }
    above = np.mean([bounds[v] > epsilon for v in right.tolist()])
    assert 0.01 <= above <= 0.085  # 5%, less what discreteness takes
    assert np.median([bounds[v] for v in right.tolist()]) > 1.2


@pytest.mark.parametrize(
    ("epsilon", "any_mechanism", "gaussian"), [(1, 0.48, 0.59), (2, 0.92, 1.16), (8, 3.8, 5.3)]
)
def test_bounds_are_those_of_the_literatures_setting(epsilon, any_mechanism, gaussian):
    """20,000 canaries under exact Gaussian noise, 95% over seven numbers of guesses: what an independent program found."""
    found, mu = [], mu_of_epsilon(epsilon, 1e-6)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        included = rng.integers(0, 2, 20_000)
        scores = included * mu - mu / 2 + rng.standard_normal(20_000)
        right = np.cumsum(((scores > 0) == included)[np.argsort(-np.abs(scores))])
        best = [0.0, 0.0]
        for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1):
            r = int(share * 20_000)
            options = {"canaries": 20_000, "guesses": r, "right": int(right[r - 1]), "delta": 1e-6}
            best[0] = max(best[0], epsilon_bound(**options, level=0.05 / 7))
            best[1] = max(best[1], gaussian_epsilon_bound(**options, level=0.05 / 7))
        found.append(best)
    assert np.mean(found, axis=0) == pytest.approx([any_mechanism, gaussian], rel=0.2)


@pytest.mark.parametrize("delta", [1e-9, 1e-6, 0.01])
@pytest.mark.parametrize("mu", [0.01, 0.2, 1, 5, 40])
def test_the_curve_is_the_accountants(mu, delta):
    dp_accounting = pytest.importorskip("dp_accounting")
    expected = dp_accounting.get_epsilon_gaussian(1 / mu, delta)
    assert epsilon_of_mu(mu, delta) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    if expected:
        assert mu_of_epsilon(expected, delta) == pytest.approx(mu, rel=1e-6)


def test_the_ends_of_the_curve():
    assert epsilon_of_mu(0, 1e-6) == 0
    assert epsilon_of_mu(1e-9, 1e-6) == 0
    assert epsilon_of_mu(math.inf, 1e-6) == math.inf


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(LocalEnvironmentError, match="scipy") as caught:
        epsilon_of_mu(1, 1e-6)
    assert "secprune[dp]" in caught.value.hint
