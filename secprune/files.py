"""Files that are never half-written: write beside, fsync, rename; and foreign errors turned into ours."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from secprune.errors import LocalEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
SHARED_FILE = 0o644


@contextlib.contextmanager
def environment_errors(action: str) -> Iterator[None]:
    """Turn an OSError inside the block into a LocalEnvironmentError that says what failed and what to do."""
    try:
        yield
    except OSError as error:
        raise environment_error(action, error) from error


def environment_error(action: str, error: OSError) -> LocalEnvironmentError:
    """What to tell an operator when `action` failed with `error`."""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return LocalEnvironmentError(
        f"cannot {action}: {error.strerror or type(error).__name__}",
        hint="free space on this disk and run the same command again; nothing was half-written"
        if full
        else "check that the path exists and that this user may use it",
    )


def write_atomically(path: Path, data: bytes | memoryview, *, mode: int = PRIVATE_FILE) -> None:
    """Write `data` to `path` so that a crash or a full disk leaves the old file or the new one.

    Raises:
        LocalEnvironmentError: the disk is full or the directory is not writable; nothing is left behind.
    """
    with environment_errors(f"write {path.name}"):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).rename(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_directory(path: Path) -> Path:
    """Create `path` (and parents) readable by this user only, and return it."""
    with environment_errors(f"create {path}"):
        path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    return path


def read_bytes(path: Path, *, what: str) -> bytes:
    """Content of `path`.

    Raises:
        LocalEnvironmentError: it cannot be read; `what` says which file that is to a person.
    """
    with environment_errors(f"read {what} at {path}"):
        return path.read_bytes()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content as `sha256:<hex>`, streamed."""
    with environment_errors(f"read {path}"), path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
