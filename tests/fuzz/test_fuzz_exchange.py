"""An exchange that strangers write to as well: foreign names, foreign bytes, and files that are no files."""

from __future__ import annotations

import os
import random
import re
from functools import cache

import pytest
from fuzz.fuzzing import MEMORY, NASTY, SECONDS, fuzz, judged, peak_of, random_change, refused, workplace
from hypothesis import strategies as st
from small_study import make_study

from secprune.crypto.envelope import sign
from secprune.exchange.api import MAX_CHUNK_BYTES, ChunkMissingError, Topic
from secprune.exchange.directory import DirectoryExchange
from secprune.exchange.store import Entry, Stored, StoreExchange
from secprune.ids import sha256
from secprune.messages.types import Report
from secprune.parties.session import open_session

TOPIC = Topic("sha256:" + "0" * 64, 0, "reports")
HONEST = [b"one message", b"another one"]
NAMES = st.one_of(
    st.binary(min_size=1, max_size=80).map(lambda raw: raw.replace(b"/", b"-").replace(b"\0", b"-")),
    st.sampled_from([piece[:200].replace(b"/", b"-").replace(b"\0", b"-") or b"x" for piece in NASTY]),
    st.integers(0, 2**256 - 1).map(lambda n: b"%064x" % n),
).filter(lambda name: name not in (b".", b".."))


class Memory:
    """A store whose listings say whatever they are told to (see `secprune.exchange.store.Store`)."""

    url = "memory://"

    def __init__(self):
        self.objects, self.listed, self.asked = {}, [], []

    def stat(self, key):
        return Stored(len(self.objects[key])) if key in self.objects else None

    def read(self, key, limit):
        self.asked.append(key)
        data = self.objects.get(key)
        return data if data is not None and len(data) <= limit else None

    def write(self, key, data):
        self.objects[key] = data

    def entries(self, folder):
        here = [key[len(folder) :] for key in self.objects if key.startswith(folder)]
        return [*(Entry(name, len(self.objects[folder + name]), "") for name in here), *self.listed]


def messages(exchange):
    return [data for _, data in exchange.messages(TOPIC)]


@cache
def board():
    exchange = DirectoryExchange(workplace() / "board")
    for data in HONEST:
        exchange.post(TOPIC, data)
    return exchange, workplace() / "board" / "messages" / ("0" * 64) / "0" / "reports"


@fuzz(120, names=st.lists(NAMES, max_size=5), data=st.sampled_from((b"", b"x", HONEST[0], b"\xff" * 100)))
def test_foreign_files_are_passed_over(names, data):
    exchange, folder = board()
    before = {path.name for path in folder.iterdir()}
    paths = {folder / os.fsdecode(name) for name in names if os.fsdecode(name) not in before}
    for number, path in enumerate(sorted(paths)):
        path.mkdir() if number % 3 == 2 else path.write_bytes(data)
    try:
        found = set(judged(lambda _: messages(exchange), data))
        assert found - {data} == set(HONEST) - {data}
        assert (data in found) <= (data in HONEST or sha256(data)[7:].encode() in names)
    finally:
        for path in paths:
            path.rmdir() if path.is_dir() else path.unlink()


@fuzz(
    150,
    listed=st.lists(st.tuples(st.text(max_size=70), st.integers(-1, 2**70), st.text(max_size=5)), max_size=5),
    digits=st.integers(0, 2**256 - 1),
)
def test_listings_of_a_store_with_foreign_names_are_passed_over(listed, digits):
    store = Memory()
    exchange = StoreExchange(store)
    for data in HONEST:
        exchange.post(TOPIC, data)
    store.listed = [Entry(*entry) for entry in listed]
    store.listed += [
        Entry(f"{digits:064x}", 5, ""),
        Entry(f"../{digits:064x}", 5, ""),
        Entry(f"{digits:064x}\n", 5, ""),
    ]
    assert set(judged(lambda _: messages(exchange), b"")) == set(HONEST)
    assert all(re.fullmatch(r"messages/0{64}/0/reports/[0-9a-f]{64}", key) for key in store.asked)


@pytest.mark.parametrize("name", ["f" * 64, "notes.txt", ".hidden", "f" * 63 + "\n"])
@pytest.mark.parametrize("kind", ["dangling", "to a directory", "to a device", "directory"])
def test_what_is_no_file_is_passed_over(tmp_path, name, kind):
    exchange = DirectoryExchange(tmp_path)
    exchange.post(TOPIC, HONEST[0])
    path = next(p for p in tmp_path.rglob("*") if p.is_file()).parent / name
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to({"dangling": "nowhere", "to a directory": tmp_path, "to a device": "/dev/zero"}[kind])
    assert messages(exchange) == HONEST[:1]


def test_a_file_of_many_gigabytes_is_not_read(tmp_path):
    exchange = DirectoryExchange(tmp_path)
    digest = exchange.put_chunk(HONEST[0])
    exchange.post(TOPIC, HONEST[0])
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        os.truncate(path, 100 * MAX_CHUNK_BYTES)  # sparse
    assert peak_of(lambda: messages(exchange)) < MEMORY
    assert peak_of(lambda: judged(lambda _: exchange.get_chunk(digest), b"", blames={"exchange"})) < MEMORY


@fuzz(100, data=st.binary(max_size=100), other=st.binary(max_size=100))
def test_a_chunk_is_what_its_name_says_or_the_exchanges_fault(data, other):
    exchange, _ = board()
    digest = exchange.put_chunk(data)
    name = digest[7:]
    (workplace() / "board" / "chunks" / name[:2] / name).write_bytes(other)
    found = judged(exchange.get_chunk, digest, blames={"exchange"})
    assert refused(found) == (data != other)
    assert refused(found) or found == data
    assert isinstance(judged(exchange.get_chunk, sha256(data + b"absent")), ChunkMissingError)


def test_a_party_reads_on_whatever_lies_beside_the_messages(tmp_path):
    """Through `Session.read`: incidents blame the exchange, and honest messages come through."""
    study, chance = make_study(tmp_path, with_masks=False), random.Random(3)
    folder = study.messages("reports")
    folder.mkdir(parents=True)
    honest = {}
    for name in study.clients:
        report = Report(task_id=study.task.task_id, round=0, keys=(), chunks=())
        honest[name] = sign(report, signer=name, identity=study.identities[name])
    written = set()
    for data in honest.values():
        (folder / sha256(data)[7:]).write_bytes(data)
    for _ in range(150 + int(50 * SECONDS)):
        data = random_change(chance, chance.choice(list(honest.values())), list(honest.values()))
        (folder / sha256(data)[7:]).write_bytes(data)
        written.add(data)
    with open_session(tmp_path / "adder-0", "aggregator") as session:
        found = {received.sender: received for received in session.read(Report)}
        assert set(found) == set(honest)
        assert not any(received.contradicts for received in found.values())
        assert {party for party, _ in session.journal.incidents()} == {"exchange"}
