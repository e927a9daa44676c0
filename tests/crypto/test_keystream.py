"""A keystream taken piece by piece is the one that AES-256-CTR defines, wherever it begins and is cut."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pairwise_round import make_round

from secprune.crypto.expand import PIECE_WORDS, Keystream, expand
from secprune.packing import Layout, PackedMatrix
from secprune.protocols.api import Round
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Mask, Masking

KEY = bytes(range(32))
WHOLE = np.frombuffer(
    Cipher(AES256(KEY), CTR(bytes(16))).encryptor().update(bytes(8 * 4 * PIECE_WORDS)), np.dtype("<u8")
).astype(np.uint64)


@pytest.mark.parametrize("first", [0, 1, 2, PIECE_WORDS - 1, PIECE_WORDS + 1])
@pytest.mark.parametrize("words", [1, 2, PIECE_WORDS - 1, PIECE_WORDS, PIECE_WORDS + 1, 2 * PIECE_WORDS + 3])
def test_any_stretch_is_a_slice_of_the_whole(first, words):
    stream = expand(KEY, first_word=first, words=words)
    assert stream.dtype == np.uint64
    assert (stream == WHOLE[first : first + words]).all()


@pytest.mark.parametrize("first", [0, 5])
def test_pieces_follow_each_other(first):
    keystream, taken = Keystream(KEY, first_word=first), []
    for words in (1, 3, PIECE_WORDS + 1, 2, 7):
        taken.append(np.zeros(words, np.uint64))
        keystream.fill(taken[-1])
    found = np.concatenate(taken)
    assert (found == WHOLE[first : first + len(found)]).all()


@pytest.mark.parametrize("columns", [PIECE_WORDS // 5 + 1, PIECE_WORDS, PIECE_WORDS + 3])
def test_masks_do_not_depend_on_how_rows_are_cut(columns, monkeypatch):
    """Many rows of a chunk with few at a time, and with all at once."""
    small = make_round(4)
    layout = Layout.of([PackedMatrix("m", 300, columns, columns // 2)], n_max=small.task.n_max)
    round_ = Round(small.task, small.task_id, 0, small.matrices, layout)
    masks = [Mask("a", "", b"\1" * 32, added=True), Mask("a", "b", b"\2" * 32, added=False)]
    masking = Masking(round_, Binding(round_, "sha256:" + "5" * 64), masks)
    for chunk in layout.chunks:
        few = np.zeros(chunk.shape, np.uint64)
        masking.put_on(chunk, few)
        with monkeypatch.context() as patch:
            patch.setattr("secprune.protocols.pairwise.masks.PIECE_WORDS", chunk.words)
            at_once = np.zeros(chunk.shape, np.uint64)
            masking.put_on(chunk, at_once)
        assert chunk.groups > 5
        assert (few == at_once).all()


def test_words_of_another_shape_are_refused():
    round_ = make_round(4)
    masking = Masking(round_, Binding(round_), [Mask("a", "", b"\1" * 32, added=True)])
    chunk = round_.layout.chunks[0]
    with pytest.raises(ValueError, match="shape"):
        masking.put_on(chunk, np.zeros((chunk.groups, chunk.slab.columns + 1), np.uint64))


def test_nothing_secret_is_shown():
    assert repr(Keystream(KEY, first_word=0)) == "Keystream(<secret>)"
