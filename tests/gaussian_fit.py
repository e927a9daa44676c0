"""How well draws fit a distribution that is known exactly, in standard deviations; and reproducible entropy."""

from __future__ import annotations

import decimal
import functools
import itertools
import math
import random
from fractions import Fraction

import numpy as np

DRAWS = 300_000
LIMIT = 5.5
"""Standard deviations; a right sampler exceeds it once in 10^7 seeds."""

SMALL = [Fraction(1, 100), Fraction(1, 4), Fraction(1), Fraction(7, 3), Fraction(16), Fraction(1000)]
LARGE = [Fraction(2**40), Fraction(2**81 + 1, 3), Fraction(2**40 * 1_000_003**2, 43 * 10**12)]


def seeded(seed):
    """Reproducible entropy."""
    return random.Random(seed).randbytes


# Exact probabilities


@functools.cache
def exact(variance):
    """Probability of each whole number that has one above 10^-40, to 50 digits."""
    with decimal.localcontext(prec=60):
        v = decimal.Decimal(variance.numerator) / variance.denominator
        reach = math.isqrt(int(200 * variance)) + 2
        weights = {x: (-decimal.Decimal(x * x) / (2 * v)).exp() for x in range(-reach, reach + 1)}
        total = sum(weights.values())
        return {x: float(weight / total) for x, weight in weights.items()}


def laplace_exact(t):
    """The same of the discrete Laplace distribution of scale t."""
    with decimal.localcontext(prec=60):
        weights = {x: (-decimal.Decimal(abs(x)) / t).exp() for x in range(-100 * t, 100 * t + 1)}
        total = sum(weights.values())
        return {x: float(weight / total) for x, weight in weights.items()}


def sigmas_of_chi_square(chi_square, degrees):
    """Wilson and Hilferty's approximation."""
    spread = 2 / (9 * degrees)
    return ((chi_square / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def cells_misfit(observed, expected, *, at_least=25):
    """Chi-square over neighbouring cells, pooled until so much is expected in each; in standard deviations."""
    pooled, seen, due = [], 0, 0.0
    for o, e in zip(observed, expected, strict=True):
        seen, due = seen + o, due + e
        if due >= at_least:
            pooled.append((seen, due))
            seen, due = 0, 0.0
    last_seen, last_due = pooled.pop()
    pooled.append((last_seen + seen, last_due + due))
    if len(pooled) == 1:
        return 0.0
    return sigmas_of_chi_square(sum((o - e) ** 2 / e for o, e in pooled), len(pooled) - 1)


def discrete_misfit(draws, probabilities):
    """How far draws are from exact probabilities, in standard deviations, by several measures."""
    n, values = len(draws), np.array(sorted(probabilities))
    chances = np.array([probabilities[x] for x in values.tolist()])
    assert np.abs(draws).max() <= values[-1]
    counts = np.bincount(draws - values[0], minlength=values.size)
    found = {"cells": cells_misfit(counts.tolist(), (n * chances).tolist())}
    for power in (1, 2, 4):
        mean, square = (
            (chances * values.astype(float) ** power).sum(),
            (chances * values.astype(float) ** (2 * power)).sum(),
        )
        error = math.sqrt((square - mean**2) / n)
        found[f"moment {power}"] = abs((draws.astype(float) ** power).mean() - mean) / error
    sigma = math.sqrt((chances * values.astype(float) ** 2).sum())
    for far in (2, 3):
        chance = chances[np.abs(values) > far * sigma].sum()
        if n * chance > 25:
            found[f"beyond {far} sigma"] = abs((np.abs(draws) > far * sigma).sum() - n * chance) / math.sqrt(
                n * chance * (1 - chance)
            )
    return found


def wide_misfit(draws, variance):
    """The same for a sigma so large that the continuous distribution differs by less than 1 / sigma^2."""
    n, sigma = len(draws), math.sqrt(variance)
    edges = [math.floor(sigma * k / 8) for k in range(-32, 33)]
    below = [0.0, *((1 + math.erf((edge - 0.5) / sigma / math.sqrt(2))) / 2 for edge in edges), 1.0]
    counts = np.bincount(np.searchsorted(np.array(edges), draws, side="right"), minlength=len(edges) + 1)
    found = {"cells": cells_misfit(counts.tolist(), [n * (b - a) for a, b in itertools.pairwise(below)])}
    scaled = draws / sigma
    for power, mean, square in ((1, 0, 1), (2, 1, 3), (4, 3, 105)):
        found[f"moment {power}"] = abs((scaled**power).mean() - mean) / math.sqrt((square - mean**2) / n)
    for modulus in (3, 16):  # the lowest bits are noise too, and as good as uniform
        counts = np.bincount(draws % modulus, minlength=modulus)
        found[f"modulo {modulus}"] = cells_misfit(counts.tolist(), [n / modulus] * modulus)
    return found


def misfit(draws, variance):
    return discrete_misfit(draws, exact(variance)) if variance < 2**16 else wide_misfit(draws, variance)


def same_distribution(first, second):
    """Two-sample chi-square, in standard deviations."""
    low = min(first.min(), second.min())
    a, b = (np.bincount(draws - low) for draws in (first, second))
    a, b = (np.pad(x, (0, max(a.size, b.size) - x.size)).astype(float) for x in (a, b))
    pooled, cell = [], np.zeros(2)
    for both in zip(a, b, strict=True):
        cell = cell + both
        if cell.sum() >= 50:
            pooled.append(cell)
            cell = np.zeros(2)
    pooled[-1] = pooled[-1] + cell
    table = np.array(pooled)
    due = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return sigmas_of_chi_square(((table - due) ** 2 / due).sum(), len(pooled) - 1)
