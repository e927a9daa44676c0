"""Before a study: how much noise an epsilon costs a mean of patients, and from how many patients on that is worth it.

Everything is in logarithms about the public reference, per feature, as root mean squares (`mechanism`):

    noise of the mean       s = z C sqrt(n / m) / P, for P patients at n hospitals, of whom m noises make up the whole one
    distance to be learnt   S, of the hospitals' text from the public text: an assumption, measured on public text alone
    what remains            S s / sqrt(S^2 + s^2), of an estimate that is shrunk towards the reference
    public text alone       S remains: the public-only baseline

The remaining error is that of James and Stein's estimate in many dimensions (`mechanism.Estimate`). Outside of the few public
directions it is exact up to the randomness of its share; within them, where hospitals have most in common, the estimate does
better, so that a plan errs on the side of too many patients. Left out of the error: that patients beyond the clip bound are pulled
towards the reference (`pulled_by_clip` says how far), and the noise on the number of patients, whose effect is to that of a
feature's noise as 8 S to C.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from secprune.privacy.accounting import epsilon_of_rho, rho_of_gaussian, summed_rho
from secprune.privacy.grid import NORM
from secprune.privacy.mechanism import FEATURES_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from fractions import Fraction

_HALF = 0.5
"""Of what public text alone loses: an epsilon at which private data regain less is not worth having."""


def noise_of_mean(
    z: Fraction | float, clip: Fraction | float, *, patients: int, clients: int = 1, parties: int = 1
) -> float:
    """Standard deviation of the noise on a feature's mean over all patients, in logarithms.

    Args:
        z: the noise multiplier.
        clip: bound of one patient's norm.
        patients: of all clients together.
        clients: who are counted and add noise; 1 for a hospital that noises its own statistics alone.
        parties: how many of these noises make up the whole one (`guarantee.noise_parties`).
    """
    if patients < 1 or not 1 <= parties <= clients:
        raise ValueError(
            f"{parties} noises of {clients} clients with {patients} patients do not make up a whole one"
        )
    return float(z) * float(clip) * math.sqrt(clients / parties) / patients


def remaining_error(noise: float, shift: float) -> float:
    """What an estimate shrunk towards the reference is off by: below both its noise and the distance.

    Args:
        noise: of the mean, 0 or more.
        shift: true distance of the mean from the reference, above 0.
    """
    return noise / math.hypot(1, noise / shift)


def pulled_by_clip(clip: Fraction | float, *, features: int, spread: float, shift: float) -> float:
    """Which share of the distance to the reference clipping takes from a patient of typical norm, from 0 to 1.

    Args:
        clip: bound of one patient's norm.
        features: how many.
        spread: typical distance of one patient from the mean of patients, root mean square.
        shift: of that mean from the reference.
    """
    norm = math.sqrt(features) * math.hypot(spread, shift)
    return max(0.0, 1 - FEATURES_SHARE * float(clip) / norm)


def epsilons(
    z: Fraction, delta: Fraction | float, *, parties: int, dimension: int
) -> tuple[float, float | None]:
    """Epsilon while enough parties are honest, and if all servers and all other clients work together.

    Args:
        z: the noise multiplier.
        delta: at which.
        parties: how many noises make up the whole one; with one nothing can collapse, and the second epsilon is None.
        dimension: features, the number of patients included.

    Raises:
        ConfigurationError: each party's noise is too small to be accounted for.
    """
    if parties == 1:
        return epsilon_of_rho(rho_of_gaussian(z), delta), None
    whole = summed_rho(norm=NORM, variance=z**2 * NORM**2 / parties, parties=parties, dimension=dimension)
    return epsilon_of_rho(whole, delta), epsilon_of_rho(parties * rho_of_gaussian(z), delta)


class Yardstick:
    """Whether noise leaves enough of what private data could teach.

    Args:
        shift: assumed distance of the hospitals' text from the public text, above 0.
        ladder: (error, agreement) of a model: which share of its pruning mask stays as it is if features are off by that
            much; one of them at `shift` or beyond. Empty if no model is at hand: errors are compared instead.
    """

    def __init__(self, shift: float, ladder: Iterable[tuple[float, float]] = ()) -> None:
        steps = sorted(ladder)
        if not shift > 0 or (steps and not 0 < steps[0][0] <= shift <= steps[-1][0]):
            raise ValueError(f"this ladder does not measure a shift of {shift}")
        self.shift = shift
        self._errors = [0.0, *(error for error, _ in steps)]
        # A larger error never agrees better: where it seems to, that is chance.
        self._agreement = list(accumulate([1.0, *(share for _, share in steps)], min))

    def agreement(self, error: float) -> float | None:
        """Share of the mask that is as without any error, between the rungs on a straight line; None without a model.

        Args:
            error: of the features, at most `shift`.
        """
        if len(self._errors) == 1:
            return None
        return float(np.interp(error, self._errors, self._agreement))

    def is_worth(self, noise: float) -> bool:
        """Whether at most half of what public text alone loses is lost with this noise of the mean.

        What is lost is agreement; or the error itself, without a model, or where public text alone loses no agreement.
        """
        error = remaining_error(noise, self.shift)
        found, baseline = self.agreement(error), self.agreement(self.shift)
        if found is None or baseline is None or baseline == 1:
            return error <= _HALF * self.shift
        return 1 - found <= _HALF * (1 - baseline)


def fewest(enough: Callable[[int], bool]) -> int:
    """The smallest whole number from 1 on that is enough, where all numbers above one that is enough are so too."""
    high = 1
    while not enough(high):
        high *= 2
    low = high // 2  # not enough, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
