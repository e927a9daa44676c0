"""`secprune evaluate`: perplexity of a checkpoint on a text, or its accuracy on lm-eval's tasks."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from secprune.errors import LocalMisuseError
from secprune_cli._output import JsonOption, show
from secprune_cli.evaluate.results import EvaluateResult, ScoreResult, TasksResult, dataset_result

_DEFAULT_SEQUENCE_LENGTH = 256


class Dataset(StrEnum):
    """A text of the papers."""

    wikitext2 = "wikitext2"
    c4 = "c4"
    ptb = "ptb"


class Dtype(StrEnum):
    """The number type that the model is measured in."""

    stored = "stored"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


def evaluate(
    model: Annotated[Path, typer.Argument(help="Directory of a Hugging Face causal LM (safetensors).")],
    text: Annotated[
        Path | None,
        typer.Option(help=".txt (blank line between documents), .jsonl (field text), or a directory."),
    ] = None,
    dataset: Annotated[
        Dataset | None, typer.Option(help="Perplexity on a text of the pruning papers, as they define it.")
    ] = None,
    dataset_path: Annotated[
        Path | None, typer.Option(help="A copy of the data set on this machine, instead of the hub.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Zero-shot tasks of lm-eval, with commas between them.")
    ] = None,
    tasks_path: Annotated[
        Path | None, typer.Option(help="Directory of your own lm-eval tasks; they can run code.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Questions of each task, to try it out.", min=1)] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens in a window; windows do not overlap.",
            show_default="256; with --dataset 2048 or what the model takes",
            min=2,
        ),
    ] = None,
    max_windows: Annotated[int | None, typer.Option(help="Windows to score at most.", min=1)] = None,
    partial_window: Annotated[
        bool | None,
        typer.Option(
            "--partial-window/--whole-windows",
            help="Whether a last window that is not whole counts.",
            show_default="with --text it counts, with --dataset it does not, as in the papers",
        ),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Number type of the model; stored: the checkpoint's.")
    ] = Dtype.stored,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<number>.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Perplexity over contiguous windows (--text or --dataset), or zero-shot accuracy (--tasks)."""
    _check_options(
        one_of={"--text": text, "--dataset": dataset, "--tasks": tasks},
        belongs={
            "--dataset-path": (dataset_path, dataset),
            "--tasks-path": (tasks_path, tasks),
            "--limit": (limit, tasks),
            "--sequence-length": (sequence_length, text or dataset),
            "--max-windows": (max_windows, text or dataset),
            "--partial-window": (partial_window, text or dataset),
        },
    )
    if tasks is None:
        measured = _perplexity(
            model, text, dataset, dataset_path, sequence_length, max_windows, partial_window, dtype, device
        )
        show(measured, as_json=as_json, title="Perplexity")
    else:
        scores = _zero_shot(model, tasks, tasks_path, limit, dtype, device)
        show(scores, as_json=as_json, title="Zero-shot accuracy")


def _perplexity(
    model: Path,
    text: Path | None,
    dataset: Dataset | None,
    dataset_path: Path | None,
    sequence_length: int | None,
    max_windows: int | None,
    partial_window: bool | None,
    dtype: Dtype,
    device: str,
) -> EvaluateResult:
    from secprune.pruning import evaluation
    from secprune.pruning.calibration import text_tokens
    from secprune.pruning.checkpoint import tokenizer_digest
    from secprune.pruning.models import check_sequence_length, load_tokenizer
    from secprune.pruning.notes import read_notes
    from secprune.pruning.paper_texts import load_paper_text
    from secprune.pruning.perplexity import perplexity

    # Whatever can be wrong with the text is said before the model is loaded.
    notes = read_notes(text) if text is not None else []
    paper = load_paper_text(dataset.value, dataset_path) if dataset is not None else None
    tokenizer = load_tokenizer(model)
    loaded = evaluation.load_for_evaluation(model, dtype=dtype.value, device=device)
    if paper is None:
        length = sequence_length or _DEFAULT_SEQUENCE_LENGTH
        tokens = text_tokens(notes, tokenizer)
    else:
        length = sequence_length or evaluation.papers_sequence_length(loaded.config)
        tokens = evaluation.paper_tokens(paper.spec, paper.text, tokenizer, sequence_length=length)
    check_sequence_length(loaded.config, length)
    measured = perplexity(
        loaded,
        tokens,
        sequence_length=length,
        max_windows=max_windows,
        partial_window=paper is None if partial_window is None else partial_window,
    )
    return EvaluateResult(
        model=str(model),
        text=None if text is None else str(text),
        perplexity=round(measured.value, 4),
        sequence_length=measured.sequence_length,
        windows=measured.windows,
        tokens_scored=measured.tokens_scored,
        tokens=tokens.numel(),
        partial_window_scored=measured.partial_window,
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        tokenizer_digest=tokenizer_digest(model),
        dataset=None if paper is None else dataset_result(paper, dataset_path),
    )


def _zero_shot(
    model: Path, tasks: str, tasks_path: Path | None, limit: int | None, dtype: Dtype, device: str
) -> TasksResult:
    from secprune.pruning.checkpoint import tokenizer_digest
    from secprune.pruning.evaluation import load_for_evaluation
    from secprune.pruning.models import load_tokenizer
    from secprune.pruning.zero_shot import zero_shot

    tokenizer = load_tokenizer(model)
    loaded = load_for_evaluation(model, dtype=dtype.value, device=device)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    measured = zero_shot(loaded, tokenizer, names, tasks_path=tasks_path, limit=limit)
    return TasksResult(
        model=str(model),
        scores=[
            ScoreResult(
                task=score.task,
                metric=score.metric,
                value=round(score.value, 4),
                stderr=None if score.stderr is None else round(score.stderr, 4),
                num_fewshot=score.num_fewshot,
                samples=score.samples,
                version=score.version,
            )
            for score in measured.scores
        ],
        limit=limit,
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        tokenizer_digest=tokenizer_digest(model),
        lm_eval_version=measured.lm_eval_version,
    )


def _check_options(one_of: dict[str, object], belongs: dict[str, tuple[object, object]]) -> None:
    """Exactly one of `one_of` is given, and what goes with one of them only goes with that one."""
    given = [name for name, value in one_of.items() if value is not None]
    if len(given) != 1:
        raise LocalMisuseError(
            f"{' and '.join(given) if given else 'nothing'} to measure on",
            hint=f"give exactly one of {', '.join(one_of)}",
        )
    for name, (value, owner) in belongs.items():
        if value is not None and owner is None:
            raise LocalMisuseError(
                f"{name} means nothing with {given[0]}", hint="see secprune evaluate --help"
            )
