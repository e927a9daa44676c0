"""The options that say what is protected, shared by `coordinator init` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from secprune.errors import LocalMisuseError
from secprune.parties.study_privacy import NO_PRIVACY, PrivacyOptions

_PANEL = "What is protected"

PayloadOption = Annotated[
    str,
    typer.Option(
        help="counts: of pruning masks. square-sums: of feature statistics, with noise (--epsilon).",
        rich_help_panel=_PANEL,
    ),
]
EpsilonOption = Annotated[
    str | None,
    typer.Option(help="Differential privacy for patients: epsilon, such as 8.", rich_help_panel=_PANEL),
]
DeltaOption = Annotated[str, typer.Option(help="And delta.", rich_help_panel=_PANEL)]
UnitOption = Annotated[
    str,
    typer.Option(
        help="patient: all notes with one value of the field `patient` of .jsonl files together; or document.",
        rich_help_panel=_PANEL,
    ),
]
ClipOption = Annotated[
    str | None,
    typer.Option(
        help="Bound of one patient's statistics, never taken from private data; the public reference's typical one if "
        "not given.",
        rich_help_panel=_PANEL,
    ),
]
ColludersOption = Annotated[
    int | None,
    typer.Option(
        help="square-sums, vote noise: hospitals whose noise may be missing or known; a quarter if not given.",
        min=0,
        rich_help_panel=_PANEL,
    ),
]
RecentringOption = Annotated[
    str,
    typer.Option(
        help="square-sums: share of the budget for a first round that moves the reference, such as 0.25.",
        rich_help_panel=_PANEL,
    ),
]
VoteNoiseOption = Annotated[
    str | None,
    typer.Option(
        help="counts: standard deviation of noise on each vote sum. No patient is protected by it.",
        rich_help_panel=_PANEL,
    ),
]
FlipOption = Annotated[
    str | None,
    typer.Option(
        help="counts: probability with which each vote is turned round. No patient is protected by it.",
        rich_help_panel=_PANEL,
    ),
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        help="Public reference, from `coordinator reference`; with --epsilon.",
        rich_help_panel=_PANEL,
    ),
]


def privacy_options(**given: str | int | Path | None) -> PrivacyOptions:
    """Checked PrivacyOptions from the options given on the command line.

    Raises:
        LocalMisuseError: a value that does not exist.
    """
    reference = given.pop("reference", None)
    try:
        options = msgspec.convert(given, PrivacyOptions)
    except msgspec.ValidationError as error:
        raise LocalMisuseError(
            f"this cannot be protected: {error}", hint="see --help for the values that exist"
        ) from error
    return msgspec.structs.replace(options, reference=reference)


def activations_for(given: str, epsilon: str | None, payload: str) -> str:
    """Activations where nothing was said of them: dense if statistics are taken, as Wanda has them otherwise."""
    return given or ("dense" if epsilon is not None or payload == "square-sums" else "sequential")


def privacy_arguments(options: PrivacyOptions) -> list[str]:
    """The command-line arguments that give these options, but for the reference: the inverse of `privacy_options`."""
    arguments = []
    for name, value in msgspec.structs.asdict(options).items():
        if name != "reference" and value != getattr(NO_PRIVACY, name):
            arguments += ["--" + name.replace("_", "-"), str(value)]
    return arguments
