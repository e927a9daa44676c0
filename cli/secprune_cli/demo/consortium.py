"""The consortium on one machine: each party's directory, and the commands a real party would run."""

from __future__ import annotations

import os
import shutil
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import tomli_w
from msgspec import Struct

from secprune.crypto.entropy import random_bytes
from secprune.errors import LocalMisuseError
from secprune.files import SHARED_FILE, private_directory, write_atomically
from secprune.ids import sha256
from secprune.messages.pairwise import KeyAdvert
from secprune.parties.config import PARTY_FILE
from secprune.parties.progress import Stopwatch
from secprune.parties.session import load_task
from secprune.parties.study import StudyOptions, build_task
from secprune.parties.study_privacy import NO_PRIVACY, PrivacyOptions, privacy_spec
from secprune.privacy.accounting import noise_multiplier_for
from secprune.task import (
    MIN_COHORT,
    KeyHolderForm,
    MatrixSpec,
    ModelSpec,
    PartySpec,
    ProtocolName,
    PruningSpec,
    Ratio,
    StatisticsSpec,
)
from secprune_cli._privacy import privacy_arguments
from secprune_cli._pruning import pruning_arguments
from secprune_cli.demo.dropouts import DropOut, Watch
from secprune_cli.demo.material import NOTES_FILE, PATIENTS_FILE, Hospital
from secprune_cli.demo.processes import Finished, PartyProcess

if TYPE_CHECKING:
    from rich.console import Console

    from secprune.ids import Role

_POLL_S = 0.05
_CLOSE_FLOOR_S, _BYTES_PER_S = 8, 40e6  # how long the slowest honest hospital may take for a step, generously


