"""A client's whole local pruning, from a checkpoint on disk to masks on disk, and where its time goes.

On an accelerator: the shape of LLaMA-7B, 128 windows of 2048 tokens. On a CPU the same path on a small
model. The model is randomly initialised; what it says does not matter here.
"""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from benchmarks.calibration import random_llama
from benchmarks.figures import Figure
from secprune.parties.progress import peak_memory_mib
from secprune.pruning import local
from secprune.pruning.activations import BlockRunner
from secprune.pruning.decoder import prunable_matrices
from secprune.pruning.models import model_skeleton
from secprune.pruning.offload import BlocksOnDisk
from secprune.storage.masks import write_masks
from secprune.task import MatrixSpec, PruningSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECTION = "end to end"


@dataclass(frozen=True, slots=True)
class Size:
    """What is pruned, with how much text."""

    hidden: int
    intermediate: int
    blocks: int
    heads: int
    vocabulary: int
    windows: int
    sequence_length: int


LLAMA_7B = Size(4096, 11008, 32, 32, 32000, windows=128, sequence_length=2048)
SMALL = Size(1024, 2816, 6, 8, 4096, windows=16, sequence_length=256)


class Shares:
    """Seconds by phase; a phase within another counts for itself only."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._inner: list[float] = []  # of each open phase, what phases within it took

    def timing(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time booked under `phase`; the accelerator's pending work is waited for."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._wait()
            self._inner.append(0.0)
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self._wait()
            spent = time.perf_counter() - start
            own = spent - self._inner.pop()
            self.seconds[phase] = self.seconds.get(phase, 0.0) + own
            if self._inner:
                self._inner[-1] += spent
            return result

        return timed

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - minutes, once
    """Seconds in all, the share of each phase, and the peaks of memory."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    return measure(root, LLAMA_7B if cuda else SMALL, device)


def measure(root: Path, size: Size, device: torch.device) -> list[Figure]:
    """As `run`, for one size on one device."""
    checkpoint, weights = root / "checkpoint", _write_checkpoint(root / "checkpoint", size, device)
    generator = torch.Generator().manual_seed(8)
    windows = torch.randint(size.vocabulary, (size.windows, size.sequence_length), generator=generator)
    matrices = tuple(
        MatrixSpec(name=m.name, rows=m.rows, columns=m.columns, block=m.block)
        for m in prunable_matrices(model_skeleton(checkpoint))
    )
    spec = PruningSpec(sparsity="1/2", sequence_length=size.sequence_length, max_windows=size.windows)
    shares = Shares(device)

    def prune() -> None:
        masks = local.LocalPruning(BlocksOnDisk(checkpoint, device=device), windows, pruning=spec).all_masks()
        write_masks(root / "masks.safetensors", masks, matrices, task_id="0" * 64)

    with ExitStack() as patches:
        for owner, name, phase in (
            (BlocksOnDisk, "bring", "read weights"),
            (BlockRunner, "_capture", "forward"),
            (BlockRunner, "collect", "forward"),
            (BlockRunner, "advance", "forward"),
            (local, "wanda_score", "score"),
            (local, "prune_mask", "select"),
        ):
            timed = shares.timing(phase, getattr(owner, name))  # a function: on a class, Python binds it
            patches.enter_context(mock.patch.object(owner, name, timed))
        shares.timing("write masks, and the rest", prune)()
    shutil.rmtree(checkpoint)
    total = sum(shares.seconds.values())
    tokens = size.windows * size.sequence_length
    shape = (
        f"{weights / 1e6:.0f} M weights in bfloat16, {size.windows} windows of {size.sequence_length} tokens"
    )
    memory = [("peak memory of the process", float(peak_memory_mib()))]
    if device.type == "cuda":
        memory.append(("peak memory of the accelerator", torch.cuda.max_memory_allocated(device) / 2**20))
    return [
        Figure(
            section=SECTION,
            what=f"prune from disk to disk on {device.type}",
            value=total,
            unit="s",
            better="lower",
            note=f"{shape}; {weights * tokens * 2 / total / 1e12:.2f} TFLOP/s of one forward",
        ),
        *(
            Figure(
                section=SECTION, what=f"share: {phase}", value=100 * spent / total, unit="%", better="lower"
            )
            for phase, spent in shares.seconds.items()
        ),
        *(Figure(section=SECTION, what=what, value=mib, unit="MiB", better="lower") for what, mib in memory),
    ]


def _write_checkpoint(path: Path, size: Size, device: torch.device) -> int:
    """Write the model; returns its prunable weights."""
    with device:
        model = random_llama(
            hidden=size.hidden,
            intermediate=size.intermediate,
            blocks=size.blocks,
            heads=size.heads,
            vocabulary=size.vocabulary,
            positions=size.sequence_length,
        ).to(torch.bfloat16)
    model.save_pretrained(path)
    return sum(m.rows * m.columns for m in prunable_matrices(model))
