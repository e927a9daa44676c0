"""Layer sampling: who prunes which decoder blocks, for any capacities, and with which probability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secprune.errors import ConfigurationError
from secprune.task.sampling import sample_blocks

VECTORS = 1000
NONCES = 8000


def drawn(seed):
    """Capacities of a roster, blocks of a model and a smallest cohort: half of them can hardly be met, or not at all."""
    rng = np.random.default_rng(seed)
    clients, blocks = int(rng.integers(3, 65)), int(rng.integers(1, 81))
    largest = int(rng.integers(1, 2 * blocks + 1))
    capacities = {f"clinic-{i}": int(rng.integers(1, largest + 1)) for i in range(clients)}
    covered = sum(min(c, blocks) for c in capacities.values()) // blocks
    floor = max(1, covered + int(rng.integers(-2, 2)))
    return capacities, blocks, floor, rng.bytes(16).hex(), rng


def test_every_block_is_covered_evenly_or_the_task_is_refused():
    refused = tight = 0
    for seed in range(VECTORS):
        capacities, blocks, floor, nonce, rng = drawn(seed)
        able = {name: min(capacity, blocks) for name, capacity in capacities.items()}
        enough = sum(able.values()) >= floor * blocks
        if not enough:
            with pytest.raises(ConfigurationError, match=f"{floor} clients, which makes {floor * blocks}"):
                sample_blocks(capacities, blocks, nonce=nonce, min_clients=floor)
            refused += 1
            continue
        found = sample_blocks(capacities, blocks, nonce=nonce, min_clients=floor)
        covered = np.zeros(blocks, int)
        for positions in found.values():
            assert list(positions) == sorted(set(positions)), "each block once, ascending"
            covered[list(positions)] += 1
        assert {name: len(positions) for name, positions in found.items()} == able
        assert covered.min() >= floor
        assert covered.max() - covered.min() <= 1
        tight += int(covered.min()) == floor
        other = dict(rng.permutation(list(capacities.items()), axis=0).tolist())
        reordered = {name: int(capacity) for name, capacity in other.items()}
        assert sample_blocks(reordered, blocks, nonce=nonce, min_clients=floor) == found
    assert refused > VECTORS // 10
    assert tight > VECTORS // 10


def test_the_nonce_decides():
    capacities = {f"clinic-{i}": 4 for i in range(8)}
    found = [sample_blocks(capacities, 8, nonce=f"{i:032x}", min_clients=3) for i in range(20)]
    assert len({str(sorted(one.items())) for one in found}) == len(found)


@pytest.mark.parametrize(
    ("capacities", "blocks"),
    [((1, 2, 3, 4, 5, 6), 6), ((3, 3, 3, 3), 4), ((1, 9, 2, 5, 5, 7), 9), ((4, 4, 4), 4)],
)
def test_every_client_has_every_block_with_the_same_probability(capacities, blocks):
    """Over nonces that is capacity / blocks, and five standard deviations off at most."""
    hits = np.zeros((len(capacities), blocks), int)
    named = {f"clinic-{i}": capacity for i, capacity in enumerate(capacities)}
    for nonce in range(NONCES):
        found = sample_blocks(named, blocks, nonce=f"{nonce:032x}", min_clients=1)
        for row, name in enumerate(named):
            hits[row, list(found[name])] += 1
    for row, capacity in enumerate(capacities):
        p = min(capacity, blocks) / blocks
        off = np.abs(hits[row] - NONCES * p).max()
        assert off <= 5 * math.sqrt(NONCES * p * (1 - p)), (capacity, hits[row])
    assert (hits.sum(axis=1) == NONCES * np.minimum(capacities, blocks)).all()
