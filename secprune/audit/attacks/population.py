"""What an attacker has: the public model's weights, public text, and documents of which it asks whether they were used.

Everything is about *inputs*: each distinct input of linear modules, with the matrices that it enters one above the other.
Features of all inputs stand behind each other in one vector of D numbers, as logarithms about the public reference
(`privacy.mechanism.log_features`): what a mask says of a hospital, up to what Wanda does not look at.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from secprune.errors import LocalMisuseError
from secprune.privacy.mechanism import log_features

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secprune.audit.draws import Draws
    from secprune.task import MatrixSpec

T = TypeVar("T", bound=np.generic)
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
"""(rows, features) of one input: True = pruned."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of linear modules, all public.

    Attributes:
        matrices: that it enters, from the top.
        weights: (rows, features) float32, of all these.
        reference: (features,) square-means of public text.
        budget: weights that are pruned in each row.
    """

    matrices: tuple[MatrixSpec, ...]
    weights: npt.NDArray[np.float32]
    reference: Floats
    budget: int

    @property
    def name(self) -> str:
        """The first weight that it enters."""
        return self.matrices[0].name

    def by_matrix(self, rows: npt.NDArray[T]) -> list[npt.NDArray[T]]:
        """Rows of all its matrices (rows, features) as those of each one, in order: views of them."""
        return np.split(rows, np.cumsum([matrix.rows for matrix in self.matrices])[:-1])


@dataclass(frozen=True)
class Population:
    """Documents and the model that they run through.

    Attributes:
        inputs: of the decoder blocks that the attack looks at.
        square_means: for each input (documents, features).
        specialties: of each document; "" of public text, which is never anybody's data.
    """

    inputs: tuple[Input, ...]
    square_means: tuple[Floats, ...]
    specialties: tuple[str, ...]

    @functools.cached_property
    def features(self) -> Floats:
        """(documents, D): each document's logarithms about the reference."""
        return np.concatenate(
            [
                np.stack([log_features(row, one.reference) for row in rows])
                for one, rows in zip(self.inputs, self.square_means, strict=True)
            ],
            axis=1,
        )

    @functools.cached_property
    def gram(self) -> Floats:
        """(documents, documents) inner products of their features."""
        return np.asarray(self.features @ self.features.T)

    @property
    def names(self) -> tuple[str, ...]:
        """Specialties that there are."""
        return tuple(sorted({name for name in self.specialties if name}))

    @functools.cached_property
    def _by_specialty(self) -> dict[str, Indices]:
        labels = np.array(self.specialties)
        return {name: np.flatnonzero(labels == name) for name in self.names}

    @property
    def lengths(self) -> dict[str, int]:
        """Features of each input, by its name."""
        return {one.name: one.reference.size for one in self.inputs}

    def of_specialty(self, name: str) -> Indices:
        """Documents of a specialty."""
        return self._by_specialty[name]

    def holds(self, hospitals: int, documents: int) -> bool:
        """Whether there are enough documents for `draw_world`."""
        fewest = min(len(self.of_specialty(name)) for name in self.names)
        return -(-hospitals // len(self.names)) * documents + 2 <= fewest

    def pooled(self, documents: Indices) -> list[Floats]:
        """Square-means over all tokens of these documents, each counted alike: (features,) of each input."""
        return [rows[documents].mean(axis=0) for rows in self.square_means]

    def square_means_of(self, features: Mapping[str, Floats]) -> list[Floats]:
        """Square-means with given logarithms about the reference, by input."""
        return [np.exp(features[one.name]) * one.reference for one in self.inputs]

    def logarithms(self, square_means: Sequence[Floats]) -> Floats:
        """(D,) features of given square-means."""
        return np.concatenate(
            [log_features(row, one.reference) for one, row in zip(self.inputs, square_means, strict=True)]
        )


@dataclass(frozen=True, slots=True)
class World:
    """One draw: whose documents were used, of which other ones the attacker asks, and what it knows besides.

    Attributes:
        hospitals: documents of each.
        others: documents of the same specialties that nobody used.
        known: all else: what the attacker compares with.
    """

    hospitals: tuple[Indices, ...]
    others: Indices
    known: Indices

    @property
    def members(self) -> Indices:
        """Documents that anybody used."""
        return np.concatenate(self.hospitals)


def draw_world(population: Population, draws: Draws, *, hospitals: int, documents: int) -> World:
    """Give each of some hospitals documents of its specialty; half of what is left of these is asked about.

    Hospitals take specialties in turn, beginning with a random one, and share no document.

    Raises:
        LocalMisuseError: there are too few documents.
    """
    rng, names = draws.numpy, population.names
    first = int(rng.integers(len(names)))
    left = {name: rng.permutation(population.of_specialty(name)) for name in names}
    taken: list[Indices] = []
    used: set[str] = set()
    for number in range(hospitals):
        name = names[(first + number) % len(names)]
        if len(left[name]) < documents + 2:
            raise LocalMisuseError(
                f"{hospitals} hospitals with {documents} documents each need more text than there is",
                hint="give more notes",
            )
        taken.append(left[name][:documents])
        left[name] = left[name][documents:]
        used.add(name)
    others = np.concatenate([left[name][: -(-len(left[name]) // 2)] for name in sorted(used)])
    away = np.concatenate([*taken, others])
    return World(tuple(taken), others, np.setdiff1d(np.arange(len(population.specialties)), away))
