"""Before a study: the coordinator turns cards and a model into a signed task file."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import SHARED_FILE, read_bytes, write_atomically
from secprune.messages.types import TaskSignature
from secprune.parties.config import IDENTITY_FILE, JOURNAL_FILE
from secprune.parties.private_pruning import check_reference, reference_file
from secprune.parties.study_privacy import NO_PRIVACY, PrivacyOptions, privacy_spec, usual_cohort
from secprune.privacy.guarantee import check_claims
from secprune.protocols.api import Round
from secprune.pruning.checkpoint import tokenizer_digest, weights_digest
from secprune.pruning.reference import read_reference
from secprune.storage.journal import Journal
from secprune.storage.keyfile import read_card, read_identity
from secprune.task import (
    KeyHolderForm,
    MatrixSpec,
    ModelSpec,
    PrivacySpec,
    ProtocolName,
    ProtocolSpec,
    PruningSpec,
    StatisticsSpec,
    Task,
    check_task,
)

if TYPE_CHECKING:
    from pathlib import Path

    from secprune.task import PartySpec

CARD_SUFFIX = ".card.json"
_ROLE_ORDER = ("coordinator", "aggregator", "key-holder", "client")


class StudyOptions(Struct, frozen=True, kw_only=True):
    """What the coordinator chooses; everything else follows from model and cards.

    `study` is made up of the model's name and the task's own number if it is None.
    """

    study: str | None = None
    protocol: ProtocolName
    min_clients: int | None
    pruning: PruningSpec
    key_holder: KeyHolderForm = "blind"
    privacy: PrivacySpec = PrivacySpec()


class StudyResult(Struct, frozen=True, kw_only=True):
    """The task that was made, and the fingerprints to read out over the telephone."""

    task: str
    task_id: str
    matrices: int
    weights: int
    min_clients: int
    fingerprints: dict[str, str]


def model_spec(model: Path, *, sequence_length: int = 1) -> ModelSpec:
    """What a task says of a model on disk. Needs torch to find its prunable matrices.

    Raises:
        ConfigurationError: a model that cannot be pruned, or windows longer than it takes.
        LocalMisuseError: `model` is not a usable checkpoint.
    """
    from secprune.pruning.decoder import prunable_matrices  # noqa: PLC0415 - torch, only where a model is read
    from secprune.pruning.models import (  # noqa: PLC0415
        check_checkpoint_keys,
        check_sequence_length,
        model_skeleton,
    )

    skeleton = model_skeleton(model)
    check_sequence_length(skeleton.config, sequence_length)
    matrices = prunable_matrices(skeleton)
    check_checkpoint_keys(model, matrices)
    return ModelSpec(
        name=model.resolve().name,
        weights_digest=weights_digest(model),
        tokenizer_digest=tokenizer_digest(model),
        matrices=tuple(
            MatrixSpec(
                name=m.name,
                rows=m.rows,
                columns=m.columns,
                transposed=m.transposed,
                block=m.block,
            )
            for m in matrices
        ),
    )


def build_task(model: ModelSpec, parties: tuple[PartySpec, ...], options: StudyOptions) -> Task:
    """Put a task together from its parts and check it.

    Raises:
        ConfigurationError: the parts do not make a valid task, or it would claim more privacy than its noise gives.
    """
    nonce = random_bytes(16).hex()
    try:
        task = msgspec.convert(
            msgspec.to_builtins(
                Task(
                    study=options.study or f"{model.name[:100]} {nonce[:8]}",
                    nonce=nonce,
                    protocol=ProtocolSpec(
                        name=options.protocol,
                        min_clients=smallest_cohort(options, parties),
                        key_holder=options.key_holder,
                    ),
                    pruning=options.pruning,
                    privacy=options.privacy,
                    model=model,
                    parties=parties,
                )
            ),
            Task,
        )
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"this does not make a valid task: {error}") from error
    check_task(task)
    check_claims(task)
    Round.of(task)  # refuses a roster that fits into no words, or into no ring
    return task


def smallest_cohort(options: StudyOptions, parties: tuple[PartySpec, ...]) -> int:
    """What the coordinator chose, or more than two thirds of the clients."""
    clients = sum(p.role == "client" for p in parties)
    return options.min_clients if options.min_clients is not None else usual_cohort(clients)


def read_roster(cards: Path) -> tuple[PartySpec, ...]:
    """All cards in a directory, in the order coordinator, aggregators, key holders, clients, by name.

    Raises:
        LocalMisuseError: no cards there.
        ConfigurationError: a card is damaged.
    """
    paths = sorted(cards.glob(f"*{CARD_SUFFIX}")) if cards.is_dir() else []
    if not paths:
        raise LocalMisuseError(
            f"no cards (*{CARD_SUFFIX}) in {cards}",
            hint="collect the file that `secprune keys new` wrote at each party",
        )
    parties = [read_card(path) for path in paths]
    return tuple(sorted(parties, key=lambda p: (_ROLE_ORDER.index(p.role), p.name)))


def init_study(
    directory: Path,
    *,
    model: Path,
    cards: Path,
    output: Path,
    options: StudyOptions,
    wishes: PrivacyOptions = NO_PRIVACY,
) -> StudyResult:
    """Make, sign and write a task file and its signature, and beside them a copy of its public reference.

    Run by the coordinator.

    Args:
        directory: the coordinator's.
        model: directory of the model.
        cards: directory of all parties' cards.
        output: task file to write.
        options: what the coordinator chooses; `privacy` of them is made of `wishes`.
        wishes: what is to be protected.

    Raises:
        ConfigurationError: this directory's keys are not those of the coordinator in the roster; or the reference was
            made for something else.
        LocalMisuseError: a task file is there already, or a task was made for a study of that name.
    """
    if output.exists():
        raise LocalMisuseError(
            f"{output} exists already", hint="a task is never overwritten; choose another name"
        )
    identity, card = read_identity(directory / IDENTITY_FILE)
    spec = model_spec(model, sequence_length=options.pruning.sequence_length)
    parties = read_roster(cards)
    reference = None if wishes.reference is None else read_reference(wishes.reference)
    privacy = privacy_spec(
        wishes,
        None
        if reference is None
        else StatisticsSpec(inputs=reference.facts.inputs, reference=reference.digest),
        clip="0" if reference is None else reference.typical_clip,
        clients=sum(p.role == "client" for p in parties),
        min_clients=smallest_cohort(options, parties),
    )
    task = build_task(spec, parties, msgspec.structs.replace(options, privacy=privacy))
    if task.coordinator != card:
        raise ConfigurationError(
            f"the card of the coordinator in {cards} is not the one whose keys lie in {directory}"
        )
    if reference is not None and wishes.reference is not None:
        check_reference(task, reference)
        copy = read_bytes(wishes.reference, what="the public reference")
        write_atomically(reference_file(output), copy, mode=SHARED_FILE)
    _take_name(directory, task)
    signature = sign(
        TaskSignature(task_id=task.task_id, study=task.study), signer=card.name, identity=identity
    )
    write_atomically(output.with_name(output.name + ".sig"), signature, mode=SHARED_FILE)
    write_atomically(output, task.to_toml().encode(), mode=SHARED_FILE)
    return StudyResult(
        task=str(output),
        task_id=task.task_id,
        matrices=len(task.model.matrices),
        weights=sum(m.rows * m.columns for m in task.model.matrices),
        min_clients=task.protocol.min_clients,
        fingerprints={p.name: p.fingerprint for p in task.parties},
    )


def _take_name(directory: Path, task: Task) -> None:
    """Remember a task; two of one study would be taken for an attempt to show different parties different tasks."""
    with contextlib.closing(
        Journal(directory / JOURNAL_FILE, task_id=task.task_id, round_index=0, party=task.coordinator.name)
    ) as journal:
        for text in journal.tasks():
            if msgspec.json.decode(text, type=Task).study == task.study:
                raise LocalMisuseError(
                    f"this coordinator has made a task for the study {task.study!r} already",
                    hint="give this one another name with --study: parties refuse two tasks of one study",
                )
        journal.keep_task(task.canonical)