class StudyPlan(Struct, frozen=True, kw_only=True):
    """What is to be studied.

    `public` text is what the reference is made of, if statistics are taken; `local_sparsities` are those of hospitals
    that prune to one of their own (FedSpaLLM).
    """

    hospitals: list[Hospital]
    aggregators: int
    protocol: ProtocolName
    pruning: PruningSpec
    key_holders: int = 0
    key_holder: KeyHolderForm = "blind"
    dropouts: list[DropOut] = []
    privacy: PrivacyOptions = NO_PRIVACY
    local_sparsities: dict[str, str] = {}
    public: Path | None = None

    @property
    def min_clients(self) -> int:
        """More than two thirds of the roster, at least three; cleartext promises nothing."""
        floor = 1 if self.protocol == "cleartext" else MIN_COHORT
        return max(floor, 2 * len(self.hospitals) // 3 + 1)

    @property
    def by_patient(self) -> bool:
        """Whether hospitals must say of each note whom it is about."""
        return self.privacy.epsilon is not None and self.privacy.unit == "patient"

    @property
    def takes_statistics(self) -> bool:
        """Whether there is a public reference."""
        return self.privacy.epsilon is not None or self.privacy.payload == "square-sums"

    @property
    def roster(self) -> list[tuple[str, Role]]:
        """All parties' names and roles."""
        roles: list[tuple[str, Role]] = [("coordinator", "coordinator")]
        roles += [(f"aggregator-{i + 1}", "aggregator") for i in range(self.aggregators)]
        roles += [(f"key-holder-{i + 1}", "key-holder") for i in range(self.key_holders)]
        return roles + [(hospital.name, "client") for hospital in self.hospitals]


def check_plan(plan: StudyPlan) -> None:
    """Refuse a plan that cannot become a task, before anything is written.

    Raises:
        ConfigurationError: as for the task itself.
        LocalMisuseError: a local sparsity of nobody, or one that its hospital would refuse.
    """
    parties = tuple(
        PartySpec(role=role, name=name, signing_key=random_bytes(32), sealing_key=random_bytes(32))
        for name, role in plan.roster
    )
    _check_local_sparsities(plan)
    # The model is not read here; whether a pattern fits its matrices is found when the task is made. Nor is there a
    # reference yet: its place is taken by one of that matrix.
    _, columns = plan.pruning.group_pattern or (1, 1)
    matrix = MatrixSpec(name="any.weight", rows=1, columns=columns)
    digest = sha256(b"")
    statistics = StatisticsSpec(inputs=((matrix.name,),), reference=digest) if plan.takes_statistics else None
    privacy = privacy_spec(
        plan.privacy,
        statistics,
        clip="1",
        clients=len(plan.hospitals),
        min_clients=plan.min_clients,
        multiplier=noise_multiplier_for,  # without torch: this process stays small, see `processes`
    )
    build_task(
        ModelSpec(name="any", weights_digest=digest, tokenizer_digest=digest, matrices=(matrix,)),
        parties,
        StudyOptions(
            study="plan",
            protocol=plan.protocol,
            key_holder=plan.key_holder,
            min_clients=plan.min_clients,
            pruning=plan.pruning,
            privacy=privacy,
        ),
    )


def _check_local_sparsities(plan: StudyPlan) -> None:
    if strangers := sorted(set(plan.local_sparsities) - {hospital.name for hospital in plan.hospitals}):
        raise LocalMisuseError(
            f"--local-sparsity names {strangers[0]}, who is no hospital of this demo",
            hint=f"the hospitals are {', '.join(hospital.name for hospital in plan.hospitals)}",
        )
    if plan.local_sparsities and plan.pruning.algorithm != "fedspallm":
        raise LocalMisuseError(
            "only fedspallm has --local-sparsity", hint="add --algorithm fedspallm, or leave it out"
        )
    for name, sparsity in plan.local_sparsities.items():
        try:
            possible = 0 < Fraction(msgspec.convert(sparsity, Ratio)) < 1
        except msgspec.ValidationError:
            possible = False
        if not possible:
            raise LocalMisuseError(
                f"--local-sparsity {name}={sparsity} is no sparsity between 0 and 1", hint="as NAME=0.4"
            )


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
        self.clients = [name for name, role in plan.roster if role == "client"]
        self.aggregators = [name for name, role in plan.roster if role == "aggregator"]
        self.key_holders = [name for name, role in plan.roster if role == "key-holder"]
        self.finished: dict[tuple[str, str], Finished] = {}
        self.watch = Stopwatch()
        self._console = console
        self._cores = os.cpu_count() or 1

    @property
    def pruned_model(self) -> Path:
        """Where the pruned checkpoint is written."""
        return self.output / "pruned-model"

    @property
    def public_only_model(self) -> Path:
        """Where the public-only baseline is written, if there is one."""
        return self.output / "public-only-model"

    def run(self) -> None:
        """Keys, task, local pruning and reports, secure sum, selection.

        Raises:
            PartyFailedError: a party's command failed; its own message is passed on.
        """
        for name in ("logs", "cards"):
            private_directory(self.output / name)
        with self.watch.phase("keys and task"):
            self._make_keys()
            self._make_task()
        with self.watch.phase("prune, protect and add"):
            self._run_round()
        with self.watch.phase("select and write"):
            baseline = ["--baseline", str(self.public_only_model)] if self.plan.takes_statistics else []
            self._run("coordinator", ["coordinator", "select", "--out", str(self.pruned_model), *baseline])

    def _make_keys(self) -> None:
        self._say("every party makes its own keys; the coordinator collects the public cards")
        with ThreadPoolExecutor(self._cores) as pool:
            list(pool.map(lambda party: self._make_party(*party), self.plan.roster))

    def _make_party(self, name: str, role: Role) -> None:
        directory = private_directory(self.output / name)
        self._write_party_file(directory, role)
        self._run(name, ["keys", "new", "--role", role, "--name", name])
        shutil.copy(directory / f"{name}.card.json", self.output / "cards")

    def _write_party_file(self, directory: Path, role: Role) -> None:
        content: dict[str, object] = {"task": "../task.toml", "exchange": "../exchange"}
        if role in {"client", "coordinator"}:
            content["model"] = str(self.model)
        if role == "client":
            content["notes"] = PATIENTS_FILE if self.plan.by_patient else NOTES_FILE
            if own := self.plan.local_sparsities.get(directory.name):
                content["sparsity"] = own
        content["policy"] = {
            "min_clients": self.plan.min_clients,
            "protocols": [self.plan.protocol],
            **self._privacy_policy(),
        }
        write_atomically(directory / PARTY_FILE, tomli_w.dumps(content).encode(), mode=SHARED_FILE)

    def _privacy_policy(self) -> dict[str, object]:
        """What a site allows that takes part knowingly; nothing where the defaults allow it."""
        privacy = self.plan.privacy
        policy: dict[str, object] = {}
        if privacy.payload == "square-sums":
            noised = "square-sums" if privacy.epsilon is not None else "square-sums-without-noise"
            policy["payloads"] = ["counts", noised]
        if privacy.epsilon is not None:
            policy["max_epsilon"], policy["max_delta"] = privacy.epsilon, privacy.delta
        return policy

    def _write_dropouts_party_files(self, watch: Watch) -> None:
        for gone in self.plan.dropouts:
            path = self.output / gone.client / PARTY_FILE
            watch.make_window(path.parent / "exchange", gone.unseen)
            content = tomllib.loads(path.read_text()) | {"exchange": "exchange"}
            write_atomically(path, tomli_w.dumps(content).encode(), mode=SHARED_FILE)

    def _make_task(self) -> None:
        self._say("the coordinator makes and signs the task")
        options = {
            "--model": str(self.model),
            "--cards": str(self.output / "cards"),
            "--task": str(self.output / "task.toml"),
            "--study": "secprune demo",
            "--protocol": self.plan.protocol,
            "--key-holder": self.plan.key_holder,
            "--min-clients": str(self.plan.min_clients),
        }
        if self.plan.takes_statistics:
            options["--reference"] = str(self._make_reference())
        arguments = [part for pair in options.items() for part in pair]
        arguments += privacy_arguments(self.plan.privacy)
        self._run("coordinator", ["coordinator", "init", *arguments, *pruning_arguments(self.plan.pruning)])

    def _make_reference(self) -> Path:
        """The public reference, of text that no hospital has to protect."""
        reference = self.output / "coordinator" / "public-reference.safetensors"
        self._say(f"the coordinator takes the statistics of public text ({self.plan.public})")
        pruning = self.plan.pruning
        options = {
            "--model": str(self.model),
            "--text": str(self.plan.public),
            "--out": str(reference),
            "--sequence-length": str(pruning.sequence_length),
            "--max-windows": str(pruning.max_windows),
        }
        arguments = [part for pair in options.items() for part in pair]
        self._run("coordinator", ["coordinator", "reference", *arguments], in_directory=False)
        return reference

    def _run_round(self) -> None:
        closing = self._closing()
        servers = ["coordinator", *self.key_holders, *([] if closing else self.aggregators)]
        self._say(f"waiting: {', '.join(servers)}; the hospitals prune locally and submit their reports")
        watch = Watch(self.output / "exchange", load_task(self.output / "task.toml"))
        self._write_dropouts_party_files(watch)
        # Block by block, or in steps, every hospital waits for all others, so all must run at once.
        several = self.plan.pruning.schedule == "iterative" or self.plan.privacy.recentring != "0"
        together = several or self.plan.protocol in {"pairwise", "bfv"}
        slots = len(self.clients) if together else min(self._cores, len(self.clients))
        waiting, busy, gone = list(self.clients), list[PartyProcess](), list(self.plan.dropouts)
        running, late = [self._start("coordinator", ["coordinator", "run"])], list(self.aggregators)
        running += [self._start(name, ["key-holder", "run"]) for name in self.key_holders]
        try:
            while waiting or running or late:
                while waiting and len(busy) < slots:
                    client = self._start(
                        waiting.pop(0), ["client", "run"], threads=max(1, self._cores // slots)
                    )
                    busy.append(client)
                    running.append(client)
                # Where it is not to wait for ever, its time must not run while the hospitals prune.
                if late and (not closing or watch.senders(KeyAdvert) == set(self.clients)):
                    if closing:
                        self._say(
                            f"  all have pruned; {late[0]} begins, and waits {closing[1]} s in each step"
                        )
                    running += [self._start(name, ["aggregator", "run", *closing]) for name in late]
                    late.clear()
                for process in list(running):
                    finished = process.poll()
                    if finished is not None:
                        running.remove(process)
                        busy = [other for other in busy if other is not process]
                        self._record(process, finished)
                for one in [one for one in gone if one.client in watch.senders(one.after)]:
                    process = next(process for process in running if process.party == one.client)
                    running.remove(process)
                    gone.remove(one)
                    self._record(process, process.kill(), how=f"killed {one.step},")
                time.sleep(_POLL_S)
        finally:
            for process in running:
                process.stop()

    def _closing(self) -> list[str]:
        if not self.plan.dropouts:
            return []
        weights = sum(path.stat().st_size for path in self.model.glob("*.safetensors"))
        seconds = _CLOSE_FLOOR_S + weights * len(self.clients) / self._cores / _BYTES_PER_S
        return ["--close-after", f"{seconds:.0f}"]

    def _record(self, process: PartyProcess, finished: Finished, *, how: str = "done") -> None:
        self.finished[process.party, process.arguments[1]] = finished
        if process.arguments[1] == "run":
            self._say(f"  {process.party} {how} after {finished.seconds:.1f} s")

    def _start(
        self, party: str, arguments: list[str], *, threads: int = 1, in_directory: bool = True
    ) -> PartyProcess:
        log = self.output / "logs" / f"{party}-{arguments[0]}-{arguments[1]}"
        directory = ["--dir", str(self.output / party)] if in_directory else []
        return PartyProcess(party, [*arguments, *directory], log=log, threads=threads)

    def _run(self, party: str, arguments: list[str], *, in_directory: bool = True) -> None:
        process = self._start(party, arguments, threads=self._cores, in_directory=in_directory)
        try:
            while (finished := process.poll()) is None:
                time.sleep(_POLL_S)
        finally:
            process.stop()
        self._record(process, finished)

    def _say(self, text: str) -> None:
        self._console.print(text)
