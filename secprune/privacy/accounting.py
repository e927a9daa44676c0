"""Accounting: from the noise that is drawn to the epsilon and delta that may be said of it.

Everything is kept as *rho*, of zero-concentrated differential privacy (zCDP), because there it is exact for the
discrete Gaussian in any dimension and adds up over rounds and studies. It becomes (epsilon, delta) once, at the end.
What is returned is always on the safe side: epsilon and rho are never too small, a noise multiplier never too low.

Sources, by function:
* Canonne, Kamath, Steinke, "The discrete Gaussian for differential privacy" (NeurIPS 2020, arXiv 2004.00010): theorem
  4 (rho of the discrete Gaussian) and proposition 12 with corollary 13 (rho to epsilon and delta).
* Kairouz, Liu, Steinke, "The distributed discrete Gaussian mechanism for federated learning with secure aggregation"
  (ICML 2021, arXiv 2102.06387): proposition 14 (sums of discrete Gaussians).
* Bun, Steinke, "Concentrated differential privacy" (TCC 2016, arXiv 1605.02065): lemma 2.3 (rho adds up) and
  proposition 3.3 (pure differential privacy is concentrated).

No Gaussian accountant of a central limit theorem is here or anywhere else in secprune: it is about many small
subsampled steps, and wrong for one step on all data (6.67 where 4.89 is right, at noise multiplier 1, delta 1e-6).
"""

from __future__ import annotations

import math
from fractions import Fraction

from secprune.errors import ConfigurationError

MIN_PARTY_SIGMA = 4
"""Least standard deviation of one party's part of a distributed noise, in grid units; sums are then as good as exact."""

_LEAST_SIGMA = Fraction(1, 2)
"""Below it proposition 14 of Kairouz, Liu and Steinke says nothing."""

_DECIMALS = 9
"""Of a noise multiplier in a task."""

_SLACK = 1 + Fraction(1, 2**40)
"""Left in a noise multiplier for what a sum of noises costs over a single one (`summed_rho`)."""

_ROUNDING = 1e-12
"""Share that is added for what floating-point numbers lose; they lose a thousandth of it."""

_TINY = 1e-300
"""Stands for a positive number that a floating-point number is too coarse for."""

_RHO_BITS = 128
"""Behind the point, of a rho that would need hundreds."""

_GOLDEN = (math.sqrt(5) - 1) / 2


def epsilon_of_rho(rho: Fraction | float, delta: Fraction | float) -> float:
    """The least epsilon for which rho-zCDP gives (epsilon, delta), from above.

    For every alpha > 1, rho-zCDP gives epsilon(alpha) = rho alpha + log(1 - 1/alpha) - (log delta + log alpha) / (alpha
    - 1), so that any alpha is on the safe side. The best one is found by golden section on log(alpha - 1). There is one
    valley only: epsilon(alpha) <= e holds where h(alpha) = (alpha - 1) (rho alpha - e) + (alpha - 1) log(1 - 1/alpha) -
    log alpha is at most log delta, and h'' = 2 rho + 1 / (alpha (alpha - 1)) > 0, so that these alphas are an interval
    for each e.

    Args:
        rho: 0 or more.
        delta: above 0 and below 1.

    Returns:
        Epsilon; 0 if the data's influence is below delta altogether.
    """
    rate, log_delta = float(rho), math.log(delta)
    if not rate >= 0 or log_delta >= 0:
        raise ValueError(f"no epsilon belongs to rho {rho} and delta {delta}")
    if rate == 0 and rho > 0:
        rate = _TINY
    low, high = -80.0, 400.0
    width = high - low
    left, right = high - _GOLDEN * width, low + _GOLDEN * width
    at_left, at_right = _epsilon_at(left, rate, log_delta), _epsilon_at(right, rate, log_delta)
    while high - low > 1e-9:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = _epsilon_at(left, rate, log_delta)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = _epsilon_at(right, rate, log_delta)
    return max(0.0, min(at_left, at_right))


