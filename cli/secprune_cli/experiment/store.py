"""What a run leaves on disk, so that it can be stopped at any time and go on later.

    experiment.json   the setup: model, data and everything else that all results depend on
    grid.toml         the grid of the last run
    results.jsonl     one line for each finished measurement, appended and synced
    masks/            local masks of the setting that is being measured; gone when it is done

A line that a crash tore is found by its missing end and dropped. The directory is for this user's eyes
only: masks and counts come of notes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    environment_errors,
    private_directory,
    read_bytes,
    sync_directory,
    write_atomically,
)
from secprune.ids import sha256
from secprune_cli.experiment.plan import LocalSetting, Measurement, canonical
from secprune_cli.experiment.simulate import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

SETUP, GRID, RESULTS, MASKS = "experiment.json", "grid.toml", "results.jsonl", "masks"


class Setup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that every result depends on, besides what is measured."""

    version: int = 1
    model: str
    weights: str
    tokenizer: str
    data: str
    files: tuple[str, ...]
    dtype: str
    sequence_length: int
    eval_windows: int
    torch: str
    transformers: str

    @property
    def digest(self) -> str:
        """Digest of all of it."""
        return sha256(b"secprune/experiment/setup\0" + canonical(self))


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of results.jsonl. `seconds` is the only part that a second run does not give again."""

    key: str
    measurement: Measurement
    finding: Finding
    seconds: float


class Store:
    """The directory of an experiment; one process at a time.

    Use as a context manager.

    Args:
        directory: made if it does not exist.
        setup: what is to be measured with.

    Attributes:
        records: finished measurements by key.

    Raises:
        LocalMisuseError: another process works here, or something else lies here.
        ConfigurationError: results of another setup are here, or a damaged file.
        LocalEnvironmentError: the disk is full, or the directory is not writable.
    """

    def __init__(self, directory: Path, setup: Setup) -> None:
        if directory.exists() and not (directory / SETUP).is_file() and any(directory.iterdir()):
            raise LocalMisuseError(
                f"{directory} holds something else", hint="give --out a directory that is new or empty"
            )
        self.directory, self.setup = private_directory(directory), setup
        with environment_errors(f"make {directory} private"):
            directory.chmod(PRIVATE_DIRECTORY)
        path = directory / SETUP
        if path.exists():
            _compare(read_setup(directory), setup, directory)
        else:
            write_atomically(path, msgspec.json.format(msgspec.json.encode(setup), indent=2) + b"\n")
        self.records: dict[str, Record] = {}

    def __enter__(self) -> Self:
        path = self.directory / RESULTS
        with environment_errors(f"open {path}"):
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
            sync_directory(self.directory)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise LocalMisuseError(
                f"another process is measuring into {self.directory}",
                hint="wait for it, or choose another --out",
            ) from None
        records, end = read_results(path)
        with environment_errors(f"repair {path}"):
            os.ftruncate(self._handle, end)
            os.fsync(self._handle)
        self.records = {record.key: record for record in records}
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def key(self, measurement: Measurement) -> str:
        """What a measurement is found by."""
        return measurement.key(self.setup.digest)

    def add(self, measurement: Measurement, finding: Finding, *, seconds: float) -> None:
        """Remember a finished measurement, durably."""
        record = Record(key=self.key(measurement), measurement=measurement, finding=finding, seconds=seconds)
        line = msgspec.json.encode(record) + b"\n"
        with environment_errors(f"write {RESULTS}"):
            while line:
                line = line[os.write(self._handle, line) :]
            os.fsync(self._handle)
        self.records[record.key] = record


class MaskCache:
    """Local masks on disk: those of one setting at a time, however large the grid is.

    Args:
        directory: the experiment's.
        setup: its digest; masks of another are never read.
    """

    def __init__(self, directory: Path, setup: str) -> None:
        self._root, self._setup = directory / MASKS, setup

    def place(self, setting: LocalSetting, client: int) -> tuple[Path, str]:
        """Where one client's masks lie, and the name that stands in the file."""
        name = self._name(setting)
        directory = private_directory(private_directory(self._root) / name.removeprefix("sha256:")[:32])
        return directory / f"client-{client:03d}.safetensors", name

    def keep_only(self, settings: Iterable[LocalSetting]) -> None:
        """Delete the masks of all other settings."""
        kept = {self._name(setting).removeprefix("sha256:")[:32] for setting in settings}
        if self._root.is_dir():
            for directory in self._root.iterdir():
                if directory.name not in kept:
                    shutil.rmtree(directory, ignore_errors=True)

    def _name(self, setting: LocalSetting) -> str:
        return sha256(b"secprune/experiment/masks\0" + self._setup.encode() + canonical(setting))


def read_setup(directory: Path) -> Setup:
    """The setup of an experiment's directory.

    Raises:
        LocalEnvironmentError: there is none.
        ConfigurationError: it is damaged, or of another version.
    """
    try:
        return msgspec.json.decode(read_bytes(directory / SETUP, what="the experiment's setup"), type=Setup)
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"{directory / SETUP} is not the setup of an experiment: {error}", hint="choose another --out"
        ) from error


def read_results(path: Path) -> tuple[list[Record], int]:
    """All records of a results.jsonl, and the length of the file up to the last whole one.

    Raises:
        ConfigurationError: a line other than the last is damaged.
        LocalEnvironmentError: it cannot be read.
    """
    records: list[Record] = []
    content = read_bytes(path, what="results")
    end = 0
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise msgspec.DecodeError("the line has no end")  # noqa: TRY301 - torn, as if not decodable
            records.append(msgspec.json.decode(line, type=Record))
        except msgspec.DecodeError as error:
            if number == len(lines):
                break  # a crash tore it; the measurement is made again
            raise ConfigurationError(
                f"line {number} of {path} is damaged: {error}", hint="delete that line; it is measured again"
            ) from error
        end += len(line)
    return records, end


def _compare(there: Setup, now: Setup, directory: Path) -> None:
    different = [
        f"{field} ({_shown(getattr(there, field))} there, {_shown(getattr(now, field))} now)"
        for field in Setup.__struct_fields__
        if getattr(there, field) != getattr(now, field)
    ]
    if different:
        raise ConfigurationError(
            f"{directory} holds results of another setup: {', '.join(different)}",
            hint="choose another --out; results of different setups are never mixed",
        )


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value).removeprefix("sha256:")[:16]
