"""The options that say how to prune, shared by `coordinator init` and `demo`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.task import KeyHolderForm, PruningSpec

LocalPrunerOption = Annotated[
    str, typer.Option(help="wanda, wanda-adaptive, magnitude or sparsegpt.", rich_help_panel="How to prune")
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


def pruning_spec(**options: str | int | bool) -> PruningSpec:
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
    for name, value in msgspec.to_builtins(pruning).items():
        if value != getattr(DEFAULTS, name):
            option = "--" + name.replace("_", "-")
            arguments += [option] if value is True else [option, str(value)]
    return arguments
