"""A whole study without a language model: real keys, files, exchange and parties, random pruning masks."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tomli_w
from msgspec import UNSET

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import sign
from secprune.crypto.identity import Identity
from secprune.files import private_directory
from secprune.fixedpoint import FixedPoint
from secprune.ids import Role
from secprune.messages.types import TaskSignature
from secprune.parties import client, schedule
from secprune.parties.aggregator import Aggregator, AggregatorResult
from secprune.parties.config import PARTY_FILE
from secprune.parties.coordinator import COUNTS_FILE, Coordinator, RoundResult
from secprune.parties.outcome import await_outcome
from secprune.parties.report_words import KEPT_WEIGHTS_FILE, STATISTICS_FILE
from secprune.parties.session import Patience, Session, open_session
from secprune.parties.sums import SUMS_FILE
from secprune.parties.voting import write_votes
from secprune.privacy.votes import are_noised
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.kept_weights import KeptMatrix, write_kept_weights
from secprune.storage.keyfile import card_of, write_identity
from secprune.storage.masks import write_masks
from secprune.storage.statistics import write_statistics
from secprune.task import (
    MatrixSpec,
    ModelSpec,
    PartySpec,
    PrivacySpec,
    ProtocolSpec,
    PruningSpec,
    StatisticsSpec,
    Task,
    check_task,
)
from secprune.vectors import VALUE_BOUND

MATRICES = (("block.0.a.weight", 23, 16), ("block.0.b.weight", 8, 33), ("block.1.a.weight", 40, 16))
NO_DIGEST = "sha256:" + "0" * 64
SQUARE_SUMS = PrivacySpec(
    payload="square-sums",
    statistics=StatisticsSpec(inputs=tuple((name,) for name, _, _ in MATRICES), reference=NO_DIGEST),
)
"""Statistics of each of MATRICES, as they are."""


@dataclass
class SmallStudy:
    """Directories of all parties of a study, under `root`."""

    root: Path
    task: Task
    identities: dict[str, Identity]
    masks: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    numbers: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    statistics: dict[tuple[str, int], dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def clients(self) -> tuple[str, ...]:
        return self.task.names("client")

    @property
    def aggregators(self) -> tuple[str, ...]:
        return self.task.names("aggregator")

    @property
    def exchange(self) -> Path:
        return self.root / "exchange"

    def messages(self, phase: str) -> Path:
        return self.exchange / "messages" / self.task.task_id.removeprefix("sha256:") / "0" / phase

    def write_task(self, task: Task) -> None:
        """Sign and publish a task; all party files point to it."""
        self.task = task
        coordinator = task.coordinator.name
        signature = sign(
            TaskSignature(task_id=task.task_id, study=task.study),
            signer=coordinator,
            identity=self.identities[coordinator],
        )
        (self.root / "task.toml").write_text(task.to_toml())
        (self.root / "task.toml.sig").write_bytes(signature)

    def write_party_file(self, name: str, **policy: object) -> None:
        policy = {
            "min_clients": self.task.protocol.min_clients,
            "protocols": [self.task.protocol.name],
            "payloads": ["counts", "square-sums", "square-sums-without-noise"],
            **policy,
        }
        content = {"task": "../task.toml", "exchange": "../exchange", "policy": policy}
        (self.root / name / PARTY_FILE).write_text(tomli_w.dumps(content))

    def make_masks(self, name: str, seed: int) -> None:
        """Give a client random pruning masks with exactly row_k ones a row."""
        rng = np.random.default_rng(seed)
        masks = {}
        for m in self.task.model.matrices:
            order = rng.random((m.rows, m.columns)).argsort(axis=1)
            masks[m.name] = order < self.task.pruning.row_k(m.columns)
        self.put_masks(name, masks)

    def put_masks(self, name: str, masks: dict[str, np.ndarray]) -> None:
        self.masks[name] = masks
        with open_session(self.root / name, "client") as session:
            for index in self.task.client_rounds(name):
                here = session.at_round(index)
                of_round = [(m.name, masks[m.name]) for m in here.round.matrices if m.name in masks]
                if are_noised(self.task):
                    write_votes(here, of_round)
                elif self.task.pruning.algorithm == "fedspallm":
                    self.put_kept_weights(here, dict(of_round))
                else:
                    path = here.work / client.MASKS_FILE
                    write_masks(path, of_round, here.round.matrices, task_id=self.task.task_id)

    def put_kept_weights(self, here: Session, masks: dict[str, np.ndarray]) -> None:
        """With these masks of a round, random weights where they keep one."""
        fixed = FixedPoint(self.task.pruning.of_fedspallm.weight_bits)
        rng = np.random.default_rng(zlib.crc32(f"{here.name} {here.round.index}".encode()))
        kept = []
        for name, mask in masks.items():
            numbers = np.where(mask, fixed.half, rng.integers(0, fixed.most + 1, mask.shape))
            self.numbers[here.name, name] = numbers
            kept.append(KeptMatrix(name, mask, numbers.astype(np.uint16)))
        path = here.work / KEPT_WEIGHTS_FILE
        write_kept_weights(path, kept, here.round.matrices, task_id=self.task.task_id)

    def make_statistics(self, name: str, seed: int, *, bound: int = VALUE_BOUND) -> None:
        """Give a client random statistics of all rounds, in [-bound, bound), both limits among them."""
        rng = np.random.default_rng(seed)
        for index in range(self.task.rounds):
            vectors = {}
            for vector, length in self.task.vectors.items():
                vectors[vector] = rng.integers(-bound, bound, length, np.int64)
                vectors[vector][rng.integers(length)] = rng.choice((-bound, bound - 1))
            self.put_statistics(name, vectors, index=index)

    def put_statistics(self, name: str, vectors: dict[str, np.ndarray], *, index: int = 0) -> None:
        self.statistics[name, index] = vectors
        with open_session(self.root / name, "client") as session:
            write_statistics(session.at_round(index).work / STATISTICS_FILE, vectors, self.task)

    def submit(self, *names: str) -> None:
        for name in names or self.clients:
            with open_session(self.root / name, "client") as session:
                client.submit(session)

    def run_aggregator(self, name: str, timeout_s: float = 60) -> AggregatorResult:
        with open_session(self.root / name, "aggregator") as session:
            return Aggregator(session).run(Patience(timeout_s, poll_s=0.01))

    def run_coordinator(self, timeout_s: float = 60, close_after_s: float | None = None) -> RoundResult:
        with open_session(self.root / self.task.coordinator.name, "coordinator") as session:
            return Coordinator(session, close_after_s=close_after_s).run(Patience(timeout_s, poll_s=0.01))

    def take_part(self, name: str, timeout_s: float = 60) -> client.SubmitResult:
        """A client's part in all of its rounds, with the masks that it has."""
        with open_session(self.root / name, "client") as session:
            if self.task.sampled_blocks is not None:
                return schedule.submit(session, Patience(timeout_s, poll_s=0.01))
            for index in range(self.task.rounds):
                here, patience = session.at_round(index), Patience(timeout_s, poll_s=0.01)
                result = schedule.submit_round(here, patience)
                if index + 1 < self.task.rounds and self.task.pruning.schedule == "iterative":
                    await_outcome(here, patience)
        return result

    def run_pairwise(self, *clients: str, timeout_s: float = 60, close_after_s: float | None = None) -> dict:
        """Run these clients (or all), the aggregator and the coordinator at once; what each returned or raised."""

        def server(role: Role, name: str, run: Callable) -> object:
            with open_session(self.root / name, role) as session:
                return run(session, Patience(timeout_s, poll_s=0.01), close_after_s=close_after_s)

        jobs = {name: partial(self.take_part, name, timeout_s) for name in clients or self.clients}
        (aggregator,), coordinator = self.aggregators, self.task.coordinator.name
        jobs[aggregator] = partial(server, "aggregator", aggregator, schedule.serve)
        jobs[coordinator] = partial(server, "coordinator", coordinator, schedule.drive)
        return _at_once(jobs)

    def run_bfv(
        self,
        *clients: str,
        without: tuple[str, ...] = (),
        timeout_s: float = 60,
        close_after_s: float | None = None,
    ) -> dict:
        """Run these clients (or all), aggregator, key holders and coordinator at once; what each returned or raised."""

        def server(role: Role, name: str, run: Callable, **options: object) -> object:
            with open_session(self.root / name, role) as session:
                return run(session, Patience(timeout_s, poll_s=0.01), **options)

        jobs = {name: partial(self.take_part, name, timeout_s) for name in clients or self.clients}
        (aggregator,), coordinator = self.aggregators, self.task.coordinator.name
        closing = {"close_after_s": close_after_s}
        jobs[aggregator] = partial(server, "aggregator", aggregator, schedule.serve, **closing)
        jobs[coordinator] = partial(server, "coordinator", coordinator, schedule.drive)
        for name in self.task.names("key-holder"):
            jobs[name] = partial(server, "key-holder", name, schedule.hold_key)
        return _at_once({name: job for name, job in jobs.items() if name not in without})

    def run_servers(self, timeout_s: float = 60, close_after_s: float | None = None) -> dict[str, object]:
        """Run all aggregators and the coordinator at once; what each returned or raised, by name."""
        jobs = {name: partial(self.run_aggregator, name, timeout_s) for name in self.aggregators}
        jobs[self.task.coordinator.name] = partial(self.run_coordinator, timeout_s, close_after_s)
        return _at_once(jobs)

    def counts(self) -> dict[str, np.ndarray]:
        found = {}
        directory = self.root / self.task.coordinator.name / "tasks"
        for index in range(self.task.rounds):
            stored = TensorFile(next(directory.glob(f"*/round-{index:03d}/{COUNTS_FILE}")))
            found |= {name: np.array(stored.raw(name)) for name in stored.names}
        return found

    def expected_counts(self, *names: str) -> dict[str, np.ndarray]:
        return {
            m.name: sum(self.masks[n][m.name].astype(int) for n in (names or self.clients))
            for m in self.task.model.matrices
        }

    def sums(self, *, index: int = 0) -> dict[str, np.ndarray]:
        """What the coordinator holds of a round of square-sums."""
        directory = self.root / self.task.coordinator.name / "tasks"
        stored = TensorFile(next(directory.glob(f"*/round-{index:03d}/{SUMS_FILE}")))
        assert {stored.entry(name)[0] for name in stored.names} == {"I64"}
        return {name: np.array(stored.raw(name)).view(np.int64) for name in stored.names}

    def expected_sums(self, *names: str, index: int = 0) -> dict[str, list[int]]:
        """The plain sums, in Python's integers."""
        return {
            vector: np.sum(
                [self.statistics[n, index][vector].astype(object) for n in (names or self.clients)], axis=0
            ).tolist()
            for vector in self.task.vectors
        }

    def incidents(self, name: str) -> list[tuple[str, str]]:
        with open_session(self.root / name, self.task.party(name).role, exclusive=False) as session:
            return session.journal.incidents()


