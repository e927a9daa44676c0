from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import make_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from secprune.errors import ConfigurationError
from secprune.pruning import activations
from secprune.pruning.activations import BlockRunner, ThinModule, thin_modules
from secprune.pruning.decoder import decoder_blocks


def _windows(count=5, length=24):
    return torch.randint(1, 60, (count, length), generator=torch.Generator().manual_seed(7))


def _check_against_whole_forward(model, windows):
    """With nothing pruned, the runner must reproduce what the model itself feeds to every linear module."""
    prefix, blocks = decoder_blocks(model)
    expected, inputs, hooks = {}, {}, []
    for name, module in model.named_modules():
        if name.startswith(prefix + ".") and isinstance(module, (nn.Linear, Conv1D)):
            inputs[name] = []
            hooks.append(
                module.register_forward_hook(
                    lambda _m, args, _o, name=name: inputs[name].append(args[0].double())
                )
            )
    with torch.no_grad():
        for window in windows:
            model(window[None])
    for hook in hooks:
        hook.remove()
    for name, parts in inputs.items():
        expected[f"{name}.weight"] = sum(part.reshape(-1, part.shape[-1]).square().sum(0) for part in parts)
    runner = BlockRunner(model, windows)
    found = {}
    for index in range(len(blocks)):
        found |= runner.statistics(index)
        runner.advance(index)
    assert list(found) == list(expected)
    for name, statistic in found.items():
        assert statistic.tokens == windows.numel()
        assert statistic.square_sum.dtype == torch.float64
        torch.testing.assert_close(statistic.square_sum, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("arch", ["llama", "qwen2", "opt", "gpt2"])
def test_statistics_are_those_of_the_models_own_forward(monkeypatch, arch, implementation):
    monkeypatch.setattr(activations, "MAX_BATCH_TOKENS", 48)  # batches of 2, 2 and 1 windows
    model = make_model(arch, seed=2, dtype=torch.float64, layers=3)
    model.config._attn_implementation = implementation
    _check_against_whole_forward(model, _windows())


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("GPTNeoXConfig", {}),
        ("PhiConfig", {}),
        ("GemmaConfig", {"head_dim": 8}),
        # Blocks with local and global attention in turn: each has a mask (and positions) of its own, so
        # running all of them with the arguments of the first one gives wrong statistics.
        ("Gemma2Config", {"head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8}),
        ("Gemma3TextConfig", {"head_dim": 8, "sliding_window": 4, "sliding_window_pattern": 2}),
    ],
)
def test_other_families(name, more):
    sizes = {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "initializer_range": 0.3,
        "pad_token_id": None,
    }
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**sizes, **more))
    _check_against_whole_forward(model.double().eval(), _windows(3))


class _ToyBlock(nn.Module):
    def __init__(self, keyword, returns):
        super().__init__()
        self.keyword, self.returns = keyword, returns
        self.linear = nn.Linear(8, 8)

    def forward(self, hidden_states, scale, *, shift):
        out = hidden_states + self.linear(hidden_states * scale + shift["by"][0])
        return out if self.returns is None else (out, None, "present")[: self.returns]


class _Toy(nn.Module):
    """Calls its blocks as old and new releases of transformers do."""

    def __init__(self, keyword, returns):
        super().__init__()
        self.embed = nn.Embedding(64, 8)
        self.layers = nn.ModuleList(_ToyBlock(keyword, returns) for _ in range(3))
        self.keyword, self.returns = keyword, returns

    def forward(self, input_ids, use_cache=False):
        hidden = self.embed(input_ids)
        for index, block in enumerate(self.layers):
            scale = (
                torch.full((len(hidden), 1, 8), 1.0 + index, dtype=hidden.dtype) + input_ids[..., None] / 100
            )
            shift = {"by": [torch.arange(8) * 0.1, None]}
            if self.keyword:
                output = block(hidden_states=hidden, scale=scale, shift=shift)
            else:
                output = block(hidden, scale, shift=shift)
            hidden = output if self.returns is None else output[0]
        return hidden


@pytest.mark.parametrize("keyword", [False, True])
@pytest.mark.parametrize("returns", [None, 1, 3])
def test_calling_conventions_of_old_and_new_transformers(monkeypatch, keyword, returns):
    monkeypatch.setattr(activations, "MAX_BATCH_TOKENS", 48)
    torch.manual_seed(1)
    model = _Toy(keyword, returns).double().eval()
    forward = _ToyBlock.forward
    _check_against_whole_forward(model, _windows())
    assert all(block.forward.__func__ is forward for block in model.layers)  # nothing stays behind


