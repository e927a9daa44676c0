"""The task: everything all parties of a study agree on, and the digest that names it.

One TOML file. Its canonical form (JSON, keys sorted, no spaces, UTF-8) is hashed to the *task id*, and
the id goes into every signature, sealed message and key derivation, so that two parties with different
tasks never produce anything that fits together. Unknown keys are refused.
"""

from __future__ import annotations

import functools
import tomllib
from typing import Annotated, Literal

import msgspec
import tomli_w
from msgspec import UNSET, Meta, Struct

from secprune.errors import ConfigurationError
from secprune.ids import Digest, Name, Role, StudyName, sha256
from secprune.task.privacy import (
    PATIENTS_VECTOR,
    CountNoiseSpec,
    PatientNoiseSpec,
    Payload,
    PrivacySpec,
    ResponseSpec,
    StatisticsSpec,
    Unit,
    check_privacy,
    input_lengths,
)
from secprune.task.pruning import (
    Algorithm,
    Comparison,
    FedSpaLLMSpec,
    LocalPruner,
    MatrixSpec,
    PruningSpec,
    Ratio,
    Ties,
    check_pruning,
    layer_k,
    row_k,
)
from secprune.task.sampling import sample_blocks

__all__ = [
    "MAX_WEIGHTS",
    "MIN_COHORT",
    "PATIENTS_VECTOR",
    "Algorithm",
    "Comparison",
    "CountNoiseSpec",
    "FedSpaLLMSpec",
    "KeyHolderForm",
    "LocalPruner",
    "MatrixSpec",
    "ModelSpec",
    "PartySpec",
    "PatientNoiseSpec",
    "Payload",
    "PrivacySpec",
    "ProtocolName",
    "ProtocolSpec",
    "PruningSpec",
    "Ratio",
    "ResponseSpec",
    "StatisticsSpec",
    "Task",
    "Ties",
    "Unit",
    "check_pruning",
    "check_task",
    "input_lengths",
    "layer_k",
    "load_toml",
    "parse_task",
    "row_k",
]

ProtocolName = Literal["additive", "pairwise", "bfv", "cleartext"]
KeyHolderForm = Literal["blind", "simple"]

_MAX_DOTS = 256
"""In one line of TOML; names and free texts have fewer."""

MIN_COHORT = 3
"""Below three clients the sum tells each member the other's pruning mask."""

MAX_WEIGHTS = 2**40
"""A trillion: every party lists the chunks of a task in memory, whoever made the task."""

_Key = Annotated[bytes, Meta(min_length=32, max_length=4096)]


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which public model is pruned; every party that holds it checks the digests."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    weights_digest: Digest
    tokenizer_digest: Digest
    matrices: Annotated[tuple[MatrixSpec, ...], Meta(min_length=1, max_length=100_000)]


class ProtocolSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the sum is protected, and below which cohort nothing is released.

    `key_holder`, of `bfv` alone: blind ones never see the sum; a simple one decrypts it, for fewer bits.
    """

    name: ProtocolName
    min_clients: Annotated[int, Meta(ge=1, lt=2**16)]
    key_holder: KeyHolderForm = "blind"


class PartySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A party's public card: who it is and the keys it signs and receives with."""

    role: Role
    name: Name
    signing_key: _Key
    sealing_key: _Key

    @property
    def fingerprint(self) -> str:
        """Digest of the card, to be compared over another channel (telephone, paper)."""
        return sha256(b"secprune/card/v1\0" + msgspec.json.encode(self, order="sorted"))


