from __future__ import annotations

from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from secprune.crypto.expand import expand, expansion_key
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.pruning import selection
from secprune.pruning.selection import (
    expanded_mask,
    final_mask,
    layer_top_k,
    magnitude_key,
    magnitude_mask,
    tie_seed,
    zero_vote_share,
)
from secprune.task import FedSpaLLMSpec, PruningSpec, layer_k, row_k

COMPARISONS = ("layer", "row", "column")
TIES = ("votes-magnitude-index", "votes-index", "votes-random")
SEED = bytes(range(32))


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


def pruning_spec(**choices):
    return PruningSpec(sequence_length=8, max_windows=1, **{"sparsity": "1/2", **choices})


def groups_of(shape, pruning):
    """Flat indices of each group, and how many are pruned in each, as DESIGN states it."""
    rows, columns = shape
    flat = np.arange(rows * columns).reshape(shape)
    s = Fraction(pruning.sparsity)
    if pruning.pattern:
        pruned, size = map(int, pruning.pattern.split(":"))
        return [flat[r, c : c + size] for r in range(rows) for c in range(0, columns, size)], pruned
    if pruning.server_comparison == "row":
        return list(flat), int(columns * s)
    if pruning.server_comparison == "column":
        return list(flat.T), int(rows * s)
    return [flat.ravel()], int(rows * columns * s)


def naive_mask(counts, key, pruning, seed):
    """Every group by a full sort of Python tuples."""
    groups, k = groups_of(counts.shape, pruning)
    words = iter(expand(expansion_key(seed, b"ties"), first_word=0, words=counts.size).tolist())
    mask = np.zeros(counts.size, dtype=bool)
    for group in groups:
        second = {
            "votes-magnitude-index": lambda i: int(key.flat[i]),
            "votes-index": lambda _: 0,
            "votes-random": {i: next(words) for i in group.tolist()}.__getitem__,
        }[pruning.ties]
        order = sorted(group.tolist(), key=lambda i: (-int(counts.flat[i]), second(i), i))
        mask[order[:k]] = True
    return mask.reshape(counts.shape)


@st.composite
def _server_cases(draw):
    """A matrix and a task's choices; few distinct counts and magnitudes, so that most entries are tied."""
    counts, key, _, n = draw(_matrices())
    if draw(st.booleans()):
        key = draw(hnp.arrays(np.uint64, counts.shape, elements=st.sampled_from([0, 1, 2**64 - 1])))
    comparison, ties = draw(st.sampled_from(COMPARISONS)), draw(st.sampled_from(TIES))
    patterns = [(p, m) for m in (1, 2, 3, 4, 5, 8) if counts.shape[1] % m == 0 for p in range(1, m)]
    if patterns and draw(st.booleans()):
        p, m = draw(st.sampled_from(patterns))
        choices = {"pattern": f"{p}:{m}", "sparsity": f"{p}/{m}"}
    else:
        choices = {"sparsity": draw(st.sampled_from(["1/100", "29/100", "1/3", "0.5", "0.7", "99/100"]))}
    return counts, key, n, pruning_spec(server_comparison=comparison, ties=ties, **choices)


@given(_server_cases(), st.binary(min_size=32, max_size=32), st.sampled_from([1, 5, 16, 1 << 20]))
@settings(max_examples=400)
def test_final_mask_equals_a_full_sort_of_every_group(case, seed, chunk):
    counts, key, n, pruning = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_CHUNK", chunk)  # groups are worked on in several pieces
        mask = final_mask(counts, key, pruning=pruning, cohort=n, tie_seed=seed)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, naive_mask(counts, key, pruning, seed))
    groups, k = groups_of(counts.shape, pruning)
    assert all(np.count_nonzero(mask.ravel()[group]) == k for group in groups)
    assert np.count_nonzero(mask) == pruning.final_k(*counts.shape)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("pattern", ["", "2:4"])
@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("n", [5, 300])
def test_final_mask_of_a_larger_matrix(comparison, ties, pattern, n):
    generator = np.random.default_rng(n)
    counts = generator.integers(0, n + 1, (120, 96)).astype(np.uint16)
    counts[:, ::3] = n // 2
    counts[::4] = n
    key = generator.integers(0, 4, counts.shape).astype(np.uint32)
    pruning = pruning_spec(server_comparison=comparison, ties=ties, pattern=pattern)
    read_only = counts.astype("<u2")
    read_only.flags.writeable = False  # as a memory map is
    mask = final_mask(read_only, key, pruning=pruning, cohort=n, tie_seed=SEED)
    assert np.array_equal(mask, naive_mask(counts, key, pruning, SEED))


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_seeded_ties_are_another_order_of_the_tied_and_of_nothing_else(comparison):
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 4, (40, 40)).astype(np.uint8)
    key = np.zeros(counts.shape, np.uint16)
    pruning = pruning_spec(server_comparison=comparison, ties="votes-random")

    def mask(seed):
        return final_mask(counts, key, pruning=pruning, cohort=3, tie_seed=seed)

    one, other = mask(SEED), mask(bytes(32))
    assert np.array_equal(one, mask(SEED))
    assert not np.array_equal(one, other)
    groups, k = groups_of(counts.shape, pruning)
    for group in groups:
        votes = counts.ravel()[group]
        threshold = np.sort(votes)[::-1][k - 1]
        differs = one.ravel()[group] != other.ravel()[group]
        assert (votes[differs] == threshold).all()


