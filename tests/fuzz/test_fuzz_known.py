"""Inputs that once broke a decoder: each is refused, or passed over."""

from __future__ import annotations

import json
import os
import signal
import struct
import time

import pytest
from fuzz.fuzzing import workplace

from secprune.crypto.envelope import open_envelope
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.exchange.api import Topic
from secprune.exchange.directory import DirectoryExchange
from secprune.messages.types import Report
from secprune.parties.config import PARTY_FILE, read_party_file
from secprune.pruning.tensorfile import INDEX_NAME, CheckpointFiles, TensorFile, write_tensor_file
from secprune.storage.keyfile import read_card
from secprune.task import parse_task

DIGITS = "tomllib raises ValueError, not TOMLDecodeError, for numbers of more than 4300 digits"
DEPTH = "deep nesting raises RecursionError"
BYTES = "msgspec raises UnicodeDecodeError, which is no MsgspecError, for text that is not UTF-8"
DOTS = "tomllib takes time quadratic in the parts of a dotted key: 7 s for 20,000, hours for a megabyte"
TEXTS = [
    pytest.param("version = " + "9" * 5000, id="digits"),
    pytest.param("version = " + "[" * 3000, id="lists"),
    pytest.param("version = " + "{a=" * 3000, id="tables"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_task_that_breaks_the_parser_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_task(text)


@pytest.mark.parametrize("text", TEXTS)
def test_a_party_file_that_breaks_the_parser_is_refused(text):
    (workplace() / PARTY_FILE).write_text(text)
    with pytest.raises(ConfigurationError):
        read_party_file(workplace())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":' * 3000, id="objects"),
        pytest.param(b'{"a":' + b"[" * 3000, id="lists"),
        pytest.param(b'{"\xff":1}', id="key"),
        pytest.param(b'{"payload":"\xff"}', id="value"),
    ],
)
def test_a_card_that_breaks_the_parser_is_refused(data):
    path = workplace() / "known.card"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError):
        read_card(path)


def test_a_task_with_a_key_of_many_parts_is_refused_soon():
    begin = time.process_time()
    with pytest.raises(ConfigurationError):
        parse_task(".".join("a" * 12_000) + " = 1")
    assert time.process_time() - begin < 0.3


def test_an_index_that_names_a_shard_at_length_is_refused():
    (workplace() / INDEX_NAME).write_text(f'{{"weight_map":{{"a":"{"x" * 300}.safetensors"}}}}')
    with pytest.raises(ConfigurationError):
        CheckpointFiles(workplace())


class HangError(Exception):
    """It waited for more than a second."""


def test_a_fifo_beside_the_messages_stops_nobody(tmp_path):
    def alarm(*_):
        raise HangError

    exchange, topic = DirectoryExchange(tmp_path), Topic("sha256:" + "0" * 64, 0, "reports")
    exchange.post(topic, b"a message")
    os.mkfifo(next(path for path in tmp_path.rglob("*") if path.is_file()).parent / "notes")
    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        assert [data for _, data in exchange.messages(topic)] == [b"a message"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_link_to_itself_beside_the_messages_stops_nobody(tmp_path):
    exchange, topic = DirectoryExchange(tmp_path), Topic("sha256:" + "0" * 64, 0, "reports")
    exchange.post(topic, b"a message")
    link = next(path for path in tmp_path.rglob("*") if path.is_file()).parent / "notes"
    link.symlink_to(link)
    assert [data for _, data in exchange.messages(topic)] == [b"a message"]


def test_what_strangers_write_is_not_quoted_at_length():
    data = b'{"%b":1}' % (b"x" * 100_000)
    with pytest.raises(RemoteMisbehaviourError) as caught:
        open_envelope(data, Report, signing_keys={})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("where", ["name", "metadata"])
def test_a_tensor_file_with_half_a_character_is_refused(where):
    name, text = ("\ud800", "x") if where == "name" else ("a", "\ud800")
    entry = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    header = json.dumps({"__metadata__": {"x": text}, name: entry})
    path = workplace() / "half.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0")
    with pytest.raises(ConfigurationError):
        TensorFile(path)


def test_the_rows_of_a_scalar_are_the_scalar():
    path = workplace() / "scalar.safetensors"
    with write_tensor_file(path, [("c", "U8", ())]):
        pass
    assert TensorFile(path).rows("c") == 0
