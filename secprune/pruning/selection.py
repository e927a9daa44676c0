"""From summed counts to the final pruning mask: FedPrLLM's server side, with reproducible ties.

Every party must compute the same mask from the same counts, on any machine. The order in which weights are
pruned is therefore total: count descending, then what the task says of ties (|W| ascending, or an order
drawn from its nonce, or neither), then index ascending. It is also found in linear time: counts are small
integers, so a histogram or one partition gives the threshold count; only the entries tied at it are
compared further. No matrix is ever sorted.

Source: FedPrLLM (arXiv 2505.13547), server side, comparison groups layer, row and column; its code breaks
the layer's ties at random from the global generator, so no two parties could reproduce its mask, and those
of rows and columns by index.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.crypto.expand import SEED_BYTES, expand, expansion_key
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.task import row_k

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from secprune.packing import Words
    from secprune.task import PruningSpec

    UnsignedArray = NDArray[np.unsignedinteger[Any]]
    BoolArray = NDArray[np.bool_]

_CHUNK = 1 << 20
"""Entries looked at together: histograms, partitions and random words need some 30 bytes for each."""

_BUCKET_BITS = 16
"""Random words are told apart by so many leading bits first, so that few have to be kept."""

# dtype in a safetensors header -> (unsigned type of the same width, bits of +infinity)
_FLOATS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
    "F32": (np.uint32, 0x7F800000),
    "F64": (np.uint64, 0x7FF0000000000000),
}


def magnitude_key(raw: NDArray[Any], dtype: str) -> UnsignedArray:
    """Unsigned integers that are ordered as |W| is, for any float type, without converting a weight.

    An IEEE float is sign, exponent, fraction from the highest bit down, and the exponent is biased: of
    two non-negative floats the larger one has the larger bit pattern, subnormals and infinity included.
    Clearing the sign bit gives |W| (and makes -0.0 equal to 0.0). So numpy needs no bfloat16, and no
    machine's float arithmetic can change the order.

    Args:
        raw: bit patterns, as `tensorfile.TensorFile.raw` gives them; or floats of that width.
        dtype: "F16", "BF16", "F32" or "F64", as in the file's header (uint16 alone is ambiguous).

    Returns:
        Keys, in the shape of `raw` and of the same width.

    Raises:
        ConfigurationError: another dtype, or a weight that is not a number.
    """
    if dtype not in _FLOATS or raw.dtype.itemsize != np.dtype(_FLOATS[dtype][0]).itemsize:
        raise ConfigurationError(
            f"weights of type {dtype} cannot be pruned by magnitude",
            hint=f"convert the checkpoint to one of {', '.join(_FLOATS)}",
        )
    unsigned, infinity = _FLOATS[dtype]
    bits = np.ascontiguousarray(raw).view(unsigned)
    key: UnsignedArray = bits & unsigned(np.iinfo(unsigned).max >> 1)
    if key.size and key.max() > infinity:
        raise ConfigurationError(
            "a weight of the model is not a number (NaN)",
            hint="check the checkpoint; a model with such weights cannot be pruned",
        )
    return key


def magnitude_mask(key: UnsignedArray, k: int) -> BoolArray:
    """The magnitude-pruning baseline: the k smallest |W| of one matrix, ties by flat index.

    Args:
        key: (R, C) from `magnitude_key`.
        k: 0 <= k <= R*C, from `layer_k`.

    Returns:
        (R, C), True = prune.

    Raises:
        ConfigurationError: k is not between 0 and R*C.
    """
    _check_k(k, key.size)
    mask = np.zeros(key.shape, dtype=np.bool_)
    _prune_smallest(mask, np.ones(key.shape, dtype=np.bool_), key, k)
    return mask


def tie_seed(nonce: str, matrix: str) -> bytes:
    """What the order of one matrix's ties is drawn from: anybody who holds the task can do it again.

    Args:
        nonce: the task's.
        matrix: the name of the matrix.

    Returns:
        32 bytes, for `final_mask`.
    """
    return hashlib.sha256(b"secprune/ties/v1\0" + f"{nonce}\0{matrix}".encode()).digest()


def final_mask(
    counts: UnsignedArray,
    magnitude_key: UnsignedArray,
    *,
    pruning: PruningSpec,
    cohort: int,
    tie_seed: bytes,
    most: int = 1,
) -> BoolArray:
    """The final pruning mask of one matrix: in each group, the weights that most clients voted to prune.

    `server_comparison` layer prunes floor(R*C*s) of the matrix, row floor(C*s) of every row, column
    floor(R*s) of every column; a pattern N:M instead prunes N of every M consecutive columns of a row.

    With "votes-random" the weights of a matrix are numbered group after group (for columns, from top to
    bottom in the first column, then in the second), and among equal votes those go first that have the
    smaller 64-bit word in the keystream of `tie_seed`; of equal words, the smaller number.

    FedSpaLLM's is `expanded_mask` instead.

    Args:
        counts: (R, C), any unsigned type that holds `cohort` times `most`; with noise, as they were summed.
        magnitude_key: (R, C) from `magnitude_key`, of the dense weights all parties have.
        pruning: the task's choices.
        cohort: clients counted.
        tie_seed: from the function of that name; used by "votes-random" only.
        most: the largest number that a client adds to a count; 1 but where votes carry noise.

    Returns:
        (R, C), True = prune; exactly as many in every group as said above.

    Raises:
        RemoteMisbehaviourError: a count is larger than the cohort times `most`.
        ConfigurationError: shapes or types do not fit, the columns are no multiple of M, or the seed is
            not of 32 bytes.

    Source: FedPrLLM (arXiv 2505.13547), server side; its row and column groups are "votes-index".
    """
    rows, columns = counts.shape
    highest = cohort * most
    _check_counts(counts, magnitude_key, highest)
    if pruning.algorithm == "fedspallm":
        return expanded_mask(counts, magnitude_key, pruning.final_k(rows, columns), cohort)
    tie_key = magnitude_key if pruning.ties == "votes-magnitude-index" else None
    stream = _stream(tie_seed) if pruning.ties == "votes-random" else None
    mask = np.zeros(counts.shape, dtype=np.bool_)
    if pruning.group_pattern is not None:
        k, group = pruning.group_pattern
        if columns % group:
            raise ConfigurationError(
                f"{columns} columns are not a multiple of {group}, as the pattern {pruning.pattern} needs",
                hint="choose another pattern",
            )
        shape = (rows * (columns // group), group)
        tie_key = None if tie_key is None else tie_key.reshape(shape)
        _prune_in_groups(mask.reshape(shape), counts.reshape(shape), tie_key, stream, k)
    elif pruning.server_comparison == "row":
        _prune_in_groups(mask, counts, tie_key, stream, row_k(columns, pruning.exact_sparsity))
    elif pruning.server_comparison == "column":
        tie_key = None if tie_key is None else tie_key.T
        _prune_in_groups(mask.T, counts.T, tie_key, stream, row_k(rows, pruning.exact_sparsity))
    else:
        k = pruning.layer_k(rows, columns)
        if tie_key is not None:
            return layer_top_k(counts, tie_key, k, highest)
        mask, tied, missing = _by_votes(counts, k, highest)
        if stream is not None:
            _prune_by_words(mask, tied, stream, missing)
        else:
            _prune_first(mask, tied, missing)
    return mask


def layer_top_k(counts: UnsignedArray, magnitude_key: UnsignedArray, k: int, n: int) -> BoolArray:
    """The pruning mask of one matrix: the k weights that most clients voted to prune.

    Ties by (count descending, |W| ascending, flat index ascending); linear time.

    Args:
        counts: (R, C), any unsigned type that holds n (int8 counters break at 129 clients).
        magnitude_key: (R, C) from `magnitude_key`, of the dense weights all parties have.
        k: 0 <= k <= R*C, from `layer_k`.
        n: clients in the cohort, or the highest count that there can be of noised votes.

    Returns:
        (R, C), True = prune; exactly k entries.

    Raises:
        RemoteMisbehaviourError: a count is larger than the cohort.
        ConfigurationError: shapes, types or k do not fit.
    """
    _check_counts(counts, magnitude_key, n)
    _check_k(k, counts.size)
    mask, tied, missing = _by_votes(counts, k, n)
    _prune_smallest(mask, tied, magnitude_key, missing)
    return mask


def expanded_mask(counts: UnsignedArray, magnitude_key: UnsignedArray, k: int, n: int) -> BoolArray:
    """FedSpaLLM's adaptive mask expansion: what all clients pruned, and of the rest what most did, up to k.

    What nobody kept is never brought back, so that more than k are pruned where all clients agree on more.

    Args:
        counts: (R, C), any unsigned type that holds n.
        magnitude_key: (R, C) from `magnitude_key`, of the dense weights all parties have.
        k: 0 <= k <= R*C: the ceiling of R*C*s, from `PruningSpec.final_k`.
        n: clients in the cohort.

    Returns:
        (R, C), True = prune; exactly the larger of k and the number of weights that all clients pruned.

    Raises:
        RemoteMisbehaviourError: a count is larger than the cohort.
        ConfigurationError: shapes, types or k do not fit.

    Source: FedSpaLLM (arXiv 2410.14852), Eq. 6 and 7; its ties are not specified, here they are those of `layer_top_k`.
    """
    _check_counts(counts, magnitude_key, n)
    _check_k(k, counts.size)
    unanimous: BoolArray = counts == n
    if int(np.count_nonzero(unanimous)) >= k:
        return unanimous
    return layer_top_k(counts, magnitude_key, k, n)


def zero_vote_share(counts: UnsignedArray, mask: BoolArray) -> tuple[int, int]:
    """How many of the pruned weights nobody voted for; more than a few means a wrong comparison group.

    Args:
        counts: (R, C), summed pruning masks.
        mask: (R, C), True = prune.

    Returns:
        Pruned entries with count 0, and pruned entries.
    """
    return int(np.count_nonzero(mask & (counts == 0))), int(np.count_nonzero(mask))


def _check_counts(counts: UnsignedArray, magnitude_key: UnsignedArray, n: int) -> None:
    if counts.shape != magnitude_key.shape or counts.dtype.kind != "u" or magnitude_key.dtype.kind != "u":
        raise ConfigurationError(
            f"counts {counts.dtype}{counts.shape} and magnitudes {magnitude_key.dtype}{magnitude_key.shape} "
            "do not belong to one matrix",
            hint="use the counts and the checkpoint of the same task",
        )
    if counts.size and int(counts.max()) > n:
        raise RemoteMisbehaviourError(
            f"a count exceeds {n}, which is all that the clients in the cohort can add up to",
            party="cohort",
            hint="a client or an aggregator did not follow the protocol; discard this round",
        )


def _by_votes(counts: UnsignedArray, k: int, n: int) -> tuple[BoolArray, BoolArray, int]:
    """What votes alone decide in a whole matrix: pruned for sure, tied, and how many of the tied to prune."""
    votes = _histogram(counts, n + 1)  # (n + 1,)
    threshold, missing = n, k
    # Go down from unanimity until the entries at the threshold no longer all fit.
    while threshold > 0 and votes[threshold] <= missing:
        missing -= int(votes[threshold])
        threshold -= 1
    return counts > threshold, counts == threshold, missing


def _prune_in_groups(
    mask: BoolArray, counts: UnsignedArray, tie_key: UnsignedArray | None, stream: bytes | None, k: int
) -> None:
    """Set in `mask` (in place) the k most voted of every row of `counts`; ties by key or word, then index.

    Args:
        mask: (groups, members), all False; any strides.
        counts: (groups, members); any strides.
        tie_key: (groups, members), or None.
        stream: key of the words that order ties, or None.
        k: 0 <= k <= members.
    """
    groups, members = counts.shape
    if k == 0:
        return
    step = max(1, _CHUNK // members)
    for low in range(0, groups, step):
        part = np.ascontiguousarray(counts[low : low + step])
        # Complemented, so that the most voted come first, without a wider type.
        chosen, tied = _refined(None, None, ~part, k)
        if tie_key is not None:
            chosen, tied = _refined(chosen, tied, np.ascontiguousarray(tie_key[low : low + step]), k)
        elif stream is not None:
            words = expand(stream, first_word=low * members, words=part.size)
            chosen, tied = _refined(chosen, tied, words.reshape(part.shape), k)
        missing = k - np.count_nonzero(chosen, axis=1, keepdims=True)
        mask[low : low + step] = chosen | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= missing))


def _refined(
    chosen: BoolArray | None, tied: BoolArray | None, key: UnsignedArray, k: int
) -> tuple[BoolArray, BoolArray]:
    """Decide between the tied entries of every row by one more key: those below the k-th smallest are in.

    Args:
        chosen: (groups, members), fewer than k in each row; None if nothing has been compared yet.
        tied: (groups, members), with the chosen ones k or more in each row; None for all.
        key: (groups, members), the smallest first.
        k: at least 1.

    Returns:
        As `chosen` and `tied`, now told apart by `key` too.
    """
    seen = key
    if chosen is not None and tied is not None:
        # What is decided takes the extremes; the k-th smallest then is that of a tied entry, because
        # fewer than k are chosen and no more than (members - k) are out.
        low, high = key.dtype.type(0), key.dtype.type(np.iinfo(key.dtype).max)
        seen = np.where(tied, key, np.where(chosen, low, high))
    threshold = np.partition(seen, k - 1, axis=1)[:, k - 1 : k]  # (groups, 1)
    below, equal = key < threshold, key == threshold
    if chosen is None or tied is None:
        return below, equal
    return chosen | (tied & below), tied & equal


def _prune_first(mask: BoolArray, candidates: BoolArray, k: int) -> None:
    """Set in `mask` (in place) the first k candidates by flat index."""
    mask.reshape(-1)[np.flatnonzero(candidates)[:k]] = True


def _prune_by_words(mask: BoolArray, candidates: BoolArray, stream: bytes, k: int) -> None:
    """Set in `mask` (in place) the k candidates with the smallest random words, ties by flat index.

    The words are expanded twice rather than kept: eight bytes for each weight of a matrix is much.
    """
    if k == 0:
        return
    flat, out = candidates.reshape(-1), mask.reshape(-1)
    buckets = np.zeros(1 << _BUCKET_BITS, dtype=np.int64)
    for low, words in _words(stream, flat.size):
        buckets += np.bincount(
            _leading(words[flat[low : low + words.size]]).astype(np.intp), minlength=buckets.size
        )
    upto = np.cumsum(buckets)
    threshold = int(np.searchsorted(upto, k))  # the bucket that holds the k-th
    missing = k - int(upto[threshold] - buckets[threshold])
    places, keys = [], []
    for low, words in _words(stream, flat.size):
        part, bucket = flat[low : low + words.size], _leading(words)
        out[low : low + words.size] |= part & (bucket < threshold)
        edge = np.flatnonzero(part & (bucket == threshold))
        places.append(low + edge)
        keys.append(words[edge])
    # One candidate in 2^16 is left; a stable sort keeps equal words by index.
    order = np.argsort(np.concatenate(keys), kind="stable")[:missing]
    out[np.concatenate(places)[order]] = True


def _words(stream: bytes, size: int) -> Iterator[tuple[int, Words]]:
    for low in range(0, size, _CHUNK):
        yield low, expand(stream, first_word=low, words=min(_CHUNK, size - low))


def _leading(words: Words) -> Words:
    return words >> np.uint64(64 - _BUCKET_BITS)


def _stream(tie_seed: bytes) -> bytes:
    if len(tie_seed) != SEED_BYTES:
        raise ConfigurationError(
            f"ties cannot be drawn from a seed of {len(tie_seed)} bytes", hint="take it from tie_seed"
        )
    return expansion_key(tie_seed, b"ties")


def _prune_smallest(mask: BoolArray, candidates: BoolArray, key: UnsignedArray, k: int) -> None:
    """Set in `mask` (in place) the k candidates with the smallest keys, ties by flat index."""
    if k == 0:
        return
    tied_keys = key[candidates]  # (candidates,), in flat order
    if k >= tied_keys.size:
        mask |= candidates
        return
    # np.partition is an introselect: linear, and vectorised where the machine allows it.
    threshold = np.partition(tied_keys, k - 1)[k - 1]
    below = candidates & (key < threshold)
    mask |= below
    missing = k - int(np.count_nonzero(below))
    equal = np.flatnonzero(candidates & (key == threshold))[:missing]
    mask.reshape(-1)[equal] = True


def _histogram(values: UnsignedArray, bins: int) -> NDArray[np.int64]:
    flat = values.reshape(-1)
    total = np.zeros(bins, dtype=np.int64)
    for start in range(0, flat.size, _CHUNK):
        total += np.bincount(flat[start : start + _CHUNK].astype(np.intp), minlength=bins)
    return total


def _check_k(k: int, size: int) -> None:
    if not 0 <= k <= size:
        raise ConfigurationError(f"cannot prune {k} of {size} weights", hint="take k from layer_k")
