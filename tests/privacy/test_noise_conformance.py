"""Is the noise that a client really adds the noise that the task accounts for? With nothing else in the sum.

A lower bound on epsilon from attacks does not notice noise that is too small by a factor of root two; its variance over
some hundred thousand coordinates does, at once.
"""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from privacy_tasks import make_task, private, statistics

from secprune.parties import private_pruning
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import NORM
from secprune.privacy.guarantee import guarantee, noise_parties, round_variances
from secprune.task import MatrixSpec, check_task

WIDE = tuple(MatrixSpec(name=f"{i}.weight", rows=1, columns=50_000) for i in range(4))


def task(**options):
    """A task of 200,000 features."""
    narrow = make_task(private(**options))
    wide = msgspec.structs.replace(
        narrow,
        model=msgspec.structs.replace(narrow.model, matrices=WIDE),
        privacy=msgspec.structs.replace(
            narrow.privacy, statistics=statistics(tuple(matrix.name for matrix in WIDE))
        ),
    )
    check_task(wide)
    return wide


def excess(values, variance):
    """How far the sum of squares is from what it should be, in its own standard deviations (chi-squared, large n)."""
    n = values.size
    ratio = float(np.sum(values.astype(float) ** 2) / float(variance))
    return (ratio - n) / math.sqrt(2 * n)


def drawn(task, index=0):
    return np.concatenate(list(private_pruning._draw_noise(task, index).values()))


@pytest.mark.parametrize(
    "options",
    [
        {"payload": "counts"},
        {"payload": "square-sums", "colluders": 1},
        {"payload": "square-sums", "recentring": "0.25"},
    ],
)
def test_a_clients_noise_is_what_is_accounted_for(options):
    this = task(**options)
    for index, variance in enumerate(round_variances(this)):
        values = drawn(this, index)
        assert values.size == 200_001  # and the number of patients
        assert abs(excess(values, variance)) < 6
        assert abs(values.mean()) < 6 * math.sqrt(variance / values.size)
    sigma = guarantee(this).sigma_per_party[0]
    assert sigma == pytest.approx(math.sqrt(round_variances(this)[0]))


def test_all_that_count_make_up_the_whole_noise():
    this = task(payload="square-sums", colluders=1)
    whole = this.privacy.of_patients.z**2 * NORM**2
    total = sum(drawn(this) for _ in range(noise_parties(this)))
    assert abs(excess(total, whole)) < 6


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("noise less by root two", lambda v: v / 2),
        ("two percent too little", lambda v: v * Fraction(98, 100) ** 2),
        ("sigma taken for its square", lambda v: Fraction(math.isqrt(int(v)))),
    ],
)
def test_wrong_noise_is_noticed(monkeypatch, fault, wrong):
    this = task(payload="counts")
    monkeypatch.setattr(
        private_pruning,
        "discrete_gaussian",
        lambda variance, count: discrete_gaussian(wrong(variance), count),
    )
    assert excess(drawn(this), round_variances(this)[0]) < -6, fault


def test_a_party_that_omits_its_noise_is_noticed_in_the_sum():
    this = task(payload="square-sums", colluders=0)
    parties = noise_parties(this)
    total = sum(drawn(this) for _ in range(parties - 1))
    assert excess(total, parties * round_variances(this)[0]) < -6


def test_two_clients_do_not_draw_the_same():
    this = task(payload="square-sums")
    one, other = drawn(this), drawn(this)
    assert abs(np.corrcoef(one, other)[0, 1]) < 6 / math.sqrt(one.size)
    assert np.count_nonzero(one == other) < one.size / 1000
