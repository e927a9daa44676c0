"""Discrete Gaussian noise, exactly: no draw is rounded, and nothing here is a floating-point number.

A draw is z with probability exp(-z^2 / (2 v)) / sum over all whole y of exp(-y^2 / (2 v)), for a rational v. (Its
variance is a little less than v where v is small.) What such noise promises holds for this distribution; a Gaussian
that is computed in floating point has another one, whose gaps tell inputs apart.

How it comes about, one coin at a time:
1. `_Coins.below`: whole numbers below a bound. Words that would make some of them likelier are thrown away.
2. `_Coins.exp_minus`, `_Coins.runs`: coins that show heads with probability exp(-a), for a up to 1 and for a = 1.
3. `_Coins.laplace`: two-sided geometric numbers, from these.
4. `discrete_gaussian` keeps each of them with probability exp(-a), a = (|y| - v / t)^2 / (2 v).

In step 4 the exponent a is a fraction of large integers, one for each candidate. It is cut in three: whole + part /
2^32 + rest, with rest < 2^-32, and a candidate is kept if three independent coins say so, of exp(-whole), exp(-part /
2^32) and exp(-rest). The third needs the large integers only when 32 random bits are all zero, for otherwise its
first coin, of probability rest, shows tails, and it shows heads. That is exact: the rest is decided late, not dropped.

Bounds, so that 64 bits never overflow: v < 2^100, hence t = floor(sqrt(v)) + 1 <= 2^50; a run is shorter than
_ROUNDS = 2^9; so |y| <= t - 1 + t (2^9 - 1) < 2^59. Exponents are cut at _ROUNDS, which no run reaches: whole and part
together take at most 2^41. A coin of probability a / k is two coins, a and 1 / k, not one over a product.

Entropy: every byte is asked for once, used for one number, and forgotten; leftovers are thrown away.

Not claimed: constant time. How long it takes depends on how many candidates are refused, hence on the noise, as a sum
over some ten thousand candidates, but never on the data: draw the noise before touching data. Broken entropy is
refused rather than waited for (`_not_random`). With true randomness that has a probability below 2^-400; given that
it did not happen, the distribution is as stated.

Source: Canonne, Kamath and Steinke, "The discrete Gaussian for differential privacy" (NeurIPS 2020, arXiv
2004.00010), algorithms 1 to 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError, LocalEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

Integers = npt.NDArray[np.int64]
Heads = npt.NDArray[np.bool_]

MAX_VARIANCE = 2**100
"""Variances are below this, so that every draw fits into 64 bits."""

_ROUNDS = 2**9
"""Tosses that nothing survives, each of probability 1/2 at most, if the entropy is any good."""

_IN_VAIN = 16
"""Batches without a single draw, of at least 66 tries each, of which three in ten come to something at worst."""

_BATCH = 2**16
"""Candidates at a time: enough that numpy's overhead does not matter, few enough to stay in the cache."""

_PREFIX_BITS = 32
"""Of an exponent behind the point; the rest is looked at once in 2^32 candidates."""


def discrete_gaussian(
    variance: Fraction, count: int, entropy: Callable[[int], bytes] = random_bytes
) -> Integers:
    """Independent draws from the discrete Gaussian on the whole numbers, centred at zero.

    Args:
        variance: its parameter sigma^2, exactly; above 0 and below MAX_VARIANCE.
        count: how many draws.
        entropy: gives as many random bytes as it is asked for.

    Returns:
        (count,) draws.
    """
    p, q = int(variance.numerator), int(variance.denominator)  # Python's, should they be numpy's
    if p <= 0:
        raise ConfigurationError(f"noise of variance {variance} cannot be drawn: it must be above 0")
    if p >= MAX_VARIANCE * q:
        raise ConfigurationError(
            "noise of variance 2^100 or more cannot be drawn: it might not fit into 64 bits"
        )
    if count < 0:
        raise ValueError(f"cannot draw {count} numbers")
    coins, exponent = _Coins(entropy), _Exponent(p, q)
    found, missing, in_vain = [np.zeros(0, np.int64)], count, 0
    while missing:
        # Almost half of the tries come to something, so that twice as many as are missing nearly do.
        candidates = coins.laplace(exponent.t, min(_BATCH, 2 * missing + 64))
        kept = candidates[_is_kept(np.abs(candidates), exponent, coins)][:missing]
        found.append(kept)
        missing -= kept.size
        in_vain = 0 if kept.size else in_vain + 1
        if in_vain == _IN_VAIN:
            raise _not_random()
    return np.concatenate(found)


def uniform_below(bound: int, count: int, entropy: Callable[[int], bytes] = random_bytes) -> Integers:
    """Independent uniform whole numbers from 0 to bound - 1: (count,).

    Args:
        bound: from 1 to 2^62.
        count: how many.
        entropy: gives as many random bytes as it is asked for.
    """
    return _Coins(entropy).below(bound, count)


