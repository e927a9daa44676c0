"""What a client sums over its patients, without noise: for tests of how much one patient can move it."""

from __future__ import annotations

import numpy as np

from secprune.privacy.grid import COUNT_UNITS
from secprune.pruning.clipping import UnitVectors
from secprune.pruning.patients import distinct_inputs, mean_squares, patient_batches


def batches_of(patients, tokenizer, *, sequence_length=16, max_windows=3):
    found = [
        patient_batches(p, tokenizer, sequence_length=sequence_length, max_windows=max_windows)
        for p in patients
    ]
    return [batches for batches in found if batches]


def unit_vectors(square_means, reference, clip):
    """Each unit's bounded vector, its count last: (units, features + 1)."""
    vector_of = UnitVectors(reference, clip)
    return np.array([[*vector_of(found), COUNT_UNITS] for found in square_means], np.int64)


def sum_over_patients(model, patients, tokenizer, reference, clip):
    """(features + 1,) int64."""
    batches = batches_of(patients, tokenizer)
    inputs = distinct_inputs(model, batches[0][0])
    return unit_vectors(list(mean_squares(model, batches, inputs)), reference, clip).sum(axis=0)


def exact_norm_squared(vector):
    return sum(int(x) ** 2 for x in vector)
