"""Every supported architecture, from a checkpoint on disk to the pruned checkpoint in stock transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from families import COMMON, FAMILIES, FUSED_EXPERTS, GROUPED, ROUTERS
from safetensors import safe_open
from tiny_models import randomized, save_checkpoint
from transformers import AutoModelForCausalLM

from secprune.errors import ConfigurationError
from secprune.pruning import activations
from secprune.pruning.activations import BlockRunner
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.decoder import Decoder, decoder_blocks, prunable_matrices
from secprune.pruning.experts import stored_names, unfuse_experts
from secprune.pruning.models import check_checkpoint_keys, load_model, model_skeleton
from secprune.pruning.selection import layer_top_k, magnitude_key
from secprune.pruning.tensorfile import CheckpointFiles


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    written = {}

    def checkpoint(name):
        if name not in written:
            model = randomized(FAMILIES[name].make_config())
            written[name] = save_checkpoint(model, tmp_path_factory.mktemp(name))
        return written[name]

    return checkpoint


def _windows():
    return torch.randint(1, 400, (5, 24), generator=torch.Generator().manual_seed(7))


def _linears(model):
    """Found by the name of their class, unlike the code that is tested."""
    prefix, stored = decoder_blocks(model)[0], stored_names(model)
    return {
        stored.get(f"{name}.weight", f"{name}.weight"): module
        for name, module in model.named_modules()
        if type(module).__name__ in {"Linear", "Conv1D"}
        and name.startswith(f"{prefix}.")
        and name.rpartition(".")[2] not in ROUTERS
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_matrices_are_in_the_file_with_their_shape(checkpoints, name):
    path = checkpoints(name)
    matrices = prunable_matrices(model_skeleton(path))
    assert len(matrices) == 3 * FAMILIES[name].linears
    check_checkpoint_keys(path, matrices)
    model = load_model(path)
    assert prunable_matrices(model) == matrices
    assert {matrix.name for matrix in matrices} == set(_linears(model))
    with safe_open(path / "model.safetensors", "pt") as file:
        for matrix in matrices:
            assert tuple(file.get_slice(matrix.name).get_shape()) == matrix.stored_shape
            assert matrix.transposed == (name in {"gpt", "gpt2"})
            # Outputs and inputs as the module itself shows them.
            module = _linears(model)[matrix.name]
            assert module(torch.zeros(1, matrix.columns)).shape == (1, matrix.rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_blocks_one_by_one_are_the_model_bit_for_bit(checkpoints, name):
    model, windows = load_model(checkpoints(name)), _windows()
    runner = BlockRunner(model, windows)
    for index in range(runner.blocks):
        runner.statistics(index)
        runner.advance(index)
    outputs = []
    _, blocks = decoder_blocks(model)
    hook = blocks[-1].register_forward_hook(lambda _module, _args, output: outputs.append(output))
    with torch.no_grad():
        model(windows)
    hook.remove()
    final = outputs[0][0] if isinstance(outputs[0], tuple | list) else outputs[0]
    assert final.shape == (5, 24, 32)
    assert torch.equal(torch.cat(runner._hidden), final)


@pytest.mark.parametrize("name", FAMILIES)
def test_square_sums_are_those_of_the_whole_model(checkpoints, monkeypatch, name):
    monkeypatch.setattr(activations, "MAX_BATCH_TOKENS", 48)  # batches of 2, 2 and 1 windows
    model, windows = load_model(checkpoints(name), dtype=torch.float64), _windows()
    sums, hooks = {}, []

    def add(name, inputs):
        rows = inputs.reshape(-1, inputs.shape[-1])
        total, tokens = sums.get(name, (0, 0))
        sums[name] = (total + (rows * rows).sum(0), tokens + len(rows))

    for weight, module in _linears(model).items():
        hooks.append(
            module.register_forward_hook(lambda _module, args, _output, weight=weight: add(weight, args[0]))
        )
    with torch.no_grad():
        for window in windows:
            model(window[None])
    for hook in hooks:
        hook.remove()
    runner = BlockRunner(model, windows)
    found = {}
    for index in range(runner.blocks):
        found |= runner.statistics(index)
        runner.advance(index)
    assert {weight for weight, statistic in found.items() if statistic.tokens} == set(sums)
    for weight, (total, tokens) in sums.items():
        assert found[weight].tokens == tokens
        torch.testing.assert_close(found[weight].square_sum, total, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_pruned_checkpoint_is_the_model_that_was_pruned_in_place(checkpoints, tmp_path, name):
    path, windows = checkpoints(name), _windows()
    model = load_model(path)
    runner, weights = BlockRunner(model, windows), Decoder.of(model).weights()
    masks = {}
    for index in range(runner.blocks):
        for weight, statistic in runner.statistics(index).items():
            matrix = weights[weight]
            order = (matrix.abs().double() * statistic.square_sum.sqrt()).argsort(dim=1, stable=True)
            mask = torch.zeros(matrix.shape, dtype=torch.bool)
            mask.scatter_(1, order[:, : matrix.shape[1] // 2], value=True)
            matrix.masked_fill_(mask, 0)
            masks[weight] = mask.numpy()
        runner.advance(index)
    found = prunable_matrices(model)
    write_pruned_checkpoint(
        path,
        tmp_path / "pruned",
        masks,
        [(m.name, m.rows, m.columns) for m in found],
        transposed={m.name for m in found if m.transposed},
    )
    again = dict(load_model(tmp_path / "pruned").named_parameters())
    for weight, parameter in model.named_parameters():
        assert torch.equal(again[weight], parameter), weight
    with safe_open(tmp_path / "pruned" / "model.safetensors", "pt") as file:
        for m in found:
            weight = file.get_tensor(m.name).T if m.transposed else file.get_tensor(m.name)
            assert ((weight == 0).sum(dim=1) == m.columns // 2).all()  # of each output's inputs
    plain = {"experts_implementation": "eager"} if FUSED_EXPERTS and FAMILIES[name].experts else {}
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned", **plain).eval()
    tied = stock.get_input_embeddings().weight is stock.get_output_embeddings().weight
    assert tied == FAMILIES[name].tied
    with torch.no_grad():
        torch.testing.assert_close(
            stock(windows).logits, model(windows).logits, rtol=1e-4 if plain else 0, atol=1e-4 if plain else 0
        )


def test_ties_of_transposed_matrices_fall_to_the_magnitudes_of_the_same_weights(checkpoints):
    path = checkpoints("gpt2")
    files, model = CheckpointFiles(path), load_model(path)
    weights = Decoder.of(model).weights()
    for matrix in prunable_matrices(model):
        assert matrix.transposed
        dtype, _ = files.entry(matrix.name)
        key = magnitude_key(files.raw(matrix.name).T, dtype)
        weight = weights[matrix.name]
        assert torch.equal(torch.from_numpy(key.astype("i8")).argsort(), weight.abs().argsort())
        k = matrix.rows * matrix.columns // 2
        chosen = layer_top_k(np.zeros(weight.shape, np.uint8), key, k, 3)
        assert weight[torch.from_numpy(chosen)].abs().max() < weight[torch.from_numpy(~chosen)].abs().min()


@pytest.mark.skipif(not FUSED_EXPERTS, reason="this transformers has each expert as linear modules")
@pytest.mark.parametrize(
    ("config", "more"),
    [
        # transposed, with biases, gate and up in turns
        ("GptOssConfig", {**GROUPED, "num_local_experts": 4, "head_dim": 8}),
        # fused in the file, too
        ("GraniteMoeConfig", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    ],
)
def test_experts_that_are_stored_otherwise_are_refused(tmp_path, config, more):
    save_checkpoint(randomized(getattr(transformers, config)(**COMMON, **more)), tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        check_checkpoint_keys(tmp_path, prunable_matrices(model_skeleton(tmp_path)))
    assert caught.value.hint


@pytest.mark.skipif(not FUSED_EXPERTS, reason="this transformers has each expert as linear modules")
def test_unfused_experts_are_views_that_compute_the_same():
    model = randomized(FAMILIES["mixtral"].make_config(), dtype=torch.float64)
    model.set_experts_implementation("eager")
    fused = model.model.layers[1].mlp.experts.gate_up_proj
    with torch.no_grad():
        expected = model(_windows()).logits
        unfuse_experts(model)
        torch.testing.assert_close(model(_windows()).logits, expected, rtol=1e-12, atol=1e-12)
        Decoder.of(model).weights()["model.layers.1.block_sparse_moe.experts.2.w3.weight"].zero_()
    assert not fused[2, 48:].any()
    assert fused[2, :48].any()
    assert fused[3].any()
