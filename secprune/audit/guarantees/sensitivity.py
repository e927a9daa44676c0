"""Does one unit move the sum by the bound at most, whatever is in it? On vectors that are made to get past the clip.

The proof rests on whole numbers: the sum of squares of a unit's bounded vector, with the coordinate that counts units, is at
most NORM squared. It is computed here with whole numbers again. A vector may be refused instead (an error): then nothing of it
gets into the sum.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.guarantees.subject import NoisedSum, clip_doubled
from secprune.errors import SecpruneError
from secprune.privacy.grid import COUNT_UNITS, NORM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secprune.audit.draws import Draws

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_SECTION = 2**16
"""Coordinates whose squares fit into 64 bits together, also of vectors that are four times too long."""


def sensitivity(clip: float) -> Check[NoisedSum]:
    """The check `sensitivity`.

    Args:
        clip: the task's bound C, to make vectors that are just beyond it.
    """
    return Check(
        id="sensitivity",
        title="One unit moves the sum by the bound at most",
        asks="Is the norm of everything that one unit can add within the bound, in whole numbers?",
        kind=Kind.CONFORMANCE,
        measure=lambda subject, draws: _measure(subject, draws, clip),
        mutations={"clip-doubled": clip_doubled},
        source="secprune.privacy.mechanism; Dwork and Roth (2014), sec. 3.5.3",
    )


def _measure(subject: NoisedSum, draws: Draws, clip: float) -> Measurement:
    largest = tried = refused = 0
    cases: list[tuple[Callable[[Floats], Integers], Iterator[Floats]]] = [
        (subject.bounded, hostile_vectors(subject.features, clip, draws.numpy)),
        (subject.unit, hostile_square_means(subject.features, draws.numpy)),
    ]
    for made, vectors in cases:
        for vector in vectors:
            tried += 1
            try:
                largest = max(largest, norm_squared(made(vector)) + COUNT_UNITS**2)
            except SecpruneError:
                refused += 1
    share = math.sqrt(largest) / NORM
    return Measurement(
        refuted=largest > NORM**2,
        says=(
            f"one unit can move the sum by {share:.4g} times the bound"
            if largest > NORM**2
            else f"of {tried} hostile vectors none moved the sum by more than the bound, in whole numbers"
        ),
        figures=(
            Figure(name="largest norm, in parts of the bound", value=share),
            Figure(name="vectors that were refused", value=refused),
        ),
        sample=tried,
    )


def norm_squared(vector: Integers) -> int:
    """The exact sum of squares."""
    return sum(int(part @ part) for part in np.array_split(vector, 1 + vector.size // _SECTION))


def hostile_vectors(features: int, clip: float, rng: np.random.Generator) -> Iterator[Floats]:
    """Statistics (features,) that a clip may fail on: huge, tiny, sparse, dense, not numbers, just beyond the bound."""
    dense = rng.standard_normal(features)
    unit = dense / np.linalg.norm(dense)
    even = np.full(features, 1 / math.sqrt(features))
    for direction in (unit, even, -even, _heavy(features, rng), *_sparse(features, rng)):
        for length in (1 - 2**-53, 1.0, 1 + 2**-52, 1 + 2**-20, 2.0, 1e3, 1e30):
            yield direction * (clip * length)
    for number in (0.0, 5e-324, 1e-308, 1e154, 1e300, 1.7e308, np.nan, np.inf, -np.inf):
        yield np.full(features, number)
        for place in (0, features - 1):
            alone, among = np.zeros(features), dense.copy()
            alone[place] = among[place] = number
            yield alone
            yield among


def hostile_square_means(features: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Square-means (features,) of a unit that no text may have."""
    spread = np.exp(rng.standard_normal(features) * 3)
    yield spread
    yield spread * 1e300
    yield np.exp(rng.uniform(-700, 700, features))
    yield (rng.random(features) < 0.5).astype(np.float64)
    for number in (0.0, 5e-324, 1e308, np.nan, np.inf):
        yield np.full(features, number)
        one = spread.copy()
        one[rng.integers(features)] = number
        yield one


def _heavy(features: int, rng: np.random.Generator) -> Floats:
    cauchy = rng.standard_cauchy(features)
    return np.asarray(cauchy / np.linalg.norm(cauchy))


def _sparse(features: int, rng: np.random.Generator) -> Iterator[Floats]:
    for count in {1, 2, min(64, features)}:
        vector = np.zeros(features)
        vector[rng.choice(features, count, replace=False)] = 1 / math.sqrt(count)
        yield vector
