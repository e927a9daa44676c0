"""Opacus's accountants beside ours: one of our own in its registry, and its own as a second opinion.

This is the only module here that imports opacus, and opacus imports torch: whoever checks a task or runs an aggregator
does without (`accounting` has all that they need). Opacus accounts and clips; it never draws noise, because its noise
is of floating-point numbers.

`zcdp-dgauss` is the accountant of the discrete Gaussian: rho of every step added, then one conversion
(`accounting.epsilon_of_rho`). What others say of the same noise:
* Opacus `prv` (Gopi, Lee, Wutschitz, "Numerical composition of differential privacy", 2021, arXiv 2106.02848): the
  continuous Gaussian, 7 to 8% less at epsilon 1, and never more than twice its `eps_error` above the exact value.
* dp-accounting's zCDP event: the same conversion, over a grid of alphas.
* Opacus `gdp` is left out: a central limit theorem of many subsampled steps, wrong at sampling rate 1.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import dp_accounting
import numpy as np
from dp_accounting.rdp import RdpAccountant
from msgspec import Struct
from opacus.accountants import IAccountant, create_accountant
from opacus.accountants.registry import register_accountant
from opacus.accountants.utils import get_noise_multiplier

from secprune.errors import ConfigurationError
from secprune.privacy.accounting import epsilon_of_rho, noise_multiplier_for, rho_of_gaussian

MECHANISM = "zcdp-dgauss"
"""Name of our accountant in Opacus's registry."""

_TOLERANCE = 1e-4
"""Of Opacus's search for a noise multiplier: its default of 0.01 wastes up to 3% of the noise."""

_ORDERS = tuple(1 + math.exp(step / 50) for step in range(-500, 1000))
"""Alphas that dp-accounting tries, 2% apart; its own end at 64, too early for much noise."""


class DiscreteGaussianAccountant(IAccountant):  # type: ignore[misc]  # opacus has no types
    """Accountant of discrete Gaussian noise on sums over all data; `history` as Opacus's own keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[tuple[float, float, int]] = []

    def step(self, *, noise_multiplier: float, sample_rate: float) -> None:
        """Count one noisy sum.

        Raises:
            ConfigurationError: a sum over a sample: no amplification by sampling is accounted for here.
        """
        _check_rate(sample_rate)
        self.history.append((noise_multiplier, sample_rate, 1))

    def get_epsilon(self, delta: float, *_args: Any, **_options: Any) -> float:
        """Epsilon of all steps together at `delta`."""
        rho = Fraction(0)
        for z, rate, steps in self.history:
            _check_rate(rate)
            rho += steps * rho_of_gaussian(Fraction(z))
        return epsilon_of_rho(rho, delta)

    def __len__(self) -> int:
        return len(self.history)

    @classmethod
    def mechanism(cls) -> str:
        """Its name in the registry."""
        return MECHANISM


def register() -> None:
    """Make `zcdp-dgauss` known to Opacus; again, if it is already."""
    register_accountant(MECHANISM, DiscreteGaussianAccountant, force=True)


def noise_multiplier(epsilon: Fraction, delta: Fraction) -> str:
    """The noise multiplier that Opacus finds for (epsilon, delta), in nine decimals and never below the closed form's.

    Raises:
        ConfigurationError: no noise that a task can hold gives so much privacy, or so little.
    """
    least = noise_multiplier_for(epsilon, delta)
    register()
    found = get_noise_multiplier(
        target_epsilon=float(epsilon),
        target_delta=float(delta),
        sample_rate=1.0,
        steps=1,
        accountant=MECHANISM,
        epsilon_tolerance=min(_TOLERANCE, _TOLERANCE * float(epsilon)),
    )
    units = max(math.ceil(Fraction(found) * 10**9), int(Fraction(least) * 10**9))
    whole, part = divmod(units, 10**9)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")


class CrossCheck(Struct, frozen=True, kw_only=True):
    """What several accountants say of one noisy sum.

    `zcdp`: ours, of the discrete Gaussian in any dimension. `dp_accounting_zcdp`: the same by dp-accounting. `opacus_prv`:
    upper bound for the continuous Gaussian, at most 2 `eps_error` above `analytic`, which is exact.
    """

    noise_multiplier: float
    delta: float
    zcdp: float
    dp_accounting_zcdp: float
    opacus_prv: float
    eps_error: float
    analytic: float


def cross_check(z: float, delta: float, *, eps_error: float = 0.01) -> CrossCheck:
    """Ask all accountants about one noisy sum.

    Args:
        z: the noise multiplier, from 0.05 on: below, Opacus's PRV accountant gives up.
        delta: above 0 and below 1.
        eps_error: how exact Opacus's PRV accountant is to be.
    """
    rho = rho_of_gaussian(Fraction(z))
    prv = create_accountant("prv")
    prv.history = [(z, 1.0, 1)]
    second = RdpAccountant(orders=_ORDERS).compose(dp_accounting.ZCDpEvent(float(rho)))
    with np.errstate(divide="ignore"):  # Opacus takes logarithms of 0 where a whole data set is a sample
        opacus_prv = float(prv.get_epsilon(delta, eps_error=eps_error))
    return CrossCheck(
        noise_multiplier=z,
        delta=delta,
        zcdp=epsilon_of_rho(rho, delta),
        dp_accounting_zcdp=float(second.get_epsilon(delta)),
        opacus_prv=opacus_prv,
        eps_error=eps_error,
        analytic=float(dp_accounting.get_epsilon_gaussian(z, delta)),
    )


def _check_rate(sample_rate: float) -> None:
    if sample_rate != 1:
        raise ConfigurationError(
            f"a sum over a sample (rate {sample_rate}) is not accounted for: nobody here can vouch that a sample stays "
            "secret",
            hint="take all data, with more noise",
        )
