"""The audits of differential privacy that fit a task, with the functions that parties really run.

Needs torch and opacus (extra `dp`) where a task protects patients: their clip is what is audited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import UNSET

from secprune.audit.guarantees.accounting import ACCOUNTING, claim_of
from secprune.audit.guarantees.canaries import CANARIES, canary_bound
from secprune.audit.guarantees.conformance import DRAWS, noise_conformance
from secprune.audit.guarantees.estimate import gaussian_estimate
from secprune.audit.guarantees.replacing import Cohort, replace_one
from secprune.audit.guarantees.sensitivity import sensitivity
from secprune.audit.guarantees.subject import NoisedSum, noise_of, of_task
from secprune.privacy.mechanism import FEATURES_SHARE, Floats, Integers, parted
from secprune.task import input_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secprune.audit.check import Planned
    from secprune.task import Task

_ALL_DRAWS, _LEAST_DRAWS = 1_000_000, 20_000
"""Of all parties together, and of each one."""

_LEAST_MULTIPLIER = 0.05
"""From which other accountants give a number."""


def checks_of(task: Task, *, model: Path | None = None, notes: Sequence[str] = ()) -> list[Planned]:
    """The checks of a task's privacy, each with its subject; none if the task adds no noise.

    Args:
        task: whose.
        model: directory of a model with its tokenizer; without it `replace-one` is left out.
        notes: synthetic texts, three or more: the last one takes the place of others.

    Raises:
        LocalMisuseError: no model there.
        ConfigurationError: the model cannot be loaded.
    """
    if task.privacy.count_noise is UNSET and task.privacy.patients is UNSET:
        return []
    noise = noise_of(task)
    conformance = noise_conformance(_each(noise.parties, DRAWS)), noise
    if task.privacy.patients is UNSET:
        return [conformance, (ACCOUNTING, claim_of(task, {}))]
    mechanism, canaries = mechanism_of(task), _each(noise.parties, CANARIES)
    pairs: list[Planned] = [
        (sensitivity(float(task.privacy.of_patients.clip_bound)), mechanism),
        conformance,
        (canary_bound(canaries), mechanism),
        (gaussian_estimate(canaries), mechanism),
        (ACCOUNTING, claim_of(task, other_accountants(task))),
    ]
    if model is not None:
        pairs.append(_replacing(task, model, notes))
    return pairs


def _each(parties: int, most: int) -> int:
    """Draws of each of so many parties: fewer of each where all of them together would take minutes."""
    return min(most, max(_LEAST_DRAWS, _ALL_DRAWS // parties))


def mechanism_of(task: Task) -> NoisedSum:
    """The mechanism of a task that protects patients, with the clip that clients use.

    Measured against a public reference of ones: what is in it changes no norm, for logarithms are about it.
    """
    from secprune.pruning.clipping import JointClip, UnitVectors  # noqa: PLC0415 - torch, only where it is audited

    bound = task.privacy.of_patients.clip_bound
    lengths = input_lengths(task.privacy.of_statistics, task.model.matrices)
    joint = JointClip(lengths, float(bound) * FEATURES_SHARE)
    vector_of = UnitVectors({name: np.ones(length) for name, length in lengths.items()}, bound)

    def clip(vector: Floats) -> Floats:
        clipped = joint(parted(vector, lengths))
        return np.concatenate([clipped[name] for name in lengths])

    def unit(square_means: Floats) -> Integers:
        return vector_of(parted(square_means, lengths))

    return of_task(task, clip=clip, unit=unit)


def other_accountants(task: Task) -> dict[str, float]:
    """What dp-accounting and Opacus say of a task's noise, by name."""
    from secprune.privacy.opacus_accountant import cross_check  # noqa: PLC0415 - opacus, only where it is audited

    patients = task.privacy.of_patients
    if patients.z < _LEAST_MULTIPLIER:
        return {}
    found = cross_check(float(patients.z), float(patients.delta))
    return {
        "dp-accounting, zero-concentrated": found.dp_accounting_zcdp,
        "dp-accounting, exact": found.analytic,
        "Opacus, PRV": found.opacus_prv,
    }


def _replacing(task: Task, model: Path, notes: Sequence[str]) -> Planned:
    from secprune.pruning.replacement import FirstBlocks  # noqa: PLC0415 - torch, where a model runs

    blocks = FirstBlocks(model, notes, clip=task.privacy.of_patients.clip_bound, pruning=task.pruning)
    return replace_one(blocks.sequential), Cohort(blocks.dense, tuple(notes[:-1]), tuple(notes[-1:]))