def test_seeded_ties_favour_no_place():
    """Over many seeds each of the tied entries is pruned about as often as any other."""
    counts, key = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint16)
    for comparison in COMPARISONS:
        pruning = pruning_spec(server_comparison=comparison, ties="votes-random")
        seeds = (tie_seed("0" * 32, f"matrix {i}") for i in range(400))
        total = sum(final_mask(counts, key, pruning=pruning, cohort=1, tie_seed=s).astype(int) for s in seeds)
        assert total.min() > 150  # 200 expected, deviation 10
        assert total.max() < 250


def test_random_words_that_are_equal_fall_back_to_the_index(monkeypatch):
    monkeypatch.setattr(
        selection, "expand", lambda _key, *, first_word, words: np.full(words, 7, dtype=np.uint64)
    )
    counts, key = np.ones((4, 4), np.uint8), np.arange(16, dtype=np.uint16)[::-1].reshape(4, 4).copy()
    for comparison in COMPARISONS:
        masks = [
            final_mask(
                counts,
                key,
                pruning=pruning_spec(server_comparison=comparison, ties=ties),
                cohort=1,
                tie_seed=SEED,
            )
            for ties in ("votes-random", "votes-index")
        ]
        assert np.array_equal(*masks)


def test_tie_seed_depends_on_the_nonce_and_the_matrix():
    seeds = {tie_seed(nonce * 32, name) for nonce in "01" for name in ("a.weight", "b.weight")}
    assert len(seeds) == 4
    assert all(len(seed) == 32 for seed in seeds)
    # A fixed value: another version or machine must draw the same order.
    assert (
        tie_seed("0" * 32, "a.weight").hex()
        == "c01cc89a3ad93ce3da62c8080130423fe25305873893ebd8d4c6f271f280cf7e"
    )
    pruning = pruning_spec(ties="votes-random")
    mask = final_mask(
        np.ones((2, 8), np.uint8),
        np.zeros((2, 8), np.uint16),
        pruning=pruning,
        cohort=1,
        tie_seed=tie_seed("0" * 32, "a.weight"),
    )
    assert np.packbits(mask).tobytes().hex() == "0cdd"


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_final_mask_refuses_what_does_not_fit(comparison):
    counts, key = np.ones((2, 6), np.uint8), np.zeros((2, 6), np.uint16)

    def final(counts=counts, key=key, cohort=1, seed=SEED, **choices):
        pruning = pruning_spec(server_comparison=comparison, **choices)
        return final_mask(counts, key, pruning=pruning, cohort=cohort, tie_seed=seed)

    with pytest.raises(RemoteMisbehaviourError):
        final(cohort=0)
    with pytest.raises(ConfigurationError, match="do not belong"):
        final(counts=counts.astype(np.int8))
    with pytest.raises(ConfigurationError, match="do not belong"):
        final(key=key[:1])
    with pytest.raises(ConfigurationError, match="seed"):
        final(seed=b"", ties="votes-random")
    with pytest.raises(ConfigurationError, match="multiple of 4"):
        final(pattern="2:4")
    assert final(seed=b"").sum() == 6  # no seed is needed where nothing is drawn


def test_column_comparison_prunes_what_nobody_voted_for():
    """Why it ruins models: one column that all clients keep loses as many weights as any other."""
    counts = np.full((8, 4), 3, np.uint8)
    counts[:, 0] = 0
    key = np.zeros(counts.shape, np.uint16)
    shares = {
        comparison: zero_vote_share(
            counts,
            final_mask(
                counts, key, pruning=pruning_spec(server_comparison=comparison), cohort=3, tie_seed=b""
            ),
        )
        for comparison in COMPARISONS
    }
    assert shares == {"layer": (0, 16), "row": (0, 16), "column": (4, 16)}


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


@given(_matrices())
def test_expansion_prunes_no_weight_before_one_of_more_votes(case):
    counts, key, k, n = case
    mask = expanded_mask(counts, key, k, n)
    pruned = max(k, np.count_nonzero(counts == n))
    order = np.lexsort((np.arange(counts.size), key.ravel(), -counts.astype(np.int64).ravel()))
    np.testing.assert_array_equal(np.flatnonzero(mask), np.sort(order[:pruned]))
    if 0 < pruned < counts.size:
        assert counts[mask].min() >= counts[~mask].max()
        assert mask.sum() == k or counts[mask].min() == n


@pytest.mark.parametrize(
    ("sparsity", "rows", "columns", "floor", "ceiling"),
    [
        ("0.29", 10, 10, 29, 29),  # 28.999... in binary
        ("0.57", 10, 10, 57, 57),  # 56.999...
        ("0.07", 10, 10, 7, 7),  # 7.000000000000001, whose ceiling is 8
        ("1/3", 2, 5, 3, 4),
        ("1/3", 3, 5, 5, 5),
        ("999999999/1000000000", 3, 3, 8, 9),
        ("1/1000000000", 3, 3, 0, 1),
    ],
)
def test_fedspallm_rounds_up_what_fedprllm_rounds_down(sparsity, rows, columns, floor, ceiling):
    fedspallm = pruning_spec(sparsity=sparsity, algorithm="fedspallm", fedspallm=FedSpaLLMSpec())
    assert fedspallm.final_k(rows, columns) == ceiling
    assert pruning_spec(sparsity=sparsity).final_k(rows, columns) == floor