def _epsilon_at(log_excess: float, rho: float, log_delta: float) -> float:
    """Epsilon(alpha) for alpha = 1 + exp(`log_excess`), with what floating-point numbers lose added."""
    excess = math.exp(log_excess)
    alpha, log_alpha = 1 + excess, math.log1p(excess)
    # Where alpha is near 1, 1 - 1/alpha = excess / alpha keeps its digits; where it is large, log1p does.
    shrunk = log_excess - log_alpha if excess < 1 else math.log1p(-1 / alpha)
    terms = (rho * alpha, shrunk, -log_delta / excess, -log_alpha / excess)
    return math.fsum(terms) + _ROUNDING * math.fsum(map(abs, terms))


def rho_of_gaussian(z: Fraction) -> Fraction:
    """Rho of one discrete Gaussian whose standard deviation is z times the sensitivity, in any dimension: 1 / (2 z^2)."""
    if z <= 0:
        raise ValueError(f"a noise multiplier of {z} is no noise")
    return 1 / (2 * Fraction(z) ** 2)


def noise_multiplier_for(epsilon: Fraction | float, delta: Fraction | float) -> str:
    """The least noise multiplier, in nine decimals, whose noise keeps (epsilon, delta), for one client or many.

    Args:
        epsilon: what is to be claimed, above 0. Exactly what is given: 0.1 as a floating-point number is not 1/10.
        delta: likewise, above 0 and below 1.

    Raises:
        ConfigurationError: no noise multiplier that a task can hold gives so much privacy, or so little.
    """
    claim = Fraction(epsilon)
    if claim <= 0:
        raise ValueError(f"no noise gives an epsilon of {epsilon}")

    def keeps(units: int) -> bool:
        rho = rho_of_gaussian(Fraction(units, 10**_DECIMALS)) * _SLACK
        return Fraction(epsilon_of_rho(rho, delta)) <= claim

    low, high = 10 ** (_DECIMALS - 2), 10 ** (_DECIMALS + 6)  # what a task can hold: 0.01 to a million
    if not keeps(high):
        raise ConfigurationError(
            f"no noise multiplier up to a million gives epsilon {float(epsilon):g} at delta {float(delta):g}",
            hint="claim less privacy",
        )
    if keeps(low):
        raise ConfigurationError(
            f"epsilon {float(epsilon):g} at delta {float(delta):g} takes a noise multiplier below 0.01, which is as good "
            "as none",
            hint="claim more privacy, or none at all",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    whole, part = divmod(high, 10**_DECIMALS)
    return f"{whole}.{part:0{_DECIMALS}d}".rstrip("0").rstrip(".")


def sum_penalty(variance: Fraction, parties: int) -> float:
    """Tau of a sum of `parties` discrete Gaussians of one variance: how far from a discrete Gaussian the sum is.

    Raises:
        ConfigurationError: each part is so small that nothing is known of the sum.
    """
    if parties < 1:
        raise ValueError(f"{parties} parties add no noise")
    if variance < _LEAST_SIGMA**2:
        raise ConfigurationError(
            f"each client would add noise of standard deviation {math.sqrt(variance):.3g}; of the sum of such noises "
            f"nothing can be said below {float(_LEAST_SIGMA)}",
            hint="choose more noise, or a smaller min_clients",
        )
    rate = 2 * math.pi**2 * float(variance)
    # Terms shrink as k grows; _TINY is for those that are too small for a floating-point number.
    terms = math.fsum(math.exp(-rate * k / (k + 1)) for k in range(1, parties))
    return 0.0 if parties == 1 else 10 * terms * (1 + _ROUNDING) + _TINY


def summed_rho(
    *,
    norm: Fraction | int,
    variance: Fraction,
    parties: int,
    dimension: int,
    least_sigma: Fraction | int = MIN_PARTY_SIGMA,
) -> Fraction:
    """Rho of a sum of independent discrete Gaussians, one of each party, in front of a vector.

    With s = norm / (sqrt(parties) sigma), the sum gives epsilon^2 / 2 for epsilon = min(sqrt(s^2 + tau d / 2), s + tau
    sqrt(d)) (proposition 14).

    Args:
        norm: by how much the vector's L2 norm may change, in grid units.
        variance: sigma^2 of each party's noise, in grid units squared.
        parties: whose noise counts.
        dimension: d, coordinates of the vector.
        least_sigma: least standard deviation of each party's noise.

    Raises:
        ConfigurationError: each party's noise is below it.
    """
    if variance < Fraction(least_sigma) ** 2:
        raise ConfigurationError(
            f"each client would add noise of standard deviation {math.sqrt(variance):.3g} grid units, and a sum of such "
            f"noises is accounted for from {float(least_sigma):g} on",
            hint="choose more noise, or a smaller min_clients",
        )
    tau = sum_penalty(variance, parties)
    square = Fraction(norm) ** 2 / (parties * variance)
    if not tau:
        return square / 2
    first = square + Fraction(tau) * dimension / 2
    root = Fraction(math.sqrt(square) * (1 + _ROUNDING)), Fraction(math.sqrt(dimension) * (1 + _ROUNDING))
    second = square + 2 * root[0] * Fraction(tau) * root[1] + Fraction(tau) ** 2 * dimension
    # Rounded up, so that it can be written down.
    return Fraction(math.ceil(min(first, second) / 2 * 2**_RHO_BITS), 2**_RHO_BITS)


def votes_that_differ(weights: int, pruned: int | None) -> int:
    """In how many votes two pruning masks of one client can differ: 2 min(k, d - k) if both prune k of d weights.

    All d if how many a client prunes is not fixed (None).
    """
    if pruned is None:
        return weights
    if not 0 <= pruned <= weights:
        raise ValueError(f"a mask cannot prune {pruned} of {weights} weights")
    return 2 * min(pruned, weights - pruned)


def client_level_rho_of_counts(
    weights: int, pruned: int | None, sigma: Fraction | float, *, parties: int = 1
) -> Fraction:
    """Rho of noisy counts, for replacing one client's whole mask by another one.

    The counts change by at most 1 in each place where votes differ, so that their L2 norm changes by at most the root
    of `votes_that_differ`: 80 474 for LLaMA-7B at 50%, while noise that leaves the counts useful has a sigma of 8.

    Args:
        weights: d, all weights that are voted on.
        pruned: k, those that a client votes for; None if that is not fixed.
        sigma: standard deviation of the noise on each count, of all parties together.
        parties: how many parties' noises add up to it.

    Raises:
        ConfigurationError: each party's part is so small that nothing is known of the sum.
    """
    variance = Fraction(sigma) ** 2 / parties
    tau = sum_penalty(variance, parties)
    # The first form of `summed_rho` alone: these numbers only have to be honest, not tight.
    return (
        Fraction(votes_that_differ(weights, pruned)) / (parties * variance) + Fraction(tau) * weights / 2
    ) / 2


def epsilon_of_flip(flip: Fraction | float) -> float:
    """Epsilon of one vote that is turned round with probability `flip`: log((1 - flip) / flip), Warner's response."""
    if not 0 < flip < Fraction(1, 2):
        raise ValueError(f"a vote cannot be turned round with probability {flip}")
    exact = Fraction(flip)
    ratio = (1 - exact) / exact
    # Near 1/2 the logarithm of a ratio near 1 would lose its digits.
    epsilon = math.log1p(ratio - 1) if ratio < 2 else math.log(ratio.numerator) - math.log(ratio.denominator)
    return epsilon * (1 + _ROUNDING)


def client_level_epsilon_of_response(
    weights: int, pruned: int | None, flip: Fraction | float, delta: Fraction | float
) -> float:
    """Epsilon of randomised response, for replacing one client's whole mask by another one.

    Each of the m votes that differ (`votes_that_differ`) is protected by epsilon_0 (`epsilon_of_flip`). Together that
    is pure m epsilon_0, and also zCDP with rho = m epsilon_0^2 / 2 (Bun and Steinke, proposition 3.3); the smaller one counts.
    """
    differing, each = votes_that_differ(weights, pruned), epsilon_of_flip(flip)
    concentrated = epsilon_of_rho(differing * each**2 / 2 * (1 + _ROUNDING), delta)
    return min(differing * each, concentrated)