class Task(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True):
    """One study: model, pruning, protocol, privacy and roster."""

    version: Literal[1] = 1
    study: StudyName
    nonce: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    protocol: ProtocolSpec
    pruning: PruningSpec
    privacy: PrivacySpec
    model: ModelSpec
    parties: Annotated[tuple[PartySpec, ...], Meta(min_length=1, max_length=2**16)]

    @property
    def canonical(self) -> bytes:
        """Canonical form: JSON with sorted keys and no white space."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def task_id(self) -> str:
        """Digest of the canonical form."""
        return sha256(b"secprune/task/v1\0" + self.canonical)

    def names(self, role: Role) -> tuple[str, ...]:
        """Names of all parties of one role, in roster order."""
        return tuple(p.name for p in self.parties if p.role == role)

    @property
    def releasers(self) -> tuple[str, ...]:
        """Who each release a share of the sum to the coordinator: the aggregators, or a key holder that decrypts."""
        simple = self.protocol.name == "bfv" and self.protocol.key_holder == "simple"
        return self.names("key-holder" if simple else "aggregator")

    @property
    def n_max(self) -> int:
        """Clients in the roster: the only number that counter widths are derived from."""
        return len(self.names("client"))

    @property
    def rounds(self) -> int:
        """Secure sums of the task: one, one for each decoder block, or two with recentring."""
        return len(self.blocks) if self.pruning.by_blocks else self.privacy.rounds

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of the decoder blocks that matrices of the task lie in, ascending."""
        return tuple(sorted({m.block for m in self.model.matrices}))

    def round_matrices(self, index: int) -> tuple[MatrixSpec, ...]:
        """The matrices that one round sums over: all, or those of the index-th decoder block."""
        if not self.pruning.by_blocks:
            return self.model.matrices
        block = self.blocks[index]
        return tuple(m for m in self.model.matrices if m.block == block)

    def round_clients(self, index: int) -> tuple[str, ...]:
        """Clients that take part in a round, in roster order: all, but with layer sampling those that have its block."""
        clients = self.names("client")
        if self.sampled_blocks is None:
            return clients
        sampled = self.sampled_blocks
        return tuple(name for name in clients if index in sampled[name])

    def client_rounds(self, client: str) -> tuple[int, ...]:
        """The rounds that a client takes part in, ascending."""
        sampled = self.sampled_blocks
        return tuple(range(self.rounds)) if sampled is None else sampled[client]

    @property
    def sampled_blocks(self) -> dict[str, tuple[int, ...]] | None:
        """With layer sampling, positions in `blocks` of each client's decoder blocks; None without."""
        pruning = self.pruning
        if pruning.fedspallm is UNSET or not pruning.fedspallm.capacities:
            return None
        return _sampled(self)

    @property
    def vectors(self) -> dict[str, int]:
        """Names and lengths of the vectors that a report of square-sums holds, in order; empty with counts."""
        if self.privacy.payload == "counts":
            return {}
        lengths = input_lengths(self.privacy.of_statistics, self.model.matrices)
        return lengths if self.privacy.patients is UNSET else lengths | {PATIENTS_VECTOR: 1}

    @property
    def coordinator(self) -> PartySpec:
        """The one coordinator."""
        return next(p for p in self.parties if p.role == "coordinator")

    def party(self, name: str) -> PartySpec:
        """The roster's entry of `name`.

        Raises:
            ConfigurationError: nobody of that name is in the roster.
        """
        for party in self.parties:
            if party.name == name:
                return party
        raise ConfigurationError(
            f"{name!r} is not in the task's roster", hint="ask the coordinator to enrol this party's card"
        )

    def to_toml(self) -> str:
        """The file that parties exchange and people read; long lists come last."""
        return tomli_w.dumps(msgspec.to_builtins(self))


@functools.lru_cache(maxsize=8)
def _sampled(task: Task) -> dict[str, tuple[int, ...]]:
    return sample_blocks(
        task.pruning.of_fedspallm.capacities,
        len(task.blocks),
        nonce=task.nonce,
        min_clients=task.protocol.min_clients,
    )


def parse_task(text: str) -> Task:
    """Read a task file and check that it makes sense.

    Raises:
        ConfigurationError: not TOML, an unknown or missing key, a value out of range, or parts that
            contradict each other.
    """
    try:
        task = msgspec.convert(load_toml(text), Task)
    except (ValueError, RecursionError) as error:  # msgspec's and tomllib's own are ValueErrors
        raise ConfigurationError(
            f"the task file is not valid: {str(error)[:1000]}",
            hint="ask the coordinator for the original file",
        ) from error
    check_task(task)
    return task


def load_toml(text: str) -> dict[str, object]:
    """Parse TOML that may come from anybody.

    Raises:
        ValueError: not TOML, or a key of very many parts, for which tomllib takes time that grows as their square.
        RecursionError: nested too deeply.
    """
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise ValueError("a line with too many dots")
    return tomllib.loads(text)


