"""Noise conformance, canaries and the estimate: who notices which mistake, and how often an honest study is accused."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from noised_subjects import (
    draws,
    fast,
    fast_noise,
    mechanism,
    multiplier_not_squared,
    votes_noise,
)

from secprune.audit.check import Verdict, run
from secprune.audit.draws import Draws
from secprune.audit.guarantees.canaries import canary_bound, run_canaries
from secprune.audit.guarantees.conformance import noise_conformance
from secprune.audit.guarantees.estimate import gaussian_estimate
from secprune.audit.guarantees.subject import (
    noise_omitted,
    noise_over_sqrt2,
    sigma_for_variance,
    with_noise,
)
from secprune.privacy.gaussian import discrete_gaussian

OPTIONS = [
    {"payload": "counts"},
    {"payload": "square-sums", "colluders": 1},
    {"payload": "square-sums", "recentring": "0.25"},
]


def ran(check, subject, seed=1):
    return run(check, subject, draws(seed), seed=seed, clock=time.perf_counter)


def refuted(check, subject, seed=1):
    return check.measure(subject, Draws(seed, check.id)).refuted


def figures(measurement):
    return {figure.name: figure for figure in measurement.figures}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("epsilon", "features"), [("1", 60_000), ("2", 20_000), ("8", 20_000)])
def test_the_studys_own_mechanism_passes_all_three(options, epsilon, features):
    subject = fast(mechanism(features, epsilon=epsilon, **options))
    assert ran(noise_conformance(), subject.noise).verdict is Verdict.CONFORMS
    assert ran(canary_bound(), subject).verdict is Verdict.NOT_REFUTED
    assert ran(gaussian_estimate(), subject).verdict is Verdict.NOT_REFUTED


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_with_the_real_sampler_too(options):
    subject = mechanism(epsilon="2", **options)
    result = ran(noise_conformance(), subject.noise)
    assert result.verdict is Verdict.CONFORMS
    ratio = next(figure for figure in result.measurement.figures if figure.low is not None)
    assert ratio.low < 1.01
    assert ratio.high > 0.99
    assert result.measurement.sample == 100_000 * subject.noise.parties
    assert ran(canary_bound(), subject).verdict is Verdict.NOT_REFUTED
    assert ran(gaussian_estimate(), subject).verdict is Verdict.NOT_REFUTED


def test_each_mutation_as_the_study_itself_is_refuted():
    subject = fast(mechanism(epsilon="2", payload="square-sums", colluders=1))
    for check, of in (
        (noise_conformance(), subject.noise),
        (canary_bound(), subject),
        (gaussian_estimate(), subject),
    ):
        for mutate in check.mutations.values():
            assert ran(check, mutate(of)).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    "mutation", [noise_over_sqrt2, multiplier_not_squared(2)], ids=["over root two", "multiplier not squared"]
)
def test_a_lower_bound_misses_what_conformance_and_the_estimate_notice(mutation):
    subject = fast(mechanism(epsilon="2"))
    for seed in range(5):
        assert not refuted(canary_bound(), with_noise(mutation)(subject), seed)
        assert refuted(noise_conformance(), mutation(subject.noise), seed)
        assert refuted(gaussian_estimate(), with_noise(mutation)(subject), seed)


def test_a_standard_deviation_for_a_variance_is_so_wrong_that_all_notice():
    subject = fast(mechanism(epsilon="2"))
    assert refuted(canary_bound(), with_noise(sigma_for_variance)(subject))
    assert refuted(noise_conformance(), sigma_for_variance(subject.noise))
    assert refuted(gaussian_estimate(), with_noise(sigma_for_variance)(subject))


def test_one_percent_too_little_is_noticed():
    noise = fast_noise(mechanism().noise)
    almost = replace(noise, draw=lambda v, size, entropy: noise.draw(v * 98 / 100, size, entropy))
    assert refuted(noise_conformance(), almost)


def test_noise_that_two_parties_share_is_noticed():
    noise = fast_noise(mechanism(payload="square-sums").noise)
    same = replace(noise, draw=lambda v, size, entropy: noise.draw(v, size, bytes))
    assert refuted(noise_conformance(), same)


def test_one_party_of_many_that_omits_its_noise_is_noticed():
    noise = replace(fast_noise(mechanism(payload="square-sums").noise), parties=80, adding=79)
    assert refuted(noise_conformance(20_000), noise)
    assert not refuted(noise_conformance(20_000), replace(noise, adding=80))


@pytest.mark.parametrize(("sigma", "colluders"), [("1", 0), ("2", 1), ("8", 1), ("300", 0)])
def test_count_noise_of_every_size_conforms(sigma, colluders):
    noise = votes_noise(sigma, colluders)
    result = ran(noise_conformance(), noise)
    assert result.verdict is Verdict.CONFORMS
    assert result.measurement.sample == 100_000 * noise.parties


@pytest.mark.parametrize("variance", [0.3, 2, 900])
def test_small_noise_of_a_float_sampler_is_not_the_discrete_gaussian(variance):
    # Rounded draws have 1/12 more variance: noticed where that counts.
    noise = replace(votes_noise(), variances=(variance,), draw=fast_noise(votes_noise()).draw)
    assert refuted(noise_conformance(), noise) == (variance < 100)


def accused(check, subject, repetitions):
    return sum(refuted(check, subject, seed) for seed in range(100, 100 + repetitions))


def test_honest_studies_are_hardly_ever_accused():
    for options in OPTIONS[1:]:
        subject = fast(mechanism(1000, **options))
        assert accused(noise_conformance(2000), subject.noise, 60) <= 1
        assert accused(canary_bound(2000), subject, 30) <= 1
        assert accused(gaussian_estimate(2000), subject, 60) <= 1


def test_probabilities_are_uniform_under_the_promise():
    """The test is exact: of the whole noise, for noise of the grid, of votes, and where these are almost nothing."""
    for noise in (fast_noise(mechanism(400).noise), votes_noise("8"), votes_noise("1", 0)):
        found = []
        for seed in range(80):
            measured = noise_conformance(300).measure(noise, Draws(seed, "p"))
            found.append([f.value for f in measured.figures if f.name.endswith("the noise")])
        for column in np.array(found).T:
            # Kolmogorov's distance at a level of one in ten thousand; his own p-value is a little too large.
            distance = np.abs(np.sort(column) - (np.arange(80) + 0.5) / 80).max()
            assert distance < 0.25


def test_intervals_hold_the_truth_as_often_as_they_say():
    subject, held = fast(mechanism(2000, epsilon="2")), 0
    for seed in range(200):
        found = figures(gaussian_estimate(2000).measure(subject, Draws(seed, "ci")))
        estimate, exact = found["estimate of epsilon"], found["exact epsilon of the promised noise"].value
        held += estimate.low <= exact <= estimate.high
    assert 180 <= held <= 199


def test_few_canaries_have_no_power():
    subject = mechanism(2000, epsilon="0.25")
    for check in (canary_bound(2000), gaussian_estimate(40)):
        result = ran(check, subject)
        assert result.verdict is Verdict.NO_POWER


def test_no_noise_at_all():
    subject = with_noise(noise_omitted)(mechanism(2000))
    assert "no noise" in gaussian_estimate().measure(subject, Draws(1, "x")).says
    assert refuted(canary_bound(), subject)
    assert run_canaries(subject, 100, Draws(1, "x")).mu == float("inf")


def test_two_rounds_are_as_private_as_one():
    one, two = (fast(mechanism(payload="square-sums", recentring=share)) for share in ("0", "0.25"))
    assert len(two.noise.variances) == 2
    mus = [run_canaries(subject, 20_000, Draws(3, "mu")).mu for subject in (one, two)]
    assert mus[1] == pytest.approx(mus[0], rel=0.03)
    assert mus[0] == pytest.approx(float(1 / one.z), rel=0.03)


def test_claiming_half_is_refuted_by_the_estimate():
    subject = fast(mechanism(epsilon="2"))
    assert refuted(gaussian_estimate(), replace(subject, epsilon=subject.epsilon / 2))


def test_the_same_seed_gives_the_same_figures():
    subject = mechanism(2000)
    assert subject.noise.draw is discrete_gaussian
    check = noise_conformance(2000)
    assert check.measure(subject.noise, Draws(1, "a")) == check.measure(subject.noise, Draws(1, "a"))
    assert check.measure(subject.noise, Draws(1, "a")) != check.measure(subject.noise, Draws(2, "a"))
