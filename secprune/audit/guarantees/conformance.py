"""Is the noise that parties add the noise that is accounted for? Their own code, with zeros in front of it.

A lower bound from canaries does not notice noise that is too small by a factor of root two; the variance of a hundred thousand
draws does, at once, down to one percent. What is tested, in each round:
* the sum of squares of the whole noise, against too little and too much;
* the same of all single parties' parts, because the whole hardly shows if one of many is missing;
* the whole noise's shape, by Kolmogorov's test, because a variance alone makes no Gaussian.

Exact for what is promised, a sum of discrete Gaussians: its moments and its steps are taken from its probabilities where the
noise is so small that they differ from a Gaussian's. A sum of squares then has the mean and variance of a chi-squared one, of
degrees 2 n / (2 + excess kurtosis); Kolmogorov's test is of u = P(X < x) + v P(X = x) with uniform v, which is uniform.

One study in a thousand that conforms is refuted (`LEVEL`), divided by the number of tests (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.guarantees.distributions import chi_squared_tails, kolmogorov_above, normals_below
from secprune.audit.guarantees.subject import (
    Noise,
    laplace_noise,
    noise_over_sqrt2,
    one_party_omits_noise,
    sigma_for_variance,
)

if TYPE_CHECKING:
    from fractions import Fraction

    from secprune.audit.draws import Draws

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEVEL = 0.001
"""Probability that a study is refuted whose noise is what it should be."""

DRAWS = 100_000
"""Of each party in each round."""

_SMOOTH = 2**12
"""Variance from which a discrete Gaussian's moments and steps are a Gaussian's to six digits."""

_WIDE = 12
"""Standard deviations beyond which there is nothing."""


@dataclass(frozen=True, slots=True)
class _Promised:
    """The distribution of a sum of discrete Gaussians.

    Attributes:
        variance: exact, not the parameter of that name.
        excess: kurtosis, less the Gaussian's.
        probabilities: of the whole numbers from -(size // 2) on; empty where they are a Gaussian's.
    """

    variance: float
    excess: float
    probabilities: Floats

    @classmethod
    def of(cls, variance: Fraction, parties: int) -> _Promised:
        """That of so many parties' noises, each of that parameter."""
        each = float(variance)
        if each >= _SMOOTH:
            return cls(each * parties, 0.0, np.zeros(0))
        one = _discrete_gaussian(each)
        x = _places(one)
        second, fourth = float(one @ x**2), float(one @ x**4)
        excess = fourth / second**2 - 3
        if each * parties >= _SMOOTH:
            return cls(second * parties, excess / parties, np.zeros(0))
        whole = one
        for _ in range(parties - 1):
            whole = _cut(np.convolve(whole, one), each * parties)
        return cls(second * parties, excess / parties, whole)

    def squares(self, total: float, size: int) -> tuple[float, float]:
        """How likely so small, and so large, a sum of squares of so many draws is."""
        degrees = size * 2 / (2 + self.excess)
        return chi_squared_tails(total / self.variance * (degrees / size), degrees)

    def ratio(self, what: str, total: float, size: int) -> Figure:
        """Measured in parts of the promised variance."""
        measured = total / size / self.variance
        error = 1.96 * measured * math.sqrt((2 + self.excess) / size)
        low, value, high = map(_rounded, (measured - error, measured, measured + error))
        return Figure(name=f"{what}, measured / promised", value=value, low=low, high=high)

    def shape(self, noise: Integers, rng: np.random.Generator) -> float:
        """How likely so different a shape is."""
        if self.probabilities.size:
            ends = np.concatenate([[0.0], np.cumsum(self.probabilities)])
            places = np.clip(noise + self.probabilities.size // 2, 0, self.probabilities.size - 1)
            below, above = ends[places], ends[places + 1]
        else:
            sigma, places = math.sqrt(self.variance), noise.astype(np.float64)
            below, above = normals_below((places - 0.5) / sigma), normals_below((places + 0.5) / sigma)
        return kolmogorov_above(below + rng.random(noise.size) * (above - below))


def _discrete_gaussian(variance: float) -> Floats:
    limit = math.ceil(_WIDE * math.sqrt(variance)) + 1
    weights = np.exp(-(np.arange(-limit, limit + 1.0) ** 2) / (2 * variance))
    return np.asarray(weights / weights.sum())


def _places(probabilities: Floats) -> Floats:
    return np.arange(probabilities.size, dtype=np.float64) - probabilities.size // 2


def _cut(probabilities: Floats, variance: float) -> Floats:
    beyond = probabilities.size // 2 - (math.ceil(_WIDE * math.sqrt(variance)) + 1)
    return probabilities[beyond:-beyond] if beyond > 0 else probabilities


def _tested(noise: Noise, index: int, size: int, draws: Draws) -> tuple[list[Figure], list[Figure]]:
    """Of one round: measured variances in parts of promised ones, and how likely each test's finding is."""
    parts, variance = noise.parts(index, size, draws), noise.variances[index]
    whole, promised = np.sum(parts, axis=0), _Promised.of(variance, noise.parties)
    total = _sum_of_squares(whole)
    ratios = [promised.ratio("variance of the noise", total, size)]
    likely = [
        *_tails("the noise", promised.squares(total, size)),
        _likely("such a shape of the noise", promised.shape(whole, draws.numpy)),
    ]
    if noise.parties > 1:
        one, number = _Promised.of(variance, 1), size * noise.parties
        total = sum(_sum_of_squares(part) for part in parts)
        ratios.append(one.ratio("variance of single parties' noise", total, number))
        likely += _tails("single parties' noise", one.squares(total, number))
    return ratios, likely


def _tails(what: str, found: tuple[float, float]) -> list[Figure]:
    less, more = found
    return [_likely(f"so little variance of {what}", less), _likely(f"so much variance of {what}", more)]


def _likely(what: str, probability: float) -> Figure:
    return Figure(name=f"probability of {what}", value=_rounded(probability))


def _sum_of_squares(noise: Integers) -> float:
    return float(np.square(noise.astype(np.float64)).sum())


def _rounded(number: float) -> float:
    """To six digits, which machines that add in another order agree about."""
    return float(f"{number:.6g}")


def _measure(noise: Noise, draws: Draws, size: int) -> Measurement:
    ratios: list[Figure] = []
    likely: list[Figure] = []
    for index in range(len(noise.variances)):
        round_ = f", round {index + 1}" if len(noise.variances) > 1 else ""
        for figures, found in zip((ratios, likely), _tested(noise, index, size, draws), strict=True):
            figures += [replace(figure, name=figure.name + round_) for figure in found]
    refuted = min(figure.value for figure in likely) * len(likely) < LEVEL
    least = min(figure.value for figure in ratios)
    return Measurement(
        refuted=refuted,
        says=(
            f"the noise is not what is promised: its variance is {least:.4g} of that, or its shape is another"
            if refuted
            else f"the noise has the promised shape, and {least:.4f} of the promised variance"
        ),
        figures=(*ratios, *likely),
        sample=size * noise.adding * len(noise.variances),
    )


def noise_conformance(size: int = DRAWS) -> Check[Noise]:
    """The check `noise-conformance`.

    Args:
        size: draws of each party in each round.
    """
    return Check(
        id="noise-conformance",
        title="Noise is what is accounted for",
        asks="Does the noise that parties really add have the promised variance and shape?",
        kind=Kind.CONFORMANCE,
        measure=lambda noise, draws: _measure(noise, draws, size),
        mutations={
            "noise-over-sqrt2": noise_over_sqrt2,
            "sigma-for-variance": sigma_for_variance,
            "one-party-omits-noise": one_party_omits_noise,
            "laplace-noise": laplace_noise,
        },
        source="Canonne, Kamath and Steinke (arXiv 2004.00010); Kolmogorov's and the chi-squared test",
        repeatable=True,
    )
