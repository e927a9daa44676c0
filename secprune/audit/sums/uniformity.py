"""Whether 64-bit words are uniform, and whether two samples of them can be told apart.

Each test gives a p-value: how probable it is that honest words look at least so odd. They are taken together by
Bonferroni's bound: a sample is odd if the smallest one, times their number, is below the level. Nothing here can tell words
that are random from words that are predictable by who knows a key: where the words come from has to be looked at elsewhere.

Source: Pearson's chi-square; its tail by the incomplete gamma function (Press et al., "Numerical Recipes", section 6.2);
of binomial counts Chernoff's bound (Annals of Mathematical Statistics 23, 1952), which is never too small.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from secprune.packing import WORD_BYTES

if TYPE_CHECKING:
    import numpy.typing as npt

    from secprune.packing import Words

PValue = tuple[str, float]
"""What was tested, and how probable honest words make it."""

_BITS = 64
_BYTE_VALUES = 256
_STEPS = 10_000


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Probability that a chi-square variable is at least so large."""
    a, x = degrees / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:  # the series of the lower part converges
        term = total = 1 / a
        for step in range(1, _STEPS):
            term *= x / (a + step)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1 - scale * total)
    b = x + 1 - a  # else the continued fraction of the upper part, by Lentz's method
    c, d = 1e300, 1 / b
    value = d
    for step in range(1, _STEPS):
        factor = step * (a - step)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return min(1.0, scale * value)


def coin_tail(heads: int, tosses: int) -> float:
    """At least the probability that a fair coin falls as unevenly as this, either way."""
    share = heads / tosses
    divergence = sum(part * math.log(2 * part) for part in (share, 1 - share) if part)
    return min(1.0, 2 * math.exp(-tosses * divergence))


def uniform(name: str, words: Words) -> list[PValue]:
    """Of one sample: each byte's values, and each bit's mean."""
    counts = _byte_counts(words)
    expected = words.size / _BYTE_VALUES
    found = [
        (f"{name}: byte {place}", chi_square_tail(_pearson(of_byte, expected), _BYTE_VALUES - 1))
        for place, of_byte in enumerate(counts)
    ]
    deviations = (_bits(words).sum(axis=0, dtype=np.float64) - words.size / 2) / math.sqrt(words.size / 4)
    return [*found, (f"{name}: means of bits", chi_square_tail(float((deviations**2).sum()), _BITS))]


def same(name: str, one: Words, other: Words) -> list[PValue]:
    """Of two samples of one size: whether each byte's values are as frequent in both."""
    found = []
    for place, (first, second) in enumerate(zip(_byte_counts(one), _byte_counts(other), strict=True)):
        both = first + second
        seen = both > 0
        statistic = float(((first - second)[seen] ** 2 / both[seen]).sum())
        found.append(
            (f"{name}: byte {place}", chi_square_tail(statistic, max(1, int(np.count_nonzero(seen)) - 1)))
        )
    return found


def together(name: str, one: Words, other: Words) -> PValue:
    """Of words that belong together in pairs: how often their bits agree."""
    equal = _BITS * one.size - int(np.bitwise_count(one ^ other).sum(dtype=np.int64))
    return name, coin_tail(equal, _BITS * one.size)


def told_apart(one: Words, other: Words) -> tuple[int, int]:
    """How often a linear classifier of a word's bits says rightly which of two samples it is from, and of how many words.

    It is trained by least squares on the first half of each sample, and asked about the second half.
    """
    half = one.size // 2
    train = np.concatenate([_signs(one.reshape(-1)[:half]), _signs(other.reshape(-1)[:half])])
    labels = np.repeat([-1.0, 1.0], half)
    weights = np.linalg.lstsq(train.T @ train, train.T @ labels, rcond=None)[0]
    scores = [_signs(sample.reshape(-1)[half : 2 * half]) @ weights for sample in (one, other)]
    # A word without a score is given to the first sample: half of all words are from it.
    right = int(np.count_nonzero(scores[0] <= 0)) + int(np.count_nonzero(scores[1] > 0))
    return right, 2 * half


def _bytes(words: Words) -> npt.NDArray[np.uint8]:
    """(words, 8), the least significant one first."""
    return np.ascontiguousarray(words.reshape(-1)).astype("<u8").view(np.uint8).reshape(-1, WORD_BYTES)


def _bits(words: Words) -> npt.NDArray[np.uint8]:
    """(words, 64), the least significant one first."""
    return np.unpackbits(_bytes(words), axis=1, bitorder="little")


def _signs(words: Words) -> npt.NDArray[np.float64]:
    """Bits as -1 and 1, and a constant: (words, 65)."""
    bits = _bits(words).astype(np.float64) * 2 - 1
    return np.concatenate([bits, np.ones((len(bits), 1))], axis=1)


def _byte_counts(words: Words) -> list[npt.NDArray[np.int64]]:
    return [np.bincount(column, minlength=_BYTE_VALUES) for column in _bytes(words).T]


def _pearson(counts: npt.NDArray[np.int64], expected: float) -> float:
    return float(((counts - expected) ** 2).sum() / expected)
