"""Grid files: what is varied, written as TOML, and the cells that come of it.

    [defaults]              # what every grid starts from
    clients = 4

    [[grid]]
    name = "ties"
    about = "Which rule decides among equally voted weights."
    ties = ["votes-index", "votes-random"]
    clients = [3, 4]        # every list is an axis; the cells are the Cartesian product

A cell is one way to prune, with one seed. Everything is checked before anything is computed.
"""

from __future__ import annotations

import importlib.resources
import itertools
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from secprune.errors import ConfigurationError, SecpruneError
from secprune.files import read_bytes
from secprune.task import Comparison, FedSpaLLMSpec, LocalPruner, MatrixSpec, PruningSpec, Ties, check_pruning

Split = Literal["hospital", "iid"]
Method = Literal["fedprllm", "fedspallm", "fedspallm-random"]
_Ratio = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(/[1-9][0-9]{0,8}|\.[0-9]{1,9})?\Z")]
_Small = Annotated[int, Meta(ge=1, le=1024)]


class Choices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every axis of a grid, with the value it has where a grid file says nothing.

    All but the last six are those of `PruningSpec`. `windows` are calibration windows of each client;
    `split` hospital gives each client the notes of one file, iid deals out the same notes at random;
    `tokenizer_merges` is the share of the tokenizer's merges that calibration text is tokenised with;
    `texts` is the number of files on whose held-out notes masks are judged. `algorithm` fedspallm-random is FedSpaLLM with the
    weights that not all clients pruned drawn at random: what voting is compared with.
    """

    local_pruner: LocalPruner = "wanda"
    local_comparison: Comparison = "row"
    server_comparison: Comparison = "layer"
    pattern: Annotated[str, Meta(pattern=r"^([1-9][0-9]?:[1-9][0-9]?)?\Z")] = ""
    ties: Ties = "votes-magnitude-index"
    activations: Literal["sequential", "dense"] = "sequential"
    schedule: Literal["one-shot", "iterative"] = "one-shot"
    weight_scaling: bool = False
    sparsity: _Ratio = "1/2"
    clients: _Small = 4
    windows: _Small = 8
    split: Split = "hospital"
    tokenizer_merges: Literal["1", "1/2", "0"] = "1"
    texts: _Small = 4
    algorithm: Method = "fedprllm"

    @property
    def averages(self) -> bool:
        """Whether kept weights are averaged, and so every client's own model has its own weights."""
        return self.algorithm != "fedprllm"

    def pruning(self, *, sequence_length: int) -> PruningSpec:
        """What the task of such a study would say."""
        return PruningSpec(
            local_pruner=self.local_pruner,
            local_comparison=self.local_comparison,
            server_comparison=self.server_comparison,
            pattern=self.pattern,
            ties=self.ties,
            activations=self.activations,
            schedule=self.schedule,
            weight_scaling=self.weight_scaling,
            sparsity=self.sparsity,
            sequence_length=sequence_length,
            max_windows=self.windows,
            algorithm="fedspallm" if self.averages else "fedprllm",
            fedspallm=FedSpaLLMSpec() if self.averages else UNSET,
        )


