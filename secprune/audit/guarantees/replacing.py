"""Does one unit's text change what other units add? It must not, or no bound on one unit's own vector means anything.

The vectors of some units are computed; then one unit's text is replaced by another, and all vectors are computed again. Those
of all others must be the same, number by number, and so must their sum. With pruning that goes block by block (*sequential*)
they are not: a text changes the mask of an early block, and with it what later blocks see of everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secprune.audit.check import Check, Figure, Kind, Measurement

if TYPE_CHECKING:
    from secprune.audit.draws import Draws

Vectors = Callable[[Sequence[str]], Sequence[npt.NDArray[np.int64]]]
"""Texts of units -> the bounded vector of each."""

REPLACED = 3
"""How many units are replaced, one at a time."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Units whose texts a model sees.

    Attributes:
        vectors: what each of them adds to the sum.
        texts: of the units, two or more.
        substitutes: for a unit's text, one or more.
    """

    vectors: Vectors
    texts: tuple[str, ...]
    substitutes: tuple[str, ...]


def replace_one(sequential: Vectors) -> Check[Cohort]:
    """The check `replace-one`.

    Args:
        sequential: the same model, with later blocks that see what a mask of everybody's texts leaves of earlier ones.
    """
    return Check(
        id="replace-one",
        title="One unit's text changes nobody else's statistics",
        asks="If one unit's text is replaced, does what all others add stay the same?",
        kind=Kind.CONFORMANCE,
        measure=_measure,
        mutations={"sequential": lambda cohort: replace(cohort, vectors=sequential)},
        source="secprune.pruning.patients, rule 1",
    )


def _measure(cohort: Cohort, draws: Draws) -> Measurement:
    before = np.array(cohort.vectors(cohort.texts))  # (units, features)
    count = min(REPLACED, len(cohort.texts))
    moved = own = 0
    for place in draws.numpy.choice(len(cohort.texts), count, replace=False).tolist():
        texts = list(cohort.texts)
        texts[place] = cohort.substitutes[int(draws.numpy.integers(len(cohort.substitutes)))]
        change = np.array(cohort.vectors(texts)) - before
        own += int(np.count_nonzero(change[place]))
        others = np.delete(change, place, axis=0)
        moved = max(moved, int(np.count_nonzero(others)), int(np.count_nonzero(others.sum(axis=0))))
    return Measurement(
        refuted=moved > 0,
        says=(
            f"replacing one unit's text changed {moved} numbers of other units"
            if moved
            else "replacing one unit's text changed not a single number of the others"
        ),
        figures=(
            Figure(name="numbers of other units that changed, at most", value=moved),
            Figure(name="numbers of the replaced units that changed", value=own),
        ),
        sample=count,
    )
