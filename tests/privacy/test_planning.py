"""What a plan says, against simulations that know nothing of its formulas, and against the tasks that studies have."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import ConfigurationError
from secprune.parties.planning import noises_that_count
from secprune.privacy.accounting import epsilon_of_rho, noise_multiplier_for, rho_of_gaussian
from secprune.privacy.grid import NORM
from secprune.privacy.mechanism import FEATURES_SHARE, Estimate
from secprune.privacy.planning import (
    Yardstick,
    epsilons,
    fewest,
    noise_of_mean,
    pulled_by_clip,
    remaining_error,
)

DELTA = Fraction(1, 10**6)
NUMBERS = st.floats(0.01, 100)


def simulated(*, z, clip, patients, clients, parties, shift, features, seed):
    """Noise of the mean and error of a study's own estimate, from noise that each client adds to a sum on the grid."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, shift, features)
    exact = np.rint(truth * patients * NORM / clip)
    each = z * NORM / math.sqrt(parties)
    noise = sum(np.rint(rng.normal(0, each, features)) for _ in range(clients))
    found = Estimate(
        {"x": (exact + noise).astype(np.int64)},
        patients * NORM // 8,
        clip=Fraction(clip),
        variance=Fraction(clients * each**2),
        directions={"x": np.zeros((1, features))},
    )
    unshrunk = noise * clip / NORM / patients
    return np.sqrt(np.mean(unshrunk**2)), np.sqrt(np.mean((found.features["x"] - truth) ** 2))


@pytest.mark.parametrize(
    ("clients", "parties", "patients"), [(1, 1, 700), (4, 2, 900), (16, 7, 2000), (64, 27, 300)]
)
def test_noise_and_error_are_those_of_a_simulated_study(clients, parties, patients):
    assert clients == 1 or parties == noises_that_count(clients)
    shape = {"z": 2.5, "clip": 40, "patients": patients, "clients": clients, "parties": parties}
    noise, error = simulated(**shape, shift=0.2, features=20_000, seed=patients)
    planned = noise_of_mean(Fraction(5, 2), Fraction(40), patients=patients, clients=clients, parties=parties)
    assert planned == pytest.approx(noise, rel=0.02)
    assert remaining_error(planned, 0.2) == pytest.approx(error, rel=0.03)
    # A plan without the share of noise that colluders leave would be noticed, and one without the shrinkage.
    if clients > 1:
        assert noise_of_mean(Fraction(5, 2), 40, patients=patients) != pytest.approx(noise, rel=0.2)
    assert planned > 1.03 * error


@pytest.mark.parametrize(("spread", "shift", "clip"), [(0.5, 0.2, 30), (0.5, 1.0, 45), (0.4, 0.2, 60)])
def test_what_clipping_takes_is_that_of_clipped_patients(spread, shift, clip):
    rng, features = np.random.default_rng(3), 4000
    truth = rng.normal(0, shift, features)
    patients = truth + rng.normal(0, spread, (400, features))
    norms = np.linalg.norm(patients, axis=1, keepdims=True)
    clipped = patients * np.minimum(1, FEATURES_SHARE * clip / norms)
    left = float(clipped.mean(axis=0) @ truth / (truth @ truth))
    taken = pulled_by_clip(clip, features=features, spread=spread, shift=shift)
    assert 1 - taken == pytest.approx(left, rel=0.02)
    assert (taken > 0.05) == (clip < 60)


def test_a_consortium_with_no_noise_or_no_patients_is_a_mistake():
    assert noise_of_mean(1, 1, patients=1, clients=3, parties=2) > 0
    for wrong in (
        {"patients": 0},
        {"patients": 1, "parties": 0},
        {"patients": 1, "clients": 2, "parties": 3},
    ):
        with pytest.raises(ValueError, match="whole one"):
            noise_of_mean(1, 1, **wrong)


@settings(max_examples=200, deadline=None)
@given(noise=NUMBERS, shift=NUMBERS, more=st.floats(1.001, 10))
def test_the_remaining_error_is_below_noise_and_shift_and_grows_with_both(noise, shift, more):
    error = remaining_error(noise, shift)
    assert 0 < error <= min(noise, shift)
    assert remaining_error(noise * more, shift) >= error
    assert remaining_error(noise, shift * more) >= error
    assert remaining_error(0, shift) == 0
    assert error == pytest.approx(shift * noise / math.sqrt(shift**2 + noise**2))


