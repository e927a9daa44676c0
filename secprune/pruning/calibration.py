"""Notes to calibration windows: packed, never padded, never rejected for being short.

The original codes draw documents until one is longer than the context, which never happens with clinical
notes and a context of 8192 tokens, and fill what is missing with rows of zeros, which changes the masks
of models with biases. Here notes are joined into one stream of tokens and cut into whole windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from secprune.errors import ConfigurationError, LocalMisuseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Tokenizer(Protocol):
    """What of a Hugging Face tokenizer is used here."""

    eos_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> Any:
        """Token ids of each text, under the key `input_ids`."""


def text_tokens(notes: Sequence[str], tokenizer: Tokenizer) -> Tensor:
    """One stream of tokens: the notes in order, the end-of-text token between two of them.

    Args:
        notes: at least one; tokenised without special tokens.
        tokenizer: the model's own.

    Returns:
        (tokens,) int64.

    Raises:
        ConfigurationError: the tokenizer has no end-of-text token.
    """
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ConfigurationError(
            "the model's tokenizer names no end-of-text token, so notes cannot be told apart in a stream",
            hint="set eos_token in the checkpoint's tokenizer_config.json",
        )
    stream: list[int] = []
    # verbose=False: "sequence longer than the model's maximum" is of no interest, the stream is cut below.
    encoded = tokenizer(list(notes), add_special_tokens=False, verbose=False)["input_ids"]
    for number, ids in enumerate(encoded):
        if number:
            stream.append(eos)
        stream.extend(ids)
    return torch.tensor(stream, dtype=torch.int64)


def pack_windows(
    notes: Sequence[str], tokenizer: Tokenizer, *, sequence_length: int, max_windows: int
) -> Tensor:
    """Cut the notes' token stream into calibration windows.

    Args:
        notes: at least one.
        tokenizer: the model's own.
        sequence_length: tokens in a window.
        max_windows: where the notes fill more, this many are taken at even distances over the whole
            stream: no randomness, and no bias to the notes that happen to come first.

    Returns:
        (windows, sequence_length) int64; tokens after the last whole window are left out.

    Raises:
        LocalMisuseError: fewer tokens than one window, or a length or number below 1.
        ConfigurationError: the tokenizer has no end-of-text token.
    """
    if sequence_length < 1 or max_windows < 1:
        raise LocalMisuseError(
            f"calibration with {max_windows} windows of {sequence_length} tokens is not possible",
            hint="both numbers must be at least 1",
        )
    stream = text_tokens(notes, tokenizer)
    available = len(stream) // sequence_length
    if available == 0:
        raise LocalMisuseError(
            f"the notes hold {len(stream)} tokens, and one calibration window needs {sequence_length}",
            hint="give more notes, or agree with the other parties on a shorter sequence length",
        )
    return cut_windows(stream, sequence_length=sequence_length, max_windows=max_windows)


def first_window(notes: Sequence[str], tokenizer: Tokenizer, *, sequence_length: int) -> Tensor:
    """One window from the beginning of some text, or as long as the text is: (1, tokens) int64; raises as `text_tokens`."""
    stream = text_tokens(notes, tokenizer)
    return cut_windows(stream, sequence_length=min(sequence_length, len(stream)), max_windows=1)


def cut_windows(stream: Tensor, *, sequence_length: int, max_windows: int) -> Tensor:
    """Whole windows of a stream of at least one, as `pack_windows` takes them: (windows, sequence_length)."""
    available = len(stream) // sequence_length
    windows = stream[: available * sequence_length].view(available, sequence_length)  # (available, L)
    if available > max_windows:
        # Integer arithmetic: every machine takes the same windows.
        windows = windows[torch.tensor([i * available // max_windows for i in range(max_windows)])]
    return windows.clone()
