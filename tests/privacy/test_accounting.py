"""From noise to epsilon: against an independent minimisation, published anchors, and what must hold for all inputs."""

from __future__ import annotations

import math
from fractions import Fraction

import dp_accounting
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import ConfigurationError
from secprune.privacy import accounting
from secprune.privacy.accounting import (
    client_level_epsilon_of_response,
    client_level_rho_of_counts,
    epsilon_of_flip,
    epsilon_of_rho,
    noise_multiplier_for,
    rho_of_gaussian,
    sum_penalty,
    summed_rho,
    votes_that_differ,
)

LLAMA_7B = 6_476_005_376
RHOS = st.floats(-12, 10).map(lambda exponent: 10**exponent)
DELTAS = st.floats(-15, -1).map(lambda exponent: 10**exponent)


def oracle(rho, delta):
    """The least epsilon, from delta(epsilon) <= delta over a dense grid of alphas, in 50 digits.

    Written from the other side of the conversion: delta = exp((a - 1)(a rho - epsilon)) / (a - 1) (1 - 1/a)^a.
    """
    rho, delta = mpmath.mpf(rho), mpmath.mpf(delta)

    def epsilon(log_excess):
        a = 1 + mpmath.exp(log_excess)
        return a * rho + (a * mpmath.log(1 - 1 / a) - mpmath.log(a - 1) - mpmath.log(delta)) / (a - 1)

    with mpmath.workdps(50):
        coarse = min(mpmath.linspace(-40, 60, 501), key=epsilon)
        fine = min(
            epsilon(x)
            for x in mpmath.linspace(coarse - mpmath.mpf("0.25"), coarse + mpmath.mpf("0.25"), 1001)
        )
        return float(max(fine, 0))


@pytest.mark.parametrize("delta", [1e-12, 1e-6, 1e-2])
@pytest.mark.parametrize("rho", [1e-12, 1e-6, 1e-3, 0.5, 2, 1e4, 5.06e7, 1e10])
def test_epsilon_is_the_least_of_all_alphas(rho, delta):
    ours, least = epsilon_of_rho(rho, delta), oracle(rho, delta)
    # The oracle's grid is 5e-4 wide, and the valley is flat: it may be above the minimum by as little.
    assert least * (1 - 1e-7) <= ours <= least * (1 + 1e-9) + 1e-20
    # Control: a rho that is 1 in 10 000 too small would be noticed.
    assert not least or epsilon_of_rho(rho * 0.9999, delta) < least * (1 - 1e-7)


@pytest.mark.parametrize(("z", "epsilon"), [("0.5", 11.689), ("1", 5.222), ("4.225", 1.078)])
def test_anchors(z, epsilon):
    assert epsilon_of_rho(rho_of_gaussian(Fraction(z)), 1e-6) == pytest.approx(epsilon, abs=5e-4)


@pytest.mark.parametrize("z", ["0.05", "0.3", "1", "10", "1000"])
def test_never_below_the_exact_epsilon_of_the_continuous_gaussian(z):
    exact = dp_accounting.get_epsilon_gaussian(float(z), 1e-6)
    ours = epsilon_of_rho(rho_of_gaussian(Fraction(z)), 1e-6)
    assert exact < ours
    assert ours < exact * 1.15 or float(z) > 100  # little noise is hardly dearer than it must be


@given(rho=RHOS, delta=DELTAS, factor=st.floats(1.001, 100))
def test_epsilon_grows_with_rho_and_shrinks_with_delta(rho, delta, factor):
    here = epsilon_of_rho(rho, delta)
    assert 0 <= here <= epsilon_of_rho(rho * factor, delta)
    assert epsilon_of_rho(rho, min(delta * factor, 0.999)) <= here * (1 + 1e-9)
    # Not worse than the textbook's conversion (Bun and Steinke, proposition 1.3).
    assert here <= (rho + 2 * math.sqrt(rho * math.log(1 / delta))) * (1 + 1e-9)


@pytest.mark.parametrize(("rho", "delta"), [(-1, 1e-6), (math.nan, 1e-6), (1, 1), (1, 0)])
def test_what_has_no_epsilon(rho, delta):
    with pytest.raises(ValueError):
        epsilon_of_rho(rho, delta)
    assert epsilon_of_rho(0, 1e-6) == 0