class Cell(Choices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to prune and one seed: it draws windows, deals out notes and orders ties."""

    seed: int

    @property
    def choices(self) -> Choices:
        """The cell without its seed."""
        return Choices(**{axis: getattr(self, axis) for axis in AXES})


AXES: tuple[str, ...] = Choices.__struct_fields__


class Section(Struct, frozen=True, kw_only=True):
    """One `[[grid]]`: a table and a figure of the report.

    Attributes:
        name: unique in its file.
        about: what the section is to show.
        varied: the axes with more than one value, in the order of the file.
        choices: the Cartesian product, the last axis fastest.
    """

    name: str
    about: str
    varied: tuple[str, ...]
    choices: tuple[Choices, ...]


class Grid(Struct, frozen=True, kw_only=True):
    """A whole grid file."""

    sections: tuple[Section, ...]
    text: str

    def cells(self, seeds: int) -> tuple[Cell, ...]:
        """Every cell once, seed by seed: an interrupted run has whole tables of fewer seeds."""
        return tuple(
            Cell(**{axis: getattr(choices, axis) for axis in AXES}, seed=seed)
            for seed in range(seeds)
            for choices in dict.fromkeys(c for section in self.sections for c in section.choices)
        )

    def check(self, matrices: tuple[MatrixSpec, ...], *, sequence_length: int) -> None:
        """Refuse cells that no task could ask for.

        Raises:
            ConfigurationError: names the grid and the cell.
        """
        for section in self.sections:
            for choices in section.choices:
                try:
                    check_pruning(choices.pruning(sequence_length=sequence_length), matrices)
                except SecpruneError as error:
                    cell = ", ".join(f"{axis}={value}" for axis, value in unusual(choices).items())
                    raise ConfigurationError(
                        f"grid {section.name!r}, cell {cell or 'of defaults'}: {error.message}",
                        hint=error.hint,
                    ) from error


def unusual(choices: Choices) -> dict[str, Any]:
    """What distinguishes choices from the values that an empty grid file has."""
    return {
        axis: value
        for axis, value in msgspec.to_builtins(choices).items()
        if value != getattr(_USUAL, axis, None)
    }


_USUAL = Choices()


def shipped_grids() -> dict[str, Path]:
    """The grids that come with secprune, by name."""
    directory = Path(str(importlib.resources.files("secprune_cli") / "experiment" / "grids"))
    return {path.stem: path for path in sorted(directory.glob("*.toml"))}


def read_grid(name_or_file: str) -> Grid:
    """A shipped grid by its name, or any grid file.

    Raises:
        ConfigurationError: no such grid, or not a valid one.
        LocalEnvironmentError: the file cannot be read.
    """
    shipped = shipped_grids()
    path = shipped.get(name_or_file, Path(name_or_file))
    if not path.is_file():
        raise ConfigurationError(
            f"there is no grid {name_or_file!r}", hint=f"give a TOML file, or one of {', '.join(shipped)}"
        )
    return parse_grid(read_bytes(path, what="the grid").decode("utf-8", errors="replace"))


def parse_grid(text: str) -> Grid:
    """The sections and cells of a grid file.

    Raises:
        ConfigurationError: not TOML, an unknown key or value (grid and key are named), a name that is
            missing or used twice, or no grid at all.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"the grid file is not TOML: {error}", hint="see docs/experiments.md"
        ) from error
    tables = content.get("grid")
    if content.keys() - {"defaults", "grid"} or not isinstance(tables, list) or not tables:
        raise ConfigurationError(
            "a grid file holds [defaults] and one or more [[grid]], and nothing else",
            hint="see docs/experiments.md",
        )
    defaults = _axes("[defaults]", content.get("defaults", {}))
    if any(len(values) > 1 for values in defaults.values()):
        raise ConfigurationError("[defaults] holds a list", hint="vary an axis in a [[grid]]")
    sections: list[Section] = []
    for number, table in enumerate(tables, start=1):
        name = table.pop("name", None) if isinstance(table, dict) else None
        if not isinstance(name, str) or not name or name in {s.name for s in sections}:
            raise ConfigurationError(f"grid number {number} has no name of its own", hint='add name = "..."')
        about = table.pop("about", "")
        axes = defaults | _axes(f"grid {name!r}", table)
        sections.append(
            Section(
                name=name,
                about=str(about),
                varied=tuple(axis for axis in table if len(axes[axis]) > 1),
                choices=tuple(
                    msgspec.convert(dict(zip(axes, values, strict=True)), Choices)
                    for values in itertools.product(*axes.values())
                ),
            )
        )
    return Grid(sections=tuple(sections), text=text)


def _axes(where: str, table: Any) -> dict[str, list[Any]]:
    """The values of each axis that a table names, each checked by itself so that an error can name it."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} is not a table", hint="see docs/experiments.md")
    axes: dict[str, list[Any]] = {}
    for axis, given in table.items():
        if axis not in AXES:
            raise ConfigurationError(
                f"{where}: there is no axis {axis!r}", hint=f"the axes are {', '.join(AXES)}"
            )
        values = given if isinstance(given, list) else [given]
        if not values or len({repr(value) for value in values}) != len(values):
            raise ConfigurationError(
                f"{where}: {axis} is an empty list, or holds a value twice", hint="give each value once"
            )
        for value in values:
            try:
                msgspec.convert({axis: value}, Choices)
            except msgspec.ValidationError as error:
                raise ConfigurationError(
                    f"{where}: {axis} = {value!r} is not possible: {error}", hint="see docs/experiments.md"
                ) from error
        axes[axis] = values
    return axes
