"""What is left for an attacker behind each protection, with the protection switched off beside it."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from attack_population import SPECIALTIES, make_population, make_rehearsal, prune
from pairwise_round import card

from secprune.audit.attacks.disclosure import Agreeing, share_unanimous
from secprune.audit.attacks.hospitals import (
    Guessing,
    Picking,
    guess_specialties,
    tell_single_specialty,
)
from secprune.audit.attacks.known_others import NoisedVotes, tell_worlds_apart
from secprune.audit.attacks.membership import MEMBERSHIP_DP, MEMBERSHIP_DP_SUM, MEMBERSHIP_SHARE, Guarded
from secprune.audit.attacks.population import draw_world
from secprune.audit.attacks.private import Mechanism, released_mask_view, released_sum_view
from secprune.audit.attacks.reports import ServersPart
from secprune.audit.attacks.tracing import Size
from secprune.audit.attacks.views import Rehearsal, counts_view, mask_view, protected_view, square_sums_view
from secprune.audit.check import Verdict, run
from secprune.audit.draws import Draws
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import FEATURES_NORM_SQUARED, NORM
from secprune.privacy.mechanism import to_grid
from secprune.task import ModelSpec, PrivacySpec, ProtocolSpec, PruningSpec, Task

NO_DIGEST = "sha256:" + "0" * 64
PRUNING = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1)


@pytest.fixture(scope="module")
def rehearsal():
    return make_rehearsal()


def task_of(rehearsal, protocol):
    roles = [("client", name) for name in ("a", "b", "c", "d")] + [("aggregator", "x"), ("coordinator", "z")]
    roles += [] if protocol == "pairwise" else [("aggregator", "y")]
    matrices = tuple(matrix for one in rehearsal.population.inputs for matrix in one.matrices)
    return Task(
        study="test",
        nonce="0" * 32,
        protocol=ProtocolSpec(name=protocol, min_clients=3),
        pruning=PRUNING,
        privacy=PrivacySpec(),
        model=ModelSpec(name="m", weights_digest=NO_DIGEST, tokenizer_digest=NO_DIGEST, matrices=matrices),
        parties=tuple(card(role, name) for role, name in roles),
    )


def result_of(check, subject, seed=0):
    return run(check, subject, partial(Draws, seed), seed=seed, clock=lambda: 0.0)


# ---- shares
def share_subject(rehearsal, protocol):
    part = ServersPart(task_of(rehearsal, protocol), PRUNING, rehearsal.population.inputs)
    return Guarded(
        rehearsal.population,
        protected_view(rehearsal, part),
        "a report",
        (Size(1, 2, 20),),
        unguarded=mask_view(rehearsal),
        unguarded_what="the mask",
    )


@pytest.mark.parametrize("protocol", ["additive", "pairwise"])
def test_one_servers_part_of_a_report_tells_nothing(rehearsal, protocol):
    result = result_of(MEMBERSHIP_SHARE, share_subject(rehearsal, protocol))
    assert result.verdict is Verdict.NOT_REFUTED
    assert result.controls[0].mutation == "cleartext"
    assert result.measurement.figures[0].low < 0.5 < result.measurement.figures[0].high


def test_a_report_in_the_clear_tells_everything(rehearsal):
    result = result_of(MEMBERSHIP_SHARE, share_subject(rehearsal, "cleartext"))
    assert result.verdict is Verdict.REFUTED


def test_what_a_server_reads_in_the_clear_is_the_mask_itself(rehearsal):
    part = ServersPart(task_of(rehearsal, "cleartext"), PRUNING, rehearsal.population.inputs)
    masks = rehearsal.masks(np.arange(3))
    digits, most = part(masks, Draws(0, "d"))
    assert most == 1
    for read, mask in zip(digits, masks, strict=True):
        np.testing.assert_array_equal(read, mask)


# ---- differential privacy
def mechanism_of(rehearsal, z, *, summed):
    population = rehearsal.population
    clip = Fraction(4)
    norm = np.linalg.norm(population.features, axis=1, keepdims=True)
    inside = float(clip) * math.sqrt(FEATURES_NORM_SQUARED) / NORM
    clipped = population.features * np.minimum(1, inside / norm)
    directions, at = {}, 0
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(population.features.shape[1], 4)))[0].T
    for name, length in population.lengths.items():
        directions[name] = basis[:, at : at + length]
        at += length
    return Mechanism(
        vectors=np.stack([to_grid(row, clip) for row in clipped]),
        clip=clip,
        variance=Fraction(z) ** 2 * NORM**2,
        draw=discrete_gaussian,
        summed=summed,
        honest=1,
        directions=directions,
    )


@pytest.mark.parametrize("summed", [False, True])
def test_released_masks_tell_no_more_than_noise_allows(rehearsal, summed):
    mechanism = mechanism_of(rehearsal, "0.69", summed=summed)
    subject = Guarded(
        rehearsal.population,
        released_mask_view(rehearsal, mechanism),
        "masks",
        (Size(1, 1, 40), Size(2, 1, 20), Size(2, 4, 20)),
        limit=mechanism.limit,
        unguarded=counts_view(rehearsal),
        unguarded_what="masks without noise",
    )
    result = result_of(MEMBERSHIP_DP, subject)
    assert result.verdict is Verdict.NOT_REFUTED
    names = [figure.name for figure in result.measurement.figures]
    assert names == [figure.name for figure in result.controls[0].measurement.figures]  # the same worlds
    assert result.measurement.figures[-3].value < 0.75  # AUC of the largest
    assert "not surely above the limit" in result.measurement.says
    assert "in 100% of cases" in result.controls[0].measurement.says


def test_a_noised_sum_of_one_document_tells_as_much_as_noise_allows(rehearsal):
    """The limit is reached, and not passed: one document, all others known to be none."""
    mechanism = mechanism_of(rehearsal, "0.69", summed=True)
    assert mechanism.limit == pytest.approx(0.5 * (1 + math.erf(1 / (2 * 0.69))))
    subject = Guarded(
        rehearsal.population,
        released_sum_view(mechanism),
        "a sum",
        (Size(1, 1, 300),),
        limit=mechanism.limit,
        unguarded=square_sums_view(rehearsal),
        unguarded_what="an exact sum",
    )
    result = result_of(MEMBERSHIP_DP_SUM, subject)
    assert result.verdict is Verdict.NOT_REFUTED
    assert mechanism.limit - 0.12 < result.measurement.figures[0].value <= mechanism.limit + 0.03


def test_without_noise_the_sum_is_the_documents(rehearsal):
    quiet = dataclasses.replace(
        mechanism_of(rehearsal, "0.69", summed=True), draw=lambda _v, size, _entropy: np.zeros(size, np.int64)
    )
    world = draw_world(rehearsal.population, Draws(0, "w"), hospitals=2, documents=3)
    total = quiet.summed_over(world.hospitals, Draws(0, "n"))
    np.testing.assert_array_equal(total[:-1], quiet.vectors[world.members].sum(axis=0))
    found = released_sum_view(quiet)(world, Draws(0, "n")).features
    assert np.corrcoef(found, rehearsal.population.features[world.members].mean(axis=0))[0, 1] > 0.99


def test_the_noise_of_every_hospital_is_added(rehearsal):
    mechanism = mechanism_of(rehearsal, "0.69", summed=True)
    nobody = [np.arange(0)] * 5
    values = np.concatenate([mechanism.summed_over(nobody, Draws(seed, "n")) for seed in range(20)])
    assert float(values.std()) == pytest.approx(0.69 * NORM * math.sqrt(5), rel=0.05)


# ---- hospitals
def test_specialties_are_guessed_and_not_where_labels_mean_nothing():
    rehearsal = make_rehearsal(spread=0.4)
    subject = Guessing(rehearsal, mask_view(rehearsal), (2, 6), 12, "a mask")
    assert guess_specialties(subject, Draws(0, "g")).refuted
    labels = list(rehearsal.population.specialties)
    np.random.default_rng(0).shuffle(labels)
    mixed = dataclasses.replace(rehearsal.population, specialties=tuple(labels))
    shuffled = Rehearsal.of(mixed, prune(mixed.inputs))
    shares = guess_specialties(
        dataclasses.replace(subject, rehearsal=shuffled, view=mask_view(shuffled), trials=30), Draws(0, "g")
    ).figures
    assert all(figure.low < 1 / 3 for figure in shares[1:])


def test_counts_tell_of_a_hospital_with_one_specialty():
    rehearsal = make_rehearsal(documents=40, spread=0.4)
    found = tell_single_specialty(Picking(rehearsal, (2,), documents=8, trials=12), Draws(0, "p"))
    assert found.refuted
    assert len(SPECIALTIES) == 3


# ---- disclosure
def test_unanimous_votes_are_counted_by_hand(rehearsal):
    subject = Agreeing(rehearsal, hospitals=4, documents=2)
    found = share_unanimous(subject, Draws(0, "u"))
    world = draw_world(rehearsal.population, Draws(0, "u"), hospitals=4, documents=2)
    masks = [np.concatenate([m.ravel() for m in rehearsal.masks(one)]) for one in world.hospitals]
    alike = np.mean(np.all(np.stack(masks) == masks[0], axis=0))
    assert found.curves[0].x == (2.0, 4.0)
    assert found.curves[0].y[1] == pytest.approx(float(alike))


@pytest.mark.parametrize(("sigma", "low", "high"), [(1, 0.9, 1.0), (400, 0.3, 0.75)])
def test_noise_on_counts_hides_a_document_only_if_there_is_very_much(rehearsal, sigma, low, high):
    subject = NoisedVotes(rehearsal, (Fraction(sigma) ** 2,), discrete_gaussian, documents=2, trials=30)
    found = tell_worlds_apart(subject, Draws(0, "k"))
    assert low <= found.figures[1].value <= high
    votes = found.figures[0].value  # what sqrt(f) / sigma standard deviations make of them
    assert found.figures[1].value == pytest.approx(
        0.5 * (1 + math.erf(math.sqrt(votes) / sigma / 2)), abs=0.15
    )


def test_populations_are_deterministic():
    np.testing.assert_array_equal(make_population().features, make_population().features)
