"""The exact privacy of Gaussian noise: between mu, the sensitivity in standard deviations of the noise, and (epsilon, delta).

    delta(epsilon) = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu)

It is less than what zero-concentrated differential privacy gives for the same noise, by 7% at epsilon 1, and this is why an
audit compares with it: noise that is a little too small would still be within the claim. Written apart from
`secprune.privacy.accounting`, which it is compared with.

Source: Balle and Wang, "Improving the Gaussian mechanism for differential privacy" (ICML 2018, arXiv 1805.06530), theorem 8.
"""

from __future__ import annotations

import math

from secprune.audit.guarantees.distributions import log_normal_below

_STEPS = 80
"""Of a bisection: more than a floating-point number can tell apart."""


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The least epsilon of Gaussian noise at `delta`; infinite without noise.

    Args:
        mu: sensitivity in standard deviations of the noise, 0 or more.
        delta: above 0 and below 1.
    """
    if math.isinf(mu):
        return math.inf
    if mu <= 0 or _log_delta(0.0, mu) <= math.log(delta):
        return 0.0
    low, high = (
        0.0,
        mu * (mu / 2 + math.sqrt(-2 * math.log(delta))),
    )  # a tail bound of the normal distribution
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _log_delta(middle, mu) <= math.log(delta) else (middle, high)
    return high


def mu_of_epsilon(epsilon: float, delta: float) -> float:
    """The largest mu whose noise keeps (epsilon, delta); both above 0."""
    low, high = 0.0, 1.0
    while epsilon_of_mu(high, delta) <= epsilon:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of_mu(middle, delta) <= epsilon else (low, middle)
    return low


def _log_delta(epsilon: float, mu: float) -> float:
    first = log_normal_below(mu / 2 - epsilon / mu)
    second = epsilon + log_normal_below(-mu / 2 - epsilon / mu)
    return first + math.log1p(-math.exp(second - first)) if second < first else -math.inf
