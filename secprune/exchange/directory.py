"""A directory that all parties reach: a network share, a synchronised folder, or a local path; see `layout`."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from secprune.crypto.envelope import MAX_ENVELOPE_BYTES
from secprune.exchange.api import MAX_CHUNK_BYTES, altered_chunk, missing_chunk
from secprune.exchange.layout import chunk_key, is_message_name, topic_folder
from secprune.exchange.location import DirectoryLocation, S3Location, parse_location
from secprune.files import SHARED_FILE, environment_errors, write_atomically
from secprune.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from secprune.exchange.api import Exchange, Topic


class DirectoryExchange:
    """An exchange in a directory (see `Exchange`).

    Args:
        root: the directory; created if it does not exist.
    """

    poll_s = 0.25

    def __init__(self, root: Path) -> None:
        self._root = root
        self._make(root)

    def put_chunk(self, data: bytes) -> str:
        """Store a chunk under its digest; an intact copy that is there already is left alone."""
        digest = sha256(data)
        self._put(self._root / chunk_key(digest), data)
        return digest

    def get_chunk(self, digest: str) -> bytes:
        """Read a chunk and check that it is what its name says."""
        data = self._read(self._root / chunk_key(digest), MAX_CHUNK_BYTES)
        if data is None:
            raise altered_chunk(digest) if self._is_oversized(digest) else missing_chunk(digest)
        if sha256(data) != digest:
            raise altered_chunk(digest)
        return data

    def post(self, topic: Topic, envelope: bytes) -> str:
        """Post a signed envelope under its digest."""
        digest = sha256(envelope)
        self._put(self._root / topic_folder(topic) / digest.removeprefix("sha256:"), envelope)
        return digest

    def messages(self, topic: Topic, *, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """New messages of a topic; files that are not what their name says are passed over."""
        folder = self._root / topic_folder(topic)
        with environment_errors(f"read the exchange at {self._root}"):
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            digest = f"sha256:{name}"
            if digest in known or not is_message_name(name):
                continue
            data = self._read(folder / name, MAX_ENVELOPE_BYTES)
            if data is not None and sha256(data) == digest:
                yield digest, data

    def flush(self) -> None:
        """Nothing to wait for: whatever was put is on the disk."""

    def _is_oversized(self, digest: str) -> bool:
        with environment_errors(f"read the exchange at {self._root}"):
            path = self._root / chunk_key(digest)
            return path.is_file() and path.stat().st_size > MAX_CHUNK_BYTES

    def _put(self, path: Path, data: bytes) -> None:
        if self._read(path, max(MAX_CHUNK_BYTES, MAX_ENVELOPE_BYTES)) != data:
            self._make(path.parent)
            write_atomically(path, data, mode=SHARED_FILE)

    def _make(self, path: Path) -> None:
        with environment_errors(f"create {path}"):
            path.mkdir(parents=True, exist_ok=True)

    def _read(self, path: Path, limit: int) -> bytes | None:
        with environment_errors(f"read the exchange at {self._root}"):
            try:
                # O_NONBLOCK: a FIFO that somebody put there would wait for a writer.
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
                    about = os.fstat(stream.fileno())
                    if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
                        return None
                    # Not read(limit + 1): that reserves the limit, 64 MiB of page faults for every chunk.
                    return stream.read(about.st_size)
            except (FileNotFoundError, IsADirectoryError):
                return None
            except OSError as error:
                if error.errno == errno.ELOOP:  # a link to itself
                    return None
                raise


def open_exchange(url: str, *, base: Path) -> Exchange:
    """Open the exchange that a party file names: a directory, `s3://bucket/prefix` or `sftp://host/path`.

    Args:
        url: a path or a URL.
        base: what a relative path starts at: the party file's own directory.

    Raises:
        ConfigurationError: the URL is malformed, of another kind, or holds credentials.
        ModuleNotFoundError: the package for this kind of URL is not installed.
    """
    # Stores are imported when they are wanted: their packages are extras.
    match parse_location(url):
        case DirectoryLocation(path=path):
            return DirectoryExchange(base / path.expanduser())
        case S3Location() as location:
            from secprune.exchange.s3 import S3Store  # noqa: PLC0415
            from secprune.exchange.store import StoreExchange  # noqa: PLC0415

            return StoreExchange(S3Store(location))
        case location:
            from secprune.exchange.sftp import SftpStore  # noqa: PLC0415
            from secprune.exchange.store import StoreExchange  # noqa: PLC0415

            return StoreExchange(SftpStore(location))
