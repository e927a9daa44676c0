"""Every local pruner against an oracle written from its paper, on whole models, in float64."""

from __future__ import annotations

import copy
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pruning_oracles as oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_checkpoint, make_model
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config
from transformers.pytorch_utils import Conv1D

from secprune.errors import ConfigurationError
from secprune.pruning import activations, local
from secprune.pruning.decoder import prunable_matrices
from secprune.pruning.local import LocalPruning, local_pruning_masks
from secprune.pruning.models import load_model
from secprune.pruning.wanda import prune_mask_adaptive
from secprune.task import PruningSpec

ARCHES = ["llama", "qwen2", "opt"]
PREFIX = {"llama": "model.layers", "qwen2": "model.layers", "opt": "model.decoder.layers"}
COMPARISONS = ["row", "layer", "column"]


def _windows(count=5, length=24):
    return torch.randint(1, 390, (count, length), generator=torch.Generator().manual_seed(7))


def _spec(pruner="wanda", comparison="row", sparsity="1/2", **more):
    return PruningSpec(
        local_pruner=pruner,
        local_comparison=comparison,
        sparsity=sparsity,
        sequence_length=24,
        max_windows=8,
        **more,
    )


def _choose(spec):
    how = (spec.exact_sparsity, spec.local_comparison, spec.group_pattern)
    return {
        "magnitude": lambda: oracles.magnitude(*how),
        "wanda": lambda: oracles.wanda(*how),
        "wanda-adaptive": lambda: oracles.wanda_adaptive(how[0]),
        "sparsegpt": lambda: oracles.sparsegpt(how[0], how[2]),
    }[spec.local_pruner]()


def _check_against_oracle(tmp_path, arch, spec):
    make_checkpoint(tmp_path, arch, seed=3, dtype=torch.float64, layers=3)
    model = load_model(tmp_path)
    dense = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    ours = dict(local_pruning_masks(model, _windows(), pruning=spec))
    assert list(ours) == [matrix.name for matrix in prunable_matrices(model)]
    reference = oracles.masks_of_model(
        load_model(tmp_path),
        _windows(),
        PREFIX[arch],
        3,
        _choose(spec),
        dense=spec.activations == "dense",
    )
    names = []
    for name, mask, weight in reference:
        names.append(name)
        assert ours[name].dtype == np.bool_
        assert np.array_equal(ours[name], mask), name
        here = model.get_parameter(name).detach()
        np.testing.assert_allclose(here.numpy(), weight, rtol=1e-9, atol=1e-12)
        assert not here[torch.from_numpy(mask)].any()
        if spec.local_pruner != "sparsegpt":
            assert torch.equal(here, dense[name].masked_fill(torch.from_numpy(mask), 0))
        budget = spec.row_budget(mask.shape[1])
        if budget is not None:
            assert (ours[name].sum(axis=1) == budget).all(), name
    assert names == list(ours)
    for name, parameter in model.named_parameters():
        assert name in ours or torch.equal(parameter, dense[name]), name


@pytest.mark.parametrize("sparsity", ["1/2", "29/100"])
@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("pruner", ["wanda", "magnitude"])
def test_scores_compared_within_each_group(tmp_path, pruner, comparison, sparsity):
    _check_against_oracle(tmp_path, "llama", _spec(pruner, comparison, sparsity))


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "3:8"])
@pytest.mark.parametrize("pruner", ["wanda", "magnitude", "sparsegpt"])
def test_patterns(tmp_path, pruner, pattern):
    _check_against_oracle(
        tmp_path, "llama", _spec(pruner, sparsity=pattern.replace(":", "/"), pattern=pattern)
    )


@pytest.mark.parametrize("sparsity", ["1/2", "29/100", "7/10"])
def test_adaptive(tmp_path, sparsity):
    _check_against_oracle(tmp_path, "llama", _spec("wanda-adaptive", sparsity=sparsity))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("activations", ["sequential", "dense"])
@pytest.mark.parametrize("pruner", ["wanda", "sparsegpt"])
def test_architectures_and_kinds_of_activations(tmp_path, arch, pruner, activations):
    _check_against_oracle(tmp_path, arch, _spec(pruner, activations=activations))