class _Exponent:
    """The exponent of one candidate y >= 0 of algorithm 3: a(y) = (y - v / t)^2 / (2 v), with v = p / q.

    With integers alone a(y) = (y q t - p)^2 / (2 p q t^2).
    """

    def __init__(self, p: int, q: int) -> None:
        self.t = math.isqrt(p // q) + 1
        self._factor, self._shift, self._denominator = q * self.t, p, 2 * p * q * self.t**2

    def _numerator(self, y: int) -> int:
        return (y * self._factor - self._shift) ** 2 << _PREFIX_BITS

    def prefixes(self, values: Integers) -> Integers:
        """floor(a(y) 2^_PREFIX_BITS) for each y, at most _ROUNDS 2^_PREFIX_BITS."""
        highest, limit = int(values.max(initial=0)), _ROUNDS << _PREFIX_BITS
        repeated = highest < values.size
        each = range(highest + 1) if repeated else values.tolist()
        table = np.array([min(self._numerator(y) // self._denominator, limit) for y in each], np.int64)
        return table[values] if repeated else table

    def rest(self, y: int) -> tuple[int, int]:
        """What `prefixes` cuts off, times 2^_PREFIX_BITS: numerator and denominator of a number below 1."""
        return self._numerator(y) % self._denominator, self._denominator


def _is_kept(values: Integers, exponent: _Exponent, coins: _Coins) -> Heads:
    """Toss one coin of probability exp(-a(y)) for each y."""
    prefixes = exponent.prefixes(values)
    whole, part = prefixes >> _PREFIX_BITS, prefixes & (2**_PREFIX_BITS - 1)
    kept = coins.exp_minus(part, 2**_PREFIX_BITS)
    far = np.flatnonzero(kept & (whole > 0))
    kept[far] = coins.runs(far.size) >= whole[far]
    left = np.flatnonzero(kept)
    for place in left[coins.below(2**_PREFIX_BITS, left.size) == 0].tolist():
        kept[place] = coins.exp_minus_rest(*exponent.rest(int(values[place])))
    return kept


class _Coins:
    """Coins of exact probabilities, many at a time.

    Args:
        entropy: gives as many random bytes as it is asked for.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy

    def _bytes(self, size: int) -> bytes:
        drawn = self._entropy(size)
        if len(drawn) != size:
            raise LocalEnvironmentError(
                f"the source of randomness gave {len(drawn)} bytes instead of {size}",
                hint="do not use this machine for a study before its random generator works",
            )
        return drawn

    def below(self, bound: int, size: int) -> Integers:
        """Uniform whole numbers from 0 to bound - 1, `bound` at most 2^62: (size,)."""
        if not 1 <= bound <= 2**62:
            raise ValueError(f"numbers below {bound} do not fit")
        if bound == 1:
            return np.zeros(size, np.int64)
        bits = (bound - 1).bit_length()
        width = next(width for width in (1, 2, 4, 8) if 8 * width >= bits)
        usable = 2 ** (8 * width) // bound * bound  # below it, all remainders are equally likely
        words = np.frombuffer(self._bytes(width * size), f"<u{width}")
        if bound & (bound - 1) == 0:
            return (words & (bound - 1)).astype(np.int64)
        words = words.copy()
        for _ in range(_ROUNDS):
            refused = np.flatnonzero(words >= usable)
            if not refused.size:
                return (words % bound).astype(np.int64)
            words[refused] = np.frombuffer(self._bytes(width * refused.size), words.dtype)
        raise _not_random()

    def exp_minus(self, numerators: Integers, denominator: int) -> Heads:
        """Heads with probability exp(-numerator / denominator), numerators from 0 to `denominator`: (size,).

        Algorithm 1: toss coins of probability a / k, k = 1, 2, ..., until one shows tails; heads if that k is odd.
        """
        heads = np.zeros(numerators.size, np.bool_)
        left = np.arange(numerators.size)
        for k in range(1, _ROUNDS):
            go_on = self.below(k, left.size) == 0
            first = left[go_on]
            go_on[go_on] = self.below(denominator, first.size) < numerators[first]
            if k % 2:
                heads[left[~go_on]] = True
            left = left[go_on]
            if not left.size:
                return heads
        raise _not_random()

    def exp_minus_rest(self, numerator: int, denominator: int) -> bool:
        """The same for one exponent a = numerator / denominator / 2^_PREFIX_BITS, of integers of any size.

        The first coin is taken as two, of 1 / 2^_PREFIX_BITS and of numerator / denominator; the former has been
        tossed already and shown heads.
        """
        for k in range(1, _ROUNDS):
            if k > 1 and (self.below(k, 1).any() or self.below(2**_PREFIX_BITS, 1).any()):
                return k % 2 == 1
            if not self._is_below(numerator, denominator):
                return k % 2 == 1
        raise _not_random()

    def _is_below(self, numerator: int, denominator: int) -> bool:
        """Whether a uniform whole number below `denominator` is below `numerator`."""
        bits = denominator.bit_length()
        size = -(-bits // 8)
        for _ in range(_ROUNDS):
            drawn = int.from_bytes(self._bytes(size), "little") >> (8 * size - bits)
            if drawn < denominator:
                return drawn < numerator
        raise _not_random()

    def runs(self, size: int) -> Integers:
        """How often a coin of probability exp(-1) shows heads before it first shows tails; below _ROUNDS: (size,)."""
        lengths = np.zeros(size, np.int64)
        left = np.arange(size)
        for _ in range(_ROUNDS):
            left = left[self.exp_minus(np.ones(left.size, np.int64), 1)]
            if not left.size:
                return lengths
            lengths[left] += 1
        raise _not_random()

    def laplace(self, t: int, tries: int) -> Integers:
        """Numbers y with probability proportional to exp(-|y| / t): (at most `tries`,); algorithm 2 with s = 1."""
        low = self.below(t, tries)
        low = low[self.exp_minus(low, t)]
        sizes = low + t * self.runs(low.size)
        negative = self.below(2, sizes.size) == 1
        signed = np.where(negative, -sizes, sizes)
        drawn: Integers = signed[~negative | (sizes > 0)]  # or zero would come twice as often
        return drawn


def _not_random() -> LocalEnvironmentError:
    return LocalEnvironmentError(
        "the source of randomness repeats itself: what it gave cannot have been random",
        hint="do not use this machine for a study before its random generator works",
    )
