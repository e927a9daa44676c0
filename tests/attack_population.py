"""A population of documents without a language model: features drawn from a known distribution, weights at random."""

from __future__ import annotations

import numpy as np

from secprune.audit.attacks.population import Input, Population
from secprune.audit.attacks.views import Rehearsal
from secprune.task import MatrixSpec

SPECIALTIES = ("cardiology", "oncology", "radiology")


def prune(inputs):
    """Wanda within rows by a full sort: an oracle for whatever prunes."""

    def masks(square_means):
        found = []
        for one, values in zip(inputs, square_means, strict=True):
            order = (np.abs(one.weights.astype(np.float64)) * np.sqrt(values)).argsort(axis=1, kind="stable")
            mask = np.zeros(one.weights.shape, bool)
            np.put_along_axis(mask, order[:, : one.budget], values=True, axis=1)
            found.append(mask)
        return found

    return masks


def make_population(*, documents=24, public=30, features=(48, 64), rows=96, spread=0.3, seed=0):
    """Documents of three specialties and public ones; each specialty has a mean of its own."""
    rng = np.random.default_rng(seed)
    inputs, square_means = [], []
    means = {name: [rng.normal(0, spread / 3, n) for n in features] for name in (*SPECIALTIES, "")}
    labels = [name for name in SPECIALTIES for _ in range(documents)] + [""] * public
    for place, count in enumerate(features):
        reference = np.exp(rng.normal(0, 1, count))
        matrices = tuple(
            MatrixSpec(name=f"block.0.{place}{half}.weight", rows=rows // 2, columns=count, block=0)
            for half in "ab"
        )
        weights = rng.standard_normal((rows, count), np.float32)
        inputs.append(Input(matrices, weights, reference, count // 2))
        logs = np.stack([means[name][place] + rng.normal(0, spread, count) for name in labels])
        square_means.append(np.exp(logs) * reference)
    return Population(tuple(inputs), tuple(square_means), tuple(labels))


def make_rehearsal(**options):
    population = make_population(**options)
    return Rehearsal.of(population, prune(population.inputs))
