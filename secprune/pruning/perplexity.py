"""Perplexity as the pruning papers measure it: contiguous windows that do not overlap.

The papers take, for windows of L tokens, exp(sum over windows of (mean loss of the L - 1 next tokens * L)
/ (windows * L)). The factor L cancels: it is exp of the mean of the windows' mean losses. All whole
windows have the same number of scored tokens, so this equals exp(total loss / tokens scored), which is
what is computed here. It also gives the last, shorter window its proper weight; the papers drop it, and
`partial_window=False` does so too.

Source: Wanda, `lib/eval.py`; FedPrLLM (arXiv 2505.13547), sec. 5.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from secprune.errors import LocalMisuseError
from secprune.pruning.activations import MAX_BATCH_TOKENS
from secprune.pruning.calibration import text_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Perplexity", "perplexity", "text_tokens"]

_MAX_LOGITS = 1 << 23
"""Logits held in float32 at a time, 32 MB; with 150,000 words, 55 tokens.

The fastest of 2^21 to 2^25 on a CPU, in bfloat16 and float32: more do not stay in its caches.
"""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What was measured, with everything needed to compare or to pool it.

    Attributes:
        value: exp(nll_sum / tokens_scored).
        nll_sum: negative log-likelihood of all scored tokens, in nats.
        tokens_scored: each window's tokens but its first.
        windows: how many windows, the shorter last one included if it was scored.
        sequence_length: tokens in a whole window.
        partial_window: a shorter last window was there and is counted.
    """

    value: float
    nll_sum: float
    tokens_scored: int
    windows: int
    sequence_length: int
    partial_window: bool


@torch.inference_mode()
def perplexity(
    model: Any,
    tokens: Tensor,
    *,
    sequence_length: int,
    max_windows: int | None = None,
    partial_window: bool = True,
) -> Perplexity:
    """Perplexity of a causal LM on a stream of tokens.

    Args:
        model: in eval mode; windows go to the device that it is on.
        tokens: (n,) int64, such as `text_tokens` gives.
        sequence_length: tokens in a window, at least 2.
        max_windows: stop after that many windows; default: all.
        partial_window: score a last window of 2 tokens or more even if it is not whole; the papers do not.

    Returns:
        The measurement.

    Raises:
        LocalMisuseError: fewer than two tokens, or a length or number that leaves nothing to score.
    """
    if sequence_length < 2 or (max_windows is not None and max_windows < 1):
        raise LocalMisuseError(
            f"there is no perplexity of windows of {sequence_length} tokens, at most {max_windows} of them",
            hint="a window needs 2 tokens: the first is only context",
        )
    if tokens.numel() < 2:
        raise LocalMisuseError(
            f"{tokens.numel()} token is too little text to measure perplexity", hint="give more text"
        )
    if tokens.numel() < sequence_length and not partial_window:
        raise LocalMisuseError(
            f"{tokens.numel()} tokens do not fill one window of {sequence_length}",
            hint="give more text, a shorter sequence length, or score a window that is not whole",
        )
    device = next(model.parameters()).device
    head = _plain_head(model, tokens[:sequence_length][None, :8].to(device))
    total, scored, windows = 0.0, 0, 0
    short = False
    for batch in _batches(tokens, sequence_length, max_windows, partial_window=partial_window):  # (b, t)
        total += _negative_log_likelihood(model, head, batch.to(device))
        scored += batch.shape[0] * (batch.shape[1] - 1)
        windows += batch.shape[0]
        short = batch.shape[1] < sequence_length
    mean = total / scored
    # Not an error: a badly pruned model may well be this bad, and infinity says so.
    value = math.inf if mean > 700 else math.exp(mean)
    return Perplexity(value, total, scored, windows, sequence_length, partial_window=short)


def _batches(
    tokens: Tensor, sequence_length: int, max_windows: int | None, *, partial_window: bool
) -> Iterator[Tensor]:
    whole = tokens.numel() // sequence_length
    rest = tokens[whole * sequence_length :]
    if max_windows is not None and max_windows <= whole:
        whole, rest = max_windows, rest[:0]
    stack = tokens[: whole * sequence_length].view(whole, sequence_length)
    if whole:
        step = max(1, MAX_BATCH_TOKENS // sequence_length)
        yield from (stack[start : start + step] for start in range(0, whole, step))
    if partial_window and rest.numel() > 1:
        yield rest[None]


def _negative_log_likelihood(model: Any, head: nn.Module | None, batch: Tensor) -> float:
    """Sum over the batch; in chunks of tokens, because (tokens, vocabulary) would not fit in memory."""
    if head is None:
        states = model(input_ids=batch, use_cache=False).logits  # (b, t, vocabulary)
    else:
        states = _head_input(model, head, batch)  # (b, t, hidden)
    states = states[:, :-1].flatten(0, 1)  # (b * (t - 1), ...)
    targets = batch[:, 1:].flatten()  # (b * (t - 1),)
    vocabulary = states.shape[-1] if head is None else int(model.config.get_text_config().vocab_size)
    step = max(1, _MAX_LOGITS // vocabulary)
    total = torch.zeros((), dtype=torch.float64, device=targets.device)
    for start in range(0, len(targets), step):
        part, target = states[start : start + step], targets[start : start + step]
        logits = part if head is None else head(part)  # (step, vocabulary)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        losses = functional.cross_entropy(wide, target, reduction="none")  # (step,)
        total += losses.double().sum()
    return float(total)


def _plain_head(model: Any, tokens: Tensor) -> nn.Module | None:
    """The output head, if logits are exactly what it puts out; None if the model changes them further.

    Some models cap or scale their logits after the head (Gemma 2, Cohere). Rather than know them all, try
    it on a few tokens; where the bits differ, logits are taken from the model whole.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        return None
    states = _head_input(model, head, tokens)
    if states is None:
        return None
    logits = model(input_ids=tokens, use_cache=False).logits
    return head if torch.equal(head(states).to(logits.dtype), logits) else None


class _LeaveForwardError(Exception):
    """Leaves the model's forward where the output head would begin."""


def _head_input(model: Any, head: nn.Module, tokens: Tensor) -> Any:
    """What enters the output head, (b, t, hidden); None if the model does not call it as a module."""
    captured: list[Tensor] = []

    def capture(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        captured.append(args[0])
        raise _LeaveForwardError

    hook = head.register_forward_pre_hook(capture)
    try:
        with suppress(_LeaveForwardError):
            model(input_ids=tokens, use_cache=False)
    finally:
        hook.remove()
    return captured[0] if captured else None
