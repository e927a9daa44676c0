"""Zero-shot accuracy with EleutherAI's lm-eval, on a model that is already loaded.

The model is handed over as an object, so that lm-eval neither looks for it on the Hugging Face hub nor runs
code that comes with it. The tasks' data are another matter: lm-eval gets them from the hub, from the cache,
or from files that a task definition names.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from secprune.errors import LocalEnvironmentError, LocalMisuseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_STDERR = "_stderr"


@dataclass(frozen=True, slots=True)
class TaskScore:
    """One metric of one lm-eval task.

    Attributes:
        task: name of the task, or of a group of tasks.
        version: of its definition; scores of two versions cannot be compared. None: it states none.
        metric: such as "acc" or "acc_norm"; after a comma the filter on answers, if there is one.
        value: of the metric.
        stderr: standard error of the value; None if lm-eval gives none.
        num_fewshot: solved examples in the prompt.
        samples: questions that were asked; None for a group.
    """

    task: str
    version: str | None
    metric: str
    value: float
    stderr: float | None
    num_fewshot: int
    samples: int | None


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Scores of all tasks, and which lm-eval measured them."""

    scores: tuple[TaskScore, ...]
    lm_eval_version: str


def zero_shot(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    tasks_path: Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
) -> ZeroShot:
    """Ask a model the questions of lm-eval's tasks, without solved examples.

    Args:
        model: causal LM of transformers in eval mode, on the device where it is to run.
        tokenizer: its own, from transformers.
        tasks: names of tasks or groups; `*` stands for any characters.
        tasks_path: directory of further task definitions. They can run code: give only those you trust.
        limit: ask only that many questions of each task; for trying out, not for figures.
        batch_size: questions at a time.

    Returns:
        All metrics of all tasks.

    Raises:
        LocalMisuseError: no task of a name, no such directory, or a number below 1.
        LocalEnvironmentError: lm-eval is not installed, cannot get a task's data, or fails.
    """
    if not tasks or (limit is not None and limit < 1) or batch_size < 1:
        raise LocalMisuseError(
            "there is nothing to ask the model", hint="name at least one task, and numbers above 0"
        )
    if tasks_path is not None and not tasks_path.is_dir():
        raise LocalMisuseError(
            f"there is no directory {tasks_path}", hint="name the directory that holds the tasks' YAML files"
        )
    # What lm-eval and tasks print must not get between the lines of a result.
    with contextlib.redirect_stdout(sys.stderr):
        results = _run(model, tokenizer, tasks, tasks_path, limit, batch_size)
    return ZeroShot(tuple(_scores(results)), version("lm_eval"))


def _run(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    tasks_path: Path | None,
    limit: int | None,
    batch_size: int,
) -> Mapping[str, Any]:
    try:
        import lm_eval  # noqa: PLC0415 - an extra: only who measures on its tasks needs it
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415
        from lm_eval.tasks import TaskManager  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise LocalEnvironmentError(
            f"zero-shot tasks need lm-eval, and {error.name} is not installed",
            hint="run: pip install 'secprune[evaluate]'",
        ) from error
    manager = TaskManager(include_path=None if tasks_path is None else str(tasks_path))
    names = [(task, manager.match_tasks([task])) for task in tasks]
    unknown = [task for task, matches in names if not matches]
    if unknown:
        raise LocalMisuseError(
            f"lm-eval {version('lm_eval')} knows no task {', '.join(unknown)}",
            hint="`lm-eval ls tasks` lists those that it knows; --tasks-path adds your own",
        )
    try:
        results: Mapping[str, Any] = lm_eval.simple_evaluate(
            HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=list(dict.fromkeys(match for _, matches in names for match in matches)),
            task_manager=manager,
            num_fewshot=0,
            limit=limit,
            log_samples=False,
        )
    except Exception as error:  # whatever tasks, their data and the network come up with
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise LocalEnvironmentError(
            f"lm-eval {version('lm_eval')} cannot run {', '.join(tasks)}: {reason}",
            hint="make sure that the tasks' data are in the cache or can be downloaded; see docs/evaluation.md",
        ) from error
    return results


def _scores(results: Mapping[str, Any]) -> Iterator[TaskScore]:
    """lm-eval names values "metric,filter" and their errors "metric_stderr,filter"; the rest is no number."""
    rows = {**results["results"], **results.get("groups", {})}
    for task, values in rows.items():
        samples = results.get("n-samples", {}).get(task, {}).get("effective")
        stated = results.get("versions", {}).get(task)
        for key, value in values.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith(_STDERR) or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}{_STDERR},{kind}")
            yield TaskScore(
                task=task,
                version=None if stated is None else str(stated),
                metric=metric if kind == "none" else key,
                value=float(value),
                stderr=float(error) if isinstance(error, int | float) else None,
                num_fewshot=int(results.get("n-shot", {}).get(task, 0)),
                samples=samples,
            )
