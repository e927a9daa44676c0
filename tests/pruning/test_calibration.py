from __future__ import annotations

import pytest
import torch
from tiny_models import NOTES

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.pruning.calibration import pack_windows, text_tokens


def _stream(notes, tokenizer):
    ids = []
    for note in notes:
        ids += [*tokenizer.encode(note, add_special_tokens=False), tokenizer.eos_token_id]
    return ids[:-1]


def test_stream_is_the_notes_joined_by_the_end_of_text_token(tokenizer):
    stream = text_tokens(NOTES, tokenizer)
    assert stream.dtype == torch.int64
    assert stream.tolist() == _stream(NOTES, tokenizer)
    assert stream.tolist().count(tokenizer.eos_token_id) == len(NOTES) - 1


def test_short_notes_are_packed_and_nothing_is_padded(tokenizer):
    notes = NOTES[:12]
    stream = _stream(notes, tokenizer)
    assert max(len(tokenizer.encode(note)) for note in notes) < 64  # each note is shorter than a window
    windows = pack_windows(notes, tokenizer, sequence_length=64, max_windows=1000)
    assert windows.shape == (len(stream) // 64, 64)
    assert windows.shape[0] >= 3
    # The windows are the stream itself: no row of zeros, no padding, no token lost but the tail.
    assert windows.flatten().tolist() == stream[: windows.numel()]


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [0]), (3, [0, 3, 6]), (4, [0, 2, 5, 7]), (10, list(range(10)))]
)
def test_windows_are_taken_at_even_distances(tokenizer, most, expected):
    stream = _stream(NOTES, tokenizer)
    length = len(stream) // 10
    every = pack_windows(NOTES, tokenizer, sequence_length=length, max_windows=1000)
    assert len(every) == 10
    taken = pack_windows(NOTES, tokenizer, sequence_length=length, max_windows=most)
    assert torch.equal(taken, every[expected])


def test_too_few_tokens_says_how_many_there_are_and_are_needed(tokenizer):
    found = len(_stream(NOTES[:2], tokenizer))
    with pytest.raises(LocalMisuseError, match=rf"hold {found} tokens.* needs {found + 1}") as caught:
        pack_windows(NOTES[:2], tokenizer, sequence_length=found + 1, max_windows=1)
    assert caught.value.hint
    assert NOTES[0] not in str(caught.value)
    assert pack_windows(NOTES[:2], tokenizer, sequence_length=found, max_windows=1).shape == (1, found)


@pytest.mark.parametrize(("length", "most"), [(0, 1), (4, 0), (-4, 1)])
def test_lengths_below_one_are_refused(tokenizer, length, most):
    with pytest.raises(LocalMisuseError):
        pack_windows(NOTES, tokenizer, sequence_length=length, max_windows=most)


def test_tokenizer_without_end_of_text_is_refused():
    class Bare:
        eos_token_id = None

    with pytest.raises(ConfigurationError, match="end-of-text"):
        text_tokens(NOTES, Bare())
