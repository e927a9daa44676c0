"""After the round: from what was released to the final pruning mask and the pruned checkpoint. Run by the coordinator.

Every party that has the counts and the public model computes the same mask, bit for bit. A mask of noised statistics is
Wanda's, computed in floating point from whole numbers that all have in common.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Struct

from secprune import __version__
from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import file_digest
from secprune.fixedpoint import FixedPoint
from secprune.parties.client import check_model
from secprune.parties.coordinator import require_counts
from secprune.parties.private_pruning import open_reference
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.released_statistics import ReleasedStatistics, StatisticsFacts, released_by
from secprune.parties.sums import COUNTS_FILE, digest_of_sums
from secprune.privacy.labels import PrivacyLabel, privacy_label
from secprune.privacy.votes import are_noised, count_noise
from secprune.protocols.payloads import kept_name
from secprune.pruning.averaging import matrix_reach, mean_bits
from secprune.pruning.checkpoint import write_pruned_checkpoint
from secprune.pruning.selection import final_mask, magnitude_key, tie_seed, zero_vote_share
from secprune.pruning.tensorfile import CheckpointFiles, TensorFile
from secprune.storage.masks import MaskFile, write_masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from secprune.parties.session import Session
    from secprune.pruning.reference import Reference
    from secprune.task import MatrixSpec, Task

_log = logging.getLogger(__name__)

VotesOf = Callable[[str], tuple[npt.NDArray[Any], int]]
"""Votes to prune of a matrix by its name, and the clients counted."""

WeightsOf = Callable[[str], npt.NDArray[Any]]
"""New weights of a matrix by its name, (rows, columns) as bit patterns of the checkpoint's type."""

FINAL_MASK_FILE = "final-pruning-mask.safetensors"
BASELINE_FILE = "public-only-mask.safetensors"
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
    algorithm: str = "fedprllm"
    averaging: AveragingFacts | None = None
    statistics: StatisticsFacts | None = None
    baseline: Baseline | None = None


class AveragingFacts(Struct, frozen=True, kw_only=True):
    """How kept weights were averaged by FedSpaLLM.

    Attributes:
        weight_bits: of the whole numbers that clients sent.
        error_bound: of any averaged weight, in its own units, before it was rounded to the checkpoint's type; where
            clients cut a kept weight, as they count, from the mean of what they sent.
        sole_keepers: share of weights that one client alone of its cohort kept: their sums are that client's own.
    """

    weight_bits: int
    error_bound: float
    sole_keepers: float


class Baseline(Struct, frozen=True, kw_only=True):
    """The public-only baseline: the mask of the public reference, without any private data.

    Attributes:
        reference: digest of the reference.
        documents: that it is made of.
        mask_agreement: share of weights that the final mask treats as the baseline does.
    """

    reference: str
    documents: int
    mask_agreement: float


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
    averaging: AveragingFacts | None = None
    statistics: StatisticsFacts | None = None
    baseline: Baseline | None = None


class _Tally:
    def __init__(self) -> None:
        self.pruned = self.zero_votes = 0
        self.per_matrix: dict[str, str] = {}

    @property
    def zero_vote_share(self) -> Fraction:
        return Fraction(self.zero_votes, max(1, self.pruned))


