"""Packing: digits never carry, round trip, row sums are the public constant, layouts cover everything once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.errors import ConfigurationError
from secprune.fixedpoint import FixedPoint
from secprune.packing import (
    CHUNK_BYTES,
    MAX_CLIENTS,
    WORD_BYTES,
    Layout,
    PackedMatrix,
    digits_per_word,
    pack,
    row_sums,
    unpack,
)


def test_digits_per_word_is_the_largest_that_cannot_carry():
    for n in [*range(1, 300), 1000, 65534, MAX_CLIENTS]:
        digits = digits_per_word(n)
        assert (n + 1) ** digits <= 2**64 < (n + 1) ** (digits + 1)
    assert [digits_per_word(n) for n in (3, 4, 8, 16, 32, 64)] == [32, 27, 20, 15, 12, 10]
    for bad in (0, -1, MAX_CLIENTS + 1):
        with pytest.raises(ConfigurationError):
            digits_per_word(bad)


@given(
    n=st.sampled_from([1, 2, 3, 4, 7, 16, 64, 129, 255, 256, 300]),
    rows=st.integers(1, 70),
    columns=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_sums_of_packed_masks_unpack_to_the_counts(n, rows, columns, seed):
    """Also all clients voting alike: the largest count in every digit, the case that would carry."""
    rng = np.random.default_rng(seed)
    digits, base = digits_per_word(n), n + 1
    masks = rng.integers(0, 2, (n, rows, columns), dtype=np.uint8)
    masks[:, 0] = 1
    total = np.zeros((-(-rows // digits), columns), np.uint64)
    for mask in masks:
        total += pack(mask, base=base, digits=digits)
    np.testing.assert_array_equal(
        unpack(total, base=base, digits=digits, rows=rows), masks.sum(axis=0, dtype=np.int64)
    )


def test_pack_follows_its_formula():
    bits = np.array([[1, 0], [1, 1], [0, 1]], np.uint8)
    words = pack(bits, base=5, digits=2)
    assert words.tolist() == [[1 + 5, 5], [0, 1]]


SHAPES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([4, 6, 10])), min_size=1, max_size=6)


@given(shapes=SHAPES, n=st.sampled_from([3, 8, 64]))
def test_layout_covers_every_row_once_and_row_sums_hold(shapes, n):
    matrices = [PackedMatrix(f"m{i}", r, c, c // 2) for i, (r, c) in enumerate(shapes)]
    layout = Layout.of(matrices, n_max=n)
    rng = np.random.default_rng(0)
    masks = {m.name: rng.random((m.rows, m.columns)).argsort(axis=1) < m.row_k for m in matrices}
    seen = {m.name: np.zeros(m.rows, int) for m in matrices}
    for chunk in layout.chunks:
        rows = []
        for matrix, low, high in chunk.slab.pieces(chunk.first_row, chunk.end_row):
            seen[matrix.name][low:high] += 1
            rows.append(masks[matrix.name][low:high])
        words = pack(np.concatenate(rows).astype(np.uint8), base=n + 1, digits=chunk.slab.digits)
        assert words.shape == chunk.shape
        np.testing.assert_array_equal(row_sums(words), chunk.row_sum_targets())
        np.testing.assert_array_equal(row_sums(words * np.uint64(n)), chunk.row_sum_targets(n))
    assert all((count == 1).all() for count in seen.values())
    assert layout.weights == sum(m.rows * m.columns for m in matrices)


def llama_shapes(hidden, intermediate, key_value, blocks):
    one = [
        (hidden, hidden),
        (key_value, hidden),
        (key_value, hidden),
        (hidden, hidden),
        (intermediate, hidden),
        (intermediate, hidden),
        (hidden, intermediate),
    ]
    return [PackedMatrix(f"{b}.{i}", r, c, c // 2) for b in range(blocks) for i, (r, c) in enumerate(one)]


@pytest.mark.parametrize("n", [3, 4, 8, 16, 32, 64])
@pytest.mark.parametrize(
    "shapes", [llama_shapes(576, 1536, 192, 30), llama_shapes(4096, 11008, 4096, 32)], ids=["135M", "7B"]
)
def test_words_per_weight_are_those_of_whole_digits(shapes, n):
    """A 192-row matrix packed alone would cost 12% more at n = 4; slabs keep the padding below 0.1%."""
    layout = Layout.of(shapes, n_max=n)
    bits = 64 * sum(chunk.words for chunk in layout.chunks) / layout.weights
    assert 64 / digits_per_word(n) <= bits <= 1.001 * 64 / digits_per_word(n)
    assert bits <= 1.07 * math.log2(n + 1)
    assert max(chunk.words for chunk in layout.chunks) * WORD_BYTES <= CHUNK_BYTES


def test_one_flipped_bit_changes_its_row_sum_and_no_other():
    layout = Layout.of([PackedMatrix("m", 30, 8, 4)], n_max=4)
    bits = (np.random.default_rng(1).random((30, 8)).argsort(axis=1) < 4).astype(np.uint8)
    bits[28, 2] ^= 1
    wrong = row_sums(pack(bits, base=5, digits=27)) != layout.chunks[0].row_sum_targets()
    assert wrong.tolist() == [False, True]


@pytest.mark.parametrize("bits", [8, 15, 16])
@pytest.mark.parametrize("n", [3, 64, 1000, MAX_CLIENTS])
def test_sums_of_whole_numbers_unpack_exactly_up_to_the_largest(n, bits):
    """All clients send the largest number in some places and their sum fills the counter: one more would carry."""
    most = FixedPoint(bits).most
    base = n * most + 1
    layout = Layout.of([PackedMatrix("m", 11, 5, None)], n_max=n, base=base)
    (slab,), digits = layout.slabs, layout.slabs[0].digits
    assert base**digits <= 2**64 < base ** (digits + 1)
    rng = np.random.default_rng(bits)
    kinds = rng.integers(0, most + 1, (3, 11, 5), np.uint16)
    kinds[:, :, 0], kinds[:, ::2, 1], kinds[:, 1::2, 1] = most, most, 0
    times = (n - 2 * (n // 3), n // 3, n // 3)  # as many clients send each kind: n in all
    total, exact = np.zeros((slab.groups, slab.columns), np.uint64), np.zeros((11, 5), object)
    for numbers, clients in zip(kinds, times, strict=True):
        total += pack(numbers, base=base, digits=digits) * np.uint64(clients)
        exact += numbers.astype(object) * clients
    assert exact.max() == n * most == base - 1
    assert unpack(total, base=base, digits=digits, rows=11).tolist() == exact.tolist()


@given(shapes=SHAPES, others=SHAPES, n=st.sampled_from([3, 8]))
def test_a_layout_beside_another_has_all_slabs_and_numbers_them_through(shapes, others, n):
    """A slab's index names its keystream: two slabs of one index would be masked by the same words."""
    first = Layout.of([PackedMatrix(f"a{i}", r, c, c // 2) for i, (r, c) in enumerate(shapes)], n_max=n)
    second = Layout.of(
        [PackedMatrix(f"b{i}", r, c, None) for i, (r, c) in enumerate(others)], n_max=n, base=1000
    )
    both = first.beside(second)
    assert [slab.index for slab in both.slabs] == list(range(len(first.slabs) + len(second.slabs)))
    assert [slab.matrices for slab in both.slabs] == [s.matrices for s in (*first.slabs, *second.slabs)]
    assert [(s.base, s.digits) for s in both.slabs] == [
        (s.base, s.digits) for s in (*first.slabs, *second.slabs)
    ]
    assert [chunk.index for chunk in both.chunks] == list(range(len(both.chunks)))
    order = [(chunk.slab.index, chunk.first_group) for chunk in both.chunks]
    assert order == sorted(set(order))
    assert (both.words, both.weights) == (first.words + second.words, first.weights + second.weights)
