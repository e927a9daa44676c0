from __future__ import annotations

import logging
from fractions import Fraction

import numpy as np
import pruning_oracles as oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.errors import ConfigurationError
from secprune.pruning.activations import SecondMoment
from secprune.pruning.local import SparseGPT, local_pruner
from secprune.pruning.sparsegpt import inverse_factor, prune_and_reconstruct
from secprune.task import PruningSpec

HALF = Fraction(1, 2)


def _correlated(tokens, columns, seed=0):
    """Inputs (tokens, columns) float64 whose features go together, as those of a language model do."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((columns, columns)) + 3 * rng.standard_normal(
        (columns, 3)
    ) @ rng.standard_normal((3, columns))
    return rng.standard_normal((tokens, columns)) @ mixing


def _case(rows=24, columns=300, tokens=900, seed=0):
    weight = np.random.default_rng(seed + 1).standard_normal((rows, columns))
    inputs = _correlated(tokens, columns, seed)
    return weight, inputs, 2 * 24 / tokens * inputs.T @ inputs


def _ours(weight, hessian, sparsity=HALF, pattern=None):
    found = prune_and_reconstruct(
        torch.from_numpy(weight), torch.from_numpy(hessian), sparsity=sparsity, pattern=pattern
    )
    assert found is not None
    return found[0].numpy(), found[1].numpy()


def _spec(sparsity="1/2", pattern=""):
    return PruningSpec(
        local_pruner="sparsegpt", sparsity=sparsity, pattern=pattern, sequence_length=24, max_windows=8
    )


def _moment(inputs, dtype=torch.float64):
    inputs = torch.from_numpy(inputs).to(dtype)
    moment = SecondMoment.zeros(torch.empty(1, inputs.shape[1], dtype=dtype), torch.device("cpu"))
    moment.add(SecondMoment.of(inputs), len(inputs))
    return moment


@pytest.mark.parametrize("columns", [1, 60, 128, 129, 300])
@pytest.mark.parametrize("sparsity", [HALF, Fraction(29, 100)])
def test_equal_to_elimination_of_one_column_after_the_other(columns, sparsity):
    weight, _, hessian = _case(columns=columns)
    mask, new = _ours(weight, hessian, sparsity)
    expected_mask, expected = oracles.sparsegpt_by_elimination(weight, hessian, sparsity, None)
    assert np.array_equal(mask, expected_mask)
    np.testing.assert_allclose(new, np.where(mask, 0, expected), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("pattern", [(2, 4), (1, 4), (4, 8), (3, 5), (50, 100)])
def test_patterns_are_chosen_with_the_weights_as_they_are_by_then(pattern):
    """5 and 100 do not divide the 128 columns of a block."""
    weight, _, hessian = _case(columns=400, tokens=1200)
    mask, new = _ours(weight, hessian, Fraction(*pattern), pattern)
    expected_mask, expected = oracles.sparsegpt_by_elimination(weight, hessian, HALF, pattern)
    assert np.array_equal(mask, expected_mask)
    np.testing.assert_allclose(new, np.where(mask, 0, expected), rtol=1e-7, atol=1e-9)
    assert (mask.reshape(len(mask), -1, pattern[1]).sum(axis=2) == pattern[0]).all()
    factor = inverse_factor(torch.from_numpy(hessian))
    at_once = oracles.compare(weight**2 / np.diag(factor) ** 2, HALF, "row", pattern)
    assert not np.array_equal(mask, at_once), "updates change what is chosen later"


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 270),
    st.fractions(0, 1, max_denominator=100).filter(lambda s: s < 1),
    st.integers(0, 99),
)
def test_exactly_the_floor_in_each_block(rows, columns, sparsity, seed):
    weight, _, hessian = _case(rows, columns, 30, seed)
    mask, new = _ours(weight, hessian, sparsity)
    for start in range(0, columns, 128):
        block = mask[:, start : start + 128]
        assert block.sum() == block.size * sparsity.numerator // sparsity.denominator
    assert not new[mask].any()
    assert np.isfinite(new).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_reconstruction_is_better_than_wanda_without_update(seed, pattern):
    weight, inputs, hessian = _case(seed=seed)
    _, new = _ours(weight, hessian, pattern=pattern)
    score = np.abs(weight) * np.sqrt((inputs**2).sum(axis=0))
    wanda = np.where(oracles.compare(score, HALF, "row", pattern), 0, weight)
    ours, theirs = (np.linalg.norm(inputs @ (weight - w).T) for w in (new, wanda))
    assert ours < 0.8 * theirs


@pytest.mark.parametrize("tokens", [1, 7, 60])
def test_fewer_tokens_than_columns(tokens):
    """A singular Hessian: the damping alone makes it invertible."""
    weight, inputs, hessian = _case(columns=200, tokens=tokens)
    assert np.linalg.matrix_rank(hessian) <= tokens
    mask, _ = _ours(weight, hessian)
    expected_mask, _ = oracles.sparsegpt_by_elimination(weight, hessian, HALF, None)
    assert np.array_equal(mask, expected_mask)
    pruned = SparseGPT(_spec(), 24).prune(torch.from_numpy(weight).float(), _moment(inputs, torch.float32))
    assert not pruned.warning
    assert pruned.weight.dtype == torch.float32
    assert bool(torch.isfinite(pruned.weight).all())


def test_dead_columns_are_pruned_first_and_left_at_zero():
    weight, inputs, _ = _case(columns=20)
    inputs[:, [3, 11]] = 0
    hessian = inputs.T @ inputs / len(inputs)
    mask, new = _ours(weight, hessian)
    expected_mask, expected = oracles.sparsegpt_by_elimination(weight, hessian, HALF, None)
    assert np.array_equal(mask, expected_mask)
    np.testing.assert_allclose(new, np.where(mask, 0, expected), rtol=1e-9, atol=1e-12)
    assert mask[:, [3, 11]].all()
    mask, new = _ours(weight, hessian, Fraction(1, 20))  # fewer than are dead
    assert mask.sum() == 24
    assert not mask[:, np.setdiff1d(np.arange(20), [3, 11])].any()
    assert not new[:, [3, 11]].any()


def test_nothing_pruned_changes_nothing_and_arguments_are_left_alone():
    weight, _, hessian = _case()
    mask, new = _ours(weight, hessian, Fraction(0))
    assert not mask.any()
    assert np.array_equal(new, weight)
    before = weight.copy(), hessian.copy()
    _ours(weight, hessian)
    assert np.array_equal(weight, before[0])
    assert np.array_equal(hessian, before[1])


def test_uncorrelated_inputs_need_no_update():
    """With a diagonal Hessian, the scores are Wanda's, squared, and no weight can make up for another."""
    weight, _, _ = _case(columns=100)
    diagonal = np.random.default_rng(5).random(100) + 0.5
    mask, new = _ours(weight, np.diag(diagonal))
    damped = diagonal + 0.01 * diagonal.mean()
    assert np.array_equal(mask, oracles.compare(np.abs(weight) * np.sqrt(damped), HALF, "layer"))
    np.testing.assert_allclose(new, np.where(mask, 0, weight), rtol=1e-12)


