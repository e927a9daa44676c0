"""An estimate of epsilon, if the noise is Gaussian: how far apart the scores of canaries are, in and out.

mu is the difference of the two means in standard deviations, with the coordinate that counts units added to it (it is the same
for every unit); the exact curve of Gaussian noise makes epsilon of it. Unlike a lower bound it is close to the truth, and
notices noise that is too small by root two. Unlike a lower bound it shows nothing if the noise has another shape: `conformance`
is for that.

It is compared with the exact epsilon of the noise that is promised, not with the claim alone, which zero-concentrated
differential privacy leaves some room below. Figures have 95% intervals; the promise is refuted if even a 99.9% interval
(`_Z_REFUTES`) lies above it.

Source: the method of Andrew et al., "One-shot empirical privacy estimation for federated learning" (ICLR 2024, arXiv
2302.03098), sec. 3, with the canaries of `canaries`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from secprune.audit.check import Check, Figure, Kind, Measurement
from secprune.audit.guarantees.canaries import CANARIES, run_canaries
from secprune.audit.guarantees.curve import epsilon_of_mu
from secprune.audit.guarantees.subject import NoisedSum, noise_over_sqrt2, sigma_for_variance, with_noise
from secprune.privacy.grid import COUNT_UNITS

if TYPE_CHECKING:
    from secprune.audit.draws import Draws

_Z_SHOWN, _Z_REFUTES = 1.96, 3.29


def _measure(subject: NoisedSum, draws: Draws, canaries: int) -> Measurement:
    run, delta = run_canaries(subject, canaries, draws), float(subject.delta)
    members, others = run.sums[run.included], run.sums[~run.included]
    apart = members.mean() - others.mean()
    freedom = run.sums.size - 2
    deviation = math.sqrt((members.var() * members.size + others.var() * others.size) / freedom)
    exact = epsilon_of_mu(float(1 / subject.z), delta)
    promised = min(exact, float(subject.epsilon))
    references = (
        Figure(name="claimed epsilon", value=float(subject.epsilon)),
        Figure(name="exact epsilon of the promised noise", value=exact),
    )
    if not deviation:
        says = "there is no noise at all: the result tells who is in the data"
        return Measurement(refuted=True, says=says, figures=references, sample=run.sums.size)
    mu = math.hypot(apart, COUNT_UNITS) / deviation
    error = math.sqrt(1 / members.size + 1 / others.size + mu**2 / (2 * freedom))
    value, low, high, least = (
        epsilon_of_mu(mu + z * error, delta) for z in (0, -_Z_SHOWN, _Z_SHOWN, -_Z_REFUTES)
    )
    refuted = least > promised
    return Measurement(
        refuted=refuted,
        says=(
            f"if the noise is Gaussian, epsilon is about {value:.3g} ({low:.3g} to {high:.3g}); the promised noise gives "
            f"{exact:.3g}, and {float(subject.epsilon):g} is claimed"
        ),
        figures=(Figure(name="estimate of epsilon", value=value, low=low, high=high), *references),
        sample=run.sums.size,
    )


def gaussian_estimate(canaries: int = CANARIES) -> Check[NoisedSum]:
    """The check `gaussian-estimate`.

    Args:
        canaries: at most; no more than there are coordinates.
    """
    return Check(
        id="gaussian-estimate",
        title="Estimate of epsilon, if noise is Gaussian",
        asks="Is epsilon, as far as it can be estimated, what the promised noise gives?",
        kind=Kind.ESTIMATE,
        measure=lambda subject, draws: _measure(subject, draws, canaries),
        mutations={
            "noise-over-sqrt2": with_noise(noise_over_sqrt2),
            "sigma-for-variance": with_noise(sigma_for_variance),
        },
        source="Andrew et al. (arXiv 2302.03098), sec. 3; Balle and Wang (arXiv 1805.06530), theorem 8",
    )
