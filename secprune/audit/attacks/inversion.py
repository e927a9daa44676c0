"""From pruning masks back to feature norms: a mask is a publication of the statistics that it was made of.

Wanda prunes weight (i, j) where |w_ij| sqrt(s_j) is among the smallest of row i: where

    log |w_ij| + h_j < t_i,        h_j = log(s_j) / 2,

with t_i the logarithm of the row's threshold. The weights are public and thresholds hardly move from those of the public
reference, because a row has hundreds of features. So column j is pruned in exactly the rows i in which t_i - log |w_ij| is
above h_j, and the *share* of its rows that are pruned says where h_j lies among these numbers, which are sorted once.
Nothing else of a mask is needed, so that counts of many masks are inverted in the same way: by the mean share.

Source: own derivation, docs/attacks.md; that masks can be inverted was first seen with an alternating fit of thresholds
and norms, which finds the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from secprune.audit.attacks.population import Floats, Input

_SMALLEST = 1e-12


class Inverter:
    """Inverts shares of pruned rows, for one public model.

    Args:
        inputs: of the model; their weights are sorted here, once.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._tables = [_table(one) for one in inputs]

    def __call__(self, shares: Sequence[Floats]) -> Floats:
        """Features that lead to such masks: (D,), as `Population.logarithms`.

        Args:
            shares: of each input (features,): in which share of its rows, over all masks, each feature was pruned.
        """
        found = [_read(table, share) for table, share in zip(self._tables, shares, strict=True)]
        return np.concatenate([h - h.mean() for h in found])


def _table(one: Input) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(rows, features), each column ascending: h_j at which its feature is pruned in one row less; and the reference's h."""
    logs = np.log(np.maximum(np.abs(one.weights), np.float32(_SMALLEST)))  # (rows, features)
    reference = (0.5 * np.log(one.reference)).astype(np.float32)
    k = one.budget
    ordered = np.partition(logs + reference, (k - 1, k), axis=1)
    thresholds = (ordered[:, k - 1 : k] + ordered[:, k : k + 1]) / 2  # (rows, 1)
    return np.sort(thresholds - logs, axis=0), reference


def _read(table: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]], share: Floats) -> Floats:
    steps, reference = table
    rows = steps.shape[0]
    place = np.clip(rows * (1 - share) - 0.5, 0, rows - 1)  # between two rows
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, rows - 1)
    part, column = place - low, np.arange(steps.shape[1])
    h = steps[low, column] * (1 - part) + steps[high, column] * part
    return np.asarray(2 * (h - reference), np.float64)
