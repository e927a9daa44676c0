"""What is left for tracing where patients are protected: the project's mechanism, run on documents of a population.

Two views. The *released mask* is what everybody gets: noised statistics, shrunk, put back into the public reference, masks of
that, counted. The *released sum* is what a coordinator of square-sums holds: with it the best attack is a matched filter, and
no attack can be better than the Gaussian mechanism allows: with noise of z times the bound of one document

    AUC <= Phi(1 / (z sqrt(2))),

which at epsilon 8 is far above one half. That the mask shows less is no promise.

Source: the limit is the area under the trade-off curve of the Gaussian mechanism (Dong, Roth and Su, "Gaussian differential
privacy", JRSS B 84, 2022, sec. 2.2), with mean 1 / z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.attacks.tracing import Seen
from secprune.audit.attacks.views import counts_of
from secprune.privacy.grid import COUNT_UNITS, NORM
from secprune.privacy.mechanism import Estimate, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from fractions import Fraction

    from secprune.audit.attacks.population import Floats, Indices, World
    from secprune.audit.attacks.views import Rehearsal, View
    from secprune.audit.draws import Draws
    from secprune.privacy.mechanism import Integers


@dataclass(frozen=True)
class Mechanism:
    """How documents are bounded and noised, with the project's own functions.

    Attributes:
        vectors: (documents, D) int64: each document's bounded vector, as a client sums it.
        clip: the task's bound C.
        variance: of one party's noise, in grid units squared.
        draw: noise of a variance: (variance, size, entropy) -> (size,) int64.
        summed: whether hospitals' noised sums are added (square-sums), or each makes a mask of its own (counts).
        honest: parties whose noise the promise rests on: 1 with counts.
        directions: of the public reference: by input (directions, features), orthonormal over all inputs.
    """

    vectors: Integers
    clip: Fraction
    variance: Fraction
    draw: Callable[[Fraction, int, Callable[[int], bytes]], Integers]
    summed: bool
    honest: int
    directions: Mapping[str, Floats]

    @property
    def limit(self) -> float:
        """The AUC that no attack on what is released exceeds, whatever it knows."""
        z = math.sqrt(self.variance * self.honest) / NORM
        return 0.5 * (1 + math.erf(1 / (2 * z)))

    def summed_over(self, hospitals: Sequence[Indices], draws: Draws) -> Integers:
        """The sum of all their documents' vectors and of each one's noise; last the coordinate that counts documents."""
        documents = np.concatenate(list(hospitals))
        total = np.append(self.vectors[documents].sum(axis=0), len(documents) * COUNT_UNITS)
        for _ in hospitals:
            total += self.draw(self.variance, total.size, draws.entropy)
        return total

    def estimate(self, hospitals: Sequence[Indices], draws: Draws) -> Estimate:
        """What is made of such a sum."""
        total = self.summed_over(hospitals, draws)
        lengths = {name: values.shape[1] for name, values in self.directions.items()}
        return Estimate(
            parted(total[:-1], lengths),
            int(total[-1]),
            clip=self.clip,
            variance=self.variance * len(hospitals),
            directions=self.directions,
        )


def released_mask_view(rehearsal: Rehearsal, mechanism: Mechanism) -> View:
    """Counts of masks of noised statistics; with square-sums the one mask that follows from the sum."""

    def view(world: World, draws: Draws) -> Seen:
        parts = [world.hospitals] if mechanism.summed else [(one,) for one in world.hospitals]
        estimates = [mechanism.estimate(part, draws) for part in parts]
        square_means = [rehearsal.population.square_means_of(one.features) for one in estimates]
        masks = [rehearsal.prune(one) for one in square_means]
        noise = estimates[0].noise ** 2 / len(parts)
        return Seen(rehearsal.read(counts_of(masks), most=len(masks)), variance=noise)

    return view


def released_sum_view(mechanism: Mechanism) -> View:
    """The noised sum, before anything is shrunk."""

    def view(world: World, draws: Draws) -> Seen:
        step = float(mechanism.clip) / NORM / len(world.members)
        total = mechanism.summed_over(world.hospitals, draws)[:-1]
        return Seen(
            np.asarray(total * step), variance=float(mechanism.variance) * len(world.hospitals) * step**2
        )

    return view