def test_batches_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "MAX_BATCH_TOKENS", 48)  # batches of 2, 2 and 1 windows
    _check_against_oracle(tmp_path, "llama", _spec("sparsegpt"))


def test_dense_and_sequential_differ_after_the_first_block():
    one, two = (
        dict(local_pruning_masks(make_model("llama", seed=3), _windows(), pruning=_spec(activations=kind)))
        for kind in ("sequential", "dense")
    )
    assert all(np.array_equal(one[name], two[name]) for name in one if ".0." in name)
    assert any(not np.array_equal(one[name], two[name]) for name in one if ".1." in name)


def test_dense_runs_each_block_once_and_magnitude_none():
    for spec, expected in ((_spec(activations="dense"), 1), (_spec("magnitude"), 0)):
        model, calls = make_model("llama"), []
        work = LocalPruning(model, _windows(2), pruning=spec)
        model.model.layers[0].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        for index in range(work.blocks):
            work.masks(index)
            work.go_on(index)
        assert len(calls) == expected


def test_magnitude_needs_no_windows(monkeypatch):
    monkeypatch.setattr(local, "BlockRunner", None)
    masks = dict(
        local_pruning_masks(
            make_model("llama"), torch.empty(0, 24, dtype=torch.int64), pruning=_spec("magnitude")
        )
    )
    assert all(mask.sum() == mask.size // 2 for mask in masks.values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("pruner", ["wanda", "wanda-adaptive", "magnitude", "sparsegpt"])
def test_half_precision_models(pruner, dtype):
    model = make_model("llama", seed=2, dtype=dtype)
    masks = dict(local_pruning_masks(model, _windows(), pruning=_spec(pruner)))
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert weight.dtype == dtype
        assert not weight[torch.from_numpy(mask)].any()
        assert bool(torch.isfinite(weight).all())
        assert abs(mask.mean() - 0.5) < 0.01


def test_half_precision_magnitudes_are_tied_by_index():
    """bfloat16 has many equal magnitudes; numpy, which selects, does not even know the type."""
    model = make_model("llama", seed=2, dtype=torch.bfloat16)
    weights = {m.name: model.get_parameter(m.name).detach().double().abs() for m in prunable_matrices(model)}
    for name, mask in local_pruning_masks(model, _windows(1), pruning=_spec("magnitude", "layer")):
        assert np.array_equal(mask, oracles.compare(weights[name].numpy(), Fraction(1, 2), "layer"))


@pytest.mark.parametrize("pruner", ["wanda", "wanda-adaptive", "sparsegpt"])
def test_module_that_saw_no_token_is_pruned_by_magnitude(caplog, pruner):
    model = make_model("llama")
    idle = nn.Linear(16, 8, bias=False)
    model.model.layers[1].idle = idle
    weight = idle.weight.detach().clone()
    masks = dict(local_pruning_masks(model, _windows(1), pruning=_spec(pruner)))
    said = [record for record in caplog.records if record.name == "secprune.pruning.local"]
    assert [record.args for record in said] == [("model.layers.1.idle.weight",)]
    expected = oracles.compare(weight.abs().double().numpy(), Fraction(1, 2), "row")
    assert np.array_equal(masks["model.layers.1.idle.weight"], expected)
    assert torch.equal(idle.weight.detach(), weight.masked_fill(torch.from_numpy(expected), 0))


@pytest.mark.parametrize("pruner", ["wanda", "wanda-adaptive", "magnitude", "sparsegpt"])
def test_model_with_nan_says_so(pruner):
    model = make_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, 4] = float("nan")
    with pytest.raises(ConfigurationError, match="NaN"):
        list(local_pruning_masks(model, _windows(1), pruning=_spec(pruner)))


@pytest.mark.parametrize("pruner", ["wanda", "wanda-adaptive", "magnitude", "sparsegpt"])
def test_bad_sparsity_is_refused_before_any_work(pruner):
    with pytest.raises(ConfigurationError, match="exact fraction"):
        LocalPruning(None, _windows(1), pruning=_spec(pruner, sparsity="1"))


