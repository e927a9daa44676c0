"""Masks: exact arithmetic modulo 2^64, any chunk alone, pairs cancel, and no keystream is used twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise_round import make_round

from secprune import packing
from secprune.packing import Layout, PackedMatrix
from secprune.protocols.api import Round
from secprune.protocols.pairwise import masks
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Mask, Masking

COLUMNS = 7  # odd, so that chunks begin in the middle of an AES block
NAMES = ("clinic-000", "clinic-001", "clinic-002", "clinic-003")
KEYS = "sha256:" + "5" * 64


def with_layout(round_, shapes):
    """The same round with other matrices: [(rows, columns)]."""
    packed = [PackedMatrix(f"m{i}", rows, columns, columns // 2) for i, (rows, columns) in enumerate(shapes)]
    layout = Layout.of(packed, n_max=round_.task.n_max)
    return Round(round_.task, round_.task_id, round_.index, round_.matrices, layout)


@pytest.fixture(scope="module")
def round_():
    """Two slabs; the first is cut into chunks of one row group each, odd in length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "CHUNK_BYTES", 8 * COLUMNS)
        made = with_layout(make_round(4), [(100, COLUMNS), (30, 6)])
        assert len(made.layout.chunks) > 5
        assert len(made.layout.slabs) == 2
    return made


def random_words(chunk, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, chunk.shape, np.uint64)


def keystream(round_, mask, slab, keys=KEYS):
    """Words of one mask, by Python's integers and from the definition, not by our code."""
    context = f'["{round_.task_id}",{round_.index},"pairwise/mask","{mask.first}","{mask.second}","{keys}",{slab.index}]'
    key = HKDF(SHA256(), 32, salt=None, info=b"secprune/expand/v1\0" + context.encode()).derive(mask.seed)
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(8 * slab.groups * slab.columns))
    return [int.from_bytes(stream[i : i + 8], "little") for i in range(0, len(stream), 8)]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_masked_words_are_exact_modulo_two_to_the_64(round_, data):
    worn = [
        Mask(first, second, data.draw(st.binary(min_size=32, max_size=32)), added=data.draw(st.booleans()))
        for first, second in data.draw(
            st.lists(st.sampled_from([("a", ""), ("a", "b"), ("b", "a"), ("c", "d")]), max_size=4)
        )
    ]
    chunk = data.draw(st.sampled_from(round_.layout.chunks))
    words = random_words(chunk, data.draw(st.integers(0, 2**32)))
    due = [int(word) for word in words.ravel()]
    for mask in worn:
        stream = keystream(round_, mask, chunk.slab)[chunk.first_word : chunk.first_word + chunk.words]
        due = [(d + (s if mask.added else -s)) % 2**64 for d, s in zip(due, stream, strict=True)]
    plain, masking = words.copy(), Masking(round_, Binding(round_, KEYS), worn)
    masking.put_on(chunk, words)
    assert [int(word) for word in words.ravel()] == due
    assert words.dtype == np.uint64
    assert words.shape == chunk.shape
    masking.take_off(chunk, words)
    assert (words == plain).all()


def test_a_chunk_alone_is_the_slice_of_the_whole(round_):
    worn = [Mask("a", "", b"\1" * 32, added=True), Mask("a", "b", b"\2" * 32, added=False)]
    whole = with_layout(round_, [(100, COLUMNS), (30, 6)])  # the chunk size is the usual one again
    assert len(whole.layout.chunks) == 2
    parts = {0: [], 1: []}
    for chunk in reversed(round_.layout.chunks):  # in any order, with masks made anew
        words = np.zeros(chunk.shape, np.uint64)
        Masking(round_, Binding(round_, KEYS), worn).put_on(chunk, words)
        parts[chunk.slab.index].insert(0, words)
    for chunk in whole.layout.chunks:
        words = np.zeros(chunk.shape, np.uint64)
        Masking(whole, Binding(whole, KEYS), worn).put_on(chunk, words)
        assert (np.concatenate(parts[chunk.slab.index]) == words).all()


@pytest.mark.parametrize("piece", [1, COLUMNS, 3 * COLUMNS, 10**6])
def test_the_size_of_pieces_changes_nothing(round_, monkeypatch, piece):
    """Rows are masked a few at a time; here from one at a time to all at once."""
    whole = with_layout(round_, [(500, COLUMNS)])
    (chunk,) = whole.layout.chunks
    mask = Mask("a", "b", b"\4" * 32, added=False)
    words = random_words(chunk)
    monkeypatch.setattr(masks, "PIECE_WORDS", piece)
    Masking(whole, Binding(whole, KEYS), [mask]).put_on(chunk, words)
    stream = np.array(keystream(whole, mask, chunk.slab), np.uint64).reshape(chunk.shape)
    assert (words == random_words(chunk) - stream).all()


