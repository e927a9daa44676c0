"""`secprune evaluate`: perplexity of a checkpoint on a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from secprune_cli._output import JsonOption, show


class EvaluateResult(msgspec.Struct, frozen=True, kw_only=True):
    """Perplexity, and exactly what it was measured on."""

    model: str
    text: str
    perplexity: float
    sequence_length: int
    windows: int
    tokens_scored: int


def evaluate(
    model: Annotated[Path, typer.Argument(help="Directory of a Hugging Face causal LM (safetensors).")],
    text: Annotated[
        Path, typer.Option(help=".txt (blank line between documents), .jsonl (field text), or a directory.")
    ],
    sequence_length: Annotated[
        int, typer.Option(help="Tokens in a window; windows do not overlap.", min=2)
    ] = 256,
    max_windows: Annotated[int | None, typer.Option(help="Windows to score at most.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Perplexity over contiguous windows, as the pruning papers measure it."""
    from secprune.pruning.calibration import text_tokens
    from secprune.pruning.models import check_sequence_length, load_model, load_tokenizer
    from secprune.pruning.notes import read_notes
    from secprune.pruning.perplexity import perplexity

    tokens = text_tokens(read_notes(text), load_tokenizer(model))
    loaded = load_model(model)
    check_sequence_length(loaded.config, sequence_length)
    measured = perplexity(loaded, tokens, sequence_length=sequence_length, max_windows=max_windows)
    result = EvaluateResult(
        model=str(model),
        text=str(text),
        perplexity=round(measured.value, 4),
        sequence_length=measured.sequence_length,
        windows=measured.windows,
        tokens_scored=measured.tokens_scored,
    )
    show(result, as_json=as_json, title="Perplexity")
