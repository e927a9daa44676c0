"""The client, a hospital: checks the task, prunes locally, submits one report.

Everything derived from notes stays in the client's own directory; what leaves it are sealed chunks and
one signed report. `submit` may be run again at any time: it sends the same bytes, and repairs chunks that
were lost or altered in the exchange.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.ids import sha256
from secprune.messages.types import Report
from secprune.parties.budget import BudgetStatus, budget_status
from secprune.parties.progress import Progress, Stopwatch, peak_memory_mib, silent
from secprune.parties.release import check_participation
from secprune.parties.report_words import (
    MASKS_FILE,  # noqa: F401 - who makes a study without a model takes it from here
    contents_of,
    open_report,
    require_report,
)
from secprune.parties.voting import check_not_noised, write_votes
from secprune.privacy.labels import PrivacyLabel, privacy_label
from secprune.protocols.api import ReportSecrets, secure_sum
from secprune.protocols.bfv.terms import parameters_of
from secprune.pruning.checkpoint import tokenizer_digest, weights_digest

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from secprune.parties.session import Session
    from secprune.pruning.local import LocalPruning
    from secprune.pruning.offload import Blocks
    from secprune.task import PruningSpec, Task


class CheckResult(Struct, frozen=True, kw_only=True):
    """What a site agrees to by taking part, and what its patients have cost so far."""

    study: str
    task_id: str
    coordinator: str
    coordinator_fingerprint: str
    coordinator_pinned: bool
    clients: int
    min_clients: int
    aggregator_fingerprints: dict[str, str]
    key_holder_fingerprints: dict[str, str]
    sparsity: str
    weights: int
    privacy: PrivacyLabel
    privacy_budget: BudgetStatus


class PruneResult(Struct, frozen=True, kw_only=True):
    """What local pruning did; counts only.

    Attributes:
        notes: how many were read.
        windows: calibration windows made of them.
        sequence_length: tokens in a window.
        matrices: weight matrices of the task.
        device: where it was computed.
        peak_memory_mib: the most that this process has held in memory so far.
        thin_modules: modules, mostly of experts, whose masks rest on few tokens or none, and how many.
        seconds: by what was done.
        patients: whose notes they are, or documents where these are protected; None where nobody is.
        cut_weights: kept weights that were too large to be sent as they are (`secprune.fixedpoint`); None where no weights
            are sent, as with the next.
        local_sparsity: that this site pruned to, with FedSpaLLM.
    """

    notes: int
    windows: int
    sequence_length: int
    matrices: int
    device: str
    peak_memory_mib: int
    thin_modules: dict[str, int]
    seconds: dict[str, float]
    patients: int | None = None
    cut_weights: int | None = None
    local_sparsity: str | None = None


class SubmitResult(Struct, frozen=True, kw_only=True):
    """What was sent, in all rounds together.

    Attributes:
        report: digest of the last report.
        bytes_sent: of chunks and messages.
        bits_per_weight: of the weights that this client reported on.
        chunks: how many.
        seconds: by what was done.
        blocks: decoder blocks that this client reported on, with layer sampling.
        of_blocks: decoder blocks of the model, likewise.
    """

    report: str
    bytes_sent: int
    bits_per_weight: float
    chunks: int
    seconds: dict[str, float]
    blocks: int | None = None
    of_blocks: int | None = None


def check(session: Session) -> CheckResult:
    """Compare the task with this site's policy, its model, and the tasks that it has taken part in.

    All that is sent is the coordinator's own signature on the task.

    Raises:
        ConfigurationError: the model here is not the task's, or this site's votes on it have been counted before.
        LocalEnvironmentError: protocol `bfv`: the tenseal here does not work.
        RemoteMisbehaviourError: the coordinator has signed another task of the same study.
    """
    task = session.task
    local_spec(session)
    check_model(task, session.path(session.config.model, "the model"))
    check_participation(session)
    if task.protocol.name == "bfv":
        from secprune.crypto.bfv.scheme import self_test  # noqa: PLC0415 - tenseal, only where it is used

        self_test(parameters_of(task))  # before hours of pruning
    return CheckResult(
        study=task.study,
        task_id=session.round.task_id,
        coordinator=task.coordinator.name,
        coordinator_fingerprint=task.coordinator.fingerprint,
        coordinator_pinned=session.config.policy.coordinator is not None,
        clients=task.n_max,
        min_clients=task.protocol.min_clients,
        aggregator_fingerprints={name: task.party(name).fingerprint for name in task.names("aggregator")},
        key_holder_fingerprints={name: task.party(name).fingerprint for name in task.names("key-holder")},
        sparsity=task.pruning.sparsity,
        weights=session.round.weights,
        privacy=privacy_label(task),
        privacy_budget=budget_status(session),
    )


def check_model(task: Task, model: Path) -> None:
    """Refuse a model directory that is not the one the task names, byte for byte.

    Raises:
        ConfigurationError: other weights or another tokenizer.
    """
    for what, digest, expected in (
        ("weights", weights_digest(model), task.model.weights_digest),
        ("tokenizer", tokenizer_digest(model), task.model.tokenizer_digest),
    ):
        if digest != expected:
            raise ConfigurationError(
                f"the {what} of the model in {model.name} are not those of the task ({task.model.name}): "
                f"{digest} instead of {expected}",
                hint="copy the model again from where the coordinator got it",
            )


@dataclass(frozen=True, slots=True)
class LocalWork:
    """Local pruning that is ready to begin or under way: this site's notes on the task's model."""

    notes: int
    windows: int
    device: str
    pruning: LocalPruning

    def result(self, task: Task, seconds: dict[str, float]) -> PruneResult:
        """What there is to say about it so far; counts only."""
        return PruneResult(
            notes=self.notes,
            windows=self.windows,
            sequence_length=task.pruning.sequence_length,
            matrices=len(task.model.matrices),
            device=self.device,
            peak_memory_mib=peak_memory_mib(),
            thin_modules={module.name: module.tokens for module in self.pruning.thin},
            seconds=seconds,
        )


@dataclass(frozen=True, slots=True)
class OpenedNotes:
    """This site's notes, cut into calibration windows, and the decoder blocks of the task's model."""

    notes: int
    windows: Tensor
    device: str
    blocks: Blocks


def open_notes(session: Session, device: str) -> OpenedNotes:
    """Read this site's notes and what is needed of the model. Needs torch and transformers (extra `prune`).

    Decoder blocks stay on disk until their turn comes, if the checkpoint allows it.

    Raises:
        LocalMisuseError: no notes, too few to fill one window, or no device of such a name.
        LocalEnvironmentError: this machine has no such device.
        ConfigurationError: the model here is not the task's.
    """
    from secprune.pruning.calibration import pack_windows  # noqa: PLC0415 - torch, only where a model runs
    from secprune.pruning.devices import choose_device  # noqa: PLC0415
    from secprune.pruning.models import load_tokenizer  # noqa: PLC0415
    from secprune.pruning.notes import read_notes  # noqa: PLC0415
    from secprune.pruning.offload import open_blocks  # noqa: PLC0415

    where = choose_device(device)
    pruning, directory = session.task.pruning, session.path(session.config.model, "the model")
    notes = read_notes(session.path(session.config.notes, "the notes"))
    check_model(session.task, directory)
    windows = pack_windows(
        notes,
        load_tokenizer(directory),
        sequence_length=pruning.sequence_length,
        max_windows=pruning.max_windows,
    )
    return OpenedNotes(len(notes), windows, str(where), open_blocks(directory, device=where))


def local_spec(session: Session) -> PruningSpec:
    """How this site prunes: as the task says, at its own sparsity if it has one.

    Raises:
        ConfigurationError: it has one, and the task's algorithm knows none but its own.
    """
    pruning, own = session.task.pruning, session.config.sparsity
    if own is None:
        return pruning
    if pruning.algorithm != "fedspallm" or not 0 < Fraction(own) < 1:
        raise ConfigurationError(
            f"this site cannot prune to a sparsity of its own, {own}: that is for tasks of FedSpaLLM, and between 0 and 1",
            hint="leave sparsity out of the party file",
        )
    return msgspec.structs.replace(pruning, sparsity=own)


def start_pruning(session: Session, device: str) -> LocalWork:
    """Make this site's local pruner ready; see `open_notes` for what it raises."""
    from secprune.pruning.local import LocalPruning  # noqa: PLC0415 - torch, only where a model runs

    opened = open_notes(session, device)
    pruning = LocalPruning(opened.blocks, opened.windows, pruning=local_spec(session))
    return LocalWork(opened.notes, len(opened.windows), opened.device, pruning)


