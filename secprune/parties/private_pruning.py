"""A client's part where the task protects patients: statistics of each patient, bounded, summed and noised.

In this order: noise is drawn; notes are read, to know whose they are; what this costs these patients is taken from the site's
budget; only then anything is computed from a note. How long drawing takes depends on the noise alone. Of what is computed from notes only the noised sum is kept, or the
pruning mask that follows from it; statistics of single patients, and the sum without its noise, are never on disk.

With counts each client noises its statistics for itself and submits a mask of the result. With square-sums each adds a part
of the noise and submits the statistics. Square-sums without noise are for tests and rehearsals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import msgspec
import numpy as np
from msgspec import UNSET

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.ids import sha256
from secprune.parties.budget import check_budget, reserve
from secprune.parties.client import PruneResult, check_model, open_notes
from secprune.parties.progress import Progress, Stopwatch, peak_memory_mib, silent
from secprune.parties.report_words import MASKS_FILE, STATISTICS_FILE
from secprune.parties.voting import check_not_noised
from secprune.privacy.gaussian import discrete_gaussian
from secprune.privacy.grid import COUNT_UNITS
from secprune.privacy.guarantee import round_variances, spent_rho
from secprune.privacy.mechanism import Estimate, parted, raw_to_grid
from secprune.pruning.reference import Reference, read_reference
from secprune.storage.masks import write_masks
from secprune.storage.statistics import write_statistics
from secprune.task import PATIENTS_VECTOR, input_lengths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    import torch

    from secprune.parties.session import Session
    from secprune.privacy.mechanism import Floats, Integers
    from secprune.pruning.notes import Patient
    from secprune.task import Task


def reference_file(task: Path) -> Path:
    """Where the public reference of a task file lies: beside it."""
    return task.with_name(task.name + ".reference")


def open_reference(session: Session) -> Reference:
    """The task's public reference, as this party has it.

    Raises:
        LocalMisuseError: it does not lie beside the task file.
        ConfigurationError: it is another one, or not of this task's model and windows.
    """
    path = reference_file(session.directory / session.config.task)
    reference = read_reference(path, digest=session.task.privacy.of_statistics.reference)
    check_reference(session.task, reference)
    return reference


def check_reference(task: Task, reference: Reference) -> None:
    """Refuse a reference that was made for something else.

    Raises:
        ConfigurationError: says for what.
    """
    facts, statistics = reference.facts, task.privacy.of_statistics
    for what, found, due in (
        ("model", facts.weights_digest, task.model.weights_digest),
        ("length of windows", facts.sequence_length, task.pruning.sequence_length),
        ("inputs", facts.inputs, statistics.inputs),
        ("features", reference.features, input_lengths(statistics, task.model.matrices)),
    ):
        if found != due:
            raise ConfigurationError(
                f"the public reference was made for another {what} than the task's",
                hint="ask the coordinator to make the task again, with a reference for it",
            )


def check_site(session: Session) -> None:
    """Find out before hours of work whether this site's notes and reference are fit for the task. Nothing is recorded.

    Raises:
        ConfigurationError: as `prune_privately`.
        LocalMisuseError: likewise.
    """
    if session.task.privacy.statistics is UNSET:
        return
    reference = open_reference(session)
    if session.task.privacy.patients is not UNSET:
        patients = _own_patients(session, reference)
        check_budget(session, **_spending(session.task, patients))


def prune_privately(
    session: Session,
    *,
    device: str = "auto",
    progress: Progress = silent,
    centre: Mapping[str, Floats] | None = None,
) -> PruneResult:
    """Take the statistics of this site's patients, noise them, and keep what this round's report is made of.

    Args:
        session: the client's, at the round.
        device: as for `client.prune`.
        progress: told of the decoder blocks.
        centre: square-means to measure patients against; the public reference, if not given.

    Raises:
        ConfigurationError: the reference or the model is not the task's; notes of this site stand in the reference; or
            this site's privacy budget does not allow it.
        LocalMisuseError: no notes, or notes that do not say whose they are; or noise has been drawn for this round.
    """
    task, watch = session.task, Stopwatch()
    check_not_noised(session)
    with watch.phase("draw noise"):
        noise = _draw_noise(task, session.round.index)
    with watch.phase("load"):
        reference = open_reference(session)
        patients = _own_patients(session, reference)
        reserve(session, **_spending(task, patients))
        work = _Work(session, patients, device)
    with watch.phase("prune"):
        sums = work.sum(centre or reference.square_means, progress)
        for name, values in noise.items():
            sums[name] += values
        del noise
        if task.privacy.payload == "square-sums":
            write_statistics(session.work / STATISTICS_FILE, sums, task)
        else:
            work.write_masks(sums, reference, progress)
    return PruneResult(
        notes=sum(len(patient.notes) for patient in patients),
        windows=work.windows,
        sequence_length=task.pruning.sequence_length,
        matrices=len(task.model.matrices),
        device=str(work.device),
        peak_memory_mib=peak_memory_mib(),
        thin_modules={},
        seconds=watch.seconds,
        patients=len(patients),
    )


def _draw_noise(task: Task, index: int) -> dict[str, Integers]:
    """This client's noise of one round, by vector."""
    variance = round_variances(task)[index]
    lengths = input_lengths(task.privacy.of_statistics, task.model.matrices) | {PATIENTS_VECTOR: 1}
    return parted(discrete_gaussian(variance, sum(lengths.values())), lengths)


class _Spending(TypedDict):
    dataset: str
    units: list[str]
    rho: Fraction


