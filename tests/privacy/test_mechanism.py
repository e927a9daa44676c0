from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patient_sums import exact_norm_squared, unit_vectors

from secprune.errors import LocalMisuseError
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import COUNT_UNITS, FEATURES_NORM_SQUARED, NORM, RAW_UNITS
from secprune.privacy.mechanism import (
    FEATURES_SHARE,
    LOG_LIMIT,
    Estimate,
    log_features,
    raw_square_sums,
    raw_to_grid,
    to_grid,
)

CLIPS = st.fractions(Fraction(1, 1000), 1000)


def square_means(rng, features):
    """Anything that a forward could give, and some that it should not."""
    values = np.exp(rng.normal(0, rng.choice([0.01, 1, 30]), features))
    values[rng.random(features) < rng.choice([0, 0.3, 1])] = 0
    if rng.random() < 0.2:
        values[rng.integers(features)] = rng.choice([np.inf, np.nan, 1e300, 5e-324])
    return values


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), clip=CLIPS)
def test_whatever_a_patient_has_its_vector_is_within_the_norm_exactly(seed, clip):
    rng = np.random.default_rng(seed)
    reference = {"a": np.exp(rng.normal(0, 3, 5)), "b": np.exp(rng.normal(0, 3, 40))}
    patients = [{"a": square_means(rng, 5), "b": square_means(rng, 40)} for _ in range(3)]
    for vector in unit_vectors(patients, reference, clip):
        assert exact_norm_squared(vector) <= NORM**2


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.floats() | st.floats(-1e4, 1e4), min_size=1, max_size=30), clip=CLIPS)
def test_the_grid_does_not_trust_the_clip_before_it(values, clip):
    with np.errstate(over="ignore"):
        assert exact_norm_squared(to_grid(np.array(values), clip)) <= FEATURES_NORM_SQUARED


def test_a_vector_at_the_bound_keeps_its_length_and_its_direction():
    rng = np.random.default_rng(3)
    direction = rng.normal(size=1000)
    direction /= np.linalg.norm(direction)
    found = to_grid(direction * 7 * FEATURES_SHARE, Fraction(7))
    assert exact_norm_squared(found) > 0.9999 * FEATURES_NORM_SQUARED
    assert found @ direction / np.linalg.norm(found) > 0.999999


def test_rounding_to_the_nearest_would_exceed_the_bound():
    # Why it is towards zero, and that this test would see a vector that is too long.
    features = 50_000
    clipped = np.full(features, FEATURES_SHARE / math.sqrt(features))
    nearest = np.rint(clipped * NORM + 0.3).astype(np.int64)
    assert exact_norm_squared(nearest) > FEATURES_NORM_SQUARED
    assert exact_norm_squared(to_grid(clipped, Fraction(1))) <= FEATURES_NORM_SQUARED


def test_features_are_about_the_reference_and_a_common_factor_is_nothing():
    rng = np.random.default_rng(0)
    reference = np.exp(rng.normal(size=64))
    np.testing.assert_allclose(log_features(reference * 12.5, reference), 0, atol=1e-12)
    x = rng.normal(0, 0.3, 64)
    np.testing.assert_allclose(log_features(reference * np.exp(x), reference), x - x.mean(), atol=1e-12)


@pytest.mark.parametrize("odd", [[0, 0, 0], [1, np.nan, 1], [np.inf, 1, 1]])
def test_of_what_is_no_statistic_nothing_is_known(odd):
    assert not log_features(np.array(odd, float), np.ones(3)).any()


def test_a_feature_that_is_never_on_is_cut_off():
    found = log_features(np.array([0.0] + [1.0] * 99), np.ones(100))
    assert found.min() == -LOG_LIMIT
    assert np.abs(found[1:]).max() < 0.2


def _directions(sizes, count, rng):
    q = np.linalg.qr(rng.normal(size=(sum(sizes.values()), count)))[0].T
    return dict(zip(sizes, np.split(q, np.cumsum(list(sizes.values()))[:-1], axis=1), strict=True))


