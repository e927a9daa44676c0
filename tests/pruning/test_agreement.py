"""The ladder of agreement, against masks that are computed here from whole weights."""

from __future__ import annotations

import numpy as np
import pytest
from private_study import PRUNING, make_public_reference
from tiny_models import make_checkpoint
from transformers import AutoModelForCausalLM

from secprune.pruning.agreement import LADDER, agreement_ladder, sampled_blocks
from secprune.pruning.from_statistics import masks_of_block, masks_of_statistics
from secprune.pruning.local import Wanda
from secprune.pruning.offload import open_blocks
from secprune.pruning.reference import read_reference


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", seed=7, layers=4)


@pytest.fixture(scope="module")
def reference(checkpoint, tmp_path_factory):
    return read_reference(make_public_reference(checkpoint, tmp_path_factory.mktemp("reference")))


def ladder(checkpoint, reference, **options):
    return agreement_ladder(
        open_blocks(checkpoint), reference.square_means, reference.facts.inputs, pruning=PRUNING, **options
    )


def masks(weights, square_means, inputs):
    """The smaller half of each row, by a sort."""
    found = {}
    for group in inputs:
        for name in group:
            weight = weights[name].double().numpy()
            order = np.argsort(np.abs(weight) * np.sqrt(square_means[group[0]]), axis=1, kind="stable")
            mask = np.zeros(weight.shape, bool)
            np.put_along_axis(mask, order[:, : weight.shape[1] // 2], values=True, axis=1)
            found[name] = mask
    return found


def test_it_agrees_with_a_direct_computation(checkpoint, reference):
    weights = AutoModelForCausalLM.from_pretrained(checkpoint).float().state_dict()
    inputs = [group for group in reference.facts.inputs if group[0].split(".")[2] in {"0", "2", "3"}]
    exact = masks(weights, reference.square_means, inputs)
    steps = []
    found = ladder(checkpoint, reference, progress=lambda *step: steps.append(step))
    assert [error for error, _ in found] == list(LADDER)
    for error, share in found:
        direct = []
        for seed in range(8):  # other errors of the same size
            rng = np.random.default_rng(seed)
            moved = {
                name: values * np.exp(error * rng.standard_normal(len(values)))
                for name, values in reference.square_means.items()
            }
            other = masks(weights, moved, inputs)
            same = sum(int((other[name] == mask).sum()) for name, mask in exact.items())
            direct.append(same / sum(mask.size for mask in exact.values()))
        assert share == pytest.approx(np.mean(direct), abs=4 * np.std(direct) + 1e-3)
    shares = [share for _, share in found]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99 > 0.9 > shares[-1] > 0.5
    assert steps == [(step + 1, 3 * len(LADDER)) for step in range(3 * len(LADDER))]
    assert ladder(checkpoint, reference) == found


def test_next_to_no_error_changes_nothing(checkpoint, reference):
    (none, some) = ladder(checkpoint, reference, errors=(1e-12, 0.5))
    assert none == (1e-12, 1.0)
    assert some[1] < 1


def test_masks_of_a_block_are_those_of_the_whole(checkpoint, reference):
    statistics = reference.square_means, reference.facts.inputs
    blocks = open_blocks(checkpoint)
    whole = dict(masks_of_statistics(blocks, *statistics, pruning=PRUNING))
    blocks.bring(2)
    part = dict(masks_of_block(blocks, 2, *statistics, Wanda(PRUNING)))
    assert len(whole) == 4 * len(part) > 0
    assert all(np.array_equal(whole[name], mask) for name, mask in part.items())


@pytest.mark.parametrize(("count", "chosen"), [(1, (0,)), (2, (0, 1)), (3, (0, 1, 2)), (30, (0, 15, 29))])
def test_first_middle_and_last(count, chosen):
    assert sampled_blocks(count) == chosen
