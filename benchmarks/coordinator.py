"""Coordinator and pruning: shares to counts, counts to the final mask, scores to a local mask.

Both selections are compared bit for bit with a full sort, once, before they are timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.figures import MILLION, Figure, interleaved, timed
from secprune.packing import Layout, PackedMatrix, pack, unpack
from secprune.protocols.additive.aggregate import unshard
from secprune.protocols.payloads import Votes
from secprune.pruning.comparison import prune_mask_by_row
from secprune.pruning.selection import final_mask, layer_top_k, magnitude_key
from secprune.pruning.wanda import wanda_score
from secprune.task import PruningSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from secprune.packing import Chunk, Counts, Words

SECTION = "coordinator"
CLIENTS = 8
SIDE = 4096
SHAPES = ((576, 576), (1536, 576), (4096, 4096), (4096, 11008))
"""Attention and MLP of SmolLM2-135M and of a 7B LLaMA."""

GOAL_LAYER = 20.0
GOAL_ROW = 8.0
_NOISE = 0.15
"""Spread of a weight's score between clients: about 9 weights of 10 are then unanimous, as with real notes."""

_TIED_ROWS = 256
_TIMED_WEIGHTS = 2**22
_MAX_REPEATS_LARGE = 2


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - the interface of every benchmark
    """Rates of one 4096 x 4096 matrix and 8 clients, and both selections at several sizes."""
    figures = _unshard(repeats)
    figures += [_layer(rows, columns, repeats) for rows, columns in SHAPES]
    return figures + [_row(rows, columns, repeats) for rows, columns in SHAPES]


