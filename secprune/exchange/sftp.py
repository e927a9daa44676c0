"""A directory on an SSH server, over sshfs and asyncssh.

Keys, agent, known_hosts and aliases are those of the user's own SSH configuration. Host keys are checked always.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sshfs  # first: its name is the one that is said if the extra is not installed

# isort: split
import asyncssh

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune.exchange.store import MAX_LISTED, Entry, Stored, UnreachableError
from secprune.files import SHARED_FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from secprune.exchange.location import SftpLocation

T = TypeVar("T")

_TIMEOUT_S = 600.0
"""No single operation takes longer, or the connection is given up: 64 MiB at 1 Mbit/s."""
_HINT = (
    "keys are read from ~/.ssh and the SSH agent (SSH_AUTH_SOCK), host keys from ~/.ssh/known_hosts, aliases from "
    "~/.ssh/config; passwords are not asked for. Try: sftp "
)
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)


class SftpStore:
    """Files under a directory of a server (see `Store`). Nothing is connected before the first call."""

    def __init__(self, location: SftpLocation) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    @property
    def url(self) -> str:
        """User, host, port and directory."""
        return str(self._location)

    def stat(self, key: str) -> Stored | None:
        """What is there, if it is a file."""

        async def work(sftp: Any) -> Stored | None:
            attributes = await sftp.stat(self._path(key))
            return Stored(size=int(attributes.size)) if _is_file(attributes) else None

        return self._run(work)

    def read(self, key: str, limit: int) -> bytes | None:
        """The file's bytes; not more than it has when it is opened."""

        async def work(sftp: Any) -> bytes | None:
            if not _is_file(await sftp.stat(self._path(key))):
                return None  # to open a pipe would wait for whoever writes into it
            async with sftp.open(self._path(key), "rb") as file:
                size = int((await file.stat()).size)
                return bytes(await file.read(size, 0)) if size <= limit else None

        return self._run(work)

    def write(self, key: str, data: bytes) -> None:
        """Write beside, rename. What a killed process leaves has a name that is no digest."""
        path = self._path(key)
        folder, _, name = path.rpartition("/")
        part = f"{folder}/.{name}.{random_bytes(8).hex()}.part"

        async def work(sftp: Any) -> bool:
            file = await _new_file(sftp, part)
            if file is None:
                await sftp.makedirs(folder, exist_ok=True)
                file = await _new_file(sftp, part)
            if file is None:
                return False
            try:
                async with file:
                    await file.write(data)
                    with contextlib.suppress(asyncssh.SFTPOpUnsupported):
                        await file.fsync()
                await _rename(sftp, part, path)
            except asyncssh.SFTPError:
                with contextlib.suppress(asyncssh.SFTPError):
                    await sftp.remove(part)
                raise
            return True

        if not self._run(work):
            raise ConfigurationError(f"a directory of {self.url} cannot be made", hint=_HINT + self._target)

    def entries(self, folder: str) -> Iterator[Entry]:
        """One listing; names that are no UTF-8 are kept apart by surrogates."""

        async def work(sftp: Any) -> list[Entry]:
            found = []
            async for entry in sftp.scandir(self._path(folder.rstrip("/"))):
                if _is_file(entry.attrs):
                    stamp = f"{entry.attrs.size} {entry.attrs.mtime}"
                    found.append(Entry(entry.filename, int(entry.attrs.size), stamp))
                if len(found) >= MAX_LISTED:
                    break
            return found

        yield from self._run(work) or ()

    def _path(self, key: str) -> str:
        return f"{self._location.path}/{key}"

    @property
    def _target(self) -> str:
        port = f"-P {self._location.port} " if self._location.port else ""
        return port + (f"{self._location.user}@" if self._location.user else "") + self._location.host

    def _run(self, work: Callable[[Any], Awaitable[T]]) -> T | None:
        """Run `work` with an SFTP channel; None if the file or its directory is not there."""
        connection: _Connection | None = None
        try:
            connection = self._connect()
            return connection.run(work)
        except _ABSENT as error:
            error.__traceback__ = None  # or a cycle through frames keeps our callers' chunk for a while
            return None
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise ConfigurationError(
                f"the host key of {self._location.host} is not the one in ~/.ssh/known_hosts, or none is there",
                hint="do not go on: ask who runs the server for its host key's fingerprint, compare, then add the key",
            ) from error
        except (asyncssh.PermissionDenied, asyncssh.SFTPPermissionDenied, PermissionError) as error:
            raise ConfigurationError(f"{self.url} refuses this party", hint=_HINT + self._target) from error
        except (asyncssh.IllegalUserName, ValueError) as error:  # a file of ~/.ssh that does not parse
            raise ConfigurationError(
                f"the SSH configuration for {self._location.host} cannot be used: {type(error).__name__}",
                hint=_HINT + self._target,
            ) from error
        except (asyncssh.Error, asyncssh.ChannelListenError, OSError) as error:
            if isinstance(error, _FULL) or getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
                raise LocalEnvironmentError(
                    f"{self.url} is full", hint="let its operator make space, then run the same command again"
                ) from error
            self._give_up(connection)
            raise UnreachableError(type(error).__name__) from error

    def _connect(self) -> _Connection:
        with self._lock:
            if self._connection is None:
                self._connection = _Connection(self._location)
            return self._connection

    def _give_up(self, connection: _Connection | None) -> None:
        with self._lock:
            if connection is not None and self._connection is connection:
                self._connection = None


