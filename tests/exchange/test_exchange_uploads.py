"""Uploads in the background, on a store in memory that can be slow, broken or hostile."""

from __future__ import annotations

import threading
import time

import pytest

from secprune.errors import ConfigurationError, LocalEnvironmentError
from secprune.exchange.api import Topic
from secprune.exchange.store import BACK_OFF_S, OUTAGE_S, Entry, Stored, StoreExchange, UnreachableError
from secprune.ids import sha256

TOPIC = Topic("sha256:" + "ab" * 32, 0, "reports")


class Memory:
    """A store that tells the order of writes, and does what `before_write` does first."""

    url = "memory://test"

    def __init__(self, before_write=lambda key: None):
        self.objects, self.written, self.at_once, self.most = {}, [], 0, 0
        self.before_write = before_write
        self._lock = threading.Lock()

    def stat(self, key):
        return Stored(len(self.objects[key])) if key in self.objects else None

    def read(self, key, limit):
        data = self.objects.get(key)
        return data if data is not None and len(data) <= limit else None

    def write(self, key, data):
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            self.before_write(key)
            self.objects[key] = data
            self.written.append(key)
        finally:
            with self._lock:
                self.at_once -= 1

    def entries(self, folder):
        return [
            Entry(k.removeprefix(folder), len(v), "") for k, v in self.objects.items() if k.startswith(folder)
        ]


def chunks(count):
    return [i.to_bytes(2, "big") * 50 for i in range(count)]


def put_all(exchange, data):
    for one in data:
        exchange.put_chunk(one)


def test_a_message_is_written_after_all_chunks_that_were_put_before():
    store = Memory(lambda key: time.sleep(0.02 if key.startswith("chunks") else 0))
    exchange = StoreExchange(store)
    for data in chunks(10):
        exchange.put_chunk(data)
    assert len(store.written) < 10, "control: some are still on their way"
    exchange.post(TOPIC, b"manifest")
    assert len(store.written) == 11
    assert store.written[-1].startswith("messages/")


@pytest.mark.parametrize("limit", [1, 4])
def test_no_more_are_under_way_than_allowed(limit):
    store = Memory(lambda key: time.sleep(0.005))
    exchange = StoreExchange(store, uploads_at_once=limit)
    for data in chunks(20):
        exchange.put_chunk(data)
    exchange.flush()
    assert store.most == limit
    assert len(store.written) == 20


def test_an_upload_that_failed_is_raised_and_nothing_is_posted_over_it():
    bad = chunks(5)[2]

    def refuse(key):
        if key.endswith(sha256(bad).removeprefix("sha256:")) and broken:
            raise ConfigurationError("no")

    broken, store = True, Memory(refuse)
    exchange = StoreExchange(store)
    exchange.put_chunk(bad)
    with pytest.raises(ConfigurationError):
        put_all(exchange, chunks(500))
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            exchange.post(TOPIC, b"manifest")
        with pytest.raises(ConfigurationError):
            exchange.flush()
    assert not any(key.startswith("messages/") for key in store.written)
    broken = False
    for data in chunks(5):  # the same command again
        exchange.put_chunk(data)
    exchange.post(TOPIC, b"manifest")
    assert store.written[-1].startswith("messages/")


def test_a_bug_in_an_upload_is_not_swallowed():
    def fail(key):
        raise ZeroDivisionError

    exchange = StoreExchange(Memory(fail))
    exchange.put_chunk(b"x")
    with pytest.raises(ZeroDivisionError):
        exchange.flush()


def test_what_cannot_be_reached_is_tried_again_with_growing_pauses():
    pauses, failures = [], [UnreachableError("x")] * 3

    def flaky(key):
        if failures:
            raise failures.pop()

    store = Memory(flaky)
    exchange = StoreExchange(store, sleep=pauses.append)
    exchange.post(TOPIC, b"message")
    assert pauses == list(BACK_OFF_S[:3]) == [0.5, 1, 2]
    assert len(store.written) == 1


def test_what_stays_unreachable_is_this_machines_trouble_and_says_what_to_do():
    def fail(key):
        raise UnreachableError("ConnectionRefused")

    pauses = []
    exchange = StoreExchange(Memory(fail), outage_s=BACK_OFF_S, sleep=pauses.append)
    with pytest.raises(LocalEnvironmentError, match="memory://test cannot be reached") as caught:
        exchange.post(TOPIC, b"message")
    assert pauses == list(BACK_OFF_S)
    assert "same command again" in caught.value.hint


def test_an_outage_of_what_could_be_reached_is_waited_for_longer():
    down, pauses = [], []

    def fail(key):
        if down:
            raise UnreachableError("ConnectionRefused")

    exchange = StoreExchange(Memory(fail), sleep=pauses.append)
    exchange.post(TOPIC, b"message")
    down.append(True)
    with pytest.raises(LocalEnvironmentError, match="cannot be reached"):
        exchange.post(TOPIC, b"another message")
    assert pauses == list(OUTAGE_S)
    assert 600 <= sum(pauses) < 660


def test_a_refusal_is_not_tried_again():
    def fail(key):
        raise ConfigurationError("no")

    pauses = []
    exchange = StoreExchange(Memory(fail), sleep=pauses.append)
    with pytest.raises(ConfigurationError):
        exchange.post(TOPIC, b"message")
    assert pauses == []


def test_names_of_a_hostile_listing_lead_nowhere():
    class Hostile(Memory):
        asked = ()

        def entries(self, folder):
            names = [
                "../../../etc/passwd",
                "/etc/passwd",
                "",
                ".",
                "..",
                "\0",
                "a" * 10**6,
                "f" * 64 + "\n",
                "F" * 64,
            ]
            names += ["e" * 64 + "/../x", "\ud800", "sha256:" + "d" * 64, "0" * 64]
            return [Entry(name, 5, "") for name in names]

        def read(self, key, limit):
            self.asked = (*self.asked, key)
            return b"bytes"

    store = Hostile()
    assert list(StoreExchange(store).messages(TOPIC)) == []
    assert store.asked == (f"messages/{'ab' * 32}/0/reports/{'0' * 64}",)


def test_an_endless_listing_ends(monkeypatch):
    monkeypatch.setattr("secprune.exchange.store.MAX_LISTED", 1000)

    class Endless(Memory):
        def entries(self, folder):
            while True:
                yield Entry("x", 1, "")

    assert list(StoreExchange(Endless()).messages(TOPIC)) == []


def test_a_store_that_lies_about_sizes_does_not_get_an_oversized_message_through(monkeypatch):
    monkeypatch.setattr("secprune.exchange.store.MAX_ENVELOPE_BYTES", 100)
    big = bytes(101)
    store = Memory()
    store.objects[f"messages/{'ab' * 32}/0/reports/{sha256(big).removeprefix('sha256:')}"] = big
    store.entries = lambda folder: [Entry(sha256(big).removeprefix("sha256:"), 1, "")]
    assert list(StoreExchange(store).messages(TOPIC)) == []
