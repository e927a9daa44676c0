"""What an adversary makes of a mask, of counts, of one aggregator's share, or of a sum of statistics.

Each function returns a view: from a world (whose documents each hospital used) to the adversary's estimate of their mean
features. Masks are made by the project's own pruner, on the blocks that the attack looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.audit.attacks.inversion import Inverter
from secprune.audit.attacks.tracing import Seen
from secprune.crypto.expand import SEED_BYTES
from secprune.pruning.selection import final_mask, magnitude_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from secprune.audit.attacks.population import Floats, Indices, Input, Mask, Population, World
    from secprune.audit.draws import Draws
    from secprune.task import PruningSpec

    View = Callable[[World, Draws], Seen]


@dataclass(frozen=True)
class Rehearsal:
    """A population, and how its hospitals prune.

    Attributes:
        population: documents and model.
        prune: the project's pruner: from square-means of each input to its masks.
        invert: the attacker's tables of the public model.
    """

    population: Population
    prune: Callable[[Sequence[Floats]], list[Mask]]
    invert: Inverter

    @classmethod
    def of(cls, population: Population, prune: Callable[[Sequence[Floats]], list[Mask]]) -> Rehearsal:
        """Make the attacker's tables, once."""
        return cls(population, prune, Inverter(population.inputs))

    def masks(self, documents: Indices) -> list[Mask]:
        """One hospital's masks of these documents."""
        return self.prune(self.population.pooled(documents))

    def read(self, masks: Sequence[npt.NDArray[Any]], *, most: float = 1) -> Floats:
        """(D,) what an attacker reads off masks, counts up to `most`, or anything it takes for such."""
        return self.invert([np.asarray(mask.mean(axis=0) / most, np.float64) for mask in masks])


def counts_of(masks: Sequence[list[Mask]]) -> list[npt.NDArray[np.uint16]]:
    """Votes to prune, of each input: (rows, features)."""
    return [np.sum(one, axis=0, dtype=np.uint16) for one in zip(*masks, strict=True)]


def mask_view(rehearsal: Rehearsal) -> View:
    """The first hospital's mask in the clear."""
    return lambda world, _draws: Seen(rehearsal.read(rehearsal.masks(world.hospitals[0])))


def counts_view(rehearsal: Rehearsal) -> View:
    """Summed counts of all hospitals: what the coordinator gets."""

    def view(world: World, _draws: Draws) -> Seen:
        counts = counts_of([rehearsal.masks(one) for one in world.hospitals])
        return Seen(rehearsal.read(counts, most=len(world.hospitals)))

    return view


def model_view(rehearsal: Rehearsal, pruning: PruningSpec) -> View:
    """The final mask, which everybody sees who has the pruned model: the most-voted weights, as the coordinator takes them."""
    inputs = rehearsal.population.inputs
    keys = [magnitude_key(one.weights.view(np.uint32), "F32") for one in inputs]

    def select(counts: npt.NDArray[np.uint16], key: npt.NDArray[Any], one: Input, cohort: int) -> Mask:
        parts = zip(one.by_matrix(counts), one.by_matrix(key), strict=True)
        return np.concatenate(
            [final_mask(*part, pruning=pruning, cohort=cohort, tie_seed=bytes(SEED_BYTES)) for part in parts]
        )

    def view(world: World, _draws: Draws) -> Seen:
        counts = counts_of([rehearsal.masks(one) for one in world.hospitals])
        cohort = len(world.hospitals)
        return Seen(
            rehearsal.read(
                [select(c, key, one, cohort) for c, key, one in zip(counts, keys, inputs, strict=True)]
            )
        )

    return view


def colluders_view(rehearsal: Rehearsal) -> View:
    """Summed counts, with all hospitals but the first working for the adversary: it takes their votes off."""

    def view(world: World, _draws: Draws) -> Seen:
        first, *others = [rehearsal.masks(one) for one in world.hospitals]
        counts, known = counts_of([first, *others]), counts_of(others)
        return Seen(rehearsal.read([a - b for a, b in zip(counts, known, strict=True)]))

    return view


def protected_view(
    rehearsal: Rehearsal, protect: Callable[[list[Mask], Draws], tuple[list[npt.NDArray[Any]], float]]
) -> View:
    """The first hospital's report as one server has it, taken for what it would be without protection.

    Args:
        rehearsal: who prunes how.
        protect: from masks to the digits (rows, features) that the server would read in the words it holds, and the
            largest that a digit can be.
    """

    def view(world: World, draws: Draws) -> Seen:
        digits, most = protect(rehearsal.masks(world.hospitals[0]), draws)
        return Seen(rehearsal.read(digits, most=most))

    return view


def square_sums_view(rehearsal: Rehearsal) -> View:
    """The exact sum of all hospitals' statistics."""
    population = rehearsal.population
    return lambda world, _draws: Seen(population.logarithms(population.pooled(world.members)))
