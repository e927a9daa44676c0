"""What masks and counts disclose by themselves, with no document to test: feature norms, and votes on which all agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.attacks.population import draw_world
from secprune.audit.attacks.views import counts_of
from secprune.audit.check import Check, Curve, Figure, Kind, Measurement

if TYPE_CHECKING:
    from secprune.audit.attacks.views import Rehearsal
    from secprune.audit.draws import Draws


@dataclass(frozen=True)
class Inverting:
    """A subject: hospitals of several sizes, whose masks are inverted."""

    rehearsal: Rehearsal
    documents: tuple[int, ...]
    trials: int


def invert_masks(subject: Inverting, draws: Draws) -> Measurement:
    """How close norms that are read off a mask come to the true ones; succeeds if half are within 5%."""
    rehearsal, figures, worst = subject.rehearsal, list[Figure](), 0.0
    for documents in subject.documents:
        errors, pairs = [], []
        for _ in range(subject.trials):
            world = draw_world(rehearsal.population, draws, hospitals=1, documents=documents)
            true = rehearsal.population.logarithms(rehearsal.population.pooled(world.members))
            read = rehearsal.read(rehearsal.masks(world.members))
            errors.append(np.median(np.abs(np.expm1(read - true))))
            pairs.append(np.corrcoef(read, true)[0, 1])
        figures += [
            Figure(
                name=f"median relative error of a square-mean, {documents} documents",
                value=float(np.mean(errors)),
            ),
            Figure(name=f"correlation of logarithms, {documents} documents", value=float(np.mean(pairs))),
        ]
        worst = max(worst, float(np.mean(errors)))
    shown = worst < 0.05
    return Measurement(
        refuted=shown,
        says=f"The mean square of each feature can be read off a mask, half of them within {worst:.1%}: a mask publishes "
        "the statistics it was made of."
        if shown
        else "Feature statistics could not be read off masks.",
        figures=tuple(figures),
        sample=subject.trials * len(subject.documents),
    )


@dataclass(frozen=True)
class Agreeing:
    """A subject: as many hospitals as may be, of whose counts the first n are looked at."""

    rehearsal: Rehearsal
    hospitals: int
    documents: int


def share_unanimous(subject: Agreeing, draws: Draws) -> Measurement:
    """Share of weights on which all of n hospitals vote alike: there a count tells every vote."""
    rehearsal = subject.rehearsal
    world = draw_world(rehearsal.population, draws, hospitals=subject.hospitals, documents=subject.documents)
    total = [np.zeros(one.weights.shape, np.uint16) for one in rehearsal.population.inputs]
    x, y = list[float](), list[float]()
    for number, documents in enumerate(world.hospitals, 1):
        total = counts_of([total, rehearsal.masks(documents)])  # type: ignore[list-item]
        if number & (number - 1) == 0 and number > 1:  # powers of two
            alike = sum(int(((one == 0) | (one == number)).sum()) for one in total)
            x.append(float(number))
            y.append(alike / sum(one.size for one in total))
    return Measurement(
        refuted=y[-1] > 0.5,
        says=f"On {y[-1]:.1%} of the weights all {x[-1]:.0f} hospitals vote alike, so that the counts tell every vote there.",
        figures=tuple(
            Figure(name=f"unanimous share, {int(n)} hospitals", value=share)
            for n, share in zip(x, y, strict=True)
        ),
        sample=sum(one.size for one in total),
        curves=(Curve(name="unanimous share", x=tuple(x), y=tuple(y)),),
    )


MASK_INVERSION: Check[Inverting] = Check(
    id="mask-inversion",
    title="From a mask back to feature statistics",
    asks="Can the statistics of a hospital's notes be read off its pruning mask?",
    kind=Kind.ATTACK,
    measure=invert_masks,
    source="secprune.audit.attacks.inversion",
)
UNANIMITY: Check[Agreeing] = Check(
    id="unanimity",
    title="Votes on which all agree",
    asks="On how many weights do the counts tell each hospital's vote, because all vote alike?",
    kind=Kind.ATTACK,
    measure=share_unanimous,
    source="docs/attacks.md, 1",
)
