"""The task: everything all parties of a study agree on, and the digest that names it.

One TOML file. Its canonical form (JSON, keys sorted, no spaces, UTF-8) is hashed to the *task id*, and
the id goes into every signature, sealed message and key derivation, so that two parties with different
tasks never produce anything that fits together. Unknown keys are refused.
"""

from __future__ import annotations

import tomllib
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from secprune.errors import ConfigurationError
from secprune.ids import Digest, MatrixName, Name, Role, StudyName, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

ProtocolName = Literal["additive", "pairwise", "bfv", "cleartext"]
KeyHolderForm = Literal["blind", "simple"]

_MAX_DOTS = 256
"""In one line of TOML; names and free texts have fewer."""

MIN_COHORT = 3
"""Below three clients the sum tells each member the other's pruning mask."""

MAX_WEIGHTS = 2**40
"""A trillion: every party lists the chunks of a task in memory, whoever made the task."""

_Positive = Annotated[int, Meta(ge=1, lt=2**31)]
_Key = Annotated[bytes, Meta(min_length=32, max_length=4096)]


def layer_k(rows: int, columns: int, sparsity: Fraction) -> int:
    """Weights the server prunes in one matrix: floor(R * C * s), exactly.

    Raises:
        ConfigurationError: a sparsity outside [0, 1), or one that is not rational (0.29 as a float is
            not 29/100, and 100 * 0.29 is 28.999...: a party would prune one weight less).
    """
    return int(rows * columns * _checked(sparsity))


def row_k(columns: int, sparsity: Fraction) -> int:
    """Weights Wanda prunes in each row: floor(C * s), exactly.

    Raises:
        ConfigurationError: as for `layer_k`.
    """
    return int(columns * _checked(sparsity))


def _checked(sparsity: Fraction) -> Fraction:
    exact: object = sparsity  # a caller without type checks may well pass a float
    if not isinstance(exact, Fraction) or not 0 <= exact < 1:
        raise ConfigurationError(
            f"sparsity {sparsity} is not an exact fraction in [0, 1)",
            hint='write it as a decimal or a ratio in quotes, such as "0.5" or "29/100"',
        )
    return exact


class MatrixSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prunable weight matrix of the model: outputs by inputs, and the decoder block it lies in.

    Masks and counts are always outputs by inputs; `transposed` says that the checkpoint stores the matrix
    the other way round, as GPT-2's does.
    """

    name: MatrixName
    rows: _Positive
    columns: _Positive
    transposed: bool = False
    block: Annotated[int, Meta(ge=0, lt=2**31)] = 0


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which public model is pruned; every party that holds it checks the digests."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    weights_digest: Digest
    tokenizer_digest: Digest
    matrices: Annotated[tuple[MatrixSpec, ...], Meta(min_length=1, max_length=100_000)]


LocalPruner = Literal["wanda", "wanda-adaptive", "magnitude", "sparsegpt"]
Comparison = Literal["row", "layer", "column"]
Ties = Literal["votes-magnitude-index", "votes-index", "votes-random"]

_Ratio = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(/[1-9][0-9]{0,8}|\.[0-9]{1,9})?\Z")]


class PruningSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is computed: FedPrLLM (arXiv 2505.13547) over the pruning masks of a local pruner.

    `local_comparison` is the group within which a client compares scores (Wanda's is the row),
    `server_comparison` the one within which votes are. `pattern` N:M prunes N of every M consecutive input
    columns of a row, at both. `ties` of equally voted weights: by |W| then index, by index, or in an order
    drawn from the task's nonce. `weight_scaling` multiplies a kept weight by the share of clients that
    kept it. `schedule` iterative: one secure sum per decoder block, the next one on agreed masks.
    """

    algorithm: Literal["fedprllm"] = "fedprllm"
    local_pruner: LocalPruner = "wanda"
    local_comparison: Comparison = "row"
    server_comparison: Comparison = "layer"
    pattern: Annotated[str, Meta(pattern=r"^([1-9][0-9]?:[1-9][0-9]?)?\Z")] = ""
    ties: Ties = "votes-magnitude-index"
    activations: Literal["sequential", "dense"] = "sequential"
    schedule: Literal["one-shot", "iterative"] = "one-shot"
    weight_scaling: bool = False
    sparsity: _Ratio
    sequence_length: Annotated[int, Meta(ge=2, le=2**20)]
    max_windows: _Positive
    max_zero_vote_share: _Ratio = "1/100"

    @property
    def exact_sparsity(self) -> Fraction:
        """Sparsity as an exact rational: 0.29 of 100 columns is 29, which floating point makes 28."""
        return Fraction(self.sparsity)

    @property
    def group_pattern(self) -> tuple[int, int] | None:
        """(N, M) of an N:M pattern: N are pruned of each M; None if the task has no pattern."""
        if not self.pattern:
            return None
        pruned, group = self.pattern.split(":")
        return int(pruned), int(group)

    def row_k(self, columns: int) -> int:
        """Weights that a client prunes in each row under row comparison: floor(C * s)."""
        return row_k(columns, self.exact_sparsity)

    def row_budget(self, columns: int) -> int | None:
        """Ones in every row of any honest local mask; None if the local pruner does not fix that number."""
        if self.group_pattern is not None:
            pruned, group = self.group_pattern
            return columns // group * pruned
        if self.local_comparison == "row" and self.local_pruner in {"wanda", "magnitude"}:
            return self.row_k(columns)
        return None

    def final_k(self, rows: int, columns: int) -> int:
        """Weights that the final pruning mask removes from a matrix, whatever the server compares."""
        if self.group_pattern is not None:
            pruned, group = self.group_pattern
            return rows * (columns // group) * pruned
        if self.server_comparison == "row":
            return rows * self.row_k(columns)
        if self.server_comparison == "column":
            return columns * row_k(rows, self.exact_sparsity)
        return self.layer_k(rows, columns)

    def layer_k(self, rows: int, columns: int) -> int:
        """Weights that the final pruning mask removes from a matrix: floor(R * C * s)."""
        return layer_k(rows, columns, self.exact_sparsity)


class ProtocolSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the sum is protected, and below which cohort nothing is released.

    `key_holder`, of `bfv` alone: blind ones never see the sum; a simple one decrypts it, for fewer bits.
    """

    name: ProtocolName
    min_clients: Annotated[int, Meta(ge=1, lt=2**16)]
    key_holder: KeyHolderForm = "blind"


class PrivacySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server side learns, and what is done to it for patients."""

    payload: Literal["counts"] = "counts"
    mechanism: Literal["none"] = "none"


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
        """Secure sums of the task: one, or one for each decoder block."""
        return len({m.block for m in self.model.matrices}) if self.pruning.schedule == "iterative" else 1

    def round_matrices(self, index: int) -> tuple[MatrixSpec, ...]:
        """The matrices that one round sums over: all, or those of the index-th decoder block."""
        if self.pruning.schedule == "one-shot":
            return self.model.matrices
        block = sorted({m.block for m in self.model.matrices})[index]
        return tuple(m for m in self.model.matrices if m.block == block)

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
    matrices = [m.name for m in task.model.matrices]
    if len(set(matrices)) != len(matrices):
        raise ConfigurationError("a weight matrix stands twice in the task")
    if (weights := sum(m.rows * m.columns for m in task.model.matrices)) > MAX_WEIGHTS:
        raise ConfigurationError(
            f"the task is about {weights} weights, more than {MAX_WEIGHTS}: no model that is known has so many"
        )
    check_pruning(task.pruning, task.model.matrices)
    _check_cohort(task)


def check_pruning(pruning: PruningSpec, matrices: Sequence[MatrixSpec]) -> None:
    """Refuse choices that contradict each other or do not fit the model.

    Raises:
        ConfigurationError: says which choices, and what would be allowed.
    """
    if not 0 < pruning.exact_sparsity < 1:
        raise ConfigurationError(f"sparsity {pruning.sparsity} is not between 0 and 1")
    if pruning.local_pruner in {"wanda-adaptive", "sparsegpt"} and pruning.local_comparison != "row":
        raise ConfigurationError(
            f"{pruning.local_pruner} chooses its own groups of weights",
            hint='leave local_comparison at "row" with it',
        )
    if pruning.schedule == "iterative" and (pruning.weight_scaling or pruning.local_pruner == "sparsegpt"):
        raise ConfigurationError(
            "the iterative schedule goes on from dense weights under the agreed mask: with weight scaling clients "
            "would need the counts, with sparsegpt each other's weights",
            hint="use the one-shot schedule, or another local pruner without weight scaling",
        )
    if pruning.group_pattern is None:
        return
    pruned, group = pruning.group_pattern
    if pruning.local_pruner == "wanda-adaptive":
        raise ConfigurationError("wanda-adaptive has no N:M form", hint="use wanda, magnitude or sparsegpt")
    if pruned >= group or Fraction(pruned, group) != pruning.exact_sparsity:
        raise ConfigurationError(
            f"the pattern {pruning.pattern} prunes {pruned} of {group}, the sparsity is {pruning.sparsity}",
            hint=f"set sparsity to {pruned}/{group}",
        )
    for matrix in matrices:
        if matrix.columns % group:
            raise ConfigurationError(
                f"{matrix.name} has {matrix.columns} columns, not a multiple of {group}",
                hint="choose another pattern",
            )


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
