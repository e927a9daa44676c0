"""What every exchange does, whatever it is made of: a directory, two kinds of S3 server, an SSH server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secprune.errors import RemoteMisbehaviourError
from secprune.exchange import api, directory, store
from secprune.exchange.api import ChunkMissingError, Topic
from secprune.ids import sha256

TASK = "sha256:" + "ab" * 32
TOPIC = Topic(TASK, 0, "reports")
FOLDER = f"messages/{'ab' * 32}/0/reports"


def key_of(digest):
    name = digest.removeprefix("sha256:")
    return f"chunks/{name[:2]}/{name}"


def stored(board, data):
    exchange = board.open()
    digest = exchange.put_chunk(data)
    exchange.flush()
    return exchange, digest


# ---- as it should be
@pytest.mark.parametrize("size", [0, 1, 1000, 5 * 2**20 + 3])
def test_a_chunk_comes_back(board, size):
    data = bytes(range(256)) * (size // 256 + 1)
    exchange, digest = stored(board, data[:size])
    assert digest == sha256(data[:size])
    assert exchange.get_chunk(digest) == data[:size]
    assert board.open().get_chunk(digest) == data[:size]
    assert board.listing() == [key_of(digest)]


def test_a_chunk_that_is_on_its_way_can_be_read(board):
    exchange = board.open()
    for i in range(8):
        data = bytes([i]) * 100_000
        assert exchange.get_chunk(exchange.put_chunk(data)) == data


def test_messages_come_in_order_and_only_those_that_are_not_known(board):
    exchange = board.open()
    assert list(exchange.messages(TOPIC)) == []
    sent = {exchange.post(TOPIC, f"message {i}".encode()): f"message {i}".encode() for i in range(5)}
    for topic in (
        Topic(TASK, 1, "reports"),
        Topic(TASK, 0, "votes"),
        Topic("sha256:" + "cd" * 32, 0, "reports"),
    ):
        exchange.post(topic, b"another topic")
    reader = board.open()
    assert list(reader.messages(TOPIC)) == sorted(sent.items())
    known = set(sorted(sent)[:3])
    assert list(reader.messages(TOPIC, known=known)) == sorted(sent.items())[3:]
    assert exchange.post(TOPIC, b"message 0") == sha256(b"message 0")
    assert len(list(reader.messages(TOPIC))) == 5


def test_another_process_reads_and_answers(board):
    exchange, digest = stored(board, b"question" * 1000)
    script = f"""
from pathlib import Path
from secprune.exchange.api import Topic
from secprune.exchange.directory import open_exchange
exchange = open_exchange({board.url!r}, base=Path("/"))
data = exchange.get_chunk({digest!r})
exchange.put_chunk(data[::-1])
exchange.post(Topic({TASK!r}, 0, "reports"), b"answer")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert list(exchange.messages(TOPIC)) == [(sha256(b"answer"), b"answer")]
    assert exchange.get_chunk(sha256((b"question" * 1000)[::-1]))


# ---- damage
@pytest.mark.parametrize("damage", ["altered", "truncated", "longer", "emptied"])
def test_a_damaged_chunk_is_the_exchanges_fault_and_is_repaired(board, damage):
    data = b"honest words" * 1000
    exchange, digest = stored(board, data)
    other = {"altered": b"x" + data[1:], "truncated": data[:-1], "longer": data + b"x", "emptied": b""}[
        damage
    ]
    board.put(key_of(digest), other)
    with pytest.raises(RemoteMisbehaviourError, match="altered") as caught:
        exchange.get_chunk(digest)
    assert caught.value.party == "exchange"
    exchange.put_chunk(data)
    exchange.flush()
    assert board.get(key_of(digest)) == data
    assert exchange.get_chunk(digest) == data
    assert board.listing() == [key_of(digest)]


def test_an_oversized_chunk_is_altered_and_not_downloaded(board, monkeypatch):
    for module in (api, directory, store):
        monkeypatch.setattr(module, "MAX_CHUNK_BYTES", 2**20)
    data = b"small"
    exchange, digest = stored(board, data)
    board.put(key_of(digest), bytes(2**20 + 1))
    with pytest.raises(RemoteMisbehaviourError, match="altered"):
        exchange.get_chunk(digest)
    exchange.put_chunk(data)
    exchange.flush()
    assert exchange.get_chunk(digest) == data
    whole = bytes(2**20)  # control: the limit itself is allowed
    assert exchange.get_chunk(exchange.put_chunk(whole)) == whole


def test_a_missing_chunk_is_not_ready_and_is_sent_again(board):
    exchange, digest = stored(board, b"words")
    board.remove(key_of(digest))
    with pytest.raises(ChunkMissingError):
        exchange.get_chunk(digest)
    exchange.put_chunk(b"words")
    exchange.flush()
    assert exchange.get_chunk(digest) == b"words"


