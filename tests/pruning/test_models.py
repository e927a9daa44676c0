from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny_models import VOCABULARY, make_checkpoint, make_model
from torch import nn

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.pruning.decoder import Decoder, PrunableMatrix, decoder_blocks, matrix_view, prunable_matrices
from secprune.pruning.models import check_checkpoint_keys, load_model, load_tokenizer, model_skeleton

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": None,
}
# class of the config, prefix of its blocks, linear modules in a block
FAMILIES = [
    ("LlamaConfig", "model.layers", 7),
    ("MistralConfig", "model.layers", 7),
    ("Qwen2Config", "model.layers", 7),
    ("GemmaConfig", "model.layers", 7),
    ("PhiConfig", "model.layers", 6),
    ("GPTNeoXConfig", "gpt_neox.layers", 4),
    ("OPTConfig", "model.decoder.layers", 6),
    ("GPT2Config", "transformer.h", 4),
]


def _skeleton(name, **more):
    config = getattr(transformers, name)(**_SIZES, **more)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(("name", "prefix", "linears"), FAMILIES)
def test_blocks_are_found_in_every_family(name, prefix, linears):
    model = _skeleton(name)
    found, blocks = decoder_blocks(model)
    assert found == prefix
    assert len(blocks) == 3
    matrices = prunable_matrices(model)
    assert len(matrices) == 3 * linears
    parameters = dict(model.named_parameters())
    for matrix in matrices:
        assert tuple(parameters[matrix.name].shape) == matrix.stored_shape
        assert matrix.transposed == (name == "GPT2Config")
    order = [name for name in parameters if name in {matrix.name for matrix in matrices}]
    assert order == [matrix.name for matrix in matrices]


def test_decoder_is_neither_a_list_of_experts_nor_a_smaller_tower():
    def block(width):
        experts = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        return nn.ModuleDict({"experts": experts, "router": nn.Linear(width, 4)})

    model = nn.ModuleDict(
        {
            "text": nn.ModuleList(block(16) for _ in range(2)),
            "vision": nn.ModuleList(block(8) for _ in range(3)),
            "norms": nn.ModuleList(nn.LayerNorm(5000) for _ in range(3)),
        }
    )
    assert decoder_blocks(model) == ("text", model["text"])


def test_model_without_linear_blocks_is_refused():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))

    with pytest.raises(ConfigurationError, match="Normed"):
        decoder_blocks(Normed())


@pytest.mark.parametrize("shape", [(4, 8, 8), (64, 8)])
def test_weights_outside_of_linear_modules_are_refused(shape):
    """Fused experts, in three dimensions or (as DBRX) in two, would silently stay dense."""

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fused = nn.Parameter(torch.zeros(shape))

    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            mixture = nn.ModuleDict({"experts": Experts(), "router": nn.Linear(8, 4)})
            block = {"attention": nn.Linear(8, 8), "mlp": mixture, "positions": nn.Embedding(99, 8)}
            self.layers = nn.ModuleList([nn.ModuleDict(block)])

    with pytest.raises(ConfigurationError, match=r"Mixture .* layers\.0\.mlp\.experts\.fused") as caught:
        prunable_matrices(Mixture())
    assert caught.value.hint


def test_transposed_weights_are_seen_as_rows_of_outputs():
    model = make_model("gpt2")
    matrices = {matrix.name: matrix for matrix in prunable_matrices(model)}
    found = matrices["transformer.h.0.mlp.c_fc.weight"]
    assert (found.rows, found.columns, found.transposed) == (48, 32, True)
    linear = model.transformer.h[0].mlp.c_fc
    matrix_view(linear)[5] = 0
    assert not linear.weight[:, 5].any()
    assert int(torch.count_nonzero(linear.weight == 0)) == 32


def test_weights_are_views_of_outputs_by_inputs():
    model = make_model("gpt2")
    stored = model.transformer.h[1].mlp.c_proj.weight
    weight = Decoder.of(model).weights()["transformer.h.1.mlp.c_proj.weight"]
    assert weight.shape == (32, 48)
    assert not weight.requires_grad
    weight[3, 40] = 7.5
    assert stored[40, 3] == 7.5
    llama = make_model("llama")
    weight = Decoder.of(llama).weights()["model.layers.1.mlp.up_proj.weight"]
    weight.masked_fill_(torch.ones(48, 32, dtype=torch.bool), 0)
    assert not llama.model.layers[1].mlp.up_proj.weight.any()


@pytest.mark.parametrize("arch", ["llama", "qwen2", "opt", "gpt2"])
def test_matrices_of_the_skeleton_are_those_of_the_file(tmp_path, arch):
    make_checkpoint(tmp_path, arch)
    skeleton = model_skeleton(tmp_path)
    assert all(parameter.device.type == "meta" for parameter in skeleton.parameters())
    matrices = prunable_matrices(skeleton)
    assert matrices == prunable_matrices(load_model(tmp_path))
    stored = load_file(tmp_path / "model.safetensors")
    for matrix in matrices:
        assert tuple(stored[matrix.name].shape) == matrix.stored_shape
    check_checkpoint_keys(tmp_path, matrices)


def test_matrix_that_is_not_in_the_file_is_refused(tmp_path):
    make_checkpoint(tmp_path)
    good = prunable_matrices(model_skeleton(tmp_path))[0]
    for bad in (
        PrunableMatrix(good.name.removeprefix("model."), good.rows, good.columns),
        PrunableMatrix("model.layers.0.mlp.up_proj.weight", 48, 32, transposed=True),
        PrunableMatrix(good.name, good.columns, good.rows + 1),
    ):
        with pytest.raises(ConfigurationError) as caught:
            check_checkpoint_keys(tmp_path, [good, bad])
        assert bad.name in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_dtype_is_the_stored_one_whatever_the_config_says(tmp_path, dtype):
    make_checkpoint(tmp_path, dtype=dtype)
    config = json.loads((tmp_path / "config.json").read_text())
    config["dtype"] = config["torch_dtype"] = "float32" if dtype != torch.float32 else "bfloat16"
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert not model.training
    assert not model.config.use_cache
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype
        assert torch.equal(parameter, stored[name])
    assert load_model(tmp_path, dtype=torch.float64).model.norm.weight.dtype == torch.float64


def test_tokenizer_is_the_one_that_was_saved(tmp_path, tokenizer):
    make_checkpoint(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = "Fever settled on day 3; \u00b5g doses."
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text
    assert max(loaded(text)["input_ids"]) < VOCABULARY


def test_wrong_paths_are_local_misuse(tmp_path):
    for load in (load_model, load_tokenizer, model_skeleton):
        with pytest.raises(LocalMisuseError, match="no model directory") as caught:
            load(tmp_path / "nowhere")
        assert caught.value.hint
    make_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(LocalMisuseError, match=r"no model\.safetensors"):
        load_model(tmp_path)


def test_foreign_errors_do_not_leak(tmp_path):
    make_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for broken in ("{", json.dumps(config | {"model_type": "no-such-model"})):
        (tmp_path / "config.json").write_text(broken)
        for load in (load_model, model_skeleton):
            with pytest.raises(ConfigurationError) as caught:
                load(tmp_path)
            assert caught.value.__cause__ is not None
            assert caught.value.hint
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigurationError):
        load_tokenizer(tmp_path)
