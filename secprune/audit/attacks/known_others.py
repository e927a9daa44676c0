"""Noise on counts against somebody who knows all documents but one.

Two worlds differ in one document of one hospital. The adversary makes both masks, sees on which weights they differ, and looks
at the noised votes there only: the likelihood ratio of two Gaussians whose means are one vote apart on each of f weights, which
tells the worlds apart by sqrt(f) / sigma standard deviations, however many hospitals there are.

Source: Neyman and Pearson's lemma; secprune.privacy.votes says what the noise is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.attacks.population import draw_world
from secprune.audit.attacks.tracing import LIMIT
from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.figures import rates, roc

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from secprune.audit.attacks.views import Rehearsal
    from secprune.audit.draws import Draws
    from secprune.privacy.mechanism import Integers


@dataclass(frozen=True)
class NoisedVotes:
    """A subject: hospitals that put noise on their votes.

    Attributes:
        rehearsal: who prunes how.
        variances: of the noise on each sum, to try.
        draw: noise of a variance: (variance, size, entropy) -> (size,) int64.
        documents: of the hospital that is looked at.
        trials: pairs of worlds.
    """

    rehearsal: Rehearsal
    variances: tuple[Fraction, ...]
    draw: Callable[[Fraction, int, Callable[[int], bytes]], Integers]
    documents: int
    trials: int


def tell_worlds_apart(subject: NoisedVotes, draws: Draws) -> Measurement:
    """AUC of telling whether a document was used from its replacement, for each variance of the noise."""
    rehearsal, figures, curves, best = subject.rehearsal, list[Figure](), [], list[Figure]()
    differing = list[int]()
    steps = []
    for _ in range(subject.trials):
        world = draw_world(rehearsal.population, draws, hospitals=1, documents=subject.documents)
        other = world.members.copy()
        other[0] = world.others[0]
        signs = [
            a.astype(np.int8) - b
            for a, b in zip(rehearsal.masks(world.members), rehearsal.masks(other), strict=True)
        ]
        steps.append(np.concatenate([sign[sign != 0] for sign in signs]).astype(np.float64))
        differing.append(steps[-1].size)
    for variance in subject.variances:
        scores: tuple[list[float], list[float]] = ([], [])
        for step in steps:
            for kind, votes in enumerate((step / 2, -step / 2)):
                noise = subject.draw(variance, step.size, draws.entropy)
                scores[kind].append(float(step @ (votes + noise)) / np.sqrt(step.size))
        trial = (np.array(scores[0]), np.array(scores[1]))
        auc, positives = rates([trial], draws.numpy, resamples=500)
        sigma = float(variance) ** 0.5
        figures += [
            Figure(name=f"{one.name}, sigma {sigma:g}", value=one.value, low=one.low, high=one.high)
            for one in (auc, positives)
        ]
        curves.append(roc(f"sigma {sigma:g}", *trial))
        best.append(figures[-2])
    surest = max(best, key=lambda auc: auc.low or 0.0)
    shown = (surest.low or 0.0) > LIMIT
    return Measurement(
        refuted=shown,
        says=f"One document moves about {np.median(differing):.0f} votes; in spite of noise on the counts, somebody who knows all "
        f"others ranks counts with it above counts without in {surest.value:.0%} of cases ({surest.name.removeprefix('AUC, ')}; 50% is guessing).",
        figures=(Figure(name="votes that one document moves", value=float(np.median(differing))), *figures),
        sample=2 * subject.trials * len(subject.variances),
        curves=tuple(curves),
    )


MEMBERSHIP_COUNT_NOISE: Check[NoisedVotes] = Check(
    id="membership-count-noise",
    title="Noise on counts, and somebody who knows the other documents",
    asks="Does noise on counts hide a document from somebody who knows all the others?",
    kind=Kind.ATTACK,
    measure=tell_worlds_apart,
    source="secprune.audit.attacks.known_others",
)
