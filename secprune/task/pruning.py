"""How a task prunes: matrices of the model, the algorithm's choices, and exact numbers of weights."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from secprune.errors import ConfigurationError
from secprune.ids import MatrixName, Name

if TYPE_CHECKING:
    from collections.abc import Sequence

Positive = Annotated[int, Meta(ge=1, lt=2**31)]


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
    rows: Positive
    columns: Positive
    transposed: bool = False
    block: Annotated[int, Meta(ge=0, lt=2**31)] = 0


Algorithm = Literal["fedprllm", "fedspallm"]
LocalPruner = Literal["wanda", "wanda-adaptive", "magnitude", "sparsegpt"]
Comparison = Literal["row", "layer", "column"]
Ties = Literal["votes-magnitude-index", "votes-index", "votes-random"]

Ratio = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(/[1-9][0-9]{0,8}|\.[0-9]{1,9})?\Z")]


class FedSpaLLMSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What FedSpaLLM (arXiv 2410.14852) needs beyond pruning masks.

    `weight_bits` is the width of the whole numbers as which clients send the weights they kept
    (`secprune.fixedpoint`). `capacities` says how many decoder blocks each client of the roster can prune; none at
    all: every client prunes every block, and there is one round.
    """

    weight_bits: Annotated[int, Meta(ge=8, le=16)] = 15
    capacities: dict[Name, Positive] = {}

    def __hash__(self) -> int:  # tasks are keys of caches, and dicts have no hash
        return hash((self.weight_bits, frozenset(self.capacities.items())))


class PruningSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is computed: FedPrLLM (arXiv 2505.13547) over the pruning masks of a local pruner, or FedSpaLLM.

    `local_comparison` is the group within which a client compares scores (Wanda's is the row),
    `server_comparison` the one within which votes are. `pattern` N:M prunes N of every M consecutive input
    columns of a row, at both. `ties` of equally voted weights: by |W| then index, by index, or in an order
    drawn from the task's nonce. `weight_scaling` multiplies a kept weight by the share of clients that
    kept it. `schedule` iterative: one secure sum per decoder block, the next one on agreed masks.
    """

    algorithm: Algorithm = "fedprllm"
    local_pruner: LocalPruner = "wanda"
    local_comparison: Comparison = "row"
    server_comparison: Comparison = "layer"
    pattern: Annotated[str, Meta(pattern=r"^([1-9][0-9]?:[1-9][0-9]?)?\Z")] = ""
    ties: Ties = "votes-magnitude-index"
    activations: Literal["sequential", "dense"] = "sequential"
    schedule: Literal["one-shot", "iterative"] = "one-shot"
    weight_scaling: bool = False
    sparsity: Ratio
    sequence_length: Annotated[int, Meta(ge=2, le=2**20)]
    max_windows: Positive
    max_zero_vote_share: Ratio = "1/100"
    fedspallm: FedSpaLLMSpec | UnsetType = UNSET

    @property
    def of_fedspallm(self) -> FedSpaLLMSpec:
        """What only tasks of FedSpaLLM have.

        Raises:
            ConfigurationError: this is another algorithm.
        """
        if self.fedspallm is UNSET:
            raise ConfigurationError("this task does not sum weights", hint="only FedSpaLLM does")
        return self.fedspallm

    @property
    def by_blocks(self) -> bool:
        """Whether there is one secure sum for each decoder block."""
        sampled = self.fedspallm is not UNSET and bool(self.fedspallm.capacities)
        return sampled or self.schedule == "iterative"

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
        """Ones in every row of any honest local mask; None if nothing fixes that number.

        Clients of FedSpaLLM each have a sparsity of their own.
        """
        if self.algorithm == "fedspallm":
            return None
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
        if self.algorithm == "fedspallm":
            return -int(-rows * columns * self.exact_sparsity // 1)  # Eq. 6: the ceiling
        if self.server_comparison == "row":
            return rows * self.row_k(columns)
        if self.server_comparison == "column":
            return columns * row_k(rows, self.exact_sparsity)
        return self.layer_k(rows, columns)

    def layer_k(self, rows: int, columns: int) -> int:
        """Weights that the final pruning mask removes from a matrix: floor(R * C * s)."""
        return layer_k(rows, columns, self.exact_sparsity)


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
    _check_algorithm(pruning)
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


def _check_algorithm(pruning: PruningSpec) -> None:
    if (pruning.algorithm == "fedspallm") != (pruning.fedspallm is not UNSET):
        raise ConfigurationError(
            "a task of FedSpaLLM has a table [pruning.fedspallm], and no other task has one",
            hint='set algorithm = "fedspallm", or leave the table out',
        )
    if pruning.algorithm != "fedspallm":
        return
    if pruning.pattern or pruning.server_comparison != "layer" or pruning.weight_scaling:
        raise ConfigurationError(
            "FedSpaLLM expands the masks of whole matrices and averages weights: it has no N:M pattern, no row or column "
            "comparison at the server, and no weight scaling",
            hint="leave these out, or choose the algorithm fedprllm",
        )
    if pruning.schedule != "one-shot" or pruning.ties != "votes-magnitude-index":
        raise ConfigurationError(
            "FedSpaLLM prunes in one shot, and its ties are by votes, magnitude and index",
            hint="leave schedule and ties out, or choose the algorithm fedprllm",
        )
