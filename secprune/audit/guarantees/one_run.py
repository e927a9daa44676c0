"""Lower bounds on epsilon from one run: many canaries, each put in by a coin, and how many coins were guessed right.

Of m canaries, each in the data with probability 1/2, somebody who sees only the result guesses r, and v guesses are right.
With (epsilon, delta)-differential privacy for adding or removing one canary, v cannot be much larger than that of r coins of
probability exp(epsilon) / (exp(epsilon) + 1). An epsilon for which so many right guesses have a probability below the level
is refuted, and so is everything below it.

*Any mechanism*: theorem 5.2 of Steinke, Nasr and Jagielski, "Privacy auditing with one (1) training run" (NeurIPS 2023, arXiv
2305.08846). *Gaussian curve*: the same question about mu, for mechanisms that are as private as Gaussian noise at every delta at
once; Mahloujifar, Melis and Chaudhuri, "Auditing f-differential privacy in one run" (arXiv 2410.22235), theorem 3.2 and
algorithm 3. It refutes more: that the mechanism has a Gaussian's trade-off between errors, not each pair (epsilon, delta).

Both hold for one number of guesses that is fixed beforehand; who tries several divides the level by how many.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.guarantees.curve import epsilon_of_mu
from secprune.audit.guarantees.distributions import binomial_above, log_choose, normal_shift

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS = 40
"""Of a bisection between two neighbouring powers of two."""


def p_value(*, canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Probability of so many right guesses or more, at most, under (epsilon, delta)-differential privacy.

    beta + 2 m delta alpha, with X of the binomial distribution of r coins, beta = P(X >= v) and alpha = the largest
    P(v > X >= v - i) / i of all i from 1 on.

    Args:
        canaries: m, each in or out by a fair coin.
        guesses: r, how many coins were guessed, from 0 to m.
        right: v.
        epsilon: 0 or more.
        delta: from 0 to 1.
    """
    return _PValue(canaries, guesses, right, delta)(epsilon)


def epsilon_bound(*, canaries: int, guesses: int, right: int, delta: float, level: float) -> float:
    """Epsilon is at least this, whatever the mechanism, unless something has happened of probability `level` at most.

    Args:
        canaries: m, each in or out by a fair coin.
        guesses: r, how many coins were guessed; chosen without looking at the coins.
        right: v, how many of them right.
        delta: of the claim; of use only if far below 1 / m.
        level: as 0.05.

    Returns:
        0 if nothing can be said.
    """
    p = _PValue(canaries, guesses, right, delta)
    # p rises with epsilon as long as it is below one half: both of its terms do, up to where v is what is expected.
    return _last(lambda epsilon: p(epsilon) < level)


def mu_bound(*, canaries: int, guesses: int, right: int, level: float) -> float:
    """The same for mu of the Gaussian trade-off curve: noise is at most sensitivity / mu.

    Were the probability of v or more right guesses equal to the level, the curve would bound, from v downwards, how much
    probability there can be for each smaller number; if all of it together is less than there is, mu is refuted.
    """
    return _last(lambda mu: _exceeds(canaries, guesses, right, level, mu))


def gaussian_epsilon_bound(*, canaries: int, guesses: int, right: int, delta: float, level: float) -> float:
    """`mu_bound` as the epsilon of that curve at `delta`."""
    return epsilon_of_mu(mu_bound(canaries=canaries, guesses=guesses, right=right, level=level), delta)


class _PValue:
    """`p_value` for many epsilons: what does not depend on epsilon is computed once."""

    def __init__(self, canaries: int, guesses: int, right: int, delta: float) -> None:
        if not 0 <= right <= guesses <= canaries:
            raise ValueError(f"{right} of {guesses} guesses about {canaries} canaries cannot be right")
        self._guesses, self._right, self._factor = guesses, right, 2 * canaries * delta
        self._below = np.arange(right - 1, -1, -1)  # v - 1, v - 2, ..., 0
        self._ways = log_choose(guesses, self._below)

    def __call__(self, epsilon: float) -> float:
        # Logarithms of the coin's two sides, exact for every epsilon.
        heads, tails = -math.log1p(math.exp(-epsilon)), -epsilon - math.log1p(math.exp(-epsilon))
        beta = binomial_above(self._right, self._guesses, math.exp(heads))
        each = np.exp(self._ways + self._below * heads + (self._guesses - self._below) * tails)
        alpha = float((np.cumsum(each) / np.arange(1, each.size + 1)).max(initial=0.0))
        return min(1.0, beta + self._factor * alpha)


def _exceeds(canaries: int, guesses: int, right: int, level: float, mu: float) -> bool:
    """Whether v right guesses are too many for mu: the recursion of algorithm 3, from v downwards.

    With q_i the probability of exactly i right guesses, `right_share` is the sum of q_i i / m over the i seen so far, and
    `wrong_share` that of q_i (r - i) / m. Over all i they are r / m together.
    """
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"{right} of {guesses} guesses about {canaries} canaries cannot be right")
    power = normal_shift(mu)
    right_share, wrong_share = level * right / canaries, level * (guesses - right) / canaries
    for i in range(right - 1, -1, -1):
        least = power(right_share)
        if least <= wrong_share:
            break  # nothing changes any more
        right_share = min(1.0, right_share + i / (guesses - i) * (least - wrong_share))
        wrong_share = least
    return right_share + wrong_share > guesses / canaries


def _last(refuted: Callable[[float], bool]) -> float:
    """Up to where everything is refuted, from below; 0 if nothing is."""
    low, high = 0.0, 2.0**-10
    if not refuted(high):
        return 0.0
    while refuted(high):
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
