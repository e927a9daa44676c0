"""From one unit's statistics to its bounded vector of whole numbers; the clipping is Opacus's, as of one sample's gradients.

Opacus clips; it draws no noise (its noise is of floating point: `DPOptimizer` with noise_multiplier 0) and is not told that
there was any: what is spent is accounted for by `secprune.privacy`. Its norm is of floating point too; whoever puts the
result on the integer grid checks it again (`privacy.mechanism.to_grid`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from secprune.errors import LocalEnvironmentError
from secprune.privacy.mechanism import FEATURES_SHARE, log_features, to_grid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from numpy.typing import NDArray


class JointClip:
    """Clips all of one unit's statistics together to a norm.

    Args:
        features: of each input, by name.
        bound: of the Euclidean norm over all of them; public.
    """

    def __init__(self, features: Mapping[str, int], bound: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations in what opacus imports
            from opacus.optimizers import DPOptimizer  # noqa: PLC0415 - an extra, only where it is used

        # Opacus keeps what it works with in attributes that parameters do not have by themselves.
        self._parameters: dict[str, Any] = {
            name: torch.nn.Parameter(torch.zeros(count, dtype=torch.float64))
            for name, count in features.items()
        }
        # A mean over one sample is that sample; the step itself is never taken.
        self._optimizer: Any = DPOptimizer(
            torch.optim.SGD(self._parameters.values(), lr=1.0),
            noise_multiplier=0.0,
            max_grad_norm=bound,
            expected_batch_size=1,
            loss_reduction="sum",
        )

    def __call__(self, statistics: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The statistics times min(1, bound / norm), up to rounding.

        Args:
            statistics: (features,) float64 of each input.

        Raises:
            LocalEnvironmentError: opacus returned something that is not finite.
        """
        for name, parameter in self._parameters.items():
            parameter.grad_sample = torch.from_numpy(statistics[name]).unsqueeze(
                0
            )  # (1, features): one sample
            parameter.summed_grad = None
        self._optimizer.clip_and_accumulate()
        clipped = {name: p.summed_grad.numpy() for name, p in self._parameters.items()}
        if not all(bool(p.summed_grad.isfinite().all()) for p in self._parameters.values()):
            raise LocalEnvironmentError(
                "opacus returned statistics that are not finite",
                hint="install the release of opacus that constraints.txt names",
            )
        return clipped


class UnitVectors:
    """Makes the bounded vectors of units: `privacy.mechanism`, in its order.

    Args:
        centre: square-means that units are measured against, by input: (features,).
        clip: the task's bound C.
    """

    def __init__(self, centre: Mapping[str, NDArray[np.float64]], clip: Fraction) -> None:
        self._centre, self._clip = dict(centre), clip
        features = {name: len(values) for name, values in centre.items()}
        self._joint = JointClip(features, float(clip) * FEATURES_SHARE)

    def __call__(self, square_means: Mapping[str, NDArray[np.float64]]) -> NDArray[np.int64]:
        """One unit's vector, without the coordinate that counts it: (features of all inputs,)."""
        clipped = self._joint(
            {name: log_features(square_means[name], centre) for name, centre in self._centre.items()}
        )
        return to_grid(np.concatenate([clipped[name] for name in self._centre]), self._clip)
