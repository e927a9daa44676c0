"""Servers that refuse, lie, vanish and come back; wrong credentials; wrong host keys."""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback

import pytest

from secprune.errors import ConfigurationError, LocalEnvironmentError, SecpruneError
from secprune.exchange.api import Topic
from secprune.ids import sha256

TOPIC = Topic("sha256:" + "ab" * 32, 0, "reports")
NO_WAIT = {"back_off_s": (), "outage_s": (), "sleep": lambda _: None}


def everything_said(error):
    return "".join(traceback.format_exception(error)) + getattr(error, "hint", "")


def refused(exchange):
    """The error of each kind of call; all are configuration errors that say where credentials come from."""
    for call in (
        lambda: list(exchange.messages(TOPIC)),
        lambda: exchange.get_chunk(sha256(b"x")),
        lambda: exchange.post(TOPIC, b"x"),
        lambda: (exchange.put_chunk(b"x"), exchange.flush()),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        yield caught.value


# ---- credentials
@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_of_an_object_store(new_board, monkeypatch, caplog, wrong):
    caplog.set_level(logging.DEBUG)
    board = new_board("rclone")
    list(board.open().messages(TOPIC))  # control: these are right
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    monkeypatch.setenv(wrong, "wrong-but-secret-as-well")
    exchange = board.open(**NO_WAIT)
    for error in refused(exchange):
        assert "AWS_ACCESS_KEY_ID" in error.hint
        if wrong == "AWS_SECRET_ACCESS_KEY":
            assert "wrong-but-secret" not in everything_said(error)
    assert secret not in caplog.text + repr(exchange)
    if wrong == "AWS_SECRET_ACCESS_KEY":
        assert "wrong-but-secret" not in caplog.text


def test_no_credentials_at_all(new_board, monkeypatch):
    board = new_board("rclone")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for error in refused(board.open(**NO_WAIT)):
        assert "AWS_ACCESS_KEY_ID" in error.hint


def test_a_profile_that_does_not_exist(new_board, monkeypatch):
    board = new_board("rclone")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert all("AWS_PROFILE" in error.hint for error in refused(board.open(**NO_WAIT)))


@pytest.mark.parametrize("kind", ["moto", "rclone"])
def test_a_bucket_that_does_not_exist(new_board, kind):
    board = new_board(kind)
    board.url = "s3://no-such-bucket/x"
    exchange = board.open(**NO_WAIT)
    for call in (lambda: exchange.post(TOPIC, b"x"), lambda: list(exchange.messages(TOPIC))):
        with pytest.raises(ConfigurationError, match="no bucket no-such-bucket"):
            call()


def test_an_endpoint_that_is_no_url(new_board, monkeypatch):
    board = new_board("rclone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not a url")
    assert all("AWS_ENDPOINT_URL" in error.hint for error in refused(board.open(**NO_WAIT)))


def test_an_ssh_server_that_does_not_know_the_key(new_board, monkeypatch, tmp_path):
    import asyncssh

    board = new_board("sftp")
    (tmp_path / ".ssh").mkdir()
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / ".ssh" / "id_ed25519")
    known = board.server.home / ".ssh" / "known_hosts"
    (tmp_path / ".ssh" / "known_hosts").write_text(known.read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    for error in refused(board.open(**NO_WAIT)):
        assert "~/.ssh" in error.hint
        assert "sftp -P" in error.hint


@pytest.mark.parametrize("known", ["another key", "none", "no file", "switched off"])
def test_a_host_key_that_is_not_the_known_one_is_refused(new_board, monkeypatch, tmp_path, known):
    import asyncssh

    board = new_board("sftp")
    list(board.open().messages(TOPIC))  # control: the right one
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "id_ed25519").write_bytes((board.server.home / ".ssh" / "id_ed25519").read_bytes())
    (ssh / "id_ed25519").chmod(0o600)
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    lines = {"another key": f"[127.0.0.1]:{board.server.port} {other}", "none": f"elsewhere {other}"}
    if known in lines:
        (ssh / "known_hosts").write_text(lines[known])
    if known == "switched off":
        (ssh / "config").write_text("Host *\n  UserKnownHostsFile none\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert all("host key" in error.message for error in refused(board.open(**NO_WAIT)))
    assert board.listing() == []


def test_aliases_of_the_ssh_configuration_are_used(new_board, monkeypatch, tmp_path):
    board = new_board("sftp")
    home = board.server.home
    config = f"Host study\n  HostName 127.0.0.1\n  Port {board.server.port}\n  User clinic\n  IdentityFile {home}/.ssh/id_ed25519\n"
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(config)
    (tmp_path / ".ssh" / "known_hosts").write_text((home / ".ssh" / "known_hosts").read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    board.url = "sftp://study/" + board.url.rpartition("/")[2]
    board.open().post(TOPIC, b"message")
    assert len(board.listing()) == 1


def test_plain_sftp_without_extensions_repairs_too(new_board, own_server):
    board = new_board("sftp", server=own_server("sftp", "--plain"))
    exchange = board.open()
    digest = exchange.put_chunk(b"words")
    exchange.flush()
    key = board.listing()[0]
    board.put(key, b"other")
    exchange.put_chunk(b"words")
    exchange.flush()
    assert exchange.get_chunk(digest) == b"words"
    assert board.listing() == [key]


# ---- the network
@pytest.mark.parametrize("kind", ["rclone", "sftp"])
def test_a_server_that_is_down_at_the_start(new_board, own_server, kind):
    server = own_server(kind)
    board = new_board(kind, server=server)
    server.kill()
    pauses = []
    exchange = board.open(sleep=pauses.append)
    with pytest.raises(LocalEnvironmentError, match="cannot be reached") as caught:
        list(exchange.messages(TOPIC))
    assert pauses == [0.5, 1, 2, 4]
    assert "same command again" in caught.value.hint
    server.start()
    exchange.post(TOPIC, b"message")  # the same exchange works on
    assert [data for _, data in exchange.messages(TOPIC)] == [b"message"]


@pytest.mark.parametrize("kind", ["rclone", "sftp"])
def test_a_server_that_is_killed_in_the_middle_and_comes_back(new_board, own_server, kind):
    server = own_server(kind)
    board = new_board(kind, server=server)
    chunks = [os.urandom(2**18) for _ in range(60)]
    exchange = board.open(outage_s=(0.1,) * 100)
    killed = threading.Event()

    def kill_and_restart():
        while len(board_files(board)) < 10:
            time.sleep(0.005)
        server.kill()
        killed.set()
        time.sleep(0.3)
        server.start()

    thread = threading.Thread(target=kill_and_restart)
    thread.start()
    for i, data in enumerate(chunks):
        exchange.put_chunk(data)
        if i == 40:
            assert killed.wait(10)
    exchange.post(TOPIC, b"manifest")
    thread.join()
    reader = board.open()
    assert [data for _, data in reader.messages(TOPIC)] == [b"manifest"]
    assert all(reader.get_chunk(sha256(data)) == data for data in chunks)


def put_many(exchange):
    for i in range(100):
        exchange.put_chunk(os.urandom(1000) + bytes([i]))


def board_files(board):
    folder = board.server.root / ("study" if board.kind == "rclone" else "") / board.url.rpartition("/")[2]
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]


@pytest.mark.parametrize("kind", ["rclone", "sftp"])
def test_a_server_that_stays_away_stops_the_upload_and_nothing_is_posted(new_board, own_server, kind):
    server = own_server(kind)
    board = new_board(kind, server=server)
    exchange = board.open(outage_s=(0.05,))
    exchange.put_chunk(b"first")
    exchange.flush()
    server.kill()
    with pytest.raises(LocalEnvironmentError, match="cannot be reached"):
        put_many(exchange)
    with pytest.raises(LocalEnvironmentError):
        exchange.post(TOPIC, b"manifest")
    server.start()
    assert list(board.open().messages(TOPIC)) == []


# ---- servers that lie
class Liar(threading.Thread):
    """An "S3 server" that answers every GET with endless bytes."""

    def __init__(self, header):
        import socket

        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.header, self.sent = header, 0
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
                request = client.recv(2**16)
                client.sendall(f'HTTP/1.1 200 OK\r\nETag: "x"\r\n{self.header}\r\n\r\n'.encode())
                while request.startswith(b"GET"):
                    piece = b"10000\r\n" + bytes(2**16) + b"\r\n"
                    client.sendall(piece)
                    self.sent += len(piece)
                client.close()
            except OSError:
                if self.listener.fileno() < 0:
                    return


@pytest.mark.parametrize("header", ["Content-Length: 99999999999", "Transfer-Encoding: chunked"])
def test_a_server_that_sends_without_end_is_cut_off(new_board, monkeypatch, header):
    liar = Liar(header)
    board = new_board("rclone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{liar.port}")
    exchange = board.open(**NO_WAIT)
    assert exchange._store.read("chunks/aa/bb", 2**20) is None
    time.sleep(0.1)
    assert liar.sent < 30 * 2**20
    with pytest.raises(SecpruneError):
        exchange.get_chunk(sha256(b"x"))
    liar.listener.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", LocalEnvironmentError),
        (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", LocalEnvironmentError),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", ConfigurationError),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ConfigurationError),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            LocalEnvironmentError,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<not>", LocalEnvironmentError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n<short>", LocalEnvironmentError),
        (b"garbage\r\n\r\n", LocalEnvironmentError),
        (b"", LocalEnvironmentError),
    ],
)
def test_odd_answers_become_readable_errors(new_board, monkeypatch, answer, error):
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.recv(2**16)
            client.sendall(answer)
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    board = new_board("rclone")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(error):
        list(board.open(**NO_WAIT).messages(TOPIC))
    listener.close()