def test_a_chunk_of_many_pieces(round_):
    """More words than are masked, and than are drawn, at a time."""
    whole = with_layout(round_, [(27 * 40, 4001)])
    (chunk,) = whole.layout.chunks
    assert chunk.words > 2 * masks.PIECE_WORDS
    mask = Mask("a", "b", b"\4" * 32, added=True)
    words = random_words(chunk)
    Masking(whole, Binding(whole, KEYS), [mask]).put_on(chunk, words)
    stream = np.array(keystream(whole, mask, chunk.slab), np.uint64).reshape(chunk.shape)
    assert (words == random_words(chunk) + stream).all()


def test_words_of_another_chunk_are_refused(round_):
    first, last = round_.layout.chunks[0], round_.layout.chunks[-1]
    masking = Masking(round_, Binding(round_, KEYS), [])
    with pytest.raises(ValueError, match="shape"):
        masking.put_on(last, random_words(first))


@pytest.mark.parametrize("chunk_index", [0, 1, -1])
def test_pairs_cancel_in_the_sum_and_self_masks_do_not(round_, chunk_index):
    chunk = round_.layout.chunks[chunk_index]
    seeds = {pair: bytes([i + 1]) * 32 for i, pair in enumerate(itertools.combinations(NAMES, 2))}
    total, plain = np.zeros(chunk.shape, np.uint64), np.zeros(chunk.shape, np.uint64)
    for number, name in enumerate(NAMES):
        words = random_words(chunk, number)
        plain += words
        worn = [Mask(*pair, seed, added=name == pair[0]) for pair, seed in seeds.items() if name in pair]
        Masking(round_, Binding(round_, KEYS), worn).put_on(chunk, words)
        assert not (words == random_words(chunk, number)).any()
        total += words
    assert (total == plain).all()
    # The control: one pair whose second client adds, too, does not cancel.
    first = Mask(*NAMES[:2], b"\1" * 32, added=True)
    Masking(round_, Binding(round_, KEYS), [first, first]).put_on(chunk, total)
    assert not (total == plain).any()


def test_no_two_contexts_have_the_same_keystream(round_):
    seed, streams = b"\7" * 32, {}
    other_task, other_index = make_round(4, nonce="1" * 32), make_round(4)
    next_round = Round(other_index.task, other_index.task_id, 1, other_index.matrices, round_.layout)
    other_task = Round(other_task.task, other_task.task_id, 0, other_task.matrices, round_.layout)
    for what, in_round, keys, first, second in (
        ("as it is", round_, KEYS, "a", "b"),
        ("other order", round_, KEYS, "b", "a"),
        ("self mask", round_, KEYS, "a", ""),
        ("names run together", round_, KEYS, "ab", ""),
        ("other list of keys", round_, "sha256:" + "6" * 64, "a", "b"),
        ("other task", other_task, KEYS, "a", "b"),
        ("other round", next_round, KEYS, "a", "b"),
    ):
        masking = Masking(in_round, Binding(in_round, keys), [Mask(first, second, seed, added=True)])
        for slab in round_.layout.slabs:
            chunk = next(chunk for chunk in round_.layout.chunks if chunk.slab is slab)
            words = np.zeros(chunk.shape, np.uint64)
            masking.put_on(chunk, words)
            streams[what, slab.index] = words.tobytes()[:40]
    assert len(set(streams.values())) == len(streams) == 14
    # The control: the same context gives the same keystream.
    again = np.zeros(round_.layout.chunks[0].shape, np.uint64)
    same = Mask("a", "b", seed, added=True)
    Masking(round_, Binding(round_, KEYS), [same]).put_on(round_.layout.chunks[0], again)
    assert again.tobytes()[:40] == streams["as it is", 0]


def test_chunks_of_a_report_never_share_words(round_):
    """Any word of the keystream masks one word only."""
    masking = Masking(round_, Binding(round_, KEYS), [Mask("a", "", b"\3" * 32, added=True)])
    seen = []
    for chunk in round_.layout.chunks:
        words = np.zeros(chunk.shape, np.uint64)
        masking.put_on(chunk, words)
        seen.extend(words.ravel().tolist())
    assert len(set(seen)) == len(seen)


def test_nothing_secret_is_shown(round_):
    seed = bytes(range(32))
    mask = Mask("a", "b", seed, added=True)
    shown = repr(mask) + str(mask) + repr(Masking(round_, Binding(round_, KEYS), [mask]))
    assert "a" in shown
    assert repr(seed)[2:-1] not in shown
    assert seed.hex() not in shown
    assert "secret masks" in shown
    assert repr(seed) in repr((mask.seed,)), "the control: this is how it would look"


def test_a_seed_of_another_length_is_refused(round_):
    with pytest.raises(ValueError, match="32 bytes"):
        Masking(round_, Binding(round_, KEYS), [Mask("a", "b", b"\1" * 31, added=True)])