def test_factor_is_that_of_the_inverse():
    _, _, hessian = _case(columns=50)
    factor = inverse_factor(torch.from_numpy(hessian)).numpy()
    damped = hessian + 0.01 * np.diag(hessian).mean() * np.eye(50)
    assert np.array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor.T @ factor @ damped, np.eye(50), atol=1e-8)


def _with_least_eigenvalue(share, columns=20):
    """Symmetric, of mean diagonal 1, with one eigenvalue of about -share: as rounding can leave one."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((columns, columns)))[0]
    values = np.ones(columns)
    values[0] = -share
    values[1:] = (columns + share) / (columns - 1)
    return (basis * values) @ basis.T


@pytest.mark.parametrize(("share", "damping"), [(0.005, 0.01), (0.05, 0.1), (0.5, 1.0)])
def test_damping_is_raised_until_it_helps(share, damping, caplog):
    hessian = _with_least_eigenvalue(share)
    with caplog.at_level(logging.INFO):
        factor = inverse_factor(torch.from_numpy(hessian)).numpy()
    np.testing.assert_allclose(factor.T @ factor @ (hessian + damping * np.eye(20)), np.eye(20), atol=1e-6)
    assert len(caplog.records) == {0.01: 0, 0.1: 1, 1.0: 2}[damping]


@pytest.mark.parametrize("pattern", ["", "2:4"])
def test_wanda_is_the_last_resort(pattern):
    weight, _, _ = _case(columns=20)
    hessian = _with_least_eigenvalue(2.5)
    moment = SecondMoment(torch.from_numpy(hessian / 48), tokens=5)
    assert prune_and_reconstruct(torch.from_numpy(weight), torch.from_numpy(hessian), sparsity=HALF) is None
    spec = _spec(pattern=pattern)
    pruned = SparseGPT(spec, 24).prune(torch.from_numpy(weight), moment)
    assert "Wanda" in pruned.warning
    assert pruned.weight is None
    score = np.abs(weight) * np.sqrt(np.diag(hessian))
    assert np.array_equal(pruned.mask.numpy(), oracles.compare(score, HALF, "row", spec.group_pattern))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_statistics_that_are_not_finite_are_refused(bad):
    weight, inputs, _ = _case(columns=20)
    inputs[5, 6] = bad
    with pytest.raises(ConfigurationError, match="finite"):
        SparseGPT(_spec(), 24).prune(torch.from_numpy(weight), _moment(inputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_computed_in_float32_or_better(dtype):
    weight, inputs, _ = _case(columns=64)
    moment = _moment(inputs, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert moment.mean.dtype == wide
    rounded = torch.from_numpy(inputs).to(dtype).double().numpy()
    np.testing.assert_allclose(
        moment.mean.numpy(), rounded.T @ rounded / len(inputs), rtol=1e-4, atol=1e-3 * np.abs(rounded).mean()
    )
    pruned = local_pruner(_spec(), sequence_length=24).prune(torch.from_numpy(weight).to(dtype), moment)
    assert pruned.weight.dtype == wide
    exact, _ = oracles.sparsegpt_by_elimination(
        torch.from_numpy(weight).to(dtype).double().numpy(),
        48 * rounded.T @ rounded / len(inputs),
        HALF,
        None,
    )
    assert (pruned.mask.numpy() != exact).mean() < 0.001


def test_running_mean_of_uneven_batches_is_the_mean():
    inputs = _correlated(100, 12)
    whole, parts = _moment(inputs), SecondMoment.zeros(torch.empty(1, 12).double(), torch.device("cpu"))
    for part in torch.from_numpy(inputs).split([1, 0, 60, 39]):
        parts.add(SecondMoment.of(part), len(part))
    assert parts.tokens == whole.tokens == 100
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(whole.mean.numpy(), inputs.T @ inputs / 100, rtol=1e-12)