def prune(session: Session, *, device: str = "auto", progress: Progress = silent) -> PruneResult:
    """Compute this client's pruning masks from its notes and keep them, noised if the task says so.

    Args:
        session: the client's.
        device: "auto" (an accelerator if there is one), "cpu", "cuda" or "cuda:N".
        progress: told of the decoder blocks.

    Raises:
        LocalMisuseError: no notes, too few to fill one window, no device of such a name, or noise has been drawn.
        LocalEnvironmentError: this machine has no such device.
        ConfigurationError: the model here is not the task's, or the task goes block by block.
    """
    check_not_noised(session)
    if session.task.pruning.schedule == "iterative":
        raise ConfigurationError(
            "this task goes block by block, each on the agreed mask of the one before",
            hint="run `secprune client run`",
        )
    watch = Stopwatch()
    with watch.phase("load"):
        work = start_pruning(session, device)
    with watch.phase("prune"):
        masks = work.pruning.all_masks(lambda done, total: progress("pruning decoder blocks", done, total))
        write_votes(session, masks)
    return work.result(session.task, watch.seconds)


def submit(session: Session, *, progress: Progress = silent) -> SubmitResult:
    """Protect what this client reports and post it; the same bytes whenever it is run.

    Raises:
        LocalMisuseError: there is nothing to report yet, it is damaged, or it has changed since it was submitted.
    """
    require_report(session)
    round_, watch = session.round, Stopwatch()
    contents = open_report(session)
    protocol = secure_sum(session.task)

    committed = session.journal.outbox()

    def draw() -> bytes:
        if committed:
            raise LocalMisuseError(
                f"the {contents_of(session).what} have changed since they were submitted; only one report counts in "
                "a round",
                hint="restore those of the first submission, or ask the coordinator for a new task",
            )
        return msgspec.json.encode(protocol.new_secrets(round_, session.name, random_bytes))

    # Secrets belong to the very contents they protect: others under the same keystream would tell the
    # difference of the two to whoever holds both.
    stored = session.journal.secret(f"report of {contents.digest}", draw)
    secrets = msgspec.json.decode(stored, type=ReportSecrets)
    writer = protocol.writer(round_, session.name, secrets)
    digests, size = [], 0
    with watch.phase("protect"):
        for chunk in round_.layout.chunks:
            data = writer.protect(chunk, contents.words(chunk))
            digests.append(session.exchange.put_chunk(data))
            size += len(data)
            progress("protecting and sending chunks", chunk.index + 1, len(round_.layout.chunks))
        report = Report(**round_.names, keys=secrets.keys, chunks=tuple(digests))
        message = session.outgoing(report)
        session.journal.checkpoint(outgoing=[message])
        size += session.send()
    return SubmitResult(
        report=sha256(message.envelope),
        bytes_sent=size,
        bits_per_weight=round(8 * size / round_.weights, 4),
        chunks=len(digests),
        seconds=watch.seconds,
    )
