from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.pruning.selection import layer_top_k, magnitude_key, magnitude_mask, zero_vote_share
from secprune.task import layer_k, row_k


def naive_top_k(counts, key, k):
    """The tie rule as DESIGN states it, by a full sort of Python tuples."""
    order = sorted(range(counts.size), key=lambda i: (-int(counts.flat[i]), int(key.flat[i]), i))
    mask = np.zeros(counts.size, dtype=bool)
    mask[order[:k]] = True
    return mask.reshape(counts.shape)


@st.composite
def _matrices(draw):
    n = draw(st.sampled_from([1, 2, 3, 8, 127, 128, 129, 255, 256, 300]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    # Few distinct values, so that most entries are tied in the count and many in the magnitude too.
    levels = draw(st.lists(st.integers(0, n), min_size=1, max_size=3))
    counts = draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from(levels)))
    width = draw(st.sampled_from([np.uint16, np.uint32, np.uint64]))
    key = draw(hnp.arrays(width, shape, elements=st.integers(0, 2)))
    k = draw(st.integers(0, counts.size))
    return counts, key, k, n


@given(_matrices())
def test_layer_top_k_equals_a_full_sort(case):
    counts, key, k, n = case
    mask = layer_top_k(counts, key, k, n)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, naive_top_k(counts, key, k))
    if n < 256:
        assert np.array_equal(layer_top_k(counts.astype(np.uint8), key, k, n), mask)


@given(_matrices())
def test_magnitude_mask_equals_a_full_sort(case):
    _, key, k, _ = case
    assert np.array_equal(magnitude_mask(key, k), naive_top_k(np.zeros_like(key), key, k))


def test_more_entries_than_one_histogram_chunk():
    generator = np.random.default_rng(5)
    counts = generator.integers(0, 5, (1100, 1200)).astype(np.uint8)
    key = generator.integers(0, 50, counts.shape).astype(np.uint16)
    k = 600_000
    order = np.lexsort((np.arange(counts.size), key.ravel(), -counts.ravel().astype(int)))
    expected = np.zeros(counts.size, dtype=bool)
    expected[order[:k]] = True
    assert np.array_equal(layer_top_k(counts, key, k, 4).ravel(), expected)


def test_int8_overflow_at_129_clients_does_not_protect_what_all_voted_to_prune():
    """FedPrLLM's int8 counters wrap to -127 at 129 clients: the unanimous entries came out last."""
    counts = np.array([[129, 128, 127, 1, 0, 129]], dtype=np.uint8)
    key = np.arange(6, dtype=np.uint16).reshape(1, 6)
    # The defect itself (the code sorts the negated counts), so that the test keeps its reason.
    assert (-counts.astype(np.int8)).argmax() == 0
    assert layer_top_k(counts, key, 2, 129).tolist() == [[True, False, False, False, False, True]]
    assert layer_top_k(counts.astype(np.uint16), key, 3, 129).tolist() == [
        [True, True, False, False, False, True]
    ]


def test_signed_counts_and_foreign_shapes_are_refused():
    key = np.zeros((2, 3), dtype=np.uint16)
    for counts in (np.zeros((2, 3), np.int8), np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.float32)):
        with pytest.raises(ConfigurationError):
            layer_top_k(counts, key, 1, 3)
    for k in (-1, 7):
        with pytest.raises(ConfigurationError):
            layer_top_k(np.zeros((2, 3), np.uint8), key, k, 3)
        with pytest.raises(ConfigurationError):
            magnitude_mask(key, k)


def test_count_above_the_cohort_is_somebody_elses_fault():
    counts = np.array([[0, 4]], dtype=np.uint8)
    with pytest.raises(RemoteMisbehaviourError):
        layer_top_k(counts, np.zeros((1, 2), np.uint16), 1, 3)
    assert layer_top_k(counts, np.zeros((1, 2), np.uint16), 1, 4).tolist() == [[False, True]]


def test_zero_vote_share():
    counts = np.array([[0, 1, 2], [0, 0, 3]], dtype=np.uint8)
    mask = np.array([[True, True, False], [True, False, True]])
    assert zero_vote_share(counts, mask) == (2, 4)


def test_k_is_exact_where_floats_are_not():
    assert int(100 * 0.29) == 28  # the defect
    assert row_k(100, Fraction(29, 100)) == 29
    assert layer_k(10, 10, Fraction(29, 100)) == 29
    assert layer_k(3, 3, Fraction(1, 2)) == 4
    assert row_k(3, Fraction(1, 2)) == 1
    assert layer_k(4, 5, Fraction(0)) == 0


@pytest.mark.parametrize("sparsity", [0.5, Fraction(1), Fraction(-1, 2), Fraction(3, 2), 0])
def test_sparsity_must_be_an_exact_fraction_below_one(sparsity):
    with pytest.raises(ConfigurationError):
        layer_k(4, 4, sparsity)
    with pytest.raises(ConfigurationError):
        row_k(4, sparsity)


def _every_half(dtype):
    """All 65536 bit patterns that are numbers: subnormals, infinities and both zeros among them."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = torch.from_numpy(bits.view(np.int16).copy()).view(dtype).double().numpy()
    return bits[~np.isnan(values)], np.abs(values[~np.isnan(values)])


@pytest.mark.parametrize(("name", "dtype"), [("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_key_orders_every_half_as_its_magnitude(name, dtype):
    bits, magnitude = _every_half(dtype)
    key = magnitude_key(bits, name)
    # Equal keys exactly where |W| is equal, smaller where it is smaller: ranks agree over all patterns.
    _, by_key = np.unique(key, return_inverse=True)
    _, by_value = np.unique(magnitude, return_inverse=True)
    assert np.array_equal(by_key, by_value)


@given(
    st.lists(
        st.floats(allow_nan=False, width=32)
        | st.sampled_from([0.0, -0.0, 2.0**-149, -(2.0**-149), 2.0**-126, float("inf")]),
        min_size=1,
        max_size=20,
    )
)
def test_key_orders_float32_and_float64_as_their_magnitudes(values):
    for name, dtype in (("F32", np.float32), ("F64", np.float64)):
        weights = np.array(values, dtype=dtype)
        key = magnitude_key(weights.view(f"u{weights.itemsize}"), name)
        _, by_key = np.unique(key, return_inverse=True)
        _, by_value = np.unique(np.abs(weights), return_inverse=True)
        assert np.array_equal(by_key, by_value)
        assert np.array_equal(magnitude_key(weights, name), key)  # the floats themselves do as well


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("F16", np.uint16(0x7C01)),
        ("F16", np.uint16(0xFE00)),
        ("BF16", np.uint16(0x7F81)),
        ("BF16", np.uint16(0xFFC0)),
        ("F32", np.uint32(0x7F800001)),
        ("F64", np.uint64(0xFFF8000000000000)),
    ],
)
def test_weights_that_are_not_numbers_are_refused(name, bits):
    with pytest.raises(ConfigurationError, match="not a number"):
        magnitude_key(np.array([[0, bits]], dtype=bits.dtype), name)


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "F32"), (np.uint8, "I8"), (np.uint32, "F16")])
def test_types_without_a_magnitude_are_refused(dtype, name):
    with pytest.raises(ConfigurationError):
        magnitude_key(np.zeros((2, 2), dtype), name)
