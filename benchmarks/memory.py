"""Peak memory of each party, in a process of its own, for a task and for one four times as large.

And that of a client's local pruning, for a randomly initialised checkpoint.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.calibration import random_llama
from benchmarks.figures import MILLION, Figure
from benchmarks.study import Shapes, Study
from secprune.ids import short
from secprune.parties.client import MASKS_FILE

SECTION = "memory"
SMALL: Shapes = 4 * ((4096, 4096),)
LARGE: Shapes = 4 * SMALL
CLIENTS = 3
TASK_WEIGHTS = 7e9
GOAL_MIB = 1024.0

_REPOSITORY = Path(__file__).resolve().parents[1]
Memory = dict[str, float]


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - peaks hardly vary
    """Peaks for both tasks, and what they say about a 7-billion-weight task."""
    small, large = _peaks(root / "small", SMALL), _peaks(root / "large", LARGE)
    weights = [sum(rows * columns for rows, columns in shapes) for shapes in (SMALL, LARGE)]
    figures = []
    for party in small:
        figures += [
            Figure(
                section=SECTION,
                what=f"{party}, {count / MILLION:.0f} M weights",
                value=peaks[party]["peak"],
                unit="MiB",
                better="lower",
                note=f"own {peaks[party]['own']:.0f}, mapped files {peaks[party]['mapped']:.0f}",
            )
            for count, peaks in zip(weights, (small, large), strict=True)
        ]
        growth = (large[party]["peak"] - small[party]["peak"]) / (weights[1] - weights[0])
        figures.append(
            Figure(
                section=SECTION,
                what=f"{party}, extrapolated to 7000 M weights",
                value=large[party]["peak"] + max(0.0, growth) * (TASK_WEIGHTS - weights[1]),
                unit="MiB",
                goal=GOAL_MIB,
                better="lower",
                note=f"grows by {max(0.0, growth) * 2**20:.3f} bytes a weight",
            )
        )
    return [*figures, _local_pruning(root / "checkpoint")]


def _local_pruning(checkpoint: Path) -> Figure:
    model = random_llama(hidden=2048, intermediate=5504, blocks=5, heads=16)
    model.to(torch.bfloat16).save_pretrained(checkpoint)
    del model
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) / 2**20
    memory = _finish(_start("prune", checkpoint))
    shutil.rmtree(checkpoint)
    return Figure(
        section=SECTION,
        what=f"client (prune) of a bf16 model of {size:.0f} MiB",
        value=memory["peak"],
        unit="MiB",
        goal=size + GOAL_MIB,
        better="lower",
        note=f"own {memory['own']:.0f}, mapped files {memory['mapped']:.0f}; the model's size and 1 GiB are the goal",
    )


def _peaks(root: Path, shapes: Shapes) -> dict[str, Memory]:
    """Run a whole study of separate processes; memory by kind of party."""
    root.mkdir()
    study = Study(shapes, clients=CLIENTS)
    for name in study.cards:
        study.write_party(root, name)
    study.write_masks(root / MASKS_FILE)
    clients = study.task.names("client")
    for name in clients:
        work = root / name / "tasks" / short(study.round.task_id) / "round-000"
        work.mkdir(parents=True)
        shutil.copy(root / MASKS_FILE, work)
    submitted = [_finish(_start("client", root / name)) for name in clients]
    servers = {name: _start("aggregator", root / name) for name in study.task.names("aggregator")}
    servers["hq"] = _start("coordinator", root / "hq")
    served = {name: _finish(process) for name, process in servers.items()}
    shutil.rmtree(root)
    return {
        "client (submit)": submitted[0],
        "first aggregator": served["adder-0"],
        "second aggregator": served["adder-1"],
        "coordinator (run)": served["hq"],
    }


def _start(role: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.party", role, str(directory)],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> Memory:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} failed with {process.returncode}")
    measured: Memory = json.loads(output)
    return measured