def select(
    session: Session, output: Path, *, baseline: Path | None = None, progress: Progress = silent
) -> SelectResult:
    """Write the final mask and the pruned checkpoint: of the most voted weights of each group, or of summed statistics.

    Args:
        session: the coordinator's.
        output: directory of the pruned checkpoint.
        baseline: directory of one that is pruned by the public reference alone, if wanted.
        progress: told of matrices.

    Raises:
        LocalMisuseError: nothing was released yet (in every round), or `output` exists; or no baseline can be made.
        ConfigurationError: the model or the reference here is not the task's, or too many pruned weights had no vote.
    """
    task, watch = session.task, Stopwatch()
    reference = None if task.privacy.statistics is UNSET else open_reference(session)
    outcome = _outcome(session, reference)
    source = session.path(session.config.model, "the model")
    if baseline is not None and reference is None:
        raise LocalMisuseError(
            "this task has no public reference, so there is no public-only baseline",
            hint="leave --baseline out",
        )
    with watch.phase("verify model"):
        check_model(task, source)
    tally = _Tally()
    mask_path = session.work / FINAL_MASK_FILE
    with watch.phase("select"):
        write_masks(
            mask_path,
            _counted(task, outcome.masks(source), tally),
            task.model.matrices,
            task_id=session.round.task_id,
            each=lambda _name, _mask: progress(
                "selecting weights", len(tally.per_matrix), len(task.model.matrices)
            ),
        )
    final = MaskFile(mask_path, task.model.matrices, task_id=session.round.task_id)
    compared = None
    if reference is not None:
        with watch.phase("compare with public text alone"):
            compared = _public_only(session, reference, source, final, baseline)
    mask_digest = file_digest(mask_path)
    provenance = Provenance(
        secprune=__version__,
        task_id=session.round.task_id,
        study=task.study,
        model=task.model.name,
        weights_digest=task.model.weights_digest,
        protocol=task.protocol.name,
        cohort_size=outcome.cohort,
        clients_enrolled=task.n_max,
        sparsity=task.pruning.sparsity,
        server_comparison=task.pruning.server_comparison,
        pattern=task.pruning.pattern,
        ties=task.pruning.ties,
        weight_scaling=task.pruning.weight_scaling,
        counts_digest=outcome.digest(),
        mask_digest=mask_digest,
        pruned_per_matrix=tally.per_matrix,
        zero_vote_share="not known" if are_noised(task) else str(tally.zero_vote_share),
        privacy=privacy_label(task, cohort_size=outcome.cohort),
        algorithm=task.pruning.algorithm,
        averaging=outcome.averaging(source),
        statistics=outcome.facts,
        baseline=compared,
    )
    with watch.phase("write model"):
        _write_model(
            task,
            source,
            output,
            final,
            provenance,
            scaled_by=outcome.scaled_by,
            replaced_by=outcome.means(source),
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
        averaging=provenance.averaging,
        statistics=outcome.facts,
        baseline=compared,
    )


def _write_model(
    task: Task,
    source: Path,
    output: Path,
    masks: MaskFile,
    provenance: Struct,
    *,
    scaled_by: VotesOf | None = None,
    replaced_by: WeightsOf | None = None,
) -> None:
    write_pruned_checkpoint(
        source,
        output,
        lambda name: masks.rows(name).view(np.bool_),
        [(m.name, m.rows, m.columns) for m in task.model.matrices],
        {PROVENANCE_FILE: msgspec.json.format(msgspec.json.encode(provenance), indent=2)},
        transposed=[m.name for m in task.model.matrices if m.transposed],
        scaled_by=scaled_by,
        replaced_by=replaced_by,
    )


def _public_only(
    session: Session, reference: Reference, source: Path, final: MaskFile, output: Path | None
) -> Baseline:
    """Compare the final mask with that of public text alone, and write the model that this prunes, if wanted."""
    task, path = session.task, session.work / BASELINE_FILE
    write_masks(
        path,
        _masks_of(task, source, reference.square_means),
        task.model.matrices,
        task_id=session.round.task_id,
    )
    masks = MaskFile(path, task.model.matrices, task_id=session.round.task_id)
    same = sum(int(np.count_nonzero(masks.rows(m.name) == final.rows(m.name))) for m in task.model.matrices)
    found = Baseline(
        reference=reference.digest,
        documents=len(reference.facts.documents),
        mask_agreement=round(same / sum(m.rows * m.columns for m in task.model.matrices), 6),
    )
    if output is not None:
        _write_model(task, source, output, masks, found)
    return found


