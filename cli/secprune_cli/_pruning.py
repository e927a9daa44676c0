"""The options that say how to prune, shared by `coordinator init` and `demo`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.task import KeyHolderForm, PruningSpec

LocalPrunerOption = Annotated[
    str,
    typer.Option(
        help="wanda (the default), wanda-adaptive, magnitude or sparsegpt (the default of fedspallm).",
        rich_help_panel="How to prune",
    ),
]
AlgorithmOption = Annotated[
    str,
    typer.Option(
        help="fedprllm: pruning masks are summed. fedspallm: also the weights that clients kept, which the pruned model then "
        "has the means of; it discloses more (docs/fedspallm.md).",
        rich_help_panel="How to prune",
    ),
]
WeightBitsOption = Annotated[
    int | None,
    typer.Option(
        help="fedspallm: width of a kept weight as it is sent; 15.",
        min=8,
        max=16,
        rich_help_panel="How to prune",
    ),
]
CapacityOption = Annotated[
    list[str] | None,
    typer.Option(
        help="fedspallm: NAME=BLOCKS, decoder blocks that a client can prune; for every client once, or for none.",
        rich_help_panel="How to prune",
    ),
]
LocalComparisonOption = Annotated[
    str,
    typer.Option(help="Group a client compares in: row, layer or column.", rich_help_panel="How to prune"),
]
ServerComparisonOption = Annotated[
    str,
    typer.Option(help="Group votes are compared in: layer, row or column.", rich_help_panel="How to prune"),
]
PatternOption = Annotated[
    str, typer.Option(help="N:M, as 2:4: prune N of every M inputs.", rich_help_panel="How to prune")
]
TiesOption = Annotated[
    str,
    typer.Option(help="votes-magnitude-index, votes-index or votes-random.", rich_help_panel="How to prune"),
]
ActivationsOption = Annotated[
    str,
    typer.Option(
        help="sequential (of the pruned model, as Wanda; the default) or dense (where patients are protected, always).",
        rich_help_panel="How to prune",
    ),
]
ScheduleOption = Annotated[
    str, typer.Option(help="one-shot, or iterative: one secure sum a block.", rich_help_panel="How to prune")
]
WeightScalingOption = Annotated[
    bool, typer.Option(help="Scale kept weights by the share that kept them.", rich_help_panel="How to prune")
]

KeyHolderOption = Annotated[
    str,
    typer.Option(
        help="Protocol bfv: blind key holders never see the sum; a simple one decrypts it, for fewer bits."
    ),
]

DEFAULTS = PruningSpec(sparsity="1/2", sequence_length=2048, max_windows=128)
"""What `coordinator init` takes where nothing is said."""


def key_holder_form(given: str) -> KeyHolderForm:
    """A checked form of key holder.

    Raises:
        LocalMisuseError: there is no such form.
    """
    try:
        return msgspec.convert(given, KeyHolderForm)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        raise LocalMisuseError(
            f"there is no form of key holder {given!r}", hint="choose blind or simple"
        ) from None


def algorithm_options(
    algorithm: str, *, local_pruner: str, weight_bits: int | None, capacities: list[str] | None
) -> dict[str, Any]:
    """What `pruning_spec` takes of the options that say which algorithm there is.

    Raises:
        LocalMisuseError: options of the other algorithm, or a capacity that is none.
    """
    if algorithm == "fedprllm" and (weight_bits is not None or capacities):
        raise LocalMisuseError(
            "only fedspallm has --weight-bits and --capacity",
            hint="add --algorithm fedspallm, or leave them out",
        )
    usual = "sparsegpt" if algorithm == "fedspallm" else DEFAULTS.local_pruner
    found: dict[str, Any] = {"algorithm": algorithm, "local_pruner": local_pruner or usual}
    if algorithm == "fedspallm":
        blocks = named_values(capacities or [], what="--capacity")
        if wrong := [number for number in blocks.values() if not (number.isdecimal() and len(number) < 10)]:
            raise LocalMisuseError(
                f"--capacity: {wrong[0]!r} is not a number of decoder blocks", hint="as NAME=12"
            )
        found["fedspallm"] = {"capacities": {name: int(number) for name, number in blocks.items()}}
        if weight_bits is not None:
            found["fedspallm"]["weight_bits"] = weight_bits
    return found


def named_values(given: list[str], *, what: str) -> dict[str, str]:
    """Options of the form NAME=VALUE.

    Raises:
        LocalMisuseError: one has another form, or a name stands twice.
    """
    pairs = [one.partition("=") for one in given]
    names = [name for name, _, _ in pairs]
    for name, sign, value in pairs:
        if not (name and sign and value) or names.count(name) > 1:
            raise LocalMisuseError(
                f"{what} {name}{sign}{value} is not NAME=VALUE, or stands twice", hint="name each client once"
            )
    return {name: value for name, _, value in pairs}


def pruning_spec(**options: Any) -> PruningSpec:
    """A checked PruningSpec from the options given on the command line.

    Raises:
        ConfigurationError: a value that does not exist.
    """
    try:
        return msgspec.convert(options, PruningSpec)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"this is not a way to prune: {error}", hint="see --help for the values that exist"
        ) from error


def pruning_arguments(pruning: PruningSpec) -> list[str]:
    """The command-line arguments that give this PruningSpec: the inverse of `pruning_spec`."""
    arguments = []
    options = msgspec.to_builtins(pruning)
    if of_fedspallm := options.pop("fedspallm", None):
        arguments += ["--weight-bits", str(of_fedspallm["weight_bits"])]
        for name, blocks in of_fedspallm["capacities"].items():
            arguments += ["--capacity", f"{name}={blocks}"]
    for name, value in options.items():
        if value != getattr(DEFAULTS, name) or name == "local_pruner":  # its default differs by algorithm
            option = "--" + name.replace("_", "-")
            arguments += [option] if value is True else [option, str(value)]
    return arguments
