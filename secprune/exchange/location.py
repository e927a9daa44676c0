"""Where an exchange is, as a party file says it. No credentials: a party file is not secret enough for them.

Errors never repeat the URL: what is wrong with it may be that it holds a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from secprune.errors import ConfigurationError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(s3|sftp|file):", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}\Z")  # names, IPv4, IPv6, aliases of ~/.ssh/config
_USER = re.compile(r"[A-Za-z0-9._\\-]{1,64}\Z")
_KINDS = "write a directory, s3://bucket/prefix or sftp://[user@]host[:port]/path"


@dataclass(frozen=True, slots=True)
class DirectoryLocation:
    """A path, relative to the party's own directory, or absolute."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and the common beginning of all keys, without slashes at its ends; may be empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class SftpLocation:
    """A directory on an SSH server; user and port are None where the user's SSH configuration decides."""

    host: str
    port: int | None
    user: str | None
    path: str

    def __str__(self) -> str:
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"sftp://{user}{host}{port}/{self.path.removeprefix('/') if self.path[0] == '/' else '~/' + self.path}"


def parse_location(url: str) -> DirectoryLocation | S3Location | SftpLocation:
    """Read the `exchange` of a party file.

    Raises:
        ConfigurationError: it is malformed, of an unknown kind, or holds credentials.
    """
    found = _SCHEME.match(url)
    if found is None:
        return DirectoryLocation(Path(url))
    scheme = (found[1] or found[2]).lower()
    if scheme not in {"s3", "sftp", "file"}:
        raise ConfigurationError(f"an exchange cannot be at a {scheme}:// address", hint=_KINDS)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _malformed(scheme) from None
    _refuse_credentials(scheme, parts)
    if not url[len(scheme) :].startswith("://"):
        raise _malformed(scheme)
    match scheme:
        case "s3":
            return _s3(parts)
        case "sftp":
            return _sftp(parts, port)
        case _:
            return _file(parts)


def absolute_location(url: str, *, base: Path) -> str:
    """The same place for somebody else: a relative path is taken from `base`, a URL stays as it is."""
    location = parse_location(url)
    if isinstance(location, DirectoryLocation):
        return str((base / location.path.expanduser()).resolve())
    return url


def _refuse_credentials(scheme: str, parts: SplitResult) -> None:
    named = parts.username is not None and scheme != "sftp"
    if named or parts.password is not None or parts.query or parts.fragment or "@" in parts.path:
        raise ConfigurationError(
            "the address of the exchange holds something that could be a password or a key",
            hint="credentials belong into the environment or the provider's own files (~/.aws, ~/.ssh), "
            "not into a party file",
        )


def _malformed(scheme: str) -> ConfigurationError:
    return ConfigurationError(
        f"the address of the exchange is not a well-formed {scheme}:// URL", hint=_KINDS
    )


def _s3(parts: SplitResult) -> S3Location:
    prefix = parts.path.strip("/")
    if not _BUCKET.match(parts.netloc) or not _is_plain(prefix):
        raise _malformed("s3")
    return S3Location(bucket=parts.netloc, prefix=prefix)


def _sftp(parts: SplitResult, port: int | None) -> SftpLocation:
    host, path = parts.hostname or "", unquote(parts.path).rstrip("/")
    if not _HOST.match(host) or not _is_plain(path.strip("/")) or "//" in path:
        raise _malformed("sftp")
    if parts.username is not None and not _USER.match(parts.username):
        raise _malformed("sftp")
    if path.startswith("/~/"):  # relative to where the server lets this user begin
        path = path.removeprefix("/~/")
    if path in {"", "/~"}:
        raise ConfigurationError("the address of the exchange names no directory on the server", hint=_KINDS)
    return SftpLocation(host=host, port=port, user=parts.username, path=path)


def _file(parts: SplitResult) -> DirectoryLocation:
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise _malformed("file")
    return DirectoryLocation(Path(unquote(parts.path)))


def _is_plain(path: str) -> bool:
    """Whether no part of a path is empty or leads elsewhere, and all of it can be shown to a person."""
    return not path or (path.isprintable() and not {"", ".", ".."} & set(path.split("/")))