@pytest.mark.parametrize("pruner", ["wanda", "magnitude", "sparsegpt"])
def test_pattern_that_does_not_fit_is_refused(pruner):
    spec = _spec(pruner, sparsity="3/7", pattern="3:7")
    with pytest.raises(ConfigurationError, match="multiple of 7"):
        list(local_pruning_masks(make_model("llama"), _windows(1), pruning=spec))


# ---- block by block, on masks that others have agreed on
def test_masks_alone_do_not_change_the_model():
    model = make_model("llama")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    LocalPruning(model, _windows(), pruning=_spec("sparsegpt")).masks(0)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("kind", ["sequential", "dense"])
@pytest.mark.parametrize("skip_first", [False, True])
def test_going_on_with_agreed_masks(kind, skip_first):
    """Block 1 sees block 0 under the agreed masks, not under this client's own, or else unpruned."""
    model, other = make_model("llama", seed=3), make_model("llama", seed=3)
    rng = np.random.default_rng(0)
    agreed = {m.name: rng.random((m.rows, m.columns)) < 0.4 for m in prunable_matrices(model)}
    before = {name: model.get_parameter(name).detach().clone() for name in agreed}
    for mask in agreed.values():
        mask.setflags(write=False)
    work = LocalPruning(model, _windows(), pruning=_spec(activations=kind))
    if not skip_first:
        work.masks(0)
    work.go_on(0, {name: mask for name, mask in agreed.items() if ".0." in name})
    found = dict(work.masks(1))
    for name, mask in agreed.items():
        if ".0." in name:
            expected = before[name].masked_fill(torch.tensor(mask), 0)
            assert torch.equal(model.get_parameter(name), expected)
            if kind == "sequential":
                with torch.no_grad():
                    other.get_parameter(name).copy_(expected)
    reference = LocalPruning(other, _windows(), pruning=_spec(activations="dense"))
    reference.masks(0)  # hands on what block 0 of `other` puts out, as it stands
    for name, mask in reference.masks(1):
        assert np.array_equal(found[name], mask), name


# ---- the adaptive threshold
@settings(max_examples=60)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=st.integers(0, 5)),
    st.fractions(0, 1, max_denominator=20).filter(lambda s: s < 1),
)
def test_adaptive_threshold_equals_the_published_steps(score, sparsity):
    """Whole numbers have exact sums: ties, rows of zeros and rows that keep all are the same to the bit."""
    mask = prune_mask_adaptive(torch.from_numpy(score), sparsity).numpy()
    assert np.array_equal(mask, oracles.adaptive_mask(score, sparsity))


def test_adaptive_sparsity_is_reached_and_rows_differ():
    exponents = torch.linspace(0.5, 3, 300)[:, None]  # later rows have ever more small scores
    score = torch.rand(300, 200, generator=torch.Generator().manual_seed(0)) ** exponents
    mask = prune_mask_adaptive(score, Fraction(3, 5))
    assert abs(Fraction(int(mask.sum()), mask.numel()) - Fraction(3, 5)) <= Fraction(1, 1000)
    assert len(mask.sum(dim=1).unique()) > 50


# ---- GPT-2 stores the transpose of every matrix
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "spec",
    [
        _spec("magnitude", "layer"),
        _spec("wanda", "column"),
        _spec("wanda-adaptive"),
        _spec("sparsegpt"),
        _spec(pattern="2:4"),
    ],
)
def test_transposed_matrices_are_pruned_as_the_same_linear_modules_would_be(spec):
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=400, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).double().eval()
    straight = copy.deepcopy(model)
    for block in straight.transformer.h:
        for path, module in list(block.named_modules()):
            if isinstance(module, Conv1D):
                linear = nn.Linear(*module.weight.shape, dtype=torch.float64)
                with torch.no_grad():
                    linear.weight.copy_(module.weight.T)
                    linear.bias.copy_(module.bias)
                parent, _, child = path.rpartition(".")
                setattr(block.get_submodule(parent), child, linear)
    ours = dict(local_pruning_masks(model, _windows(), pruning=spec))
    expected = dict(local_pruning_masks(straight, _windows(), pruning=spec))
    assert list(ours) == list(expected)
    for name, mask in ours.items():
        assert np.array_equal(mask, expected[name]), name
        assert mask.flags.c_contiguous
        torch.testing.assert_close(model.get_parameter(name).T, straight.get_parameter(name))
