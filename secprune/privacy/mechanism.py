"""From one patient's feature statistics to a bounded vector of whole numbers, and from a noised sum back to features.

For each distinct input of linear modules, with s the mean over the patient's tokens of the squares of each feature and r
the same of public text (`Reference`):

    x = log(s / r), less its mean over the input's features, cut to +-LOG_LIMIT        `log_features`
    x clipped jointly over all inputs to the norm C sqrt(63/64)                        `secprune.pruning.clipping`
    v = x 2^20 / C, cut to whole numbers towards zero; and COUNT_UNITS                 `to_grid`
    sum over patients of v, and discrete Gaussian noise                                `secprune.privacy.gaussian`
    mean = sum of x / number of patients, shrunk by what noise it holds                `Estimate`
    square-means = exp(mean) r: what Wanda takes

The mean over features is taken off because Wanda compares weights of one matrix, whose features all come from one input: a
factor common to them changes no comparison, and without it the norm is smallest. Cutting towards zero makes no norm larger, so
the bound holds for the numbers that are summed, exactly; `to_grid` computes it again with integers and refuses to trust the
floating-point clip before it.

Sensitivity: adding or removing a patient changes the sum by a vector of norm NORM at most, whatever else is in it. Everything
after the noise is post-processing.

Source of the mechanism: clipping and noising a sum of bounded vectors is the Gaussian mechanism (Dwork and Roth, "The algorithmic
foundations of differential privacy", 2014, sec. 3.5.3), here with discrete noise (Canonne, Kamath and Steinke, arXiv
2004.00010). Of the shrinkage: James and Stein, "Estimation with quadratic loss" (1961), positive part; of the few public directions:
Zhou, Wu and Banerjee, "Bypassing the ambient dimension: private SGD with gradient subspace identification" (ICLR 2021), there
inside a mechanism, here after it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from secprune.errors import LocalMisuseError
from secprune.privacy.grid import COUNT_UNITS, FEATURES_NORM_SQUARED, NORM, RAW_UNITS
from secprune.vectors import VALUE_BOUND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.int64)

LOG_LIMIT = 4.0
"""Of one feature's logarithm: a feature that one patient excites more than 55 times as much says no more than one of 55."""

_FLOOR = 1e-9
"""Of a square-mean, in parts of the largest of its input: zeros, as behind a ReLU, have no logarithm."""

_SMALLEST = 1e-300

FEATURES_SHARE = math.sqrt(FEATURES_NORM_SQUARED) / NORM
"""The norm that is left to features, of the clip bound."""


def parted(vector: npt.NDArray[Number], lengths: Mapping[str, int]) -> dict[str, npt.NDArray[Number]]:
    """Cut a vector of all inputs into those of each one, in order: views of it, by name."""
    ends = np.cumsum(list(lengths.values()))
    return dict(zip(lengths, np.split(vector, ends[:-1]), strict=True))


def log_features(square_means: Floats, reference: Floats) -> Floats:
    """One patient's features of one input, as logarithms about the public reference.

    Args:
        square_means: (features,), not negative; all zero if none of the patient's tokens got there.
        reference: (features,), above zero.

    Returns:
        (features,) in [-LOG_LIMIT, LOG_LIMIT]; all zero if nothing is known, or if anything is not finite.
    """
    if not np.isfinite(square_means).all() or not square_means.any():
        return np.zeros(square_means.shape)
    x = log_square_means(square_means) - np.log(reference)
    x = np.clip(
        x - np.median(x), -2 * LOG_LIMIT, 2 * LOG_LIMIT
    )  # a feature that is never on does not move the mean
    return np.asarray(np.clip(x - x.mean(), -LOG_LIMIT, LOG_LIMIT))


def log_square_means(square_means: Floats) -> Floats:
    """Logarithms of one unit's square-means of one input, not all zero: (features,)."""
    floor = max(_SMALLEST, _FLOOR * float(square_means.max()))
    return np.asarray(np.log(np.maximum(square_means, floor)))


