"""Was this document among those that a sum, a mask or a count was made of? Tracing, whatever the attacker sees.

All attacks of this kind differ only in the *view*: from what the adversary sees of a study it estimates the mean features y
of M documents, give or take noise of variance v in each feature. For a candidate x, with mean m and covariance S of such
documents, the best linear test for "x is one of the M" is

    (x - m)' (S + M v I)^-1 (y - m).

S is estimated from the documents that the attacker knows (`covariance`). Scores are standardised by those of known documents,
so that worlds can be compared.

Source: tracing as in Homer et al., PLoS Genetics 4(8), 2008, and Dwork et al., "Robust traceability from trace amounts"
(FOCS 2015); here the likelihood ratio of Gaussians with the covariance of real documents.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from secprune.audit.attacks.covariance import Covariance
from secprune.audit.attacks.population import draw_world
from secprune.audit.check import Figure, Measurement
from secprune.audit.figures import pooled, rates, roc

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.audit.attacks.population import Floats, Indices, Population, World
    from secprune.audit.check import Curve
    from secprune.audit.draws import Draws
    from secprune.audit.figures import Trial

LIMIT = 0.6
"""AUC that is no more than chance, given how few documents there are: what secrecy promises is 0.5."""

_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Size:
    """Worlds of one size, and how many of them."""

    hospitals: int
    documents: int
    trials: int

    def __str__(self) -> str:
        alone = f"{self.documents} document{'s' if self.documents > 1 else ''}"
        return alone if self.hospitals == 1 else f"n = {self.hospitals}, {alone} each"


@dataclass(frozen=True, slots=True)
class Seen:
    """What an adversary makes of its view.

    Attributes:
        features: (D,) its estimate of the mean features of the documents behind it.
        variance: of the noise that it knows to be on each of them.
    """

    features: Floats
    variance: float = 0.0


@dataclass(frozen=True)
class Tracing:
    """A subject: a population, and what an adversary sees of a world of it.

    Attributes:
        population: documents and model.
        view: what is seen of a world, with draws for whatever is random in it.
        what: is seen, in words: "the counts".
        sizes: of the worlds to try.
        first_only: whether the question is about the first hospital's documents, or about everybody's.
        limit: the AUC that the promise allows; an attack that is surely above it refutes.
    """

    population: Population
    view: Callable[[World, Draws], Seen]
    what: str
    sizes: tuple[Size, ...]
    first_only: bool = False
    limit: float = LIMIT


def measure(subject: Tracing, draws: Draws) -> Measurement:
    """AUC and TPR at 1% FPR for each size of world; refuted where the whole interval of an AUC is above the limit.

    Beside it the baseline: the same attack where what is seen is of other documents, so that there is nothing to find.
    """
    figures: list[Figure] = []
    curves: list[Curve] = []
    found: list[Figure] = []
    documents = 0
    for size in subject.sizes:
        trials = trace(subject, draws, size)
        auc, positives = rates(trials, draws.numpy, resamples=_RESAMPLES)
        figures += [
            msgspec.structs.replace(figure, name=f"{figure.name}, {size}") for figure in (auc, positives)
        ]
        curves.append(roc(str(size), *pooled(trials)))
        found.append(figures[-2])
        documents += sum(a.size + b.size for a, b in trials)
    nothing = rates(trace(subject, draws, subject.sizes[0], used=False), draws.numpy, resamples=_RESAMPLES)[0]
    baseline = f"AUC of the baseline (neither was used), {subject.sizes[0]}"
    figures.append(msgspec.structs.replace(nothing, name=baseline))
    surest = max(found, key=lambda auc: auc.low or 0.0)
    refuted = (surest.low or 0.0) > subject.limit
    return Measurement(
        refuted=refuted,
        says=_words(subject, surest, above=refuted),
        figures=(*figures, Figure(name="limit of the AUC", value=subject.limit)),
        sample=documents,
        curves=tuple(curves),
    )


def _words(subject: Tracing, auc: Figure, *, above: bool) -> str:
    """How well the attack does where it surely does best; never that it tells nothing, for a limit may be far from 1/2."""
    size = auc.name.partition(", ")[2]
    return (
        f"From {subject.what}, with public text and the public model, an attacker ranks a document that was used above another "
        f"one in {auc.value:.0%} of cases ({size}; 50% is guessing), which is {'surely' if above else 'not surely'} above the "
        f"limit of {subject.limit:.0%}."
    )


def trace(subject: Tracing, draws: Draws, size: Size, *, used: bool = True) -> list[Trial]:
    """Scores of members and of others, in as many worlds of one size as it says.

    Args:
        subject: population and view.
        draws: for worlds and what is random in them.
        size: of the worlds.
        used: whether what is seen is of the members; if not, of documents that nobody asks about.
    """
    found = []
    for _ in range(size.trials):
        world = draw_world(subject.population, draws, hospitals=size.hospitals, documents=size.documents)
        members = world.hospitals[0] if subject.first_only else world.members
        seen = subject.view(world if used else _elsewhere(world, draws), draws)
        found.append(_scores(subject, world, members, seen))
    return found


def _elsewhere(world: World, draws: Draws) -> World:
    """The same hospitals with documents that the attacker knows in place of their own."""
    others = draws.numpy.permutation(world.known)
    ends = np.cumsum([len(one) for one in world.hospitals])
    return dataclasses.replace(world, hospitals=tuple(np.split(others[: ends[-1]], ends[:-1])))


def _scores(subject: Tracing, world: World, members: Indices, seen: Seen) -> Trial:
    population = subject.population
    covariance = Covariance([world.known], population.gram)
    mean = population.gram[world.known].mean(axis=0)  # its inner products with documents
    noise = len(members) * seen.variance
    scores = covariance.solve(population.features @ seen.features - mean, noise=noise)
    known = scores[world.known]
    standard = (scores - known.mean()) / (float(known.std()) or 1.0)
    return standard[members], standard[world.others]
