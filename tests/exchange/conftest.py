"""Servers that exchanges are tested on: real processes on loopback, made once for all tests of a worker.

A `Board` is one fresh exchange on one of them, with a way around secprune to look at and damage what is stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KEY, SECRET = "AKIAOFTHETESTS", "the-secret-that-nobody-may-see"
BUCKET = "study"
STORES = ("moto", "rclone", "sftp")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A server process that can be killed and started again on its port."""

    def __init__(self, command, log):
        self.port = free_port()
        self._command = [str(part).replace("PORT", str(self.port)) for part in command]
        self._log = log
        self.process = None

    def start(self):
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not answers(self.port):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)
        return self

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Proxy:
    """Passes TCP connections on to a port, and counts the bytes that clients send."""

    def __init__(self, target):
        self.sent = 0
        self._target = target
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, count):
        try:
            while data := source.recv(2**16):
                sink.sendall(data)
                if count:
                    with self._lock:
                        self.sent += len(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


class Board:
    """A fresh exchange: its URL, the environment to open it in, and its objects."""

    def __init__(self, kind, url, environment, files, server):
        self.kind, self.url, self.environment, self.server = kind, url, environment, server
        self._files = files

    def open(self, **options):
        from secprune.exchange.directory import open_exchange
        from secprune.exchange.store import StoreExchange

        exchange = open_exchange(self.url, base=Path("/"))
        return StoreExchange(exchange._store, **options) if options else exchange

    def put(self, key, data):
        self._files.put(key, data)

    def get(self, key):
        return self._files.get(key)

    def remove(self, key):
        self._files.remove(key)

    def listing(self):
        return sorted(self._files.listing())


class Folder:
    """The objects of a board whose server keeps them as files."""

    def __init__(self, root):
        self.root = root

    def put(self, key, data):
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, key):
        return (self.root / key).read_bytes()

    def remove(self, key):
        (self.root / key).unlink()

    def listing(self):
        return [str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()]


class Bucket:
    """The objects of a board in a bucket."""

    def __init__(self, client, prefix):
        self._client, self._prefix = client, prefix

    def put(self, key, data):
        self._client.put_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}", Body=data)

    def get(self, key):
        return self._client.get_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}")["Body"].read()

    def remove(self, key):
        self._client.delete_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}")

    def listing(self):
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{self._prefix}/"
        )
        return [o["Key"][len(self._prefix) + 1 :] for page in pages for o in page.get("Contents", ())]


def aws_environment(port, *, key=KEY, secret=SECRET):
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def rclone_command(root):
    binary = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        pytest.skip("no rclone for this platform: its S3 server is not tested")
    command = [binary, "serve", "s3", "--addr", "127.0.0.1:PORT", "--auth-key", f"{KEY},{SECRET}"]
    return [*command, "--dir-cache-time", "200ms", "--config", os.devnull, root]


def boto_client(port):
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "PORT"]
    server = Server(command, tmp_path_factory.mktemp("moto") / "log").start()
    server.client = boto_client(server.port)
    server.client.create_bucket(Bucket=BUCKET)
    yield server
    server.kill()


def new_rclone(folder):
    (folder / "root" / BUCKET).mkdir(parents=True)
    server = Server(rclone_command(folder / "root"), folder / "log").start()
    server.root, server.client = folder / "root", boto_client(server.port)
    return server


def new_sftp(folder, *options):
    import asyncssh

    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (folder / "root").mkdir()
    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(folder / "host_key")
    client.write_private_key(home / ".ssh" / "id_ed25519")
    client.write_public_key(folder / "client_key.pub")
    command = [sys.executable, HERE / "sftp_server.py", folder / "root", "PORT"]
    command += [folder / "host_key", folder / "client_key.pub", *options]
    server = Server(command, folder / "log").start()
    server.root, server.home = folder / "root", home
    public = host.export_public_key().decode().strip()
    server.known = lambda port: f"[127.0.0.1]:{port} {public}\n"
    (home / ".ssh" / "known_hosts").write_text(server.known(server.port))
    return server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory):
    server = new_rclone(tmp_path_factory.mktemp("rclone"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    server = new_sftp(tmp_path_factory.mktemp("sftp"))
    yield server
    server.kill()


def board_on(kind, server, *, port=None):
    """A fresh board on a server, reached through another port if one is given."""
    name, port = uuid.uuid4().hex[:12], port or server.port
    if kind == "sftp":
        environment = {"HOME": str(server.home), "SSH_AUTH_SOCK": ""}
        url = f"sftp://clinic@127.0.0.1:{port}/{name}"
        with (server.home / ".ssh" / "known_hosts").open("a") as known:
            known.write(server.known(port))
        return Board(kind, url, environment, Folder(server.root / name), server)
    url = f"s3://{BUCKET}/{name}"
    return Board(kind, url, aws_environment(port), Bucket(server.client, name), server)


@pytest.fixture
def new_board(request, monkeypatch, tmp_path):
    """Make a board of a kind, and set this process's environment for it."""

    def make(kind, *, server=None, port=None):
        if kind == "directory":
            return Board(kind, str(tmp_path / "board"), {}, Folder(tmp_path / "board"), None)
        board = board_on(kind, server or request.getfixturevalue(kind), port=port)
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        return board

    return make


@pytest.fixture(params=("directory", *STORES))
def board(request, new_board):
    return new_board(request.param)


@pytest.fixture(params=STORES)
def remote_board(request, new_board):
    return new_board(request.param)


@pytest.fixture
def own_server(tmp_path):
    """Start a server of a kind for one test, which may kill it. Not moto: it forgets everything."""
    started = []

    def start(kind, *options):
        folder = tmp_path / f"server-{len(started)}"
        folder.mkdir()
        server = new_rclone(folder) if kind == "rclone" else new_sftp(folder, *options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def proxy():
    """Start a counting proxy in front of a server."""
    started = []

    def start(server):
        started.append(Proxy(server.port))
        return started[-1]

    yield start
    for one in started:
        one.close()
