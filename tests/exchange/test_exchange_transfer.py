"""Many chunks: a killed upload goes on where it stopped, and memory stays bounded."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest

from secprune.exchange.api import Topic
from secprune.ids import sha256

TOPIC = Topic("sha256:" + "ab" * 32, 0, "reports")
MIB = 2**20

UPLOADER = """
import json, random, sys
from pathlib import Path
from secprune.exchange.api import Topic
from secprune.exchange.directory import open_exchange

def peak():
    # VmHWM and not ru_maxrss: a child begins with the peak of the process that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

url, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
exchange = open_exchange(url, base=Path("/"))
exchange.put_chunk(b"first")
exchange.flush()
before = peak()
for i in range(count):
    exchange.put_chunk(random.Random(i).randbytes(size))
exchange.post(Topic("sha256:" + "ab" * 32, 0, "reports"), b"manifest")
print(json.dumps({"before": before, "peak": peak()}))
"""


def chunk(i, size):
    return random.Random(i).randbytes(size)


def uploader(board, count, size):
    command = [sys.executable, "-c", UPLOADER, board.url, str(count), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


@pytest.mark.parametrize("kind", ["moto", "rclone", "sftp"])
def test_an_upload_that_is_killed_sends_less_than_five_percent_twice(request, new_board, proxy, kind):
    count, size = 200, MIB // 4
    gate = proxy(request.getfixturevalue(kind))
    board = new_board(kind, port=gate.port)
    first = uploader(board, count, size)
    while gate.sent < 0.8 * count * size:
        assert first.poll() is None, "control: it was killed while it was uploading"
        time.sleep(0.001)
    first.kill()
    first.wait()
    assert list(board.open().messages(TOPIC)) == [], "the manifest comes last"
    again = uploader(board, count, size)
    assert again.wait(60) == 0
    reader = board.open()
    assert [data for _, data in reader.messages(TOPIC)] == [b"manifest"]
    assert gate.sent < 1.05 * count * size
    for i in range(0, count, 20):
        data = chunk(i, size)
        assert reader.get_chunk(sha256(data)) == data


@pytest.mark.parametrize("kind", ["moto", "sftp"])
def test_memory_holds_a_few_chunks_however_many_are_sent(new_board, kind):
    board = new_board(kind)
    count, size = 40, 4 * MIB
    done = uploader(board, count, size)
    used = json.loads(done.communicate(timeout=60)[0])
    assert done.returncode == 0
    # Four on their way, one being made, and for each what TLS, HTTP or SSH make of it.
    assert used["peak"] - used["before"] < 20 * size < count * size