# ---- noise multipliers
@given(units=st.integers(10**4, 10**9), exponent=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_a_noise_multiplier_keeps_its_claim_and_nothing_smaller_does(units, exponent):
    epsilon, delta = Fraction(units, 10**7), Fraction(1, 10**exponent)
    text = noise_multiplier_for(epsilon, delta)
    assert len(text.partition(".")[2]) <= 9
    z = Fraction(text)
    assert Fraction(epsilon_of_rho(rho_of_gaussian(z), delta)) <= epsilon
    less = z - Fraction(1, 10**9)
    enough = 1 - 1e-12  # that much of rho is left for sums of noises
    assert epsilon_of_rho(rho_of_gaussian(less) / Fraction(enough), delta) > float(epsilon) * (1 - 1e-9)
    assert epsilon_of_rho(rho_of_gaussian(z * (1 - Fraction(1, 10**6))), delta) > float(epsilon)


def test_a_noise_multiplier_that_no_task_can_hold():
    assert noise_multiplier_for(Fraction(1), Fraction(1, 10**6)) == "4.530877118"
    with pytest.raises(ConfigurationError, match="up to a million"):
        noise_multiplier_for(Fraction(1, 10**9), Fraction(1, 10**18))
    with pytest.raises(ConfigurationError, match="as good as none"):
        noise_multiplier_for(Fraction(10**5), Fraction(1, 10**6))


# ---- sums of discrete Gaussians
@pytest.mark.parametrize(
    ("sigma", "tau"), [("1.5", 2.27e-9), ("2", 7.16e-17), ("0.5", 6.95), ("4", 2.62e-68)]
)
def test_what_a_sum_of_64_costs(sigma, tau):
    assert sum_penalty(Fraction(sigma) ** 2, 64) == pytest.approx(tau, rel=1e-2)


def test_tau_against_its_definition():
    expected = 10 * mpmath.nsum(lambda k: mpmath.exp(-2 * mpmath.pi**2 * 2.25 * k / (k + 1)), [1, 8])
    assert sum_penalty(Fraction(9, 4), 9) == pytest.approx(float(expected), rel=1e-9)
    assert sum_penalty(Fraction(9, 4), 1) == 0


def test_small_parts_are_refused():
    what = {"norm": 2**10, "parties": 64, "dimension": 10**6}
    with pytest.raises(ConfigurationError, match="deviation 3"):
        summed_rho(**what, variance=Fraction("3.99") ** 2)
    assert summed_rho(**what, variance=Fraction(16)) > 0
    # Catastrophic: at 1/2 a sum over 745 472 statistics has an epsilon in the thousands where one noise has 5.
    bad = summed_rho(
        norm=4, parties=64, dimension=745_472, variance=Fraction(1, 4), least_sigma=Fraction(1, 2)
    )
    assert epsilon_of_rho(bad, 1e-6) > 1000
    assert epsilon_of_rho(Fraction(16, 64) / Fraction(1, 2), 1e-6) < 6
    with pytest.raises(ConfigurationError, match="nothing can be said"):
        summed_rho(norm=4, parties=64, dimension=10, variance=Fraction(1, 5), least_sigma=0)


@given(
    parties=st.integers(2, 200),
    norm=st.integers(1, 2**20),
    dimension=st.integers(1, 10**7),
    hundredths=st.integers(400, 10**8),
)
def test_a_sum_is_never_cheaper_than_one_noise_and_hardly_dearer(parties, norm, dimension, hundredths):
    variance = Fraction(hundredths, 100) ** 2
    one = Fraction(norm) ** 2 / (2 * parties * variance)
    both = summed_rho(norm=norm, variance=variance, parties=parties, dimension=dimension)
    assert one <= both <= one + Fraction(1, 10**30)


def test_both_forms_of_the_sum_count():
    """With few coordinates the second one is smaller, with many the first one."""
    s, tau = 4 / (8 * 0.8), sum_penalty(Fraction(16, 25), 64)
    for dimension in (1, 10**9):
        found = summed_rho(
            norm=4, variance=Fraction(16, 25), parties=64, dimension=dimension, least_sigma=Fraction(1, 2)
        )
        forms = math.sqrt(s**2 + tau * dimension / 2), s + tau * math.sqrt(dimension)
        assert float(found) == pytest.approx(min(forms) ** 2 / 2, rel=1e-9)


# ---- noise on votes
def test_client_level_epsilon_of_llama_7b():
    rho = client_level_rho_of_counts(LLAMA_7B, LLAMA_7B // 2, 8)
    assert math.sqrt(votes_that_differ(LLAMA_7B, LLAMA_7B // 2)) == pytest.approx(80_474, abs=1)
    assert epsilon_of_rho(rho, 1e-6) == pytest.approx(5.065e7, rel=1e-3)
    assert rho < client_level_rho_of_counts(LLAMA_7B, LLAMA_7B // 2, 8, parties=64) < rho * Fraction(103, 100)


@given(d=st.integers(1, 50), data=st.data())
def test_votes_that_differ_is_the_largest_distance(d, data):
    k = data.draw(st.integers(0, d))
    first = np.arange(d) < k
    last = np.arange(d) >= d - k  # as far from it as a mask with k ones can be
    assert votes_that_differ(d, k) == int(np.sum(first != last))
    assert votes_that_differ(d, None) == d


def test_randomised_response():
    flip = Fraction("0.269")
    assert epsilon_of_flip(flip) == pytest.approx(math.log(0.731 / 0.269), rel=1e-9)
    assert epsilon_of_flip(Fraction(1, 2) - Fraction(1, 10**18)) == pytest.approx(4e-18, rel=1e-6)
    # One vote: pure. Many: concentrated, half of it at epsilon_0 = 1.
    assert client_level_epsilon_of_response(10, 1, flip, 1e-6) == pytest.approx(2 * epsilon_of_flip(flip))
    many = client_level_epsilon_of_response(LLAMA_7B, LLAMA_7B // 2, flip, 1e-6)
    assert 3.2e9 < many < 3.3e9
    assert many < LLAMA_7B * epsilon_of_flip(flip)
    for wrong in (0, Fraction(1, 2), 1):
        with pytest.raises(ValueError):
            epsilon_of_flip(wrong)


@pytest.mark.parametrize("flip", [0.01, 0.1, 0.269, 0.45])
def test_randomised_response_is_as_concentrated_as_is_said(flip):
    """The Renyi divergence of one vote, at many alphas, is at most alpha epsilon_0^2 / 2."""
    epsilon = epsilon_of_flip(flip)
    for alpha in 1 + np.logspace(-6, 2, 200):
        terms = [alpha * math.log(p) + (1 - alpha) * math.log(1 - p) for p in (flip, 1 - flip)]
        divergence = np.logaddexp(*terms) / (alpha - 1)
        assert divergence <= alpha * epsilon**2 / 2 + 1e-9
    assert accounting.epsilon_of_flip(0.01) > 4.5  # control: these are not all tiny
