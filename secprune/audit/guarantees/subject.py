"""The mechanism of a study as a subject: bounded vectors of units, summed, and the noise of parties in front of them.

Fields are the functions that parties run, so that a mutation replaces one of them. What is promised of the noise (variance and
number of parties) is apart from what is done (`draw`, `adding`): a mutation changes the latter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.guarantee import noise_dimension, noise_parties, round_variances
from secprune.privacy.mechanism import to_grid
from secprune.privacy.votes import count_noise

if TYPE_CHECKING:
    from secprune.audit.draws import Draws
    from secprune.task import Task

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Draw = Callable[[Fraction, int, Callable[[int], bytes]], Integers]
"""(variance, how many, entropy) -> noise, as `privacy.gaussian.discrete_gaussian`."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of all parties that add some, in every round.

    Attributes:
        draw: one party's, as it draws it.
        variances: that each party's noise should have, by round, in grid units squared.
        parties: whose noises should make up the whole.
        adding: who add theirs.
    """

    draw: Draw
    variances: tuple[Fraction, ...]
    parties: int
    adding: int

    def parts(self, index: int, size: int, draws: Draws) -> list[Integers]:
        """What each party that should add noise adds to zeros in one round: (size,) of each."""
        parts = [self.draw(self.variances[index], size, draws.entropy) for _ in range(self.adding)]
        return parts + [np.zeros(size, np.int64)] * (self.parties - self.adding)


@dataclass(frozen=True, slots=True)
class NoisedSum:
    """Sums of units' bounded statistics under noise.

    Attributes:
        bounded: a vector of statistics (features,) float64, any numbers, as whole numbers within the bound: clip and grid.
        unit: a unit's square-means (features,) float64 as its bounded vector: everything that happens to them.
        noise: in front of the sum.
        features: coordinates without the one that counts units.
        z: standard deviation of all noise together in parts of the bound, of all rounds together, as promised.
        epsilon: claimed.
        delta: claimed.
    """

    bounded: Callable[[Floats], Integers]
    unit: Callable[[Floats], Integers]
    noise: Noise
    features: int
    z: Fraction
    epsilon: Fraction
    delta: Fraction


def of_task(task: Task, *, clip: Callable[[Floats], Floats], unit: Callable[[Floats], Integers]) -> NoisedSum:
    """The mechanism of a task with noise on statistics, for both payloads.

    Args:
        task: whose.
        clip: all of one unit's statistics together, (features,) float64, as clients clip them.
        unit: as `NoisedSum.unit`.

    Raises:
        ConfigurationError: the task has no such noise.
    """
    patients = task.privacy.of_patients
    bound = patients.clip_bound
    return NoisedSum(
        bounded=lambda x: to_grid(clip(x), bound),
        unit=unit,
        noise=noise_of(task),
        features=noise_dimension(task) - 1,
        z=patients.z,
        epsilon=Fraction(patients.epsilon),
        delta=Fraction(patients.delta),
    )


def noise_of(task: Task) -> Noise:
    """The noise of a task, on statistics or on votes.

    Raises:
        ConfigurationError: it adds none.
    """
    parties = noise_parties(task)
    votes = count_noise(task)
    if votes is None:
        return Noise(discrete_gaussian, round_variances(task), parties, parties)

    def on_no_vote(variance: Fraction, size: int, entropy: Callable[[int], bytes]) -> Integers:
        nothing = np.zeros((1, size), np.bool_)
        sent = replace(votes, variance=variance).on(nothing, entropy)
        return sent.reshape(-1).astype(np.int64) - votes.bound

    return Noise(on_no_vote, (votes.variance,), parties, parties)


def noise_over_sqrt2(noise: Noise) -> Noise:
    """Half the variance."""
    return _with_variance(noise, lambda variance: variance / 2)


def sigma_for_variance(noise: Noise) -> Noise:
    """The sampler is given a standard deviation where it takes a variance."""
    return _with_variance(noise, lambda variance: Fraction(math.sqrt(variance)))


def one_party_omits_noise(noise: Noise) -> Noise:
    """One party of those whose noise counts adds none."""
    return replace(noise, adding=noise.adding - 1)


def noise_omitted(noise: Noise) -> Noise:
    """Nobody adds any."""
    return replace(noise, adding=0)


def laplace_noise(noise: Noise) -> Noise:
    """The right variance, but of another distribution."""

    def draw(variance: Fraction, size: int, entropy: Callable[[int], bytes]) -> Integers:
        rng = np.random.default_rng(list(entropy(32)))
        return np.rint(rng.laplace(scale=math.sqrt(variance / 2), size=size)).astype(np.int64)

    return replace(noise, draw=draw)


def with_noise(mutation: Callable[[Noise], Noise]) -> Callable[[NoisedSum], NoisedSum]:
    """A mutation of the noise as one of the whole mechanism."""
    return lambda subject: replace(subject, noise=mutation(subject.noise))


def clip_doubled(subject: NoisedSum) -> NoisedSum:
    """Vectors are cut to twice the bound."""
    return replace(subject, bounded=lambda x: 2 * subject.bounded(x / 2), unit=lambda s: 2 * subject.unit(s))


def _with_variance(noise: Noise, changed: Callable[[Fraction], Fraction]) -> Noise:
    draw = noise.draw
    return replace(noise, draw=lambda variance, size, entropy: draw(changed(variance), size, entropy))
