"""What masks and sums say of a hospital as a whole: its specialty, and that one of several has only one.

Nothing here is promised to be hidden: a mask serves its purpose because it shows what text is like. Differential privacy for
patients does not hide it either, and less so the more patients there are.

Source: property inference as in Ateniese et al., "Hacking smart machines with smarter ones" (IJSN 10(3), 2015), by linear
discriminants of the inverted features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secprune.audit.attacks.covariance import Covariance, mean_of
from secprune.audit.attacks.population import World
from secprune.audit.attacks.views import counts_of
from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.figures import pooled, proportion, rates, roc

if TYPE_CHECKING:
    from secprune.audit.attacks.population import Floats, Indices
    from secprune.audit.attacks.views import Rehearsal, View
    from secprune.audit.draws import Draws


@dataclass(frozen=True)
class Guessing:
    """A subject: what an adversary sees of one hospital's documents, to guess its specialty.

    Attributes:
        rehearsal: who prunes how.
        view: of a world with one hospital.
        documents: of the hospital, for each size to try.
        trials: hospitals of each size.
        what: is seen, in words.
    """

    rehearsal: Rehearsal
    view: View
    documents: tuple[int, ...]
    trials: int
    what: str


def guess_specialties(subject: Guessing, draws: Draws) -> Measurement:
    """Share of hospitals whose specialty is guessed, for each size; succeeds if surely above chance for some size."""
    population = subject.rehearsal.population
    chance = 1 / len(population.names)
    figures, best = [Figure(name="chance", value=chance)], 0.0
    for documents in subject.documents:
        right = 0
        for trial in range(subject.trials):
            truth = population.names[trial % len(population.names)]
            own, known = _split(subject.rehearsal, truth, documents, draws)
            seen = subject.view(World((own,), known[:0], known), draws)
            right += _nearest(subject.rehearsal, known, seen.features, seen.variance * documents) == truth
        share = proportion(f"specialty guessed, {documents} documents", right, subject.trials)
        figures.append(share)
        best = max(best, share.low or 0.0)
    shown = best > chance
    return Measurement(
        refuted=shown,
        says=f"From {subject.what}, a hospital's specialty can {'' if shown else 'hardly '}be guessed.",
        figures=tuple(figures),
        sample=subject.trials * len(subject.documents),
    )


@dataclass(frozen=True)
class Picking:
    """A subject: sums over hospitals of mixed text, of which one may have a single specialty."""

    rehearsal: Rehearsal
    hospitals: tuple[int, ...]
    documents: int
    trials: int


def tell_single_specialty(subject: Picking, draws: Draws) -> Measurement:
    """AUC of telling sums with one single-specialty hospital from sums without, for each number of hospitals."""
    rehearsal, figures, curves, best = subject.rehearsal, list[Figure](), [], 0.0
    labels = np.array(rehearsal.population.specialties)
    for hospitals in subject.hospitals:
        scores: tuple[list[float], list[float]] = ([], [])
        for trial in range(subject.trials):
            target = rehearsal.population.names[trial % len(rehearsal.population.names)]
            mixed = draws.numpy.permutation(np.flatnonzero((labels != "") & (labels != target)))
            own, known = _split(rehearsal, target, subject.documents, draws)
            parts = [mixed[i * subject.documents : (i + 1) * subject.documents] for i in range(hospitals)]
            known = np.setdiff1d(known, np.concatenate(parts))
            for kind, first in enumerate((own, parts[0])):
                counts = counts_of([rehearsal.masks(one) for one in (first, *parts[1:])])
                seen = rehearsal.read(counts, most=hospitals)
                scores[kind].append(float(_discriminants(rehearsal, known, seen, 0.0)[target]))
        trials = [(np.array(scores[0]), np.array(scores[1]))]
        auc, _ = rates(trials, draws.numpy, resamples=500)
        figures.append(
            Figure(name=f"AUC, {hospitals} hospitals", value=auc.value, low=auc.low, high=auc.high)
        )
        curves.append(roc(f"{hospitals} hospitals", *pooled(trials)))
        best = max(best, auc.low or 0.0)
    return Measurement(
        refuted=best > 0.5,
        says="Summed counts tell whether one of the hospitals has a single specialty."
        if best > 0.5
        else "Summed counts did not tell whether one of the hospitals has a single specialty.",
        figures=tuple(figures),
        sample=2 * subject.trials * len(subject.hospitals),
        curves=tuple(curves),
    )


def _split(rehearsal: Rehearsal, name: str, documents: int, draws: Draws) -> tuple[Indices, Indices]:
    """Documents of a hospital of one specialty, and all that the attacker knows."""
    own = draws.numpy.permutation(rehearsal.population.of_specialty(name))[:documents]
    return own, np.setdiff1d(np.arange(len(rehearsal.population.specialties)), own)


def _nearest(rehearsal: Rehearsal, known: Indices, seen: Floats, noise: float) -> str:
    found = _discriminants(rehearsal, known, seen, noise)
    return max(found, key=found.__getitem__)


def _discriminants(rehearsal: Rehearsal, known: Indices, seen: Floats, noise: float) -> dict[str, float]:
    """Linear discriminants of each specialty, with the covariance within specialties of the known documents.

    Args:
        rehearsal: whose population.
        known: documents that the attacker has, with their specialties.
        seen: (D,) estimated features.
        noise: variance of what is on each feature, in units of one document's.
    """
    population = rehearsal.population
    count, gram = len(population.specialties), population.gram
    labels = np.array(population.specialties)[known]
    groups = {name: known[labels == name] for name in population.names}
    covariance = Covariance(groups.values(), gram)
    centre = np.mean([mean_of(group, count) for group in groups.values()], axis=0)
    towards = covariance.solve(population.features @ seen - gram @ centre, noise=noise)
    found = {}
    for name, group in groups.items():
        direction = mean_of(group, count) - centre
        own = covariance.solve(gram @ direction, noise=noise)
        found[name] = float(direction @ towards - direction @ own / 2)
    return found


SPECIALTY_MASK: Check[Guessing] = Check(
    id="specialty-mask",
    title="Specialty of a hospital, from its mask",
    asks="Does a pruning mask in the clear tell what a hospital's specialty is?",
    kind=Kind.ATTACK,
    measure=guess_specialties,
    source="secprune.audit.attacks.hospitals",
)
SPECIALTY_DP: Check[Guessing] = Check(
    id="specialty-dp",
    title="Specialty of a hospital, where patients are protected",
    asks="Does noise that protects patients hide a hospital's specialty?",
    kind=Kind.ATTACK,
    measure=guess_specialties,
    source="secprune.audit.attacks.hospitals",
)
PROPERTY_IN_SUM: Check[Picking] = Check(
    id="property-in-sum",
    title="A property of one hospital, from the sum",
    asks="Do summed counts tell whether one of the hospitals has a single specialty?",
    kind=Kind.ATTACK,
    measure=tell_single_specialty,
    source="secprune.audit.attacks.hospitals",
)
