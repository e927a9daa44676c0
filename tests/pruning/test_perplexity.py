from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import transformers
from tiny_models import NOTES, make_model
from torch import nn

from secprune.errors import LocalMisuseError
from secprune.pruning import perplexity as module
from secprune.pruning.perplexity import perplexity, text_tokens


def naive(model, tokens, length, most=None):
    """Window by window in float64 numpy, from the definition."""
    total, scored, means = 0.0, 0, []
    windows = [tokens[i : i + length] for i in range(0, len(tokens), length)][:most]
    windows = [window for window in windows if len(window) > 1]
    for window in windows:
        with torch.no_grad():
            logits = model(window[None]).logits[0].double().numpy()
        losses = []
        for position in range(len(window) - 1):
            row = logits[position] - logits[position].max()
            losses.append(math.log(np.exp(row).sum()) - row[int(window[position + 1])])
        total += sum(losses)
        scored += len(losses)
        means.append(sum(losses) / len(losses))
    return total, scored, len(windows), means


@pytest.mark.parametrize("arch", ["llama", "qwen2", "opt"])
@pytest.mark.parametrize(
    ("n", "length", "most"),
    [(100, 20, None), (110, 20, None), (101, 20, None), (15, 20, None), (110, 20, 3), (110, 20, 6)],
)
def test_equals_the_definition_in_float64(monkeypatch, tokenizer, arch, n, length, most):
    monkeypatch.setattr(module, "_MAX_LOGITS", 400 * 7)  # 7 tokens at a time: chunks end inside windows
    monkeypatch.setattr(module, "MAX_BATCH_TOKENS", 40)
    model = make_model(arch, seed=6, dtype=torch.float64)
    tokens = text_tokens(NOTES, tokenizer)[:n]
    total, scored, windows, _ = naive(model, tokens, length, most)
    result = perplexity(model, tokens, sequence_length=length, max_windows=most)
    assert (result.tokens_scored, result.windows, result.sequence_length) == (scored, windows, length)
    assert result.nll_sum == pytest.approx(total, rel=1e-12)
    assert result.value == pytest.approx(math.exp(total / scored), rel=1e-12)


def test_whole_windows_give_the_papers_formula(tokenizer):
    model = make_model("llama", seed=6, dtype=torch.float64)
    tokens = text_tokens(NOTES, tokenizer)[:160]
    _, _, windows, means = naive(model, tokens, 32)
    papers = math.exp(sum(mean * 32 for mean in means) / (windows * 32))
    assert perplexity(model, tokens, sequence_length=32).value == pytest.approx(papers, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "length", "most", "windows", "counted"),
    [(110, 20, None, 6, True), (101, 20, None, 5, False), (100, 20, None, 5, False), (110, 20, 5, 5, False),
     (15, 20, None, 1, True)],
)  # fmt: skip
def test_whether_a_shorter_last_window_counted_is_told(tokenizer, n, length, most, windows, counted):
    model = make_model("llama", seed=6)
    tokens = text_tokens(NOTES, tokenizer)[:n]
    result = perplexity(model, tokens, sequence_length=length, max_windows=most)
    assert (result.windows, result.partial_window) == (windows, counted)


@pytest.mark.parametrize(("n", "most"), [(100, None), (119, None), (119, 9), (119, 2)])
def test_the_papers_leave_a_shorter_last_window_out(tokenizer, n, most):
    model = make_model("llama", seed=6, dtype=torch.float64)
    tokens = text_tokens(NOTES, tokenizer)[:n]
    total, scored, windows, means = naive(model, tokens[:100], 20, most)
    result = perplexity(model, tokens, sequence_length=20, max_windows=most, partial_window=False)
    assert (result.tokens_scored, result.windows, result.partial_window) == (scored, windows, False)
    assert result.nll_sum == pytest.approx(total, rel=1e-12)
    papers = math.exp(sum(mean * 20 for mean in means) / (windows * 20))
    assert result.value == pytest.approx(papers, rel=1e-12)


def test_no_whole_window_is_refused_only_if_it_must_be_whole(tokenizer):
    model = make_model("llama")
    tokens = text_tokens(NOTES, tokenizer)[:19]
    assert perplexity(model, tokens, sequence_length=20).tokens_scored == 18
    with pytest.raises(LocalMisuseError, match="do not fill one window"):
        perplexity(model, tokens, sequence_length=20, partial_window=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_gives_the_same(tokenizer):
    model = make_model("llama", seed=6, dtype=torch.float64)
    tokens = text_tokens(NOTES, tokenizer)[:110]
    here = perplexity(model, tokens, sequence_length=20)
    there = perplexity(model.to("cuda"), tokens, sequence_length=20)
    assert there.nll_sum == pytest.approx(here.nll_sum, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32(tokenizer, dtype):
    model = make_model("llama", seed=6, dtype=dtype)
    tokens = text_tokens(NOTES, tokenizer)[:96]
    total, scored, _, _ = naive(model, tokens, 32)  # from the same half precision logits
    assert perplexity(model, tokens, sequence_length=32).nll_sum == pytest.approx(total, rel=1e-5)
    assert scored == 93


def test_models_that_change_their_logits_after_the_head(tokenizer):
    """Gemma 2 caps its logits; the head alone would give another perplexity."""
    config = transformers.Gemma2Config(
        vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=2.0, initializer_range=1.0,
        pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    tokens = text_tokens(NOTES, tokenizer)[:64]
    total, _, _, _ = naive(model, tokens, 32)
    assert perplexity(model, tokens, sequence_length=32).nll_sum == pytest.approx(total, rel=1e-9)
    model.config.final_logit_softcapping = None
    assert abs(naive(model, tokens, 32)[0] - total) > 1  # the cap matters on this model


def test_logits_are_never_held_whole(monkeypatch, tokenizer):
    monkeypatch.setattr(module, "_MAX_LOGITS", 400 * 10)
    model = make_model("llama")
    sizes = []
    model.lm_head.register_forward_hook(lambda _m, args, out: sizes.append(out.numel()))
    perplexity(model, text_tokens(NOTES, tokenizer)[:256], sequence_length=64)
    assert max(sizes) <= 400 * 10


def test_hopeless_model_has_infinite_perplexity_and_a_broken_one_none(tokenizer):
    model = make_model("llama")
    tokens = text_tokens(NOTES, tokenizer)[:40]
    with torch.no_grad():
        model.lm_head.weight.mul_(1e5)
    assert perplexity(model, tokens, sequence_length=20).value == math.inf
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    assert math.isnan(perplexity(model, tokens, sequence_length=20).value)


@pytest.mark.parametrize(("n", "length", "most"), [(0, 8, None), (1, 8, None), (20, 1, None), (20, 8, 0)])
def test_nothing_to_score_is_refused(n, length, most):
    with pytest.raises(LocalMisuseError):
        perplexity(nn.Linear(1, 1), torch.arange(n), sequence_length=length, max_windows=most)