def to_grid(clipped: Floats, clip: Fraction) -> Integers:
    """A patient's clipped features as whole numbers whose norm is within its bound, exactly.

    Args:
        clipped: (features of all inputs,), of norm `clip` FEATURES_SHARE up to rounding; checked here.
        clip: the task's bound C.

    Returns:
        (features,), with sum of squares at most FEATURES_NORM_SQUARED.
    """
    # Within +-2 NORM, so that sums of squares are exact in 64 bits.
    steps = np.clip(np.nan_to_num(clipped, posinf=0, neginf=0) * (NORM / float(clip)), -2 * NORM, 2 * NORM)
    scale = 1.0
    while True:
        v = np.trunc(steps * scale).astype(np.int64)
        norm_squared = sum(int(part @ part) for part in np.array_split(v, 1 + v.size // 2**20))
        if norm_squared <= FEATURES_NORM_SQUARED:
            return v
        scale *= min(1 - 2**-20, math.sqrt(FEATURES_NORM_SQUARED / norm_squared))


def raw_to_grid(square_sums: Floats, reference: Floats) -> Integers:
    """Square-sums as whole numbers of r / RAW_UNITS, to the nearest: each is off by r / RAW_UNITS / 2 at most.

    A sum over n clients is therefore off by n r / 2^17, where r is what a single token adds in public text.

    Args:
        square_sums: (features,) of one input, over all tokens of one client.
        reference: (features,) square-means of public text.

    Returns:
        (features,) int64.

    Raises:
        LocalMisuseError: too many tokens for the grid.
    """
    scaled = np.rint(square_sums / reference * RAW_UNITS)
    if not (scaled < VALUE_BOUND).all():
        raise LocalMisuseError(
            "the sums of squares do not fit the grid: a feature is far larger than in public text",
            hint="use fewer windows, or a public reference of text that is more alike",
        )
    return np.asarray(scaled.astype(np.int64))


def raw_square_sums(sums: Integers, reference: Floats) -> Floats:
    """What `raw_to_grid` has made whole numbers of: (features,)."""
    return np.asarray(sums * (reference / RAW_UNITS))


class Estimate:
    """What a noised sum says: about how many patients, and the mean of their features.

    The mean is shrunk towards the public reference by what noise it holds, in two parts: within the few directions in which
    public documents differ from each other, where most of what hospitals have in common lies and little of the noise, and
    outside of them, input by input. Each part is shrunk as by a positive-part James-Stein estimate; without noise nothing is.

    Args:
        sums: of each input's features, (features,) int64, by the input's name.
        patients: the sum of the coordinate that counts them.
        clip: the task's bound C.
        variance: of the noise on each coordinate of the sum, in steps of the grid squared; 0 for none.
        directions: by input, (directions, features); orthonormal over all inputs together; public.

    Attributes:
        patients: estimated number, at least 1, and at least the standard deviation of the estimate.
        features: mean logarithms by input, shrunk.
        kept: share of the mean that the shrinkage left, from 0 (nothing but noise) to 1: within the public directions,
            and of the middle one of the inputs outside of them.
        noise: standard deviation of the noise on a feature's mean, before it was shrunk.
    """

    def __init__(
        self,
        sums: Mapping[str, Integers],
        patients: int,
        *,
        clip: Fraction,
        variance: Fraction,
        directions: Mapping[str, Floats],
    ) -> None:
        step = float(clip) / NORM  # of the grid
        # Where the number is lost in its own noise, that noise bounds it: a sum divided by too little would be
        # taken for a large shift, divided by too much it only tends to the reference.
        self.patients = max(1.0, patients / COUNT_UNITS, math.sqrt(variance) / COUNT_UNITS)
        self.noise = math.sqrt(variance) * step / self.patients
        means = {name: sum_ * (step / self.patients) for name, sum_ in sums.items()}
        along = np.sum([directions[name] @ mean for name, mean in means.items()], axis=0)  # (directions,)
        within = self._share(along)
        outside: list[float] = []
        self.features: dict[str, Floats] = {}
        for name, mean in means.items():
            common = directions[name].T @ along
            rest = mean - common
            outside.append(self._share(rest))
            x = within * common + outside[-1] * rest
            self.features[name] = np.asarray(np.clip(x, -LOG_LIMIT, LOG_LIMIT))
        self.kept = within, float(np.median(outside))

    def _share(self, part: Floats) -> float:
        """What is left of a part of the mean, of its own number of coordinates."""
        energy, n = float(part @ part), part.size
        if not self.noise or not energy:
            return 1.0
        # Two standard deviations more than noise alone has: of a hundred inputs with no signal, half would otherwise
        # have a little more energy than is expected of noise, and all that would be taken for signal.
        noise = (n + 2 * math.sqrt(2 * n)) * self.noise**2
        return max(0.0, 1 - noise / energy)

    def square_means(self, reference: Mapping[str, Floats]) -> dict[str, Floats]:
        """The statistics that Wanda takes, up to a factor for each input: exp(mean) r."""
        return {name: np.exp(x) * reference[name] for name, x in self.features.items()}
