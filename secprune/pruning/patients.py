"""Feature statistics of each patient alone: what Wanda sums over a hospital's notes, patient by patient.

Rule 1: what is found for a patient is a function of that patient's notes and the public model, and of nothing else. So the
forward is dense (in a pruned model a note changes what later blocks see of everybody), a window holds one patient's tokens,
and a batch one patient's windows: results of floating point may depend on the size of a batch.
Rule 2: all notes of a patient are one unit. A patient with 500 notes counts as one.

Blocks are brought once for each group of patients, and a group is as many as fit into memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from secprune.pruning.activations import BlockRunner, split_batches
from secprune.pruning.calibration import cut_windows, text_tokens
from secprune.pruning.offload import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from secprune.pruning.calibration import Tokenizer
    from secprune.pruning.notes import Patient

GROUP_BYTES = 2**30
"""About what the hidden states and statistics of a group of patients may take."""

Batches = list[Tensor]
"""One patient's windows: (windows, length) int64 each, no tensor with another patient's tokens."""

Inputs = tuple[tuple[str, ...], ...]
"""Each distinct input of linear modules, as the names of the weights that it enters."""


class _MeanSquare:
    """The mean over tokens of the squares of each input feature, of one batch: see `activations.Statistic`."""

    def __init__(self, columns: int, device: torch.device) -> None:
        self.total = torch.zeros(columns, dtype=torch.float64, device=device)
        self.tokens = 0

    @classmethod
    def zeros(cls, weight: Tensor, device: torch.device) -> Self:
        return cls(weight.shape[1], device)

    @staticmethod
    def of(inputs: Tensor) -> Tensor:
        wide = inputs.reshape(-1, inputs.shape[-1]).to(torch.float64)
        return wide.square().sum(dim=0)  # (columns,)

    def add(self, contribution: Tensor, tokens: int) -> None:
        self.total += contribution
        self.tokens += tokens


def patient_batches(
    patient: Patient, tokenizer: Tokenizer, *, sequence_length: int, max_windows: int
) -> Batches:
    """One patient's windows; a patient with fewer tokens than a window has one shorter window.

    Args:
        patient: all notes are joined, the end-of-text token between two of them.
        tokenizer: the model's own.
        sequence_length: tokens in a window.
        max_windows: where the notes fill more, so many are taken at even distances.

    Returns:
        Batches; none if the notes hold no token.

    Raises:
        ConfigurationError: the tokenizer has no end-of-text token.
    """
    stream = text_tokens(patient.notes, tokenizer)
    length = min(sequence_length, len(stream))
    if not length:
        return []
    return split_batches(cut_windows(stream, sequence_length=length, max_windows=max_windows))


def batches_of_patients(
    patients: Sequence[Patient], tokenizer: Tokenizer, *, sequence_length: int, max_windows: int
) -> list[Batches]:
    """`patient_batches` of each patient; those without a token are left out: there is nothing to count."""
    found = (
        patient_batches(patient, tokenizer, sequence_length=sequence_length, max_windows=max_windows)
        for patient in patients
    )
    return [batches for batches in found if batches]


def distinct_inputs(model: Any, windows: Tensor, *, first: int | None = None) -> Inputs:
    """Which linear modules share an input; a property of the architecture, found on public text.

    Args:
        model: a causal LM in eval mode, or its blocks.
        windows: (windows, length) int64, public.
        first: of so many decoder blocks only; of all, if not given.
    """
    runner = BlockRunner(model, [windows[:1]])
    found: list[tuple[str, ...]] = []
    for index in range(runner.blocks)[:first]:
        found += runner.shared_inputs(index)
        runner.advance(index)
    return tuple(found)


def mean_squares(
    model: Any,
    patients: Sequence[Batches],
    inputs: Inputs,
    *,
    first: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Each patient's mean over tokens of the squares of each feature, from one dense forward.

    Args:
        model: a causal LM in eval mode, or its blocks, from `offload`; not changed.
        patients: batches of each, at least one.
        inputs: from `distinct_inputs`; the first name of each stands for it.
        first: of so many decoder blocks only, which `inputs` are of; of all, if not given.
        progress: called with (steps done, steps); a step is one block for one group of patients.

    Yields:
        For each patient in order, by the first name of each input: (features,) float64. All zero where none of the
        patient's tokens reached a module (an expert that was not chosen).
    """
    blocks = blocks_of(model)
    names = [group[0] for group in inputs]
    groups = list(_groups(blocks, patients))
    run = range(len(blocks.decoder.blocks))[:first]
    steps = len(groups) * len(run)
    for number, group in enumerate(groups):
        runner = BlockRunner(blocks, [batch for batches in group for batch in batches])
        owner = [place for place, batches in enumerate(group) for _ in batches]
        found: list[dict[str, NDArray[Any]]] = [{} for _ in group]
        for index in run:
            sums: list[dict[str, _MeanSquare]] = [{} for _ in group]
            for place, statistics in zip(owner, runner.collect_apart(index, _MeanSquare), strict=True):
                for name in statistics.keys() & set(names):
                    if name in sums[place]:
                        sums[place][name].add(statistics[name].total, statistics[name].tokens)
                    else:
                        sums[place][name] = statistics[name]
            for place, by_name in enumerate(sums):
                found[place] |= {
                    name: (s.total / max(1, s.tokens)).cpu().numpy() for name, s in by_name.items()
                }
            progress(number * len(run) + index + 1, steps)
        blocks.release()
        for one in found:
            yield {name: one[name] for name in names}


def _groups(blocks: Any, patients: Sequence[Batches]) -> Iterator[list[Batches]]:
    """Consecutive patients whose hidden states and statistics fit into `GROUP_BYTES`."""
    width = blocks.model.get_input_embeddings().weight
    features = sum(
        linear.weight.numel() // min(linear.weight.shape)
        for index in range(len(blocks.decoder.blocks))
        for linear in blocks.decoder.linears(index).values()
    )
    group: list[Batches] = []
    size = 0
    for batches in patients:
        tokens = sum(batch.numel() for batch in batches)
        due = tokens * width.shape[-1] * width.element_size() + 8 * features
        if group and size + due > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(batches)
        size += due
    yield group
