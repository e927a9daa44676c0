"""The consortium on one machine: each party's directory, and the commands a real party would run."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import tomli_w
from msgspec import Struct

from secprune.files import SHARED_FILE, private_directory, write_atomically
from secprune.parties.config import PARTY_FILE
from secprune.parties.progress import Stopwatch
from secprune.task import ProtocolName
from secprune_cli.demo.material import Hospital
from secprune_cli.demo.processes import Finished, PartyProcess

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from secprune.ids import Role

_POLL_S = 0.05


class StudyPlan(Struct, frozen=True, kw_only=True):
    """What is to be studied."""

    hospitals: list[Hospital]
    aggregators: int
    protocol: ProtocolName
    sparsity: str
    sequence_length: int
    max_windows: int


class Consortium:
    """All parties of a demo.

    Args:
        output: the demo's directory; each party's own directory lies under it.
        plan: what is studied.
        model: the dense checkpoint.
        console: where to tell people what happens.
    """

    def __init__(self, output: Path, plan: StudyPlan, *, model: Path, console: Console) -> None:
        self.output, self.plan, self.model = output.resolve(), plan, model
        self.clients = [hospital.name for hospital in plan.hospitals]
        self.aggregators = [f"aggregator-{i + 1}" for i in range(plan.aggregators)]
        self.finished: dict[tuple[str, str], Finished] = {}
        self.watch = Stopwatch()
        self._console = console
        self._cores = os.cpu_count() or 1

    @property
    def pruned_model(self) -> Path:
        """Where the pruned checkpoint is written."""
        return self.output / "pruned-model"

    @property
    def min_clients(self) -> int:
        """More than two thirds of the roster, at least three; cleartext promises nothing."""
        floor = 1 if self.plan.protocol == "cleartext" else 3
        return max(floor, 2 * len(self.clients) // 3 + 1)

    def run(self) -> None:
        """Keys, task, local pruning and reports, secure sum, selection.

        Raises:
            LocalEnvironmentError: a party's command failed; its own message is passed on.
        """
        for name in ("logs", "cards"):
            private_directory(self.output / name)
        with self.watch.phase("keys and task"):
            self._make_keys()
            self._make_task()
        with self.watch.phase("prune, protect and add"):
            self._run_round()
        with self.watch.phase("select and write"):
            self._run("coordinator", ["coordinator", "select", "--out", str(self.pruned_model)])

    def _make_keys(self) -> None:
        self._say("every party makes its own keys; the coordinator collects the public cards")
        roles: list[tuple[str, Role]] = [("coordinator", "coordinator")]
        roles += [(name, "aggregator") for name in self.aggregators]
        roles += [(name, "client") for name in self.clients]
        with ThreadPoolExecutor(self._cores) as pool:
            list(pool.map(lambda party: self._make_party(*party), roles))

    def _make_party(self, name: str, role: Role) -> None:
        directory = private_directory(self.output / name)
        self._write_party_file(directory, role)
        self._run(name, ["keys", "new", "--role", role, "--name", name])
        shutil.copy(directory / f"{name}.card.json", self.output / "cards")

    def _write_party_file(self, directory: Path, role: Role) -> None:
        content: dict[str, object] = {"task": "../task.toml", "exchange": "../exchange"}
        if role != "aggregator":
            content["model"] = str(self.model)
        if role == "client":
            content["notes"] = "notes.txt"
        content["policy"] = {"min_clients": self.min_clients, "protocols": [self.plan.protocol]}
        write_atomically(directory / PARTY_FILE, tomli_w.dumps(content).encode(), mode=SHARED_FILE)

    def _make_task(self) -> None:
        self._say("the coordinator makes and signs the task")
        options = {
            "--model": str(self.model),
            "--cards": str(self.output / "cards"),
            "--task": str(self.output / "task.toml"),
            "--study": "secprune demo",
            "--protocol": self.plan.protocol,
            "--sparsity": self.plan.sparsity,
            "--min-clients": str(self.min_clients),
            "--sequence-length": str(self.plan.sequence_length),
            "--max-windows": str(self.plan.max_windows),
        }
        self._run(
            "coordinator", ["coordinator", "init", *(part for pair in options.items() for part in pair)]
        )

    def _run_round(self) -> None:
        self._say("aggregators and coordinator wait; the hospitals prune locally and submit their reports")
        servers = [self._start(name, ["aggregator", "run"]) for name in self.aggregators]
        servers.append(self._start("coordinator", ["coordinator", "run"]))
        waiting, running = list(self.clients), list(servers)
        slots = min(self._cores, len(self.clients))
        busy: list[PartyProcess] = []
        try:
            while waiting or running:
                while waiting and len(busy) < slots:
                    client = self._start(
                        waiting.pop(0), ["client", "run"], threads=max(1, self._cores // slots)
                    )
                    busy.append(client)
                    running.append(client)
                for process in list(running):
                    finished = process.poll()
                    if finished is not None:
                        running.remove(process)
                        busy = [other for other in busy if other is not process]
                        self._record(process, finished)
                time.sleep(_POLL_S)
        finally:
            for process in running:
                process.stop()

    def _record(self, process: PartyProcess, finished: Finished) -> None:
        self.finished[process.party, process.arguments[1]] = finished
        if process.arguments[1] == "run":
            self._say(f"  {process.party} done after {finished.seconds:.1f} s")

    def _start(self, party: str, arguments: list[str], *, threads: int = 1) -> PartyProcess:
        log = self.output / "logs" / f"{party}-{arguments[0]}-{arguments[1]}"
        return PartyProcess(party, [*arguments, "--dir", str(self.output / party)], log=log, threads=threads)

    def _run(self, party: str, arguments: list[str]) -> None:
        process = self._start(party, arguments, threads=self._cores)
        try:
            while (finished := process.poll()) is None:
                time.sleep(_POLL_S)
        finally:
            process.stop()
        self._record(process, finished)

    def _say(self, text: str) -> None:
        self._console.print(text)