@settings(max_examples=100, deadline=None)
@given(
    epsilon=st.integers(1, 40),
    clients=st.integers(3, 5000),
    patients=st.integers(1, 10**6),
    more=st.integers(1, 50),
)
def test_less_noise_with_more_epsilon_patients_or_hospitals(epsilon, clients, patients, more):
    def noise(epsilon, clients, each):
        z = Fraction(noise_multiplier_for(Fraction(epsilon, 4), DELTA))
        parties = noises_that_count(clients)
        return noise_of_mean(z, 10, patients=clients * each, clients=clients, parties=parties)

    here = noise(epsilon, clients, patients)
    assert noise(epsilon + more, clients, patients) < here
    assert noise(epsilon, clients, patients + more) < here
    # Not with every single hospital: two thirds and a quarter are rounded, so that 15 have 8 noises and 16 have 7.
    assert noise(epsilon, clients * (1 + more), patients) < here


def test_two_epsilons_and_only_one_where_each_hospital_noises_alone():
    z = Fraction(noise_multiplier_for(1, DELTA))
    intact, collapsed = epsilons(z, DELTA, parties=27, dimension=10**6)
    assert 0.999 < intact <= 1
    alone = Fraction(math.sqrt(1 / 27)) * z
    assert collapsed == pytest.approx(epsilon_of_rho(rho_of_gaussian(alone), DELTA))
    assert collapsed > 4 * intact
    assert epsilons(z, DELTA, parties=1, dimension=10**6)[1] is None
    with pytest.raises(ConfigurationError, match="standard deviation"):
        epsilons(Fraction(1, NORM), DELTA, parties=27, dimension=10**6)


LADDER = ((0.1, 0.99), (0.2, 0.97), (0.4, 0.971), (1.0, 0.85))


@settings(max_examples=200, deadline=None)
@given(
    k=st.floats(0.001, 10**6),
    shift=st.floats(0.05, 1),
    ladder=st.sampled_from([(), LADDER, ((0.05, 1.0), (1.0, 1.0))]),
)
def test_the_smallest_consortium_is_enough_and_one_patient_less_is_not(k, shift, ladder):
    yardstick = Yardstick(shift, ladder if not ladder or ladder[0][0] <= shift else ())
    least = fewest(lambda patients: yardstick.is_worth(k / patients))
    assert yardstick.is_worth(k / least)
    assert least == 1 or not yardstick.is_worth(k / (least - 1))
    assert yardstick.is_worth(k / (2 * least))
    if yardstick.agreement(shift) in {None, 1.0}:  # half of the error: s = S / sqrt(3)
        assert least == pytest.approx(max(1, math.ceil(k * math.sqrt(3) / shift)), abs=1, rel=1e-9)
    else:
        lost = [1 - yardstick.agreement(remaining_error(k / n, shift)) for n in (least, max(1, least - 1))]
        baseline = 1 - yardstick.agreement(shift)
        assert lost[0] <= baseline / 2
        assert least == 1 or lost[1] > baseline / 2


def test_a_ladder_begins_at_no_error_never_rises_and_reaches_the_shift():
    yardstick = Yardstick(0.9, LADDER)
    assert yardstick.agreement(0) == 1
    assert yardstick.agreement(0.05) == pytest.approx(0.995)
    assert yardstick.agreement(0.1) == pytest.approx(0.99)
    assert yardstick.agreement(0.4) == pytest.approx(0.97)
    assert Yardstick(0.9).agreement(0.1) is None
    for shift, ladder in ((1.1, LADDER), (0.05, LADDER), (0, ()), (math.nan, ()), (0.5, ((0, 1), (1, 0)))):
        with pytest.raises(ValueError, match="ladder"):
            Yardstick(shift, ladder)


@given(least=st.integers(1, 10**18))
def test_fewest(least):
    assert fewest(lambda number: number >= least) == least
