"""Functions that tests give to workers in other processes, and how they are stopped in the middle."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secprune.errors import RemoteMisbehaviourError
from secprune.exchange.api import ChunkAlteredError, ChunkMissingError


def adder(secret: bytes) -> Callable[[int], tuple[int, int]]:
    """Made of a secret, whose length is all that it shows."""
    return lambda item: (item, len(secret))


class Gate:
    """Items from `closed` on say in `directory` which process works on them, and wait until it is opened."""

    def __init__(self, directory: Path, closed: int, _secret: bytes = b"") -> None:
        self._directory, self._closed = directory, closed

    def __call__(self, item: int) -> int:
        if item >= self._closed:
            report = self._directory / f"{item}.{os.getpid()}"
            report.touch()
            while not (self._directory / "open").exists():
                time.sleep(0.01)
        return item * item

    @staticmethod
    def open(directory: Path) -> None:
        """Let all items go on."""
        (directory / "open").touch()

    @staticmethod
    def await_one(directory: Path, timeout_s: float = 120) -> tuple[int, int]:
        """An item that is being worked on and will not end by itself, and the process that does it."""
        deadline = time.monotonic() + timeout_s
        while not (found := [path.name.split(".") for path in directory.glob("*.*")]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        item, process = found[0]
        return int(item), int(process)


def die(_item: int) -> None:
    """End the process without a word, as for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def mortal() -> Callable[[int], None]:
    """Make `die`."""
    return die


def where() -> Callable[[Any], int]:
    """Says which process it is in."""
    return lambda _item: os.getpid()


def echo() -> Callable[[Any], Any]:
    """Returns its items."""
    return lambda item: item


def importing(package: str) -> Callable[[Any], Any]:
    """Needs a package."""
    return lambda _item: importlib.import_module(package)


class UnpicklableError(Exception):
    """One that holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("cannot travel")
        self.held = lambda: None


ERRORS: dict[str, Callable[[], Exception]] = {
    "missing": lambda: ChunkMissingError("it is not there", digest="sha256:12", hint="wait"),
    "altered": lambda: ChunkAlteredError("it is another", digest="sha256:34"),
    "misbehaved": lambda: RemoteMisbehaviourError("it does not open", party="clinic-1", hint="telephone"),
    "time": lambda: TimeoutError("of the function's own"),
    "system": lambda: FileNotFoundError(2, "of the function's own"),
    "bug": lambda: ZeroDivisionError("of the function's own"),
    "unpicklable": UnpicklableError,
}


def failing(what: str, _secret: bytes = b"") -> Callable[[int], int]:
    """Item 5 raises."""

    def function(item: int) -> int:
        if item == 5:
            error = ERRORS[what]()
            raise error
        return item

    return function


def unmakeable(what: str) -> Callable[[Any], Any]:
    """Cannot be made."""
    error = ERRORS[what]()
    raise error


def on_scheduler(cluster: Any) -> str:
    """All that a cluster's scheduler can show of what it does and did."""
    from distributed import Client, Security

    files = cluster.client
    security = Security(
        require_encryption=True,
        tls_ca_file=str(files["ca"]),
        tls_client_cert=str(files["certificate"]),
        tls_client_key=str(files["key"]),
    )
    with Client(cluster.address, security=security, set_as_default=False) as client:
        return client.run_on_scheduler(_shown) + repr(client.get_events())


def _shown(dask_scheduler: Any) -> str:
    tasks = [(task, task.state, task.run_spec, vars_of(task)) for task in dask_scheduler.tasks.values()]
    return repr((tasks, list(dask_scheduler.transition_log)))


def vars_of(task: Any) -> dict[str, Any]:
    """Whatever is known of a task."""
    return {name: getattr(task, name, None) for name in type(task).__slots__}