def test_what_is_no_message_is_passed_over(board, monkeypatch):
    for module in (directory, store):
        monkeypatch.setattr(module, "MAX_ENVELOPE_BYTES", 1000)
    exchange = board.open()
    honest = exchange.post(TOPIC, b"honest")
    name = honest.removeprefix("sha256:")
    foreign = [
        "readme.txt", name.upper(), name[:-1], name + "0", f".{name}.part", "f" * 64, "%2e%2e%2fescape", "a b",
        "ünï", "*", f"deeper/{name}", "x\ny", "..." + name[3:],
    ]  # fmt: skip
    if board.kind == "moto":  # it takes names that no file system does, but no line breaks
        foreign = [*foreign[:-2], "..." + name[3:], "a" * 900]
    for other in foreign:
        board.put(f"{FOLDER}/{other}", b"honest")
    huge = bytes(1001)
    board.put(f"{FOLDER}/{hashlib.sha256(huge).hexdigest()}", huge)
    for _ in range(2):
        assert list(exchange.messages(TOPIC)) == [(honest, b"honest")]
    assert list(board.open().messages(TOPIC)) == [(honest, b"honest")]


def test_a_name_that_is_no_utf8_is_passed_over(new_board):
    board = new_board("sftp")
    exchange = board.open()
    honest = exchange.post(TOPIC, b"honest")
    folder = os.fsencode(board._files.root / FOLDER)
    Path(os.fsdecode(folder + b"/\xff")).touch()
    assert list(exchange.messages(TOPIC)) == [(honest, b"honest")]


def test_an_altered_message_is_passed_over_until_it_is_posted_again(board):
    exchange = board.open()
    digest = exchange.post(TOPIC, b"honest")
    board.put(f"{FOLDER}/{digest.removeprefix('sha256:')}", b"altered")
    reader = board.open()
    assert list(reader.messages(TOPIC)) == []
    exchange.post(TOPIC, b"honest")
    assert list(reader.messages(TOPIC)) == [(digest, b"honest")]


def test_what_was_no_message_is_not_downloaded_at_every_look(remote_board, monkeypatch):
    remote_board.put(f"{FOLDER}/{'f' * 64}", b"garbage")
    exchange = remote_board.open()
    reads = []
    read = type(exchange._store).read
    monkeypatch.setattr(type(exchange._store), "read", lambda *a: reads.append(a) or read(*a))
    for _ in range(5):
        assert list(exchange.messages(TOPIC)) == []
    assert len(reads) == 1
    monkeypatch.setattr(store, "LOOK_AGAIN_S", -1.0)
    assert list(exchange.messages(TOPIC)) == []
    assert len(reads) == 2


def test_leftovers_of_a_killed_writer_are_never_read(board):
    exchange, digest = stored(board, b"whole")
    folder, name = key_of(digest).rsplit("/", 1)
    board.put(f"{folder}/.{name}.0011223344556677.part", b"who")
    board.put(f"{FOLDER}/.{name}.0011223344556677.part", b"who")
    assert exchange.get_chunk(digest) == b"whole"
    assert list(exchange.messages(TOPIC)) == []


# ---- cost
def test_an_intact_chunk_is_not_sent_again(remote_board, monkeypatch):
    data = b"words" * 1000
    exchange, _ = stored(remote_board, data)
    kind, calls = type(exchange._store), []
    for method in ("read", "write"):
        original = getattr(kind, method)
        monkeypatch.setattr(
            kind, method, lambda *a, name=method, original=original: calls.append(name) or original(*a)
        )
    exchange.put_chunk(data)
    exchange.flush()
    assert calls == (["read"] if remote_board.kind == "sftp" else []), (
        "an MD5 of the store saves the download"
    )


@pytest.mark.parametrize("kind", ["directory", "rclone", "sftp"])
def test_of_thousands_of_messages_only_new_ones_are_fetched(new_board, monkeypatch, kind):
    board = new_board(kind)
    digests = [sha256(str(i).encode()) for i in range(2_500)]
    name = board.url.rpartition("/")[2]
    root = {"directory": board.url, "sftp": f"{board.server and board.server.root}/{name}"}
    folder = Path(root.get(kind) or f"{board.server.root}/study/{name}") / FOLDER
    for i, digest in enumerate(digests):
        if i < 2 or i > 2_497:
            board.put(f"{FOLDER}/{digest.removeprefix('sha256:')}", str(i).encode())
        else:
            (folder / digest.removeprefix("sha256:")).touch()
    time.sleep(0.5)  # until rclone looks at the disk again
    exchange, calls = board.open(), []
    if kind != "directory":
        for call in ("entries", "read", "stat"):
            made = getattr(exchange._store, call)
            monkeypatch.setattr(
                exchange._store, call, lambda *args, made=made, call=call: calls.append(call) or made(*args)
            )
    found = dict(exchange.messages(TOPIC, known=set(digests[2:2_498])))
    assert found == {digests[i]: str(i).encode() for i in (0, 1, 2_498, 2_499)}
    assert calls in ([], ["entries", *["read"] * 4]), "one listing, and nothing of what is known"


def test_a_listing_of_many_pages_is_complete(new_board):
    from concurrent.futures import ThreadPoolExecutor

    board, digests = new_board("moto"), [sha256(str(i).encode()) for i in range(1_100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda d: board.put(f"{FOLDER}/{d.removeprefix('sha256:')}", b""), digests))
    last = max(digests)
    board.put(f"{FOLDER}/{last.removeprefix('sha256:')}", str(digests.index(last)).encode())
    assert [d for d, _ in board.open().messages(TOPIC, known=set(digests) - {last})] == [last]
