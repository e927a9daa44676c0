"""Mechanisms of small tasks, with a clip of numpy: torch's is in the tests of `parties`."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
from msgspec import structs
from privacy_tasks import make_task, noisy_counts, private, statistics

from secprune.audit.draws import Draws
from secprune.audit.guarantees.subject import noise_of, of_task
from secprune.privacy.mechanism import FEATURES_SHARE, log_features, to_grid
from secprune.task import MatrixSpec

FEATURES = 20_000


def task_of(features=FEATURES, **options):
    """A task of four inputs with so many features."""
    narrow = make_task(private(**options))
    matrices = tuple(MatrixSpec(name=f"{i}.weight", rows=1, columns=features // 4) for i in range(4))
    names = tuple(matrix.name for matrix in matrices)
    return structs.replace(
        narrow,
        model=structs.replace(narrow.model, matrices=matrices),
        privacy=structs.replace(narrow.privacy, statistics=statistics(names)),
    )


def mechanism(features=FEATURES, **options):
    task = task_of(features, **options)
    bound = task.privacy.of_patients.clip_bound
    most = float(bound) * FEATURES_SHARE

    def clip(x):
        if not np.isfinite(x).all():
            return np.zeros_like(x)
        largest = np.abs(x).max(initial=0)
        scaled = x / largest if largest else x
        norm = float(np.linalg.norm(scaled))
        return scaled * min(largest, most / norm) if norm else scaled

    return of_task(task, clip=clip, unit=lambda s: to_grid(clip(log_features(s, np.ones(features))), bound))


def fast_noise(noise):
    """The same noise from numpy: for many repetitions, where exactness does not matter."""

    def draw(variance, size, entropy):
        rng = np.random.default_rng(list(entropy(16)))
        return np.rint(rng.normal(scale=math.sqrt(variance), size=size)).astype(np.int64)

    return replace(noise, draw=draw)


def fast(subject):
    return replace(subject, noise=fast_noise(subject.noise))


def multiplier_not_squared(z):
    """A variance of z instead of z^2: for a z of 2 too small by root two."""

    def mutate(noise):
        draw = noise.draw
        return replace(
            noise, draw=lambda variance, size, entropy: draw(variance / Fraction(z), size, entropy)
        )

    return mutate


def votes_noise(sigma="8", colluders=1):
    return noise_of(make_task(noisy_counts(sigma, colluders)))


def draws(seed):
    return lambda purpose: Draws(seed, purpose)
