"""FedSpaLLM's adaptive mask expansion against its definition, weight by weight."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.pruning.selection import expanded_mask, final_mask
from secprune.task import FedSpaLLMSpec, PruningSpec


def naive_expansion(counts, key, k, n):
    """All that nobody kept; then, one at a time, what most pruned, of these the smallest, of these the first."""
    mask = counts == n
    while mask.sum() < k:
        rest = [i for i in range(counts.size) if not mask.flat[i]]
        mask.flat[min(rest, key=lambda i: (-int(counts.flat[i]), int(key.flat[i]), i))] = True
    return mask


@st.composite
def _cases(draw):
    n = draw(st.sampled_from([1, 2, 3, 8, 255, 256, 300]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    levels = [n, *draw(st.lists(st.integers(0, n), min_size=1, max_size=3))]
    counts = draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from(levels)))
    key = draw(hnp.arrays(np.uint32, shape, elements=st.integers(0, 2)))
    return counts, key, n


@given(_cases(), st.data())
def test_expansion_is_its_definition(case, data):
    counts, key, n = case
    k = data.draw(st.integers(0, counts.size))
    before = counts.copy()
    mask = expanded_mask(counts, key, k, n)
    np.testing.assert_array_equal(mask, naive_expansion(counts, key, k, n))
    np.testing.assert_array_equal(counts, before)
    assert mask.dtype == np.bool_
    # No regrowth: what nobody kept stays pruned, however small k is.
    assert mask[counts == n].all()
    assert mask.sum() == max(k, np.count_nonzero(counts == n))


@given(
    _cases(),
    st.fractions(0, 1, max_denominator=97).filter(lambda s: 0 < s < 1),
)
def test_the_mask_of_a_task_prunes_the_exact_ceiling(case, sparsity):
    counts, key, n = case
    pruning = PruningSpec(
        algorithm="fedspallm",
        sparsity=f"{sparsity.numerator}/{sparsity.denominator}",
        sequence_length=8,
        max_windows=1,
        fedspallm=FedSpaLLMSpec(),
    )
    k = math.ceil(sparsity * counts.size)
    assert pruning.final_k(*counts.shape) == k
    mask = final_mask(counts, key, pruning=pruning, cohort=n, tie_seed=bytes(32))
    np.testing.assert_array_equal(mask, naive_expansion(counts, key, k, n))


@pytest.mark.parametrize(
    ("sparsity", "rows", "columns", "k"),
    [
        ("0.1", 10, 1, 1),  # 0.1 is more than a tenth in binary
        ("0.7", 10, 10, 70),
        ("1/3", 7, 7, 17),
        ("1/2", 3, 3, 5),
        ("0.55", 4096, 11008, 24_798_823),
    ],
)
def test_the_ceiling_is_exact(sparsity, rows, columns, k):
    pruning = PruningSpec(
        algorithm="fedspallm",
        sparsity=sparsity,
        sequence_length=8,
        max_windows=1,
        fedspallm=FedSpaLLMSpec(),
    )
    assert pruning.final_k(rows, columns) == k == math.ceil(Fraction(sparsity) * rows * columns)


def test_a_count_above_the_cohort_or_another_shape_is_refused():
    key = np.zeros((1, 2), np.uint32)
    with pytest.raises(RemoteMisbehaviourError):
        expanded_mask(np.array([[4, 0]], np.uint8), key, 1, 3)
    with pytest.raises(ConfigurationError):
        expanded_mask(np.zeros((2, 1), np.uint8), key, 1, 3)
    with pytest.raises(ConfigurationError):
        expanded_mask(np.zeros((1, 2), np.uint8), key, 3, 3)
