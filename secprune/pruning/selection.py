"""From summed counts to the final pruning mask: the layer top-k of FedPrLLM, with one deterministic tie rule.

Every party must compute the same mask from the same counts, on any machine. The order is therefore total:
count descending, then |W| ascending, then flat index ascending. It is also found in linear time: counts
are small integers, so a histogram gives the threshold count; only the entries tied at it are compared by
|W|, and only those tied in that too by index. Nothing is ever sorted.

Source: FedPrLLM (arXiv 2505.13547), server side, layer comparison group; its code breaks ties at random
from the global generator, so no two parties could reproduce its mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secprune.errors import ConfigurationError, RemoteMisbehaviourError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UnsignedArray = NDArray[np.unsignedinteger[Any]]
    BoolArray = NDArray[np.bool_]

_CHUNK = 1 << 20
"""Entries put into a histogram at a time: bincount widens its input to 8 bytes per entry."""

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


def layer_top_k(counts: UnsignedArray, magnitude_key: UnsignedArray, k: int, n: int) -> BoolArray:
    """The pruning mask of one matrix: the k weights that most clients voted to prune.

    Ties by (count descending, |W| ascending, flat index ascending); linear time.

    Args:
        counts: (R, C), any unsigned type that holds n (int8 counters break at 129 clients).
        magnitude_key: (R, C) from `magnitude_key`, of the dense weights all parties have.
        k: 0 <= k <= R*C, from `layer_k`.
        n: clients in the cohort.

    Returns:
        (R, C), True = prune; exactly k entries.

    Raises:
        RemoteMisbehaviourError: a count is larger than the cohort.
        ConfigurationError: shapes, types or k do not fit.
    """
    if counts.shape != magnitude_key.shape or counts.dtype.kind != "u" or magnitude_key.dtype.kind != "u":
        raise ConfigurationError(
            f"counts {counts.dtype}{counts.shape} and magnitudes {magnitude_key.dtype}{magnitude_key.shape} "
            "do not belong to one matrix",
            hint="use the counts and the checkpoint of the same task",
        )
    _check_k(k, counts.size)
    if counts.size and int(counts.max()) > n:
        raise RemoteMisbehaviourError(
            f"a count exceeds {n}, the number of clients in the cohort",
            party="cohort",
            hint="a client or an aggregator did not follow the protocol; discard this round",
        )
    votes = _histogram(counts, n + 1)  # (n + 1,)
    threshold, missing = n, k
    # Go down from unanimity until the entries at the threshold no longer all fit.
    while threshold > 0 and votes[threshold] <= missing:
        missing -= int(votes[threshold])
        threshold -= 1
    mask = counts > threshold
    _prune_smallest(mask, counts == threshold, magnitude_key, missing)
    return mask


def zero_vote_share(counts: UnsignedArray, mask: BoolArray) -> tuple[int, int]:
    """How many of the pruned weights nobody voted for; more than a few means a wrong comparison group.

    Args:
        counts: (R, C), summed pruning masks.
        mask: (R, C), True = prune.

    Returns:
        Pruned entries with count 0, and pruned entries.
    """
    return int(np.count_nonzero(mask & (counts == 0))), int(np.count_nonzero(mask))


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
