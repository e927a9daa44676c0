"""What `secprune evaluate` prints: a figure, and everything that is needed to compare it with another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from secprune.pruning.paper_texts import PaperText


class DatasetResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which public text was measured on, exactly; what is not known is left out."""

    name: str
    repository: str
    split: str
    join_rule: str
    documents: int
    documents_published: int
    text_digest: str
    config: str | None = None
    file: str | None = None
    copy: str | None = None
    revision: str | None = None
    fingerprint: str | None = None


class EvaluateResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Perplexity, and exactly what it was measured on."""

    model: str
    text: str | None = None
    perplexity: float
    sequence_length: int
    windows: int
    tokens_scored: int
    tokens: int
    partial_window_scored: bool
    dtype: str
    device: str
    tokenizer_digest: str
    dataset: DatasetResult | None = None


class ScoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one task."""

    task: str
    metric: str
    value: float
    stderr: float | None
    num_fewshot: int
    samples: int | None
    version: str | None


class TasksResult(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy on lm-eval's tasks."""

    model: str
    scores: list[ScoreResult]
    limit: int | None
    dtype: str
    device: str
    tokenizer_digest: str
    lm_eval_version: str


def dataset_result(paper: PaperText, copy: Path | None) -> DatasetResult:
    """What of a text stands in a result; `copy` is where it was read, unless it was the hub."""
    spec = paper.spec
    return DatasetResult(
        name=spec.name,
        repository=spec.repository,
        config=spec.config,
        split=spec.split,
        file=spec.file,
        copy=None if copy is None else str(copy),
        revision=paper.revision,
        fingerprint=paper.fingerprint,
        join_rule=spec.join_rule,
        documents=paper.documents,
        documents_published=spec.published,
        text_digest=paper.digest,
    )