def check_task(task: Task) -> None:
    """Refuse a task whose parts contradict each other.

    Raises:
        ConfigurationError: says which part, and what would be allowed.
    """
    names = [p.name for p in task.parties]
    if len(set(names)) != len(names):
        raise ConfigurationError("two parties of the roster have the same name")
    keys = [key for p in task.parties for key in (p.signing_key, p.sealing_key)]
    if len(set(keys)) != len(keys):
        raise ConfigurationError(
            "two parties of the roster share a key",
            hint="every party makes its own keys with `secprune keys new`; no key is ever copied",
        )
    if len(task.names("coordinator")) != 1:
        raise ConfigurationError("the roster must hold exactly one coordinator")
    if auditors := task.names("auditor"):
        raise ConfigurationError(
            f"{auditors[0]} is an auditor, and an auditor takes no part in a study",
            hint="leave the auditor's card out of the cards",
        )
    matrices = [m.name for m in task.model.matrices]
    if len(set(matrices)) != len(matrices):
        raise ConfigurationError("a weight matrix stands twice in the task")
    if (weights := sum(m.rows * m.columns for m in task.model.matrices)) > MAX_WEIGHTS:
        raise ConfigurationError(
            f"the task is about {weights} weights, more than {MAX_WEIGHTS}: no model that is known has so many"
        )
    check_pruning(task.pruning, task.model.matrices)
    check_privacy(task.privacy, task.pruning, task.model.matrices, min_clients=task.protocol.min_clients)
    _check_cohort(task)
    _check_fedspallm(task)


def _check_fedspallm(task: Task) -> None:
    if task.pruning.fedspallm is UNSET:
        return
    if task.protocol.name == "bfv":
        raise ConfigurationError(
            "the protocol bfv does not sum weights yet", hint="choose additive or pairwise for FedSpaLLM"
        )
    if task.privacy.mechanism != "none" or task.privacy.payload != "counts":
        raise ConfigurationError(
            "kept weights have no noise that would protect patients, so FedSpaLLM has no privacy options",
            hint="leave them out, or choose the algorithm fedprllm",
        )
    capacities = task.pruning.fedspallm.capacities
    if not capacities:
        return
    if wrong := sorted(set(capacities) ^ set(task.names("client"))):
        raise ConfigurationError(
            f"capacities and roster do not have the same clients: {', '.join(wrong[:5])}",
            hint="say how many decoder blocks each client can prune, or leave capacities out",
        )
    _ = task.sampled_blocks  # refuses capacities that leave a block to too few clients


def _check_cohort(task: Task) -> None:
    aggregators, floor = len(task.names("aggregator")), task.protocol.min_clients
    _check_key_holders(task)
    if floor > task.n_max:
        raise ConfigurationError(f"min_clients is {floor}, but the roster holds only {task.n_max} clients")
    if task.protocol.name == "cleartext":
        if aggregators < 1:
            raise ConfigurationError("cleartext needs an aggregator")
        return
    if task.protocol.name in {"pairwise", "bfv"}:
        if aggregators != 1:
            raise ConfigurationError(
                f"the protocol {task.protocol.name} has one aggregator, not {aggregators}",
                hint="enrol one, or choose the protocol additive",
            )
    elif aggregators < 2:
        raise ConfigurationError(
            f"additive sharing needs two or more aggregators at organisations that do not collude, not "
            f"{aggregators}",
            hint="enrol a second organisation",
        )
    if floor < MIN_COHORT:
        raise ConfigurationError(
            f"min_clients is {floor}; below {MIN_COHORT} the sum tells each client the other's pruning mask",
            hint=f"set min_clients to {MIN_COHORT} or more",
        )


def _check_key_holders(task: Task) -> None:
    holders, form = len(task.names("key-holder")), task.protocol.key_holder
    if task.protocol.name != "bfv":
        if holders or form != "blind":
            raise ConfigurationError(
                f"only the protocol bfv has key holders, not {task.protocol.name}",
                hint="leave key holders out of the roster and key_holder out of the task",
            )
        return
    if holders < 1 or (form == "simple" and holders != 1):
        raise ConfigurationError(
            f"bfv has {'one key holder' if form == 'simple' else 'one or more key holders'} in the {form} form, "
            f"at organisations other than the aggregator's, not {holders}",
            hint="enrol the card that `secprune keys new --role key-holder` makes",
        )