def _masks_of(
    task: Task, source: Path, square_means: Mapping[str, npt.NDArray[np.float64]]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    from secprune.pruning.from_statistics import masks_of_statistics  # noqa: PLC0415 - torch, only where it is used
    from secprune.pruning.offload import open_blocks  # noqa: PLC0415

    inputs = task.privacy.of_statistics.inputs
    return masks_of_statistics(open_blocks(source), square_means, inputs, pruning=task.pruning)


def _outcome(session: Session, reference: Reference | None) -> _Votes | _Statistics:
    if session.task.privacy.payload == "counts" or reference is None:
        return _Votes([session.at_round(index) for index in range(session.task.rounds)])
    return _Statistics(session, reference)


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
    yield from _counted(task, votes.masks(source), _Tally())


class _Votes:
    """The counts of some rounds of a task."""

    facts: StatisticsFacts | None = None

    def __init__(self, rounds: Sequence[Session]) -> None:
        self._task = rounds[0].task
        self._paths: list[Path] = []
        self._of: dict[str, tuple[TensorFile, int]] = {}
        self._matrices: list[MatrixSpec] = []
        for here in rounds:
            require_counts(here)
            self._paths.append(here.work / COUNTS_FILE)
            counts = TensorFile(self._paths[-1])
            entry = counts, int(counts.metadata["cohort"])
            self._of |= {m.name: entry for m in here.round.matrices}
            self._matrices += here.round.matrices

    def of(self, name: str) -> tuple[npt.NDArray[Any], int]:
        """Votes to prune of a matrix, and the clients counted."""
        counts, cohort = self._of[name]
        return counts.rows(name), cohort

    @property
    def cohort(self) -> int:
        """The smallest of all rounds."""
        return min(cohort for _, cohort in self._of.values())

    @property
    def scaled_by(self) -> VotesOf | None:
        """What kept weights are scaled by, if the task says so."""
        return self.of if self._task.pruning.weight_scaling else None

    def means(self, source: Path) -> WeightsOf | None:
        """With FedSpaLLM, the mean of the weights that clients kept of the model in `source`."""
        if self._task.pruning.algorithm != "fedspallm":
            return None
        weights = CheckpointFiles(source)

        def of(name: str) -> npt.NDArray[Any]:
            counts, cohort = self.of(name)
            return mean_bits(
                counts,
                self._of[name][0].rows(kept_name(name)),
                fixed=self._fixed,
                cohort=cohort,
                reach=matrix_reach(weights, name),
                dtype=weights.entry(name)[0],
            )

        return of

    def averaging(self, source: Path) -> AveragingFacts | None:
        """What there is to say of these means."""
        if self._task.pruning.algorithm != "fedspallm":
            return None
        weights, sole, size = CheckpointFiles(source), 0, 0
        for name in self._of:
            counts, cohort = self.of(name)
            sole += int(np.count_nonzero(counts == cohort - 1))
            size += counts.size
        return AveragingFacts(
            weight_bits=self._fixed.bits,
            error_bound=max(self._fixed.error(matrix_reach(weights, name)) for name in self._of),
            sole_keepers=round(sole / size, 6),
        )

    @property
    def _fixed(self) -> FixedPoint:
        return FixedPoint(self._task.pruning.of_fedspallm.weight_bits)

    def digest(self) -> str:
        """See `digest_of_sums`."""
        return digest_of_sums(self._paths)

    def masks(self, source: Path) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any] | None]]:
        """Name, final pruning mask and counts of each matrix of the model in `source`."""
        return _final_masks(self._task, self._matrices, self.of, CheckpointFiles(source))


class _Statistics:
    """The sums of statistics of all rounds of a task."""

    scaled_by: VotesOf | None = None

    def __init__(self, session: Session, reference: Reference) -> None:
        self._task = session.task
        self._released = ReleasedStatistics(
            session.task, reference, released_by(session, session.task.rounds)
        )
        self.facts, self.cohort = self._released.facts, self._released.cohort

    def means(self, source: Path) -> WeightsOf | None:  # noqa: ARG002 - of votes there may be some
        """No weights are averaged."""
        return None

    def averaging(self, source: Path) -> AveragingFacts | None:  # noqa: ARG002
        """No weights are averaged."""
        return None

    def digest(self) -> str:
        """See `digest_of_sums`."""
        return self._released.digest()

    def masks(self, source: Path) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any] | None]]:
        """Name and final pruning mask of each matrix of the model in `source`; no votes."""
        for name, mask in _masks_of(self._task, source, self._released.square_means):
            yield name, mask, None


def _final_masks(
    task: Task,
    matrices: Iterable[MatrixSpec],
    votes_of: VotesOf,
    weights: CheckpointFiles,
) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any] | None]]:
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
    task: Task, masks: Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[Any] | None]], tally: _Tally
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Pass the masks on and tally them; raises after the last one, so that no mask file comes about.

    Of noised votes nobody knows which weights had none: their share is not tallied and not checked.
    """
    noised = are_noised(task)
    for name, mask, counts in masks:
        if counts is None or noised:
            zero_votes, pruned = 0, int(np.count_nonzero(mask))
        else:
            zero_votes, pruned = zero_vote_share(counts, mask)
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