class _Connection:
    """One SSH connection with one SFTP channel, which takes many requests at a time."""

    def __init__(self, location: SftpLocation) -> None:
        # What is not named here is taken from ~/.ssh/config.
        options: dict[str, Any] = {"known_hosts": (), "connect_timeout": 30, "login_timeout": 30}
        options |= {"keepalive_interval": 15, "keepalive_count_max": 4}
        options["compression_algs"] = ["none"]  # what is sent is encrypted already
        if location.port is not None:
            options["port"] = location.port
        if location.user is not None:
            options["username"] = location.user
        config = Path("~/.ssh/config").expanduser()
        options["config"] = [str(config)] if config.is_file() else None
        if asyncssh.SSHClientConnectionOptions(host=location.host, **options).known_hosts is None:
            raise ConfigurationError(
                f"the SSH configuration for {location.host} switches off the check of host keys",
                hint="remove `UserKnownHostsFile none` for this host from ~/.ssh/config",
            )
        self._files = sshfs.SSHFileSystem(location.host, skip_instance_cache=True, **options)
        self._sftp: Any = self._wait(self._files.client.start_sftp_client(path_errors="surrogateescape"))

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return self._wait(work(self._sftp))

    def _wait(self, work: Awaitable[T]) -> T:
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self._files.loop)
        try:
            return future.result(_TIMEOUT_S)
        except BaseException:
            future.cancel()
            raise


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _is_file(attributes: Any) -> bool:
    return attributes.size is not None and stat.S_ISREG(attributes.permissions or stat.S_IFREG)


async def _new_file(sftp: Any, path: str) -> Any:
    """Create a file; None if its directory is not there."""
    try:
        return await sftp.open(path, "wb", asyncssh.SFTPAttrs(permissions=SHARED_FILE))
    except _ABSENT as error:
        error.__traceback__ = None  # as in _run
        return None


async def _rename(sftp: Any, part: str, path: str) -> None:
    """Put the file where it belongs, over an altered one if need be."""
    try:
        await sftp.posix_rename(part, path)
    except asyncssh.SFTPOpUnsupported:
        # Plain SFTP does not rename over a file: for a moment there is none, never half a one.
        with contextlib.suppress(asyncssh.SFTPError):
            await sftp.remove(path)
        await sftp.rename(part, path)
