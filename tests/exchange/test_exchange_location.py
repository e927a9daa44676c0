"""What a party file may say about where the exchange is, and what must not be in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from secprune.errors import ConfigurationError
from secprune.exchange.directory import DirectoryExchange, open_exchange
from secprune.exchange.location import S3Location, SftpLocation, parse_location
from secprune.exchange.store import StoreExchange


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://study", S3Location("study", "")),
        ("s3://study/", S3Location("study", "")),
        ("S3://study/2026/round/", S3Location("study", "2026/round")),
        ("sftp://host/srv/study", SftpLocation("host", None, None, "/srv/study")),
        ("sftp://clinic@host:2222/srv/study/", SftpLocation("host", 2222, "clinic", "/srv/study")),
        ("sftp://host/~/study", SftpLocation("host", None, None, "study")),
        ("sftp://[::1]:22/a%20b", SftpLocation("::1", 22, None, "/a b")),
    ],
)
def test_urls_of_stores(url, location):
    assert parse_location(url) == location
    assert parse_location(str(location)) in {location, parse_location(str(location).replace(" ", "%20"))}
    exchange = open_exchange(url, base=Path("/"))  # connects nowhere
    assert isinstance(exchange, StoreExchange)
    assert repr(exchange) == f"StoreExchange('{location}')"


def test_paths_and_file_urls_are_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for url, path in {
        "exchange": tmp_path / "exchange",
        "../x": tmp_path / "../x",
        str(tmp_path / "abs"): tmp_path / "abs",
        f"file://{tmp_path}/a%20b": tmp_path / "a b",
        f"file://localhost{tmp_path}/c": tmp_path / "c",
        "~/study": tmp_path / "home/study",
        "odd:name": tmp_path / "odd:name",
    }.items():
        exchange = open_exchange(url, base=tmp_path)
        assert isinstance(exchange, DirectoryExchange)
        assert path.is_dir()


@pytest.mark.parametrize("scheme", ["http", "https", "gs", "az", "ftp", "memory", "S3N", "ssh"])
def test_other_schemes_are_refused_with_those_that_work(scheme):
    with pytest.raises(ConfigurationError) as caught:
        open_exchange(f"{scheme}://user:hunter2@host/path", base=Path("/"))
    assert "s3://" in caught.value.hint
    assert "sftp://" in caught.value.hint
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hunter2@bucket/prefix",
        "s3://hunter2@bucket/prefix",
        "s3://AKIA:hun/ter2@bucket/prefix",
        "s3://bucket/prefix?secret=hunter2",
        "s3://bucket/prefix#hunter2",
        "s3://bucket/hunter2@prefix",
        "sftp://user:hunter2@host/path",
        "sftp://user:hunter2@host:22/path",
        "sftp://user:12/hunter2@host/path",
        "sftp://host/path?password=hunter2",
        "file://user:hunter2@localhost/path",
        "s3:AKIA:hunter2@bucket",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(ConfigurationError) as caught:
        open_exchange(url, base=Path("/"))
    assert "ter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3:bucket", "s3://b/a/../b", "s3://b/a//b", "s3://b/./a", "s3://b/a\tb", "s3://b:80/a",
        "s3://bu cket/a", "sftp://", "sftp://host", "sftp://host/", "sftp://host/~", "sftp://host:port/a",
        "sftp://host:99999/a", "sftp://host/a/../b", "sftp://host/%2e%2e/b", "sftp://host/a%00b", "sftp://ho st/a",
        "sftp://-oProxyCommand=x@host/a b/$(id)\n", "file://other-host/a", "file://", "sftp:host/a",
    ],
)  # fmt: skip
def test_malformed_urls_are_refused(url):
    with pytest.raises(ConfigurationError):
        open_exchange(url, base=Path("/"))


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/p", "s3fs"), ("sftp://host/p", "sshfs")])
def test_a_missing_extra_is_named_by_its_package(url, package):
    script = f"""
import sys
from pathlib import Path
for name in ("s3fs", "sshfs", "asyncssh", "aiohttp", "botocore", "fsspec"):
    sys.modules[name] = None
from secprune.exchange.directory import open_exchange
try:
    open_exchange({url!r}, base=Path("/"))
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == package


def test_a_directory_needs_no_package_of_a_store(tmp_path):
    script = f"""
import sys
from pathlib import Path
from secprune.exchange.directory import open_exchange
open_exchange("exchange", base=Path({str(tmp_path)!r})).put_chunk(b"x")
print(sorted({{"s3fs", "sshfs", "fsspec", "asyncssh", "botocore"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
