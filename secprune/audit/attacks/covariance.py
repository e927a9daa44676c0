"""The covariance of documents' features, as an attacker estimates it from those that it knows, and its inverse.

There are far more features than documents, so nothing of D times D is ever made: every vector v is known by its inner products
with all documents. With A the known documents, each less its group's mean, and r the variance in directions that they say
little of,

    (A'A / n + r)^-1 v = (v - A' (A A' + n r)^-1 A v) / r            (Woodbury).

r is the variance of the 60th direction of the known documents, beyond which few documents show little of others, and what
noise adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secprune.audit.attacks.population import Floats, Indices

_SURE_DIRECTIONS = 60


class Covariance:
    """An estimate of the covariance within groups of documents.

    Args:
        groups: documents of each group, two or more.
        gram: (documents, documents) inner products of all documents.
    """

    def __init__(self, groups: Iterable[Indices], gram: Floats) -> None:
        self._groups = list(groups)
        rows = self._centred(gram)  # A times all documents: (known, documents)
        self._products = rows
        self._gram = self._centred(rows.T)  # A A': (known, known)
        variances = np.linalg.eigvalsh(self._gram)[::-1] / len(self._gram)
        shown = int(np.count_nonzero(variances > 1e-9 * variances[0]))
        self._rest = float(variances[min(_SURE_DIRECTIONS, shown - 1)])

    def _centred(self, products: Floats) -> Floats:
        """Rows of the known documents, each less the mean of its group."""
        return np.concatenate([products[group] - products[group].mean(axis=0) for group in self._groups])

    def solve(self, products: Floats, *, noise: float = 0.0) -> Floats:
        """C^-1 v by its inner products with all documents: (documents,).

        Args:
            products: (documents,) those of v.
            noise: variance in every direction beyond what documents have.
        """
        rest, count = self._rest + noise, len(self._gram)
        inside = np.linalg.solve(self._gram + count * rest * np.eye(count), self._centred(products))
        return np.asarray((products - self._products.T @ inside) / rest)


def mean_of(documents: Indices, count: int) -> Floats:
    """Weights of all documents that make the mean of some, given by index: (count,)."""
    weights = np.zeros(count)
    weights[documents] = 1 / len(documents)
    return weights