def _at_once(jobs: dict[str, Callable]) -> dict[str, object]:
    """Run all jobs in threads of their own; what each returned or raised, by name."""
    outcomes: dict[str, object] = {}

    def keep(name: str) -> None:
        try:
            outcomes[name] = jobs[name]()
        except Exception as error:  # noqa: BLE001 - handed to the test
            outcomes[name] = error

    threads = [threading.Thread(target=keep, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def make_study(
    root: Path,
    *,
    clients: int = 4,
    aggregators: int = 2,
    min_clients: int | None = None,
    protocol: str = "additive",
    key_holders: int = 0,
    key_holder: str = "blind",
    matrices: tuple[tuple[str, int, int], ...] = MATRICES,
    sparsity: str = "1/2",
    model: ModelSpec | None = None,
    pruning: PruningSpec | None = None,
    privacy: PrivacySpec | None = None,
    with_masks: bool = True,
) -> SmallStudy:
    roles = [("hq", "coordinator")]
    roles += [(f"adder-{i}", "aggregator") for i in range(aggregators)]
    roles += [(f"holder-{i}", "key-holder") for i in range(key_holders)]
    roles += [(f"clinic-{i}", "client") for i in range(clients)]
    identities = {name: Identity.generate(random_bytes) for name, _ in roles}
    parties: list[PartySpec] = []
    for name, role in roles:
        directory = private_directory(root / name)
        write_identity(directory / "identity.key", identities[name], role=role, name=name)
        parties.append(card_of(identities[name], role=role, name=name))
    task = Task(
        study="small",
        nonce=random_bytes(16).hex(),
        protocol=ProtocolSpec(
            name=protocol, min_clients=min_clients or min(3, clients), key_holder=key_holder
        ),
        pruning=pruning
        or PruningSpec(
            sparsity=sparsity,
            sequence_length=8,
            max_windows=4,
            activations="dense" if privacy and privacy.statistics is not UNSET else "sequential",
        ),
        privacy=privacy or PrivacySpec(),
        model=model
        or ModelSpec(
            name="none",
            weights_digest=NO_DIGEST,
            tokenizer_digest=NO_DIGEST,
            matrices=tuple(MatrixSpec(name=n, rows=r, columns=c) for n, r, c in matrices),
        ),
        parties=tuple(parties),
    )
    check_task(task)
    study = SmallStudy(root, task, identities)
    study.write_task(task)
    for name, _ in roles:
        study.write_party_file(name)
    if with_masks and task.privacy.payload == "counts":
        for seed, name in enumerate(study.clients):
            study.make_masks(name, seed)
    return study
