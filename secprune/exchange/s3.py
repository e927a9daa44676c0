"""A bucket of an S3-compatible object store, over s3fs.

Endpoint, region, credentials and certificates come from where all AWS software takes them: the environment,
~/.aws, or the machine's role.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from typing import TYPE_CHECKING, Any, cast

import s3fs  # first: its name is the one that is said if the extra is not installed

# isort: split
import aiohttp
import botocore.exceptions as boto
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync

from secprune.errors import ConfigurationError
from secprune.exchange.store import Entry, Stored, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secprune.exchange.location import S3Location

_HINT = (
    "the endpoint and the credentials are read from the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_CA_BUNDLE) or from ~/.aws; the bucket must let "
    "this party list, read and write objects"
)
_OPTIONS = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "retries": {"total_max_attempts": 1},  # StoreExchange tries again
    # Newer checksums are unknown to many stores; Content-MD5 guards uploads, and readers verify SHA-256.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
_PIECE = 2**20
_MD5 = re.compile(r'"?([0-9a-f]{32})"?\Z')
_CODE = re.compile(r"[A-Za-z0-9]{1,64}\Z")

_TRANSIENT = (
    boto.ConnectionError,
    boto.HTTPClientError,
    ResponseParserError,
    aiohttp.ClientError,
    OSError,  # s3fs's own words for what a server answers are told apart before
)
_TRANSIENT_CODES = {
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "InternalError",
    "OperationAborted",
    "BadDigest",
}


class S3Store:
    """Objects of a bucket (see `Store`). Nothing is connected before the first call."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._root = f"{location.prefix}/" if location.prefix else ""
        self._lock = threading.Lock()
        self._opened: Any = None

    @property
    def url(self) -> str:
        """The bucket and prefix; the endpoint is in the environment."""
        return str(self._location)

    def stat(self, key: str) -> Stored | None:
        """HEAD; an entity tag that looks like an MD5 is taken for one."""
        answer = self._call("head_object", Key=self._root + key)
        if answer is None:
            return None
        tag = _MD5.match(str(answer.get("ETag", "")))
        return Stored(size=int(answer.get("ContentLength", -1)), md5=tag[1] if tag else None)

    def read(self, key: str, limit: int) -> bytes | None:
        """GET; the size is in the header, and the body is not read if it is too large."""
        answer = self._call("get_object", Key=self._root + key)
        if answer is None:
            return None
        size = int(answer.get("ContentLength", 0))
        try:
            return cast("bytes | None", sync(self._files().loop, _read_body, answer["Body"], size, limit))
        except Exception as error:
            translated = _translated(self._location, error) or UnreachableError("no body")
            if translated is error:
                raise
            raise translated from error

    def write(self, key: str, data: bytes) -> None:
        """PUT, which shows an object to nobody before it is whole; the store checks the MD5 that we send."""
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if self._call("put_object", Key=self._root + key, Body=data, ContentMD5=md5) is None:
            raise _no_bucket(self._location)

    def entries(self, folder: str) -> Iterator[Entry]:
        """LIST, a thousand names with each request."""
        prefix = self._root + folder
        more: dict[str, str] = {}
        while True:
            answer = self._call("list_objects_v2", Prefix=prefix, Delimiter="/", **more)
            if answer is None:
                raise _no_bucket(self._location)
            for item in answer.get("Contents", ()):
                key, size = str(item.get("Key", "")), int(item.get("Size", 0))
                if key.startswith(prefix):
                    stamp = f"{item.get('ETag')} {item.get('LastModified')} {size}"
                    yield Entry(name=key[len(prefix) :], size=size, stamp=stamp)
            token = answer.get("NextContinuationToken")
            if not answer.get("IsTruncated") or not token:
                return
            more = {"ContinuationToken": token}

    def _call(self, method: str, **arguments: Any) -> dict[str, Any] | None:
        """Call the API; None if there is no such object."""
        try:
            answer = self._files().call_s3(method, Bucket=self._location.bucket, **arguments)
        except Exception as error:
            if (translated := _translated(self._location, error)) is None:
                # A cycle through the frames of s3fs would keep the chunk of our callers until a garbage collection.
                error.__traceback__ = None
                return None
            if translated is error:
                raise
            raise translated from error
        return cast("dict[str, Any]", answer)

    def _files(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = s3fs.S3FileSystem(
                    anon=False, config_kwargs=_OPTIONS, use_listings_cache=False, skip_instance_cache=True
                )
                self._opened.retries = 1
            return self._opened


async def _read_body(body: Any, size: int, limit: int) -> bytes | None:
    """Read to the end, or not at all: a server that announces less than it sends is cut off too."""
    pieces, length = [], 0
    try:
        if size > limit:
            return None
        while piece := await body.read(_PIECE):
            length += len(piece)
            if length > limit:
                return None
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        body.close()


def _translated(location: S3Location, error: Exception) -> Exception | None:
    """Our words for what s3fs and botocore raise; None if there is no such object, or the error if it is a bug.

    Messages of a server are not repeated, only its codes.
    """
    cause = error if isinstance(error, boto.ClientError) else error.__cause__
    if isinstance(cause, boto.ClientError):
        return _answered(location, cause)
    if isinstance(error, boto.SSLError):
        return ConfigurationError(
            f"the server of {location} shows a certificate that this machine does not trust",
            hint="if it is signed by an authority of your own, set AWS_CA_BUNDLE to its certificate",
        )
    if isinstance(error, _TRANSIENT):
        return UnreachableError(type(error).__name__)
    if isinstance(error, (boto.BotoCoreError, ValueError)):  # no credentials, no such profile, no URL, ...
        return ConfigurationError(f"{location} cannot be opened: {type(error).__name__}", hint=_HINT)
    return error


def _answered(location: S3Location, error: boto.ClientError) -> Exception | None:
    code = str(error.response.get("Error", {}).get("Code", ""))
    code = code if _CODE.match(code) else "unknown"
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return _no_bucket(location)
    if status == 404 or code in {"NoSuchKey", "404"}:
        return None
    if status >= 500 or status == 429 or code in _TRANSIENT_CODES:
        return UnreachableError(f"{status} {code}")
    refused = "refuses this party's credentials" if status in {401, 403} else "refused a request"
    return ConfigurationError(f"{location} {refused} ({status} {code})", hint=_HINT)


def _no_bucket(location: S3Location) -> ConfigurationError:
    return ConfigurationError(
        f"there is no bucket {location.bucket}",
        hint="check its name and AWS_ENDPOINT_URL; whoever runs the store makes the bucket, secprune does not",
    )
