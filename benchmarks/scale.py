"""A study of 7 billion weights with synthetic pruning masks: every party a process, run by its own command.

    python -m benchmarks.scale --dir DISK [--blocks 32] [--clients 16] [--aggregators 2] [--processes 1]

The matrices are those of a LLaMA with 7 billion weights, 202 million in each of 32 decoder blocks. Clients submit
one after the other, and their masks are removed when they have; then aggregators and coordinator run at once. What
it takes on the disk is the reports, 0.43 GB a client and billion weights at 16 clients, and a sum for each
aggregator. Printed, and with --json written: bytes, seconds and peak memory of each step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
from rich.console import Console
from rich.table import Table

from benchmarks.machine import ADD_BYTES, LINE_BYTES, aes_ctr_seconds, memory_add_seconds
from benchmarks.study import Study
from secprune.ids import short
from secprune.packing import WORD_BYTES
from secprune.parties.client import MASKS_FILE
from secprune.parties.config import PARTY_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = (*4 * ((4096, 4096),), *2 * ((11008, 4096),), (4096, 11008))
"""The matrices of one decoder block."""

_COMMAND = Path(sys.executable).with_name("secprune")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one party did: seconds from start to end of its process, and that process's peak memory.

    `rate` is in million weights a second (of each client's report, for aggregators); `bytes` is what it wrote.
    """

    party: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes: int
    rate: float


def main() -> None:
    """Run the study and print what each step took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where to put the study; emptied at the end")
    parser.add_argument("--blocks", type=int, default=32, help="decoder blocks of 202 million weights each")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--processes", type=int, default=1, help="[workers] of the aggregators")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here as well")
    options = parser.parse_args()
    root = options.dir / "scale"
    root.mkdir(parents=True)
    try:
        machine = _machine()
        steps, study = _run(root, options)
    finally:
        shutil.rmtree(root)
    _show(steps, study, machine)
    if options.json:
        found = {
            "weights": study.round.layout.weights,
            "clients": options.clients,
            "words": study.round.layout.words,
            "machine": machine,
            "steps": [asdict(step) for step in steps],
        }
        options.json.write_text(json.dumps(found, indent=1))


def _machine() -> dict[str, float]:
    """GB/s of one core; the best of three."""
    return {
        "AES-256-CTR": LINE_BYTES / min(aes_ctr_seconds() for _ in range(3)) / 1e9,
        "adding words in memory": ADD_BYTES / min(memory_add_seconds() for _ in range(3)) / 1e9,
    }


def _run(root: Path, options: argparse.Namespace) -> tuple[list[Step], Study]:
    study = Study(options.blocks * BLOCK, clients=options.clients)
    for name in study.cards:
        path = study.write_party(root, name) / PARTY_FILE
        content = {"task": "../task.toml", "exchange": "../exchange"}
        path.write_text(tomli_w.dumps(content | {"workers": {"processes": options.processes}}))
    study.write_masks(root / MASKS_FILE)
    steps, exchange, progress = [], root / "exchange", Console(stderr=True)
    for name in study.task.names("client"):
        work = root / name / "tasks" / short(study.round.task_id) / "round-000"
        work.mkdir(parents=True)
        os.link(root / MASKS_FILE, work / MASKS_FILE)
        before = _size(exchange)
        step = _Running("client", "submit", root / name).finish(name, study)
        steps.append(_with_bytes(step, _size(exchange) - before))
        progress.print(f"{name}: {step.seconds:.1f} s")
        shutil.rmtree(work)
    before = _size(exchange)
    servers = {name: _Running("aggregator", "run", root / name) for name in study.task.names("aggregator")}
    servers["hq"] = _Running("coordinator", "run", root / "hq")
    share = study.round.layout.words * WORD_BYTES
    for name, running in servers.items():
        step = running.finish(name, study, times=1 if name == "hq" else options.clients)
        steps.append(_with_bytes(step, study.round.layout.weights if name == "hq" else share))
        progress.print(f"{name}: {step.seconds:.1f} s")
    return steps, study


class _Running:
    """A party's command at work, and the most memory that it has held so far."""

    def __init__(self, role: str, command: str, directory: Path) -> None:
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [str(_COMMAND), role, command, "--dir", str(directory), "--json"], stdout=subprocess.DEVNULL
        )
        self._peak_kib = 0
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()

    def _sample(self) -> None:
        """Not the peak of `wait4`, which counts what the parent held when it forked."""
        status = Path(f"/proc/{self._process.pid}/status")
        with contextlib.suppress(OSError, IndexError):
            while True:
                peak = status.read_text().split("VmHWM:")[1].split()[0]  # gone when the process has ended
                self._peak_kib = max(self._peak_kib, int(peak))
                time.sleep(0.02)

    def finish(self, name: str, study: Study, *, times: int = 1) -> Step:
        """Wait for it."""
        self._sampler.join()
        _, status, usage = os.wait4(self._process.pid, 0)
        seconds = time.monotonic() - self._began
        if status:
            raise RuntimeError(f"{name} failed with status {os.waitstatus_to_exitcode(status)}")
        return Step(
            party=name,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_mib=self._peak_kib / 1024,
            bytes=0,
            rate=times * study.round.layout.weights / seconds / 1e6,
        )


def _with_bytes(step: Step, size: int) -> Step:
    return Step(**{**asdict(step), "bytes": size})


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _show(steps: Sequence[Step], study: Study, machine: dict[str, float]) -> None:
    layout = study.round.layout
    table = Table(
        title=f"{layout.weights / 1e9:.2f} billion weights, {study.task.n_max} clients, "
        f"{64 * layout.words / layout.weights:.3f} bits a weight; one core: "
        + ", ".join(f"{what} {rate:.1f} GB/s" for what, rate in machine.items())
    )
    for heading in ("party", "seconds", "CPU seconds", "GB written", "M weights/s", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "party" else "right")
    for step in steps:
        table.add_row(
            step.party,
            f"{step.seconds:.1f}",
            f"{step.cpu_seconds:.1f}",
            f"{step.bytes / 1e9:.2f}",
            f"{step.rate:.0f}",
            f"{step.peak_mib:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
