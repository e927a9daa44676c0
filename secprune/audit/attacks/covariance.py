"""The covariance of documents' features, as an attacker estimates it from those that it knows, and its inverse.

There are far more features than documents, so nothing of D times D is ever made: everything is done with inner products.
A *combination* is a vector of weights of documents, w, and stands for the vector X' w; any vector v is known by its inner
products with all documents, X v. With the known documents' principal directions a (unit vectors, variances s_a), and in all
other directions the variance r, the inverse is

    C^-1 v = (v - sum_a s_a / (s_a + r) a a'v) / r.

r is the variance at which the directions that few documents can show begin to end, and what noise adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from secprune.audit.attacks.population import Floats, Indices

_SURE_DIRECTIONS = 60
"""Beyond as many, the documents that an attacker knows say little of others' covariance."""


class Covariance:
    """An estimate of a covariance.

    Args:
        combinations: (samples, documents) whose products with the documents are samples about their mean.
        gram: (documents, documents) inner products of all documents.
    """

    def __init__(self, combinations: Floats, gram: Floats) -> None:
        products = combinations @ gram  # (samples, documents)
        values, vectors = np.linalg.eigh(products @ combinations.T / len(combinations))  # ascending
        values, vectors = values[::-1], vectors[:, ::-1]
        kept = int(np.count_nonzero(values > 1e-9 * values[0]))
        self._spread = values[:kept]
        scale = np.sqrt(len(combinations) * self._spread)[:, None]
        self._axes = (
            vectors[:, :kept].T @ combinations
        ) / scale  # (kept, documents), combinations of unit norm
        self._products = (vectors[:, :kept].T @ products) / scale  # their inner products with documents

    def solve(self, products: Floats, *, noise: float = 0.0) -> Floats:
        """C^-1 v by its inner products with all documents: (documents,).

        Args:
            products: (documents,) those of v.
            noise: variance in every direction beyond what documents have.
        """
        rest = self._spread[min(_SURE_DIRECTIONS, len(self._spread) - 1)] + noise
        shares = self._spread / (self._spread + rest)
        inside = self._products.T @ (shares * (self._axes @ products))
        return np.asarray((products - inside) / rest)


def mean_of(documents: Indices, count: int) -> Floats:
    """The combination that is the mean of some documents, given by index: (count,)."""
    weights = np.zeros(count)
    weights[documents] = 1 / len(documents)
    return weights


def about_mean(documents: Indices, count: int) -> Floats:
    """Combinations that are documents less their mean: (documents, count)."""
    rows = np.zeros((len(documents), count))
    rows[np.arange(len(documents)), documents] = 1
    return rows - mean_of(documents, count)
