"""Studies with layer sampling: a few decoder blocks of a model that does not exist, and clients that have some of them."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from small_study import NO_DIGEST, make_study

from secprune.parties.coordinator import COUNTS_FILE
from secprune.parties.session import open_session
from secprune.pruning.tensorfile import TensorFile
from secprune.task import FedSpaLLMSpec, MatrixSpec, ModelSpec, PruningSpec, check_task

BLOCKS = 3


def sampled_pruning(capacities, **options):
    return PruningSpec(
        algorithm="fedspallm",
        sparsity="1/2",
        sequence_length=8,
        max_windows=4,
        fedspallm=FedSpaLLMSpec(capacities=capacities),
        **options,
    )


def model_of_blocks(blocks=BLOCKS):
    matrices = [
        MatrixSpec(name=f"block.{block}.{name}.weight", rows=rows, columns=columns, block=block)
        for block in range(blocks)
        for name, rows, columns in (("a", 7, 16), ("b", 5, 12))
    ]
    return ModelSpec(
        name="none", weights_digest=NO_DIGEST, tokenizer_digest=NO_DIGEST, matrices=tuple(matrices)
    )


def make_sampled(root, capacities, *, nonce="00" * 16, blocks=BLOCKS, **options):
    """A study in which clinic-i can prune capacities[i] decoder blocks; the nonce decides which."""
    study = make_study(
        root,
        clients=len(capacities),
        model=model_of_blocks(blocks),
        pruning=sampled_pruning({f"clinic-{i}": c for i, c in enumerate(capacities)}),
        with_masks=False,
        **options,
    )
    task = replace(study.task, nonce=nonce)
    check_task(task)
    study.write_task(task)
    give_masks(study)
    return study


def give_masks(study):
    """Masks of any density: every client may have a sparsity of its own."""
    for seed, name in enumerate(study.clients):
        rng = np.random.default_rng(seed)
        density = rng.uniform(0.2, 0.8)
        masks = {m.name: rng.random((m.rows, m.columns)) < density for m in study.task.model.matrices}
        study.put_masks(name, masks)


def summed(study, index):
    """What the coordinator holds of a round, by name."""
    with open_session(study.root / "hq", "coordinator", exclusive=False) as session:
        stored = TensorFile(session.at_round(index).work / COUNTS_FILE)
        return {name: np.array(stored.raw(name)).astype(np.int64) for name in stored.names}
