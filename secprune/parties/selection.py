"""After the round: counts to final pruning mask to pruned checkpoint. Run by the coordinator.

Every party that has the counts and the public model computes the same mask, bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from secprune import __version__
from secprune.errors import ConfigurationError
from secprune.files import file_digest
from secprune.ids import sha256
from secprune.parties.client import check_model
from secprune.parties.coordinator import require_counts
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.sums import COUNTS_FILE
from secprune.privacy.labels import PrivacyLabel, privacy_label
from secprune.privacy.votes import are_noised, count_noise
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.selection import final_mask, magnitude_key, tie_seed, zero_vote_share
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.storage.masks import MaskFile, write_masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from secprune.parties.session import Session
    from secprune.task import MatrixSpec, Task

_log = logging.getLogger(__name__)

VotesOf = Callable[[str], tuple[npt.NDArray[Any], int]]
"""Votes to prune of a matrix by its name, and the clients counted."""

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
    pattern: str
    ties: str
    weight_scaling: bool
    counts_digest: str
    mask_digest: str
    pruned_per_matrix: dict[str, str]
    zero_vote_share: str
    privacy: PrivacyLabel


class SelectResult(Struct, frozen=True, kw_only=True):
    """What was written; `warning` is empty unless the task made a choice known to ruin models."""

    pruned_model: str
    mask: str
    mask_digest: str
    pruned_weights: int
    weights: int
    zero_votes: int
    seconds: dict[str, float]
    warning: str = ""


class _Tally:
    def __init__(self) -> None:
        self.pruned = self.zero_votes = 0
        self.per_matrix: dict[str, str] = {}

    @property
    def zero_vote_share(self) -> Fraction:
        return Fraction(self.zero_votes, max(1, self.pruned))


def select(session: Session, output: Path, *, progress: Progress = silent) -> SelectResult:
    """Take the most voted weights of each group and write the final mask and the pruned checkpoint.

    Raises:
        LocalMisuseError: there are no counts yet (of every round), or `output` exists.
        ConfigurationError: the model here is not the task's, or too many pruned weights had no vote.
    """
    votes = _Votes([session.at_round(index) for index in range(session.task.rounds)])
    task, watch = session.task, Stopwatch()
    source = session.path(session.config.model, "the model")
    with watch.phase("verify model"):
        check_model(task, source)
    weights, tally = CheckpointFiles(source), _Tally()
    mask_path = session.work / FINAL_MASK_FILE
    with watch.phase("select"):
        masks = _final_masks(task, task.model.matrices, votes.of, weights)
        write_masks(
            mask_path,
            _counted(task, masks, tally),
            task.model.matrices,
            task_id=session.round.task_id,
            each=lambda _name, _mask: progress(
                "selecting the most voted weights", len(tally.per_matrix), len(task.model.matrices)
            ),
        )
    final = MaskFile(mask_path, task.model.matrices, task_id=session.round.task_id)
    mask_digest = file_digest(mask_path)
    provenance = Provenance(
        secprune=__version__,
        task_id=session.round.task_id,
        study=task.study,
        model=task.model.name,
        weights_digest=task.model.weights_digest,
        protocol=task.protocol.name,
        cohort_size=votes.smallest_cohort,
        clients_enrolled=task.n_max,
        sparsity=task.pruning.sparsity,
        server_comparison=task.pruning.server_comparison,
        pattern=task.pruning.pattern,
        ties=task.pruning.ties,
        weight_scaling=task.pruning.weight_scaling,
        counts_digest=votes.digest(),
        mask_digest=mask_digest,
        pruned_per_matrix=tally.per_matrix,
        zero_vote_share="not known" if are_noised(task) else str(tally.zero_vote_share),
        privacy=privacy_label(task, cohort_size=votes.smallest_cohort),
    )
    with watch.phase("write model"):
        write_pruned_checkpoint(
            source,
            output,
            lambda name: final.rows(name).view(np.bool_),
            [(m.name, m.rows, m.columns) for m in task.model.matrices],
            {PROVENANCE_FILE: msgspec.json.format(msgspec.json.encode(provenance), indent=2)},
            transposed=[m.name for m in task.model.matrices if m.transposed],
            scaled_by=votes.of if task.pruning.weight_scaling else None,
        )
    warning = _warning(task, tally)
    if warning:
        _log.warning("%s", warning)
    return SelectResult(
        pruned_model=str(output),
        mask=str(mask_path),
        mask_digest=mask_digest,
        pruned_weights=tally.pruned,
        weights=sum(m.rows * m.columns for m in task.model.matrices),
        zero_votes=tally.zero_votes,
        seconds=watch.seconds,
        warning=warning,
    )


def round_masks(session: Session) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """The final pruning mask of the matrices of this session's round, one after the other.

    The model is compared with the task's in the first round only: it may take minutes to read.

    Yields:
        Name and mask, (rows, columns) Boolean, 1 = prune.

    Raises:
        LocalMisuseError: there are no counts yet.
        ConfigurationError: the model here is not the task's, or too many weights of this round had no vote.
    """
    task, votes = session.task, _Votes([session])
    source = session.path(session.config.model, "the model")
    if session.round.index == 0:
        check_model(task, source)
    masks = _final_masks(task, session.round.matrices, votes.of, CheckpointFiles(source))
    yield from _counted(task, masks, _Tally())


class _Votes:
    """The counts of some rounds of a task."""

    def __init__(self, rounds: Iterable[Session]) -> None:
        self._paths: list[Path] = []
        self._of: dict[str, tuple[TensorFile, int]] = {}
        for here in rounds:
            require_counts(here)
            self._paths.append(here.work / COUNTS_FILE)
            counts = TensorFile(self._paths[-1])
            entry = counts, int(counts.metadata["cohort"])
            self._of |= {m.name: entry for m in here.round.matrices}

    def of(self, name: str) -> tuple[npt.NDArray[Any], int]:
        """Votes to prune of a matrix, and the clients counted."""
        counts, cohort = self._of[name]
        return counts.rows(name), cohort

    @property
    def smallest_cohort(self) -> int:
        return min(cohort for _, cohort in self._of.values())

    def digest(self) -> str:
        """Of the one file of counts; with several rounds, of their digests, one a line."""
        digests = [file_digest(path) for path in self._paths]
        return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())


def _final_masks(
    task: Task,
    matrices: Iterable[MatrixSpec],
    votes_of: VotesOf,
    weights: CheckpointFiles,
) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any]]]:
    """Name, final pruning mask and counts of each matrix; the public model's magnitudes may break ties."""
    noise = count_noise(task)
    most = 1 if noise is None else noise.most
    for m in matrices:
        dtype, _ = weights.entry(m.name)
        raw = weights.rows(m.name)
        counts, cohort = votes_of(m.name)
        mask = final_mask(
            counts,
            magnitude_key(raw.T if m.transposed else raw, dtype),
            pruning=task.pruning,
            cohort=cohort,
            most=most,
            tie_seed=tie_seed(task.nonce, m.name),
        )
        yield m.name, mask, counts


def _warning(task: Task, tally: _Tally) -> str:
    pruning = task.pruning
    if pruning.server_comparison != "column" or pruning.group_pattern is not None or are_noised(task):
        return ""
    return f"column comparison pruned {float(tally.zero_vote_share):.2%} of its weights without any vote"


def _counted(
    task: Task, masks: Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any]]], tally: _Tally
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Pass the masks on and tally them; raises after the last one, so that no mask file comes about.

    Of noised votes nobody knows which weights had none: their share is not tallied and not checked.
    """
    noised = are_noised(task)
    for name, mask, counts in masks:
        zero_votes, pruned = zero_vote_share(counts, mask)
        zero_votes = 0 if noised else zero_votes
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
