"""Running parties as processes: start, wait, read their JSON, measure their peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from secprune.errors import SecpruneError

if TYPE_CHECKING:
    import resource
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finished:
    """What a party's process left: its JSON result, seconds, peak resident memory."""

    result: dict[str, Any]
    seconds: float
    peak_rss_bytes: int


class PartyFailedError(SecpruneError):
    """A party's command ended with an error; whose fault it is and what to do are the party's own words."""

    def __init__(self, message: str, *, fault: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


class PartyProcess:
    """One `secprune` command in a process of its own.

    Args:
        party: whose command it is.
        arguments: of `secprune`; `--json` is added.
        log: where its standard output and error go (`.out`, `.err`).
        threads: processor threads its model may use.
    """

    def __init__(self, party: str, arguments: list[str], *, log: Path, threads: int) -> None:
        self.party, self.arguments = party, arguments
        self._out, self._err = log.with_suffix(".out"), log.with_suffix(".err")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self._started = time.perf_counter()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "secprune_cli", *arguments, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
            )
        self._finished: Finished | None = None

    def poll(self) -> Finished | None:
        """Its result if it has ended well, None while it runs.

        Raises:
            PartyFailedError: it ended with an error.
        """
        if self._finished is None:
            pid, code, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid == 0:
                return None
            self._process.returncode = os.waitstatus_to_exitcode(code)
            if self._process.returncode:
                raise self._failure()
            said = msgspec.json.decode(self._out.read_bytes(), type=dict[str, Any])
            self._finished = self._used(said, usage)
        return self._finished

    def stop(self) -> None:
        """End the process if it still runs."""
        if self._process.returncode is None:
            self._process.terminate()
            self._process.wait()

    def kill(self) -> Finished:
        """End the process where it is, by SIGKILL; what it used, without a result."""
        self._process.kill()
        _, code, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(code)
        self._finished = self._used({}, usage)
        return self._finished

    def _used(self, result: dict[str, Any], usage: resource.struct_rusage) -> Finished:
        scale = 1 if sys.platform == "darwin" else 1024
        return Finished(
            result=result,
            seconds=round(time.perf_counter() - self._started, 3),
            peak_rss_bytes=usage.ru_maxrss * scale,
        )

    def _failure(self) -> PartyFailedError:
        lines = self._err.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        try:
            said = msgspec.json.decode(lines[-1], type=dict[str, Any])
            what, fault, hint = str(said["error"]), str(said["fault"]), f"{said['hint']} (see {self._err})"
        except (msgspec.DecodeError, KeyError):
            what, fault, hint = lines[-1], "bug", f"see {self._err}"
        command = f"`secprune {' '.join(self.arguments[:2])}` of {self.party}"
        return PartyFailedError(f"{command} failed: {what}", fault=fault, hint=hint)
