"""Inversion and tracing against oracles, and what they find where it is known what there is to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from attack_population import make_population, make_rehearsal

from secprune.audit.attacks.covariance import Covariance, mean_of
from secprune.audit.attacks.population import draw_world
from secprune.audit.attacks.tracing import Seen, Size, Tracing, measure, trace
from secprune.audit.attacks.views import colluders_view, counts_view, mask_view, square_sums_view
from secprune.audit.draws import Draws
from secprune.audit.figures import auc, pooled
from secprune.errors import LocalMisuseError


@pytest.fixture(scope="module")
def rehearsal():
    return make_rehearsal()


def auc_of(subject, size, seed=0):
    return auc(*pooled(trace(subject, Draws(seed, "test"), size)))


# ---- inversion
def test_a_mask_gives_its_statistics_away():
    rehearsal = make_rehearsal(rows=1024)
    population = rehearsal.population
    documents = population.of_specialty("oncology")[:3]
    read = rehearsal.read(rehearsal.masks(documents))
    true = population.logarithms(population.pooled(documents))
    assert np.corrcoef(read, true)[0, 1] > 0.97
    assert np.median(np.abs(read - true)) < 0.05


def test_a_mask_of_the_reference_says_nothing(rehearsal):
    reference = [one.reference for one in rehearsal.population.inputs]
    # with fewer than a hundred rows, the largest and smallest norms are read off a handful of them
    assert np.median(np.abs(rehearsal.read(rehearsal.prune(reference)))) < 0.1


def test_colluders_read_the_last_mask_itself(rehearsal):
    world = draw_world(rehearsal.population, Draws(1, "w"), hospitals=3, documents=2)
    seen = colluders_view(rehearsal)(world, Draws(1, "v"))
    np.testing.assert_array_equal(seen.features, mask_view(rehearsal)(world, Draws(1, "v")).features)


# ---- covariance
def test_the_inverse_covariance_is_that_of_a_dense_matrix():
    """The same test in the space of features, with matrices of D times D."""
    population = make_population(documents=10, public=12, features=(6, 5))
    x = population.features
    known = np.arange(5, 35)
    found = Covariance([known], population.gram).solve(population.gram[2], noise=0.3)
    centred = x[known] - x[known].mean(axis=0)
    covariance = centred.T @ centred / len(known)
    values = np.linalg.eigvalsh(covariance)
    rest = values[values > 1e-9 * values.max()].min() + 0.3  # there are fewer directions than are trusted
    dense = np.linalg.solve(covariance + rest * np.eye(len(values)), x[2])
    np.testing.assert_allclose(found, x @ dense, rtol=1e-8, atol=1e-8)


def test_covariance_within_groups_is_about_each_groups_mean():
    population = make_population(documents=8, public=4, features=(5, 4))
    x, groups = population.features, [np.arange(8), np.arange(8, 16)]
    centred = np.concatenate([x[group] - x[group].mean(axis=0) for group in groups])
    covariance = centred.T @ centred / 16
    values = np.linalg.eigvalsh(covariance)
    rest = values[values > 1e-9 * values.max()].min() + 0.1
    found = Covariance(groups, population.gram).solve(population.gram[20], noise=0.1)
    np.testing.assert_allclose(
        found, x @ np.linalg.solve(covariance + rest * np.eye(9), x[20]), rtol=1e-7, atol=1e-8
    )


def test_a_mean_is_what_it_says():
    x = np.random.default_rng(0).normal(size=(7, 3))
    which = np.array([1, 4, 6])
    np.testing.assert_allclose(mean_of(which, 7) @ x, x[which].mean(axis=0))


# ---- worlds
def test_worlds_share_no_document_and_public_text_is_nobodys():
    population = make_population()
    for seed in range(20):
        world = draw_world(population, Draws(seed, "w"), hospitals=5, documents=3)
        parts = [*world.hospitals, world.others, world.known]
        together = np.concatenate(parts)
        assert sorted(together) == list(range(len(population.specialties)))
        labels = np.array(population.specialties)
        assert all(len(set(labels[one])) == 1 for one in world.hospitals)
        assert "" not in set(labels[np.concatenate([*world.hospitals, world.others])])
        assert set(labels[world.others]) == {name for one in world.hospitals for name in labels[one]}


def test_too_little_text_is_said_to_be_too_little():
    with pytest.raises(LocalMisuseError, match="more text than there is"):
        draw_world(make_population(documents=4), Draws(0, "w"), hospitals=3, documents=3)


# ---- tracing
def test_masks_of_few_documents_tell_them_and_counts_of_many_less(rehearsal):
    population = rehearsal.population
    few = auc_of(Tracing(population, mask_view(rehearsal), "", ()), Size(1, 2, 12))
    many = auc_of(Tracing(population, mask_view(rehearsal), "", ()), Size(1, 16, 12))
    summed = auc_of(Tracing(population, counts_view(rehearsal), "", ()), Size(9, 2, 4))
    assert few > 0.95
    assert 0.5 < many < few
    assert 0.5 < summed < few
    assert auc_of(Tracing(population, square_sums_view(rehearsal), "", ()), Size(3, 2, 8)) > summed - 0.05


def test_a_view_of_other_documents_tells_nothing(rehearsal):
    """The baseline of every attack: what is seen is of documents that nobody asks about."""
    subject = Tracing(rehearsal.population, mask_view(rehearsal), "a mask", (Size(1, 2, 40),))
    found = measure(subject, Draws(3, "test"))
    (baseline,) = [figure for figure in found.figures if "neither" in figure.name]
    assert baseline.low < 0.5 < baseline.high
    assert found.refuted


def test_noise_that_is_known_of_is_allowed_for(rehearsal):
    """A matched filter in much noise: as far apart as the norm over the noise's deviation says."""
    population = rehearsal.population
    sigma = float(np.linalg.norm(population.features, axis=1).mean())

    def noisy(world, draws):
        clean = population.features[world.members].mean(axis=0)
        return Seen(clean + sigma * draws.numpy.standard_normal(clean.size), variance=sigma**2)

    found = auc_of(Tracing(population, noisy, "", ()), Size(1, 1, 150))
    assert found == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=0.05)  # Phi(1 / sqrt 2)


def test_a_measurement_says_how_sure_it_is_and_what_it_looked_at(rehearsal):
    sizes = (Size(1, 1, 6), Size(1, 4, 6))
    found = measure(Tracing(rehearsal.population, mask_view(rehearsal), "a mask", sizes), Draws(0, "m"))
    names = [figure.name for figure in found.figures]
    assert names[:4] == [
        "AUC, 1 document", "TPR at 1% FPR, 1 document", "AUC, 4 documents", "TPR at 1% FPR, 4 documents",
    ]  # fmt: skip
    assert found.refuted
    assert [curve.name for curve in found.curves] == ["1 document", "4 documents"]
    assert found == measure(
        Tracing(rehearsal.population, mask_view(rehearsal), "a mask", sizes), Draws(0, "m")
    )
