"""Tails of a few distributions, from scipy: of the base installation none has it, of the extra `dp` all (opacus needs it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from secprune.errors import LocalEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = npt.NDArray[np.float64]


def _special() -> Any:
    try:
        import scipy.special  # noqa: PLC0415 - of the extra `dp`, only where it is used
    except ModuleNotFoundError as error:
        raise LocalEnvironmentError(
            f"audits of differential privacy need scipy, and {error.name} is not installed",
            hint="run: pip install 'secprune[dp]'",
        ) from error
    return scipy.special


def normal_below(x: float) -> float:
    """Phi(x)."""
    return float(_special().ndtr(x))


def normals_below(x: npt.NDArray[np.floating[Any]]) -> Floats:
    """Phi of each."""
    return np.asarray(_special().ndtr(x))


def log_normal_below(x: float) -> float:
    """The logarithm of Phi(x), where Phi(x) itself may be too small for a number."""
    return float(_special().log_ndtr(x))


def normal_quantile(p: float) -> float:
    """The x with Phi(x) = p."""
    return float(_special().ndtri(p))


def normal_shift(mu: float) -> Callable[[float], float]:
    """The function Phi(Phi^-1(p) - mu): between two normals that are mu apart, an event of probability p has this or more."""
    special = _special()
    return lambda p: float(special.ndtr(special.ndtri(p) - mu))


def binomial_above(least: int, tries: int, p: float) -> float:
    """P(Binomial(tries, p) >= least)."""
    return 1.0 if least <= 0 else float(_special().bdtrc(least - 1, tries, p))


def log_choose(n: int, k: npt.NDArray[np.int64]) -> Floats:
    """Logarithms of n over k, for each k."""
    log_gamma = _special().gammaln
    return np.asarray(log_gamma(n + 1) - log_gamma(k + 1) - log_gamma(n - k + 1))


def chi_squared_tails(x: float, degrees: float) -> tuple[float, float]:
    """P(X <= x) and P(X >= x)."""
    special = _special()
    return float(special.gammainc(degrees / 2, x / 2)), float(special.gammaincc(degrees / 2, x / 2))


def kolmogorov_above(uniforms: Floats) -> float:
    """Kolmogorov's test, for many draws that should be uniform from 0 to 1: the probability of a distance so large."""
    n, ordered = uniforms.size, np.sort(uniforms)
    steps = np.arange(n) / n
    distance = max(float((ordered - steps).max()), float((steps + 1 / n - ordered).max()))
    return float(_special().kolmogorov(distance * np.sqrt(n)))