def _spending(task: Task, patients: Sequence[Patient]) -> _Spending:
    """What taking part costs whom."""
    return {
        "dataset": sha256(msgspec.json.encode(patients)),
        "units": [patient.id for patient in patients],
        "rho": spent_rho(task),
    }


def _own_patients(session: Session, reference: Reference) -> list[Patient]:
    from secprune.pruning.notes import read_patients  # noqa: PLC0415 - notes are read by clients only

    path = session.path(session.config.notes, "the notes")
    patients = read_patients(path, session.task.privacy.of_patients.unit)
    if found := reference.overlap(patients):
        raise ConfigurationError(
            f"{found} notes of this site stand in the task's public reference, which nothing protects",
            hint="do not take part; ask the coordinator where the text of the reference came from",
        )
    return patients


class _Work:
    """This site's patients on the task's model. Needs torch, transformers and opacus (extra `dp`)."""

    def __init__(self, session: Session, patients: Sequence[Patient], device: str) -> None:
        from secprune.pruning.devices import choose_device  # noqa: PLC0415 - torch, only where a model runs
        from secprune.pruning.models import load_tokenizer  # noqa: PLC0415
        from secprune.pruning.offload import open_blocks  # noqa: PLC0415
        from secprune.pruning.patients import batches_of_patients  # noqa: PLC0415

        self._session, self._task = session, session.task
        self.device: torch.device = choose_device(device)
        directory = session.path(session.config.model, "the model")
        check_model(self._task, directory)
        tokenizer, pruning = load_tokenizer(directory), self._task.pruning
        self._batches = batches_of_patients(
            patients, tokenizer, sequence_length=pruning.sequence_length, max_windows=pruning.max_windows
        )
        if not self._batches:
            raise LocalMisuseError("the notes hold no token", hint="give notes with text in them")
        self.windows = sum(len(batch) for batches in self._batches for batch in batches)
        self._blocks = open_blocks(directory, device=self.device)

    @property
    def _inputs(self) -> tuple[tuple[str, ...], ...]:
        return self._task.privacy.of_statistics.inputs

    def sum(self, centre: Mapping[str, Floats], progress: Progress) -> dict[str, Integers]:
        """The sum over patients of their bounded vectors, without noise."""
        from secprune.pruning.clipping import UnitVectors  # noqa: PLC0415
        from secprune.pruning.patients import mean_squares  # noqa: PLC0415

        lengths = {name: len(values) for name, values in centre.items()}
        vector_of = UnitVectors(centre, self._task.privacy.of_patients.clip_bound)
        total = np.zeros(sum(lengths.values()), np.int64)
        patients = mean_squares(
            self._blocks,
            self._batches,
            self._inputs,
            progress=lambda done, steps: progress("decoder blocks, by groups of patients", done, steps),
        )
        for found in patients:
            total += vector_of(found)
        return parted(total, lengths) | {PATIENTS_VECTOR: np.array([len(self._batches) * COUNT_UNITS])}

    def write_masks(self, sums: dict[str, Integers], reference: Reference, progress: Progress) -> None:
        """The pruning masks that follow from noised statistics."""
        from secprune.pruning.from_statistics import masks_of_statistics  # noqa: PLC0415

        found = estimate(self._task, reference, sums, round_variances(self._task)[0])
        masks = masks_of_statistics(
            self._blocks,
            found.square_means(reference.square_means),
            self._inputs,
            pruning=self._task.pruning,
            progress=lambda done, steps: progress("pruning decoder blocks", done, steps),
        )
        session = self._session
        write_masks(session.work / MASKS_FILE, masks, session.round.matrices, task_id=session.round.task_id)


def estimate(task: Task, reference: Reference, sums: Mapping[str, Integers], variance: Fraction) -> Estimate:
    """What a noised sum of this task says, if the noise on it has that variance."""
    features = {name: values for name, values in sums.items() if name != PATIENTS_VECTOR}
    return Estimate(
        features,
        int(sums[PATIENTS_VECTOR][0]),
        clip=task.privacy.of_patients.clip_bound,
        variance=variance,
        directions=reference.directions,
    )


def take_raw_sums(session: Session, *, device: str = "auto", progress: Progress = silent) -> PruneResult:
    """Square-sums without noise, over the same windows as masks are made of. Tests and rehearsals only.

    Raises:
        ConfigurationError: as `prune_privately`.
        LocalMisuseError: no notes, or too few to fill one window; or sums too large for the grid.
    """
    from secprune.pruning.activations import BlockRunner, SquareSum  # noqa: PLC0415 - torch, where a model runs

    task, watch = session.task, Stopwatch()
    with watch.phase("load"):
        reference = open_reference(session)
        opened = open_notes(session, device)
        runner = BlockRunner(opened.blocks, opened.windows)
    sums: dict[str, Integers] = {}
    with watch.phase("prune"):
        for index in range(runner.blocks):
            found = runner.collect(index, SquareSum, advance=True)
            for name in found.keys() & reference.square_means.keys():
                sums[name] = raw_to_grid(found[name].square_sum.cpu().numpy(), reference.square_means[name])
            progress("decoder blocks", index + 1, runner.blocks)
        write_statistics(session.work / STATISTICS_FILE, sums, task)
    return PruneResult(
        notes=opened.notes,
        windows=len(opened.windows),
        sequence_length=task.pruning.sequence_length,
        matrices=len(task.model.matrices),
        device=opened.device,
        peak_memory_mib=peak_memory_mib(),
        thin_modules={module.name: module.tokens for module in runner.thin},
        seconds=watch.seconds,
    )
