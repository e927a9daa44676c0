"""The cluster of docs/scaling.md, started as it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import compute_items
import msgspec
import pytest
from own_cluster import LONG_S, PYTHONPATH, TESTS

pytest.importorskip("distributed", reason="needs the extra dask")

from secprune.compute.api import Work
from secprune.compute.cluster import Cluster
from secprune.parties.config import PartyFile, check_workers

TEXT = (TESTS.parent / "docs" / "scaling.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def start(script, directory, name):
    """Run a block as it is, in a session of its own."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], cwd=directory, env=environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def stop(process):
    os.killpg(process.pid, signal.SIGKILL)  # with all that it started
    process.wait()


def said(directory, name, pattern, process):
    deadline = time.monotonic() + LONG_S
    while not (found := re.search(pattern, log := (directory / f"{name}.log").read_text())):
        assert process.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.02)
    return found


def test_the_documents_cluster_works(tmp_path):
    certificates, scheduler, workers = blocks("bash")
    subprocess.run(["bash", "-euc", certificates], cwd=tmp_path, check=True, capture_output=True)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {0o600}
    running = []
    try:
        text = scheduler.replace("10.1.0.1", "127.0.0.1").replace("--port 8786", "--port 0")
        running.append(start(text, tmp_path, "scheduler"))
        address = said(tmp_path, "scheduler", r"Scheduler at: +(tls://[0-9.:]+)\n", running[-1])[1]
        text = workers.replace("tls://10.1.0.1:8786", f"{address} --host 127.0.0.1").replace(
            "--nworkers 8", "--nworkers 2"
        )
        running.append(start(text, tmp_path, "worker"))
        said(tmp_path, "worker", r"Registered to", running[-1])

        (party_file,) = (block for block in blocks("toml") if block.startswith("# party.toml"))
        spec = msgspec.convert(tomllib.loads(party_file), PartyFile).workers
        check_workers(spec, "aggregator")
        files = {what: tmp_path / Path(getattr(spec, what)).name for what in ("ca", "certificate", "key")}
        work = Work(compute_items.adder, (b"secret",))
        assert list(Cluster(address, **files).map(work, range(8), count=8)) == [
            (item, 6) for item in range(8)
        ]
    finally:
        for process in running:
            stop(process)
