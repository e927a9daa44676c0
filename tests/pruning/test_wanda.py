from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import make_checkpoint, make_model
from torch import nn

from secprune.errors import ConfigurationError
from secprune.pruning.decoder import prunable_matrices
from secprune.pruning.local import local_pruning_masks
from secprune.pruning.models import load_model
from secprune.pruning.wanda import wanda_score
from secprune.task import PruningSpec

ARCHES = ["llama", "qwen2", "opt"]
BLOCK_PREFIX = {"llama": "model.layers", "qwen2": "model.layers", "opt": "model.decoder.layers"}


def oracle(model, windows, kept_out_of, prefix, layers, forced=None):
    """Sequential Wanda from the paper, in the plainest way: whole forwards, a full stable sort.

    Yields (name, score, mask) for each matrix. With `forced`, the model goes on with those masks instead
    of its own, so that one differing bit is not carried into every later block.
    """
    numerator, denominator = kept_out_of
    for block in range(layers):
        sums, hooks, linears = {}, [], {}
        for name, module in model.named_modules():
            if name.startswith(f"{prefix}.{block}.") and isinstance(module, nn.Linear):
                linears[name] = module
                sums[name] = np.zeros(module.weight.shape[1], dtype=np.float64)

                def hook(_module, args, _output, name=name):
                    x = args[0].detach().double().numpy().reshape(-1, args[0].shape[-1])
                    sums[name] += (x * x).sum(axis=0)  # noqa: B023  # called within this iteration only

                hooks.append(module.register_forward_hook(hook))
        with torch.no_grad():
            for window in windows:
                model(window[None])
        for hook in hooks:
            hook.remove()
        for name, module in linears.items():
            weight = module.weight.detach().double().numpy()
            score = np.abs(weight) * np.sqrt(sums[name])
            k = weight.shape[1] * numerator // denominator
            order = np.argsort(score, axis=1, kind="stable")
            mask = np.zeros(score.shape, dtype=bool)
            np.put_along_axis(mask, order[:, :k], values=True, axis=1)
            key = f"{name}.weight"
            yield key, score, mask
            applied = mask if forced is None else forced[key]
            with torch.no_grad():
                module.weight[torch.from_numpy(applied)] = 0.0


def _spec(sparsity):
    return PruningSpec(sparsity=sparsity, sequence_length=24, max_windows=8)


def _windows(count=5, length=24):
    return torch.randint(1, 390, (count, length), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("ratio", [(1, 2), (29, 100)])
def test_masks_equal_the_float64_oracle_bit_for_bit(tmp_path, arch, ratio):
    make_checkpoint(tmp_path, arch, seed=3, dtype=torch.float64, layers=3)
    ours = dict(local_pruning_masks(load_model(tmp_path), _windows(), pruning=_spec("{}/{}".format(*ratio))))
    model = load_model(tmp_path)
    names = []
    for name, _, mask in oracle(model, _windows(), ratio, BLOCK_PREFIX[arch], 3):
        names.append(name)
        assert np.array_equal(ours[name], mask), name
    assert list(ours) == names == [matrix.name for matrix in prunable_matrices(model)]


@pytest.mark.parametrize("arch", ARCHES)
def test_float32_differs_from_the_oracle_only_at_ties(tmp_path, arch):
    make_checkpoint(tmp_path, arch, seed=4, dtype=torch.float32, layers=3, hidden_size=64)
    ours = dict(local_pruning_masks(load_model(tmp_path), _windows(), pruning=_spec("1/2")))
    model = load_model(tmp_path, dtype=torch.float64)
    compared = 0
    for name, score, mask in oracle(model, _windows(), (1, 2), BLOCK_PREFIX[arch], 3, forced=ours):
        k = mask.shape[1] // 2
        threshold = np.sort(score, axis=1)[:, k - 1 : k + 1].mean(axis=1, keepdims=True)
        differing = ours[name] != mask
        assert (np.abs(score - threshold) <= 1e-5 * threshold)[differing].all(), name
        compared += mask.size
    assert compared == sum(mask.size for mask in ours.values())


def test_sequential_not_dense(tmp_path):
    """Later blocks must see pruned activations: with dense ones, the masks of block 1 are others."""
    make_checkpoint(tmp_path, "llama", seed=3, dtype=torch.float64)
    ours = dict(local_pruning_masks(load_model(tmp_path), _windows(), pruning=_spec("1/2")))
    nothing = {name: np.zeros_like(mask) for name, mask in ours.items()}
    dense = oracle(load_model(tmp_path), _windows(), (1, 2), "model.layers", 2, forced=nothing)
    differs = {name: not np.array_equal(ours[name], mask) for name, _, mask in dense}
    assert not any(differs[name] for name in differs if ".0." in name)
    assert any(differs[name] for name in differs if ".1." in name)


@pytest.mark.parametrize("arch", ARCHES)
def test_every_row_has_exactly_k_and_the_model_is_left_pruned(arch):
    model = make_model(arch, seed=1, hidden_size=100, intermediate_size=50, heads=2, key_value_heads=1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    steps = []
    masks = dict(
        local_pruning_masks(
            model, _windows(), pruning=_spec("29/100"), progress=lambda *step: steps.append(step)
        )
    )
    assert steps == [(1, 2), (2, 2)]
    for name, parameter in model.named_parameters():
        if name in masks:
            assert masks[name].dtype == np.bool_
            assert (masks[name].sum(axis=1) == {100: 29, 50: 14}[parameter.shape[1]]).all()
            expected = before[name].masked_fill(torch.from_numpy(masks[name]), 0)
            assert torch.equal(parameter, expected)
        else:
            assert torch.equal(parameter, before[name])


def test_sparsity_zero_prunes_nothing_and_a_bad_one_is_refused_before_any_work():
    model = make_model("llama")
    assert not any(mask.any() for _, mask in local_pruning_masks(model, _windows(1), pruning=_spec("0")))
    for sparsity in ("1", "3/2"):
        with pytest.raises(ConfigurationError, match="exact fraction"):
            next(local_pruning_masks(model, _windows(1), pruning=_spec(sparsity)))


def test_module_that_saw_no_token_is_reported_and_pruned_by_magnitude(caplog):
    model = make_model("llama")
    idle = nn.Linear(16, 8, bias=False)
    model.model.layers[1].idle = idle
    weight = idle.weight.detach().clone()
    masks = dict(local_pruning_masks(model, _windows(1), pruning=_spec("1/2")))
    assert [record.args for record in caplog.records] == [("model.layers.1.idle.weight",)]
    order = np.argsort(weight.abs().numpy(), axis=1, kind="stable")
    expected = np.zeros((8, 16), dtype=bool)
    np.put_along_axis(expected, order[:, :8], values=True, axis=1)
    assert np.array_equal(masks["model.layers.1.idle.weight"], expected)


def test_model_with_nan_says_so():
    model = make_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, 4] = float("nan")
    with pytest.raises(ConfigurationError, match="NaN"):
        list(local_pruning_masks(model, _windows(1), pruning=_spec("1/2")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_score_is_computed_in_float32_or_better(dtype):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 7, generator=generator).to(dtype)
    square_sum = torch.rand(7, generator=generator, dtype=torch.float64) * 1e6  # its root overflows no half
    score = wanda_score(weight, square_sum)
    expected = weight.double().abs() * square_sum.sqrt()
    assert score.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(
        score.double(), expected, rtol=1e-15 if dtype == torch.float64 else 3e-7, atol=0
    )
