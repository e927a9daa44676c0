"""Every supported architecture, from a checkpoint on disk to the pruned checkpoint in stock transformers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from tiny_models import randomized, save_checkpoint
from transformers import AutoModelForCausalLM
from transformers.models.mixtral import modeling_mixtral

from secprune.errors import ConfigurationError
from secprune.pruning import activations
from secprune.pruning.activations import BlockRunner
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.models import (
    check_checkpoint_keys,
    decoder_blocks,
    load_model,
    model_skeleton,
    prunable_matrices,
)
from secprune.pruning.selection import layer_top_k, magnitude_key
from secprune.pruning.tensorfile import CheckpointFiles

COMMON = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
GROUPED = {"intermediate_size": 48, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "tie_word_embeddings": True}
LOCAL = {"sliding_window": 4, "query_pre_attn_scalar": 8}
MIXTURE = {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}


@dataclass(frozen=True)
class Family:
    config: str
    linears: int  # in a block
    more: dict = field(default_factory=dict)
    tied: bool = False


FAMILIES = {
    "llama": Family("LlamaConfig", 7, {**GROUPED, "tie_word_embeddings": False}),
    "llama-tied": Family("LlamaConfig", 7, {**GROUPED, "tie_word_embeddings": True}, tied=True),
    "mistral": Family("MistralConfig", 7, {**GROUPED, "sliding_window": 4}),
    "qwen2": Family("Qwen2Config", 7, {**GROUPED, "tie_word_embeddings": True}, tied=True),
    "qwen3": Family("Qwen3Config", 7, {**GROUPED, "head_dim": 16, "tie_word_embeddings": True}, tied=True),
    "gemma": Family("GemmaConfig", 7, GEMMA, tied=True),
    "gemma2": Family("Gemma2Config", 7, {**GEMMA, **LOCAL}, tied=True),
    "gemma3": Family("Gemma3TextConfig", 7, {**GEMMA, **LOCAL, "sliding_window_pattern": 2}, tied=True),
    "phi": Family("PhiConfig", 6, {"intermediate_size": 48}),
    "phi3": Family("Phi3Config", 4, GROUPED),  # q, k and v in one matrix, and so gate and up
    "opt": Family(
        "OPTConfig",
        6,
        {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0, "layerdrop": 0.0},
        tied=True,
    ),
    "gpt-neox": Family("GPTNeoXConfig", 4, {"intermediate_size": 48, "use_parallel_residual": True}),
    "gpt-neox-sequential": Family(
        "GPTNeoXConfig", 4, {"intermediate_size": 48, "use_parallel_residual": False}
    ),
    # Conv1D: stored as (inputs, outputs); the blocks of the first GPT return lists
    "gpt2": Family("GPT2Config", 4, {"n_inner": 48}, tied=True),
    "gpt": Family("OpenAIGPTConfig", 4, tied=True),
}
FUSED_EXPERTS = hasattr(modeling_mixtral, "MixtralExperts")
if not FUSED_EXPERTS:
    FAMILIES["mixtral"] = Family("MixtralConfig", 4 + 1 + 4 * 3, MIXTURE)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    written = {}

    def checkpoint(name):
        if name not in written:
            family = FAMILIES[name]
            config = getattr(transformers, family.config)(**COMMON, **family.more)
            written[name] = save_checkpoint(randomized(config), tmp_path_factory.mktemp(name))
        return written[name]

    return checkpoint


def _windows():
    return torch.randint(1, 400, (5, 24), generator=torch.Generator().manual_seed(7))


def _linears(model):
    """Found by the name of their class, unlike the code that is tested."""
    prefix, _ = decoder_blocks(model)
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if type(module).__name__ in {"Linear", "Conv1D"} and name.startswith(f"{prefix}.")
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
    runner = BlockRunner(model, windows)
    masks = {}
    for index in range(runner.blocks):
        for weight, statistic in runner.statistics(index).items():
            matrix = runner.weight(weight)
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
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned").eval()
    parameters = dict(stock.named_parameters())
    for weight, parameter in model.named_parameters():
        assert torch.equal(parameters[weight], parameter), weight
    for m in found:
        weight = parameters[m.name].T if m.transposed else parameters[m.name]
        assert ((weight == 0).sum(dim=1) == m.columns // 2).all()  # of each output's inputs
    tied = stock.get_input_embeddings().weight is stock.get_output_embeddings().weight
    assert tied == FAMILIES[name].tied
    with torch.no_grad():
        assert torch.equal(stock(windows).logits, model(windows).logits)


def test_ties_of_transposed_matrices_fall_to_the_magnitudes_of_the_same_weights(checkpoints):
    path = checkpoints("gpt2")
    files, model = CheckpointFiles(path), load_model(path)
    runner = BlockRunner(model, _windows())
    for matrix in prunable_matrices(model):
        assert matrix.transposed
        dtype, _ = files.entry(matrix.name)
        key = magnitude_key(files.raw(matrix.name).T, dtype)
        weight = runner.weight(matrix.name)
        assert torch.equal(torch.from_numpy(key.astype("i8")).argsort(), weight.abs().argsort())
        k = matrix.rows * matrix.columns // 2
        chosen = layer_top_k(np.zeros(weight.shape, np.uint8), key, k, 3)
        assert weight[torch.from_numpy(chosen)].abs().max() < weight[torch.from_numpy(~chosen)].abs().min()


@pytest.mark.skipif(not FUSED_EXPERTS, reason="this transformers has each expert as linear modules")
@pytest.mark.parametrize(
    ("config", "more"),
    [
        ("MixtralConfig", MIXTURE),
        ("Qwen2MoeConfig", {**GROUPED, "num_experts": 4, "moe_intermediate_size": 8}),
    ],
)
def test_fused_experts_are_refused(tmp_path, config, more):
    save_checkpoint(randomized(getattr(transformers, config)(**COMMON, **more)), tmp_path)
    for use in (
        lambda: prunable_matrices(model_skeleton(tmp_path)),
        lambda: BlockRunner(load_model(tmp_path), _windows()),
    ):
        with pytest.raises(ConfigurationError, match=config.removesuffix("Config") + r".*experts") as caught:
            use()
        assert "dense model" in caught.value.hint
