"""An exchange in an object store or on a file server: one layout for all of them, see `layout`.

Nothing here rests on conditional writes, locks or what a store says about itself: names are digests, and who
reads verifies. What a store says decides only whether something is sent once more.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from secprune.crypto.envelope import MAX_ENVELOPE_BYTES
from secprune.errors import LocalEnvironmentError
from secprune.exchange.api import MAX_CHUNK_BYTES, altered_chunk, missing_chunk
from secprune.exchange.layout import chunk_key, is_message_name, topic_folder
from secprune.exchange.uploads import Uploads
from secprune.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from secprune.exchange.api import Topic

T = TypeVar("T")

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses for a store that has not answered yet: the address may be wrong."""

OUTAGE_S = (*BACK_OFF_S, 8.0, 15.0, *19 * (30.0,))
"""Pauses for one that has: ten minutes, as long as it takes to start a server or a line again."""

UPLOADS_AT_ONCE = 4
MAX_LISTED = 1_000_000
"""A listing is not followed any further: an honest topic has a few messages of every party."""
LOOK_AGAIN_S = 10.0
"""What was no message is not fetched again for this long unless it has changed."""


_WORTH_SAYING_S = 8.0

_log = logging.getLogger(__name__)


class UnreachableError(Exception):
    """A store did not answer as one that works: worth another try. Never leaves this room."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store says about an object; `md5` in hex where it keeps one."""

    size: int
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing; `stamp` changes when the object does, as far as the store can tell."""

    name: str
    size: int
    stamp: str


class Store(Protocol):
    """Named objects, written whole or not at all. Keys are relative to the location and made here only.

    Every method may raise UnreachableError, ConfigurationError (not allowed) and LocalEnvironmentError (full).
    """

    @property
    def url(self) -> str:
        """Where it is, for people."""

    def stat(self, key: str) -> Stored | None:
        """What is there, if anything."""

    def read(self, key: str, limit: int) -> bytes | None:
        """The object's bytes; None if there is none or if it is larger than `limit`, which is then not read."""

    def write(self, key: str, data: bytes) -> None:
        """Write an object, over one that is there."""

    def entries(self, folder: str) -> Iterable[Entry]:
        """What lies directly in a folder, in any order, whatever it is called."""


class StoreExchange:
    """An exchange in a store (see `Exchange`).

    Args:
        store: where the bytes are.
        uploads_at_once: chunks on their way at any time; memory holds these.
        back_off_s: pauses before further tries when the store cannot be reached, and never could.
        outage_s: the same when it could be before.
        sleep: how to pause.
    """

    poll_s = 2.0  # a look is some listings, which object stores charge for

    def __init__(
        self,
        store: Store,
        *,
        uploads_at_once: int = UPLOADS_AT_ONCE,
        back_off_s: Sequence[float] = BACK_OFF_S,
        outage_s: Sequence[float] = OUTAGE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._back_off_s, self._outage_s = tuple(back_off_s), tuple(outage_s)
        self._was_reached = False
        self._sleep = sleep
        self._uploads = Uploads(self._put, at_once=uploads_at_once)
        self._no_messages: dict[str, tuple[str, float]] = {}

    def __repr__(self) -> str:
        return f"StoreExchange({self._store.url!r})"

    def put_chunk(self, data: bytes) -> str:
        """Begin to store a chunk under its digest; an intact copy that is there already is left alone."""
        digest = sha256(data)
        self._uploads.add(chunk_key(digest), data)
        return digest

    def get_chunk(self, digest: str) -> bytes:
        """Read a chunk and check that it is what its name says."""
        key = chunk_key(digest)
        self._uploads.wait_for(key)
        data = self._try(lambda: self._store.read(key, MAX_CHUNK_BYTES))
        if data is None:
            found = self._try(lambda: self._store.stat(key))
            oversized = found is not None and found.size > MAX_CHUNK_BYTES
            raise altered_chunk(digest) if oversized else missing_chunk(digest)
        if sha256(data) != digest:
            raise altered_chunk(digest)
        return data

    def post(self, topic: Topic, envelope: bytes) -> str:
        """Post a signed envelope under its digest, after all chunks that were put before."""
        self._uploads.finish()
        digest = sha256(envelope)
        self._put(topic_folder(topic) + digest.removeprefix("sha256:"), envelope)
        return digest

    def messages(self, topic: Topic, *, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """New messages of a topic; objects that are not what their name says are passed over."""
        folder = topic_folder(topic)
        entries = self._try(lambda: list(islice(self._store.entries(folder), MAX_LISTED)))
        # A key is made from a name that is a digest, never taken from a listing.
        for entry in sorted((e for e in entries if is_message_name(e.name)), key=lambda e: e.name):
            digest, key = f"sha256:{entry.name}", folder + entry.name
            if digest in known or entry.size > MAX_ENVELOPE_BYTES or self._is_no_message(key, entry):
                continue
            data = self._read_message(key)
            if data is not None and sha256(data) == digest:
                yield digest, data
            else:
                self._no_messages[key] = entry.stamp, time.monotonic()

    def flush(self) -> None:
        """Wait until every chunk that was put is stored."""
        self._uploads.finish()

    def _read_message(self, key: str) -> bytes | None:
        return self._try(lambda: self._store.read(key, MAX_ENVELOPE_BYTES))

    def _is_no_message(self, key: str, entry: Entry) -> bool:
        stamp, looked = self._no_messages.get(key, ("", 0.0))
        return stamp == entry.stamp and time.monotonic() - looked < LOOK_AGAIN_S

    def _put(self, key: str, data: bytes) -> None:
        if not self._is_intact(key, data):
            self._try(lambda: self._store.write(key, data))

    def _is_intact(self, key: str, data: bytes) -> bool:
        found = self._try(lambda: self._store.stat(key))
        if found is None or found.size != len(data):
            return False
        # MD5 against accidents and against who does not know the sender's bytes beforehand. Readers verify.
        if found.md5 is not None and found.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return True
        return self._try(lambda: self._store.read(key, len(data))) == data

    def _try(self, work: Callable[[], T]) -> T:
        pauses = iter(self._outage_s if self._was_reached else self._back_off_s)
        while True:
            try:
                found = work()
            except UnreachableError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise LocalEnvironmentError(
                        f"the exchange at {self._store.url} cannot be reached: {error}",
                        hint="check the network and whether the server runs, then run the same command again; "
                        "nothing is lost, and what has arrived is not sent again",
                    ) from error
                if pause >= _WORTH_SAYING_S:
                    _log.warning("%s cannot be reached; trying again in %.0f s", self._store.url, pause)
                self._sleep(pause)
            else:
                self._was_reached = True
                return found