def _sums(means, patients, clip):
    return {name: np.rint(m * patients * NORM / clip).astype(np.int64) for name, m in means.items()}


def test_without_noise_the_mean_comes_back_as_it_is():
    rng = np.random.default_rng(1)
    sizes = {"a": 30, "b": 50}
    means = {name: rng.normal(0, 0.2, n) for name, n in sizes.items()}
    found = Estimate(
        _sums(means, 40, 5),
        40 * COUNT_UNITS,
        clip=Fraction(5),
        variance=Fraction(0),
        directions=_directions(sizes, 3, rng),
    )
    assert found.patients == 40
    assert found.kept == (1, 1)
    for name, mean in means.items():
        np.testing.assert_allclose(found.features[name], mean, atol=1e-5)
        np.testing.assert_allclose(
            found.square_means({"a": np.ones(30), "b": np.ones(50)})[name], np.exp(mean), 1e-4
        )


@pytest.mark.parametrize("share_within", [0.0, 0.9])
def test_shrinkage_is_nearer_to_the_truth_than_the_noised_mean_and_than_public_text(share_within):
    rng = np.random.default_rng(2)
    sizes, clip, patients = {"a": 2000, "b": 3000}, 10, 100
    directions = _directions(sizes, 8, rng)
    along = rng.normal(size=8)
    truth = {}
    for name, n in sizes.items():
        common = directions[name].T @ along / np.linalg.norm(along)
        other = rng.normal(size=n) / math.sqrt(5000)
        truth[name] = 5 * (math.sqrt(share_within) * common + math.sqrt(1 - share_within) * other)
    z = 0.8
    sums = _sums(truth, patients, clip)
    variance = Fraction(z) ** 2 * NORM**2
    noised = {name: s + discrete_gaussian(variance, len(s)) for name, s in sums.items()}
    found = Estimate(
        noised, patients * COUNT_UNITS, clip=Fraction(clip), variance=variance, directions=directions
    )
    error = sum(np.sum((found.features[name] - truth[name]) ** 2) for name in sizes)
    raw = sum(np.sum((noised[name] * clip / NORM / patients - truth[name]) ** 2) for name in sizes)
    assert found.noise == pytest.approx(z * clip / patients)
    assert error < 0.75 * raw
    assert error < 0.75 * 25  # what public text alone is away
    if share_within:
        assert error < 0.25 * 25


def test_of_nothing_but_noise_little_is_left():
    rng = np.random.default_rng(5)
    sizes = {"a": 4000, "b": 4000}
    variance = Fraction(25) * NORM**2
    sums = {name: discrete_gaussian(variance, n) for name, n in sizes.items()}
    count = int(discrete_gaussian(variance, 1)[0])
    found = Estimate(sums, count, clip=Fraction(3), variance=variance, directions=_directions(sizes, 8, rng))
    assert found.patients >= 5 * NORM / COUNT_UNITS  # never divided by less than the noise of the number
    raw = math.sqrt(sum(float(s @ s) for s in sums.values())) * 3 / NORM / found.patients
    left = math.sqrt(sum(float(x @ x) for x in found.features.values()))
    assert left < 0.3 * raw


def test_raw_sums_are_off_by_half_a_step_and_refused_where_they_do_not_fit():
    rng = np.random.default_rng(0)
    reference = np.exp(rng.normal(0, 3, 500))
    exact = reference * rng.uniform(0, 1e6, 500)
    found = raw_square_sums(raw_to_grid(exact, reference), reference)
    assert np.max(np.abs(found - exact) / reference) <= 0.5 / RAW_UNITS * (1 + 1e-6)
    with pytest.raises(LocalMisuseError, match="do not fit"):
        raw_to_grid(np.array([2.0**27]), np.ones(1))
    with pytest.raises(LocalMisuseError, match="do not fit"):
        raw_to_grid(np.array([np.nan]), np.ones(1))
