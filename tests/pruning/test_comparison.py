from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pruning_oracles import compare

from secprune.errors import ConfigurationError
from secprune.pruning.comparison import (
    prune_mask,
    prune_mask_by_column,
    prune_mask_by_group,
    prune_mask_by_layer,
    prune_mask_by_row,
)


def smallest(values, k):
    return sorted(sorted(range(len(values)), key=lambda place: (values[place], place))[:k])


@st.composite
def _scores(draw, max_side=12):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=max_side))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return draw(hnp.arrays(dtype, shape, elements=st.integers(0, 3)))  # ties everywhere


@given(_scores(), st.data())
def test_row_selection_equals_a_stable_sort(score, data):
    k = data.draw(st.integers(0, score.shape[1]))
    mask = prune_mask_by_row(torch.from_numpy(score), k).numpy()
    for row, chosen in zip(score.tolist(), mask, strict=True):
        assert np.flatnonzero(chosen).tolist() == smallest(row, k)


@given(_scores(), st.data())
def test_column_selection_equals_a_stable_sort(score, data):
    k = data.draw(st.integers(0, score.shape[0]))
    mask = prune_mask_by_column(torch.from_numpy(score), k).numpy()
    assert mask.shape == score.shape
    for column, chosen in zip(score.T.tolist(), mask.T, strict=True):
        assert np.flatnonzero(chosen).tolist() == smallest(column, k)


@given(_scores(), st.data())
def test_layer_selection_equals_a_stable_sort(score, data):
    k = data.draw(st.integers(0, score.size))
    mask = prune_mask_by_layer(torch.from_numpy(score), k).numpy()
    assert mask.shape == score.shape
    assert np.flatnonzero(mask.reshape(-1)).tolist() == smallest(score.reshape(-1).tolist(), k)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.data())
def test_group_selection_equals_a_stable_sort_of_each_group(group, groups, rows, data):
    score = data.draw(hnp.arrays(np.float32, (rows, group * groups), elements=st.integers(0, 2)))
    pruned = data.draw(st.integers(0, group))
    mask = prune_mask_by_group(torch.from_numpy(score), pruned, group).numpy()
    for row, chosen in zip(score, mask, strict=True):
        for start in range(0, len(row), group):
            found = np.flatnonzero(chosen[start : start + group]).tolist()
            assert found == smallest(row[start : start + group].tolist(), pruned)


@given(
    _scores(),
    st.fractions(0, 1, max_denominator=100).filter(lambda s: s < 1),
    st.sampled_from(["row", "layer", "column"]),
)
def test_every_comparison_prunes_the_exact_floor(score, sparsity, comparison):
    mask = prune_mask(torch.from_numpy(score), comparison=comparison, sparsity=sparsity).numpy()
    assert np.array_equal(mask, compare(score, sparsity, comparison))
    rows, columns = score.shape
    if comparison == "row":
        assert (mask.sum(axis=1) == columns * sparsity.numerator // sparsity.denominator).all()
    elif comparison == "column":
        assert (mask.sum(axis=0) == rows * sparsity.numerator // sparsity.denominator).all()
    else:
        assert mask.sum() == rows * columns * sparsity.numerator // sparsity.denominator


def test_transposed_scores_are_compared_by_their_rows_and_columns():
    """GPT-2 stores the transpose: the strides of a score must not decide ties."""
    score = torch.randint(0, 4, (30, 20), generator=torch.Generator().manual_seed(2)).float()
    view = score.T.contiguous().T
    for comparison in ("row", "layer", "column"):
        one = prune_mask(score, comparison=comparison, sparsity=Fraction(2, 5))
        assert torch.equal(one, prune_mask(view, comparison=comparison, sparsity=Fraction(2, 5)))
    assert torch.equal(prune_mask_by_group(score, 2, 4), prune_mask_by_group(view, 2, 4))


def test_selection_over_several_chunks():
    score = torch.randint(0, 40, (2500, 1000), generator=torch.Generator().manual_seed(1)).float()
    order = score.sort(dim=1, stable=True).indices[:, :300]
    expected = torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, value=True)
    assert torch.equal(prune_mask_by_row(score, 300), expected)
    flat = torch.zeros(score.numel(), dtype=torch.bool)
    flat[score.reshape(-1).sort(stable=True).indices[:1_234_567]] = True
    assert torch.equal(prune_mask_by_layer(score, 1_234_567), flat.reshape(score.shape))
    groups = score.reshape(-1, 4).sort(dim=1, stable=True).indices[:, :2]
    grouped = torch.zeros(groups.shape[0], 4, dtype=torch.bool).scatter_(1, groups, value=True)
    assert torch.equal(prune_mask_by_group(score, 2, 4), grouped.reshape(score.shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "select",
    [prune_mask_by_row, prune_mask_by_layer, prune_mask_by_column, lambda s, k: prune_mask_by_group(s, k, 3)],
)
def test_scores_that_are_not_finite_are_refused(bad, select):
    score = torch.ones(2, 3)
    score[1, 2] = bad
    with pytest.raises(ConfigurationError, match="finite"):
        select(score, 1)


def test_large_scores_whose_sum_overflows_are_not_refused():
    score = torch.full((2, 3), 3e38)
    assert prune_mask_by_layer(score, 2).reshape(-1).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("select", "k"),
    [
        (prune_mask_by_row, -1),
        (prune_mask_by_row, 4),
        (prune_mask_by_column, 3),
        (prune_mask_by_layer, 7),
        (lambda s, k: prune_mask_by_group(s, k, 3), 4),
        (lambda s, k: prune_mask_by_group(s, k, 2), 1),
    ],
)
def test_k_or_group_that_does_not_fit_is_refused(select, k):
    with pytest.raises(ConfigurationError):
        select(torch.ones(2, 3), k)


@pytest.mark.parametrize("sparsity", [0.5, Fraction(1), Fraction(-1, 2)])
def test_a_sparsity_that_is_not_exact_is_refused(sparsity):
    for comparison in ("row", "layer", "column"):
        with pytest.raises(ConfigurationError, match="exact fraction"):
            prune_mask(torch.ones(2, 4), comparison=comparison, sparsity=sparsity)
