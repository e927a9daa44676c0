"""What is measured: one study for each choice of public reference, payload, hospitals, patients, epsilon and seed."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from secprune.parties.study_privacy import exact
from secprune.privacy.accounting import noise_multiplier_for
from secprune.task import Payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NONE = "none"
"""In place of an epsilon: the same mechanism without noise."""

Kind = Literal["study", "public only", "pooled"]


class Cell(Struct, frozen=True, kw_only=True, order=True):
    """One measurement; without hospitals and patients for the baselines.

    Attributes:
        kind: a study; the mask of a public reference alone; or Wanda's mask of all patients' sums in one place.
        reference: name of the public text; empty where there is none.
        payload: of a study.
        hospitals: of a study, or whose patients are pooled.
        patients: of each hospital.
        epsilon: of a study; NONE for no noise.
        seed: numbers equal cells that differ in their noise.
    """

    kind: Kind
    reference: str = ""
    payload: Payload = "counts"
    hospitals: int = 0
    patients: int = 0
    epsilon: str = NONE
    seed: int = 0


class Choices(Struct, frozen=True, kw_only=True):
    """What to go through."""

    references: tuple[str, ...]
    payloads: tuple[Payload, ...]
    hospitals: tuple[int, ...]
    patients: tuple[int, ...]
    epsilons: tuple[str, ...]
    delta: str
    seeds: int

    def multipliers(self) -> dict[str, Fraction]:
        """The noise multiplier of each epsilon; 0 for NONE.

        Raises:
            LocalMisuseError: an epsilon that is no number.
            ConfigurationError: no noise gives so much privacy.
        """
        found = {NONE: Fraction(0)}
        for epsilon in self.epsilons:
            if epsilon != NONE:
                claim = Fraction(exact(epsilon, "epsilon"))
                found[epsilon] = Fraction(noise_multiplier_for(claim, Fraction(exact(self.delta, "delta"))))
        return found

    def cells(self) -> list[Cell]:
        """All measurements: the baselines, then every study once, then again with other noise."""
        return [*self._baselines(), *sorted(self._studies(), key=lambda cell: cell.seed)]

    def _baselines(self) -> Iterator[Cell]:
        for reference in self.references:
            yield Cell(kind="public only", reference=reference)
        for hospitals, patients in itertools.product(self.hospitals, self.patients):
            yield Cell(kind="pooled", hospitals=hospitals, patients=patients)

    def _studies(self) -> Iterator[Cell]:
        for reference, payload, hospitals, patients, epsilon in itertools.product(
            self.references, self.payloads, self.hospitals, self.patients, self.epsilons
        ):
            for seed in range(1 if epsilon == NONE else self.seeds):
                yield Cell(
                    kind="study",
                    reference=reference,
                    payload=payload,
                    hospitals=hospitals,
                    patients=patients,
                    epsilon=epsilon,
                    seed=seed,
                )


def numbers(text: str, what: str) -> tuple[int, ...]:
    """A comma-separated list of whole numbers above 0, in ascending order, each once.

    Raises:
        LocalMisuseError: something else.
    """
    from secprune.errors import LocalMisuseError

    parts: Sequence[str] = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < len(part) < 7 and int(part) for part in parts):
        raise LocalMisuseError(f"{what} cannot be {text!r}", hint="give whole numbers, such as 25,100")
    return tuple(sorted({int(part) for part in parts}))
