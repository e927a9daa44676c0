"""A client's blocks beside blocks that stay dense, and the weights it reports, against whole forwards in float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pruning_oracles as oracles
import pytest
import torch
from tiny_models import make_checkpoint

from secprune.pruning.local import LocalPruning
from secprune.pruning.models import load_model
from secprune.task import PruningSpec

LAYERS, LENGTH, SPARSITY = 4, 24, Fraction(1, 2)
PREFIX = {"llama": "model.layers", "gpt2": "transformer.h"}
CHOOSE = {
    "magnitude": oracles.magnitude(SPARSITY, "row", None),
    "wanda": oracles.wanda(SPARSITY, "row", None),
    "sparsegpt": oracles.sparsegpt(SPARSITY),
}


def _windows():
    return torch.randint(1, 390, (5, LENGTH), generator=torch.Generator().manual_seed(7))


def _spec(pruner, activations="sequential"):
    return PruningSpec(
        local_pruner=pruner, activations=activations, sparsity="1/2", sequence_length=LENGTH, max_windows=8
    )


def _expected(model, prefix, mine, pruner, *, dense):
    """Masks and weights of my blocks only; `model` is pruned on the way, one whole forward for each block."""
    found, pending = {}, []
    for block in mine:
        inputs = oracles.inputs_of(model, _windows(), prefix, [block])
        views = oracles.matrices(model, prefix, block)
        changed = {}
        for name, view in views.items():
            mask, weight = CHOOSE[pruner](view.double().numpy().copy(), inputs[name], LENGTH)
            found[name] = mask, weight
            changed[name] = view, np.where(mask, 0.0, weight)
        pending.extend(changed.values())
        if not dense:
            _write(pending)
    _write(pending)
    return found


def _write(pending):
    for view, weight in pending:
        view.copy_(torch.from_numpy(weight))
    pending.clear()


@pytest.mark.parametrize("mine", [(1,), (0, 2), (3,), (0, 1, 3)])
@pytest.mark.parametrize(
    ("arch", "pruner", "activations"),
    [
        ("llama", "sparsegpt", "sequential"),
        ("llama", "wanda", "sequential"),
        ("llama", "wanda", "dense"),
        ("llama", "magnitude", "sequential"),
        ("gpt2", "sparsegpt", "sequential"),
    ],
)
def test_my_blocks_are_pruned_as_in_a_model_whose_others_are_dense(tmp_path, arch, pruner, activations, mine):
    make_checkpoint(tmp_path, arch, seed=3, dtype=torch.float64, layers=LAYERS)
    model, untouched, oracle = (load_model(tmp_path) for _ in range(3))
    due = _expected(oracle, PREFIX[arch], mine, pruner, dense=activations == "dense")
    pruning = LocalPruning(model, _windows(), pruning=_spec(pruner, activations))
    reported = {}
    for block in range(LAYERS):
        if block not in mine:
            pruning.pass_over(block)
            continue
        masks = dict(pruning.masks(block))
        for name, weights, mask in pruning.kept_weights(block):
            np.testing.assert_array_equal(mask, masks[name])
            reported[name] = mask, weights.copy()
        pruning.go_on(block)
    assert reported.keys() == due.keys()
    after = {}
    for block in range(LAYERS):
        views = oracles.matrices(model, PREFIX[arch], block)
        if block in mine:
            after |= {name: view.numpy() for name, view in views.items()}
            continue
        before = oracles.matrices(untouched, PREFIX[arch], block)
        for name, view in views.items():
            assert torch.equal(view, before[name]), f"{name} is not mine"
    for name, (mask, weights) in reported.items():
        np.testing.assert_array_equal(mask, due[name][0], err_msg=name)
        np.testing.assert_allclose(weights[~mask], due[name][1][~mask], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(after[name], np.where(mask, 0, weights))


def _enters(model, block, run):
    """The hidden states that come into a block during `run`, (tokens, hidden)."""
    seen = []

    def note(_module, args, kwargs):
        seen.append((args[0] if args else kwargs["hidden_states"]).detach().clone())

    hook = model.get_submodule(f"model.layers.{block}").register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return torch.cat([states.reshape(-1, states.shape[-1]) for states in seen])


@pytest.mark.parametrize("activations", ["sequential", "dense"])
def test_what_comes_after_a_block_passed_over_is_what_the_dense_model_has(tmp_path, activations):
    make_checkpoint(tmp_path, "llama", seed=3, dtype=torch.float64, layers=LAYERS)
    model, untouched = load_model(tmp_path), load_model(tmp_path)
    pruning = LocalPruning(model, _windows(), pruning=_spec("wanda", activations))

    def whole_forward():
        with torch.no_grad():
            untouched(_windows())

    for block in (0, 1):
        pruning.pass_over(block)
    ours = _enters(model, 2, lambda: pruning.masks(2))
    torch.testing.assert_close(ours, _enters(untouched, 2, whole_forward), rtol=1e-12, atol=1e-13)
    pruning.go_on(2)
    ours, dense = _enters(model, 3, lambda: pruning.masks(3)), _enters(untouched, 3, whole_forward)
    same = torch.allclose(ours, dense, rtol=1e-9)
    assert same == (activations == "dense"), "with sequential activations a pruned block shows, control"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_of_a_narrow_model_are_reported_in_float32_and_rounded_only_in_the_model(tmp_path, dtype):
    make_checkpoint(tmp_path, "llama", seed=3, dtype=dtype)
    model = load_model(tmp_path)
    pruning = LocalPruning(model, _windows(), pruning=_spec("sparsegpt"))
    pruning.masks(0)
    reported = {name: (weights.copy(), mask) for name, weights, mask in pruning.kept_weights(0)}
    pruning.go_on(0)
    for name, (weights, mask) in reported.items():
        assert weights.dtype == np.float32
        due = torch.from_numpy(np.where(mask, np.float32(0), weights)).to(dtype)
        assert torch.equal(model.get_parameter(name).detach(), due), name
