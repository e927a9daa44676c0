"""`python -m benchmarks`: run all benchmarks, print one table; `--json PATH` writes the figures too."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: every figure is of one core

import torch
from rich.console import Console

from benchmarks import (
    aggregator,
    bfv,
    calibration,
    client_protect,
    coordinator,
    end_to_end,
    flower,
    memory,
    pairwise,
    wire,
)
from benchmarks.table import as_json, table

BENCHMARKS = {
    "wire": wire.run,
    "client": client_protect.run,
    "aggregator": aggregator.run,
    "pairwise": pairwise.run,
    "flower": flower.run,
    "bfv": bfv.run,
    "coordinator": coordinator.run,
    "calibration": calibration.run,
    "end-to-end": end_to_end.run,
    "memory": memory.run,
}


def main() -> None:
    """Run what was asked for, each benchmark in a temporary directory of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here as well")
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each piece of work")
    parser.add_argument("--dir", type=Path, help="where to put temporary files (up to 2 GB); a real disk")
    parser.add_argument(
        "--flower-python", metavar="PATH", help=f"interpreter with flwr, for `flower` (or ${flower.PYTHON})"
    )
    options = parser.parse_args()
    if unknown := set(options.only) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    if options.flower_python:
        os.environ[flower.PYTHON] = options.flower_python
    torch.set_num_threads(1)
    progress, figures = Console(stderr=True), []
    for name in options.only or BENCHMARKS:
        with progress.status(f"measuring: {name}"), tempfile.TemporaryDirectory(dir=options.dir) as folder:
            figures += BENCHMARKS[name](Path(folder), options.repeats)
    console = Console()
    (console if console.is_terminal else Console(width=170)).print(table(figures))
    if options.json:
        options.json.write_text(as_json(figures, repeats=options.repeats))


if __name__ == "__main__":
    main()