# ---- aggregate shares to counts
def _unshard(repeats: int) -> list[Figure]:
    layout = Layout.of([PackedMatrix("w", SIDE, SIDE, SIDE // 2)], n_max=CLIENTS)
    rng = np.random.default_rng(4)
    mask = rng.random((SIDE, SIDE), np.float32).argsort(axis=1) < SIDE // 2
    rounds: list[tuple[Chunk, list[Words]]] = []
    for chunk in layout.chunks:
        rows = mask[chunk.first_row : chunk.end_row].view(np.uint8)
        words = pack(rows, base=chunk.slab.base, digits=chunk.slab.digits) * np.uint64(CLIENTS)
        share = rng.integers(0, 2**64, words.shape, np.uint64)
        rounds.append((chunk, [words - share, share]))
    chunk, shares = rounds[0]
    if not np.array_equal(
        unshard(chunk, shares, payload=Votes(), cohort_size=CLIENTS), _naive_counts(chunk, shares)
    ):
        raise AssertionError("unshard and the naive counts differ")
    seconds = interleaved(
        {
            "naive": lambda: timed(lambda: [_naive_counts(c, s) for c, s in rounds]),
            "ours": lambda: timed(
                lambda: [unshard(c, s, payload=Votes(), cohort_size=CLIENTS) for c, s in rounds]
            ),
            "unpack": lambda: timed(
                lambda: [unpack(s[0], base=c.slab.base, digits=c.slab.digits, rows=1) for c, s in rounds]
            ),
        },
        repeats,
    )
    weights = layout.weights / MILLION
    return [
        Figure(
            section=SECTION,
            what="two aggregate shares to checked counts, n = 8",
            value=weights / seconds["ours"],
            unit="M weights/s",
            baseline=seconds["naive"] / seconds["ours"],
            note="baseline: w // B**p % B for each digit, unchecked",
        ),
        Figure(
            section=SECTION,
            what="of that, unpack",
            value=weights / seconds["unpack"],
            unit="M weights/s",
            note=f"{seconds['unpack'] / seconds['ours']:.0%} of the time",
        ),
    ]


def _naive_counts(chunk: Chunk, shares: list[Words]) -> Counts:
    words, base = shares[0] + shares[1], chunk.slab.base
    digits = [words // np.uint64(base**p) % np.uint64(base) for p in range(chunk.slab.digits)]
    counts = np.stack(digits, axis=1).reshape(-1, words.shape[1])
    return counts[: chunk.end_row - chunk.first_row].astype(np.uint16)


# ---- counts to the final pruning mask
def _layer(rows: int, columns: int, repeats: int) -> Figure:
    rng = np.random.default_rng(5)
    score = rng.standard_normal((rows, columns), np.float32)
    counts = np.zeros((rows, columns), np.uint8)
    for _ in range(CLIENTS):
        counts += score + np.float32(_NOISE) * rng.standard_normal((rows, columns), np.float32) < 0
    bfloat16 = (rng.standard_normal((rows, columns), np.float32).view(np.uint32) >> 16).astype(np.uint16)
    key, k = magnitude_key(bfloat16, "BF16"), rows * columns // 2
    expected = _sorted_top_k(counts, key, k)
    if not np.array_equal(layer_top_k(counts, key, k, CLIENTS), expected):
        raise AssertionError("layer_top_k and the full sort differ")
    if not np.array_equal(_final_mask(counts, key), expected):
        raise AssertionError("final_mask and the full sort differ")
    return _against_sort(
        "layer top-k",
        (rows, columns),
        lambda: _sorted_top_k(counts, key, k),
        lambda: _final_mask(counts, key),
        goal=GOAL_LAYER,
        repeats=repeats,
    )


def _final_mask(
    counts: npt.NDArray[np.unsignedinteger], key: npt.NDArray[np.unsignedinteger]
) -> npt.NDArray[np.bool_]:
    """By layer, ties by magnitude: the defaults of a task, which `layer_top_k` does."""
    pruning = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1)
    return final_mask(counts, key, pruning=pruning, cohort=CLIENTS, tie_seed=b"")


def _sorted_top_k(
    counts: npt.NDArray[np.unsignedinteger], key: npt.NDArray[np.unsignedinteger], k: int
) -> npt.NDArray[np.bool_]:
    """Votes descending, magnitude ascending, index ascending: one key, one stable sort of everything."""
    combined = (np.uint32(CLIENTS) - counts.astype(np.uint32)) << np.uint32(16) | key
    mask = np.zeros(counts.size, np.bool_)
    mask[np.argsort(combined.reshape(-1), kind="stable")[:k]] = True
    return mask.reshape(counts.shape)


# ---- pruning scores to one client's mask
def _row(rows: int, columns: int, repeats: int) -> Figure:
    generator = torch.Generator().manual_seed(6)
    weight = torch.randn(rows, columns, generator=generator).bfloat16()
    square_sum = torch.rand(columns, generator=generator, dtype=torch.float64)
    score, tied, k = wanda_score(weight, square_sum), weight[:_TIED_ROWS].abs().float(), columns // 2
    for scores in (score, tied):  # the magnitudes of bfloat16 weights are tied in almost every row
        if not torch.equal(prune_mask_by_row(scores, k), _sorted_rows(scores, k)):
            raise AssertionError("prune_mask_by_row and the sort of each row differ")
    return _against_sort(
        "Wanda row selection",
        (rows, columns),
        lambda: _sorted_rows(score, k),
        lambda: prune_mask_by_row(score, k),
        goal=GOAL_ROW,
        repeats=repeats,
    )


def _sorted_rows(score: torch.Tensor, k: int) -> torch.Tensor:
    """The selection of Wanda's own code: sort each row, scatter the first k indices."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    return mask.scatter_(1, torch.sort(score, dim=-1, stable=True).indices[:, :k], value=True)


def _against_sort(
    what: str,
    shape: tuple[int, int],
    sort: Callable[[], object],
    ours: Callable[[], object],
    *,
    goal: float,
    repeats: int,
) -> Figure:
    weights = shape[0] * shape[1]
    often = max(1, _TIMED_WEIGHTS // weights)  # a small matrix alone takes too short to be timed

    def seconds_of(run: Callable[[], object]) -> float:
        return timed(lambda: [run() for _ in range(often)]) / often

    seconds = interleaved(
        {"sort": lambda: seconds_of(sort), "ours": lambda: seconds_of(ours)},
        repeats if weights < SIDE * SIDE else min(repeats, _MAX_REPEATS_LARGE),
        uncounted=0,
    )
    times = seconds["sort"] / seconds["ours"]
    return Figure(
        section=SECTION,
        what=f"{what}, {shape[0]} x {shape[1]}, against a sort",
        value=times,
        unit="times",
        goal=goal,
        baseline=times,
        note=f"bit-identical; {weights / seconds['ours'] / MILLION:.0f} M weights/s",
    )
