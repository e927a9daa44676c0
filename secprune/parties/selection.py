"""After the round: counts to final pruning mask to pruned checkpoint. Run by the coordinator.

Every party that has the counts and the public model computes the same mask, bit for bit.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from secprune import __version__
from secprune.errors import ConfigurationError
from secprune.files import file_digest
from secprune.parties.client import check_model
from secprune.parties.coordinator import COUNTS_FILE, require_counts
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.privacy.labels import PrivacyLabel, privacy_label
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.selection import layer_top_k, magnitude_key, zero_vote_share
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.storage.masks import MaskFile, write_masks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from secprune.parties.session import Session
    from secprune.task import Task

FINAL_MASK_FILE = "final-pruning-mask.safetensors"
PROVENANCE_FILE = "secprune.json"


class Provenance(Struct, frozen=True, kw_only=True):
    """`secprune.json` in the pruned checkpoint: how it came about."""

    secprune: str
    task_id: str
    study: str
    model: str
    weights_digest: str
    protocol: str
    cohort_size: int
    clients_enrolled: int
    sparsity: str
    server_comparison: str
    ties: str
    counts_digest: str
    mask_digest: str
    pruned_per_matrix: dict[str, str]
    zero_vote_share: str
    privacy: PrivacyLabel


class SelectResult(Struct, frozen=True, kw_only=True):
    """What was written."""

    pruned_model: str
    mask: str
    mask_digest: str
    pruned_weights: int
    weights: int
    zero_votes: int
    seconds: dict[str, float]


class _Tally:
    def __init__(self) -> None:
        self.pruned = self.zero_votes = 0
        self.per_matrix: dict[str, str] = {}


def select(session: Session, output: Path, *, progress: Progress = silent) -> SelectResult:
    """Take the layer top-k of the counts and write the final mask and the pruned checkpoint.

    Raises:
        LocalMisuseError: there are no counts yet, or `output` exists.
        ConfigurationError: the model here is not the task's, or too many pruned weights had no vote.
    """
    require_counts(session)
    task, watch = session.task, Stopwatch()
    source = session.path(session.config.model, "the model")
    with watch.phase("verify model"):
        check_model(task, source)
    counts_path = session.work / COUNTS_FILE
    counts, tally = TensorFile(counts_path), _Tally()
    cohort = int(counts.metadata["cohort"])
    mask_path = session.work / FINAL_MASK_FILE
    with watch.phase("select"):
        write_masks(
            mask_path,
            _counted(task, final_masks(task, counts, CheckpointFiles(source), cohort=cohort), counts, tally),
            task.model.matrices,
            task_id=session.round.task_id,
            each=lambda _name, _mask: progress(
                "taking the top-k of matrices", len(tally.per_matrix), len(task.model.matrices)
            ),
        )
    masks = MaskFile(mask_path, task.model.matrices, task_id=session.round.task_id)
    mask_digest = file_digest(mask_path)
    provenance = Provenance(
        secprune=__version__,
        task_id=session.round.task_id,
        study=task.study,
        model=task.model.name,
        weights_digest=task.model.weights_digest,
        protocol=task.protocol.name,
        cohort_size=cohort,
        clients_enrolled=task.n_max,
        sparsity=task.pruning.sparsity,
        server_comparison=task.pruning.server_comparison,
        ties=task.pruning.ties,
        counts_digest=file_digest(counts_path),
        mask_digest=mask_digest,
        pruned_per_matrix=tally.per_matrix,
        zero_vote_share=str(Fraction(tally.zero_votes, max(1, tally.pruned))),
        privacy=privacy_label(task, cohort_size=cohort),
    )
    with watch.phase("write model"):
        write_pruned_checkpoint(
            source,
            output,
            lambda name: masks.rows(name).view(np.bool_),
            [(m.name, m.rows, m.columns) for m in task.model.matrices],
            {PROVENANCE_FILE: msgspec.json.format(msgspec.json.encode(provenance), indent=2)},
        )
    return SelectResult(
        pruned_model=str(output),
        mask=str(mask_path),
        mask_digest=mask_digest,
        pruned_weights=tally.pruned,
        weights=session.round.layout.weights,
        zero_votes=tally.zero_votes,
        seconds=watch.seconds,
    )


def final_masks(
    task: Task, counts: TensorFile, weights: CheckpointFiles, *, cohort: int
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """The final pruning mask, one matrix after the other: (name, (rows, columns) Boolean, 1 = prune).

    Args:
        task: gives the exact number of weights to prune in each matrix.
        counts: votes to prune.
        weights: the public dense model; its magnitudes break ties.
        cohort: clients counted.
    """
    for m in task.model.matrices:
        dtype, _ = weights.entry(m.name)
        key = magnitude_key(weights.raw(m.name), dtype)
        yield m.name, layer_top_k(counts.raw(m.name), key, task.pruning.layer_k(m.rows, m.columns), cohort)


def _counted(
    task: Task, masks: Iterator[tuple[str, npt.NDArray[np.bool_]]], counts: TensorFile, tally: _Tally
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Pass the masks on and tally them; raises after the last one, so that no mask file comes about."""
    for name, mask in masks:
        zero_votes, pruned = zero_vote_share(counts.raw(name), mask)
        tally.zero_votes += zero_votes
        tally.pruned += pruned
        tally.per_matrix[name] = f"{pruned}/{mask.size}"
        yield name, mask
    allowed = Fraction(task.pruning.max_zero_vote_share) * tally.pruned
    if tally.zero_votes > allowed:
        raise ConfigurationError(
            f"{tally.zero_votes} of {tally.pruned} pruned weights had no client's vote, the task allows "
            f"{task.pruning.max_zero_vote_share}",
            hint="this happens with column comparison, or when clients pruned less than the task says",
        )