def test_shared_inputs_are_squared_once(monkeypatch):
    model = make_model("llama", layers=1)
    runner = BlockRunner(model, _windows(2))
    squared = []
    original = activations._square_sum
    monkeypatch.setattr(activations, "_square_sum", lambda x: squared.append(x.shape) or original(x))
    statistics = runner.statistics(0)
    assert len(statistics) == 7
    assert len(squared) == 4  # q/k/v, o, gate/up, down


def test_equal_arguments_are_kept_once(monkeypatch):
    monkeypatch.setattr(activations, "MAX_BATCH_TOKENS", 24)
    model = make_model("llama", layers=3)
    runner = BlockRunner(model, _windows(4))
    positions = {
        id(part) for calls in runner._calls for call in calls for part in call.kwargs["position_embeddings"]
    }
    assert len(positions) == 2  # one cosine, one sine, for 4 batches of 3 blocks


def test_half_precision_is_squared_in_float32():
    x = torch.full((1, 3, 2), 300.0, dtype=torch.float16)  # 300^2 overflows float16
    assert activations._square_sum(x).tolist() == [270000.0, 270000.0]
    tokens = torch.ones(70_000, 1, dtype=torch.bfloat16)
    assert activations._square_sum(tokens).item() == 70_000


def test_module_the_forward_never_reaches_has_no_tokens():
    model = make_model("llama")
    model.model.layers[0].idle = nn.Linear(4, 4)
    statistics = BlockRunner(model, _windows(1)).statistics(0)
    assert statistics["model.layers.0.idle.weight"].tokens == 0
    assert statistics["model.layers.0.mlp.up_proj.weight"].tokens == 24


class _MixtureBlock(nn.Module):
    """Token ids are the first feature; each expert gets a fixed range of them."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, hidden_states):
        flat = hidden_states.reshape(-1, 8).clone()
        for expert, (low, high) in zip(self.experts, [(0, 59), (59, 60), (60, 64)], strict=True):
            chosen = (flat[:, 0] >= low) & (flat[:, 0] < high)
            if chosen.any():
                flat[chosen, 1:] += expert(flat[chosen])[:, 1:]
        return flat.reshape(hidden_states.shape)


def test_experts_that_few_tokens_reach_are_reported(caplog):
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(64, 8)
            self.layers = nn.ModuleList(_MixtureBlock() for _ in range(2))

        def forward(self, input_ids, use_cache=False):
            hidden = self.embed(input_ids)
            for block in self.layers:
                hidden = block(hidden)
            return hidden

    model = Mixture()
    with torch.no_grad():
        model.embed.weight[:, 0] = torch.arange(64)
    windows = torch.randint(1, 59, (8, 24), generator=torch.Generator().manual_seed(7))
    windows[1, 3:6] = 59
    runner = BlockRunner(model, windows)
    for index in range(2):
        found = runner.statistics(index)
        runner.advance(index)
        assert [statistic.tokens for statistic in found.values()] == [8 * 24 - 3, 3, 0]
    assert runner.thin == tuple(
        ThinModule(f"layers.{index}.experts.{expert}.weight", tokens)
        for index in range(2)
        for expert, tokens in ((1, 3), (2, 0))
    )
    assert [record.args for record in caplog.records] == [
        (192, 1, f"layers.{index}.experts.1.weight", 3) for index in range(2)
    ]


def test_a_short_calibration_makes_no_module_thin():
    tokens = {"a": 100, "b": 99, "c": 0}
    assert thin_modules(tokens, calibration_tokens=100) == (ThinModule("b", 99), ThinModule("c", 0))
    assert thin_modules(tokens, calibration_tokens=10_000, minimum=99) == (ThinModule("c", 0),)


def test_blocks_in_the_wrong_order_are_a_bug_of_the_caller():
    runner = BlockRunner(make_model("llama"), _windows(1))
    with pytest.raises(RuntimeError):
        runner.statistics(1)
    runner.advance(0)
    with pytest.raises(RuntimeError):
        runner.statistics(0)


def test_model_that_skips_blocks_is_refused():
    model = make_model("llama", layers=3)
    model.config.num_hidden_layers = 2
    with pytest.raises(ConfigurationError, match="2 of its 3"):
        BlockRunner(model, _windows(1))
    assert "forward" not in vars(model.model.layers[0])
