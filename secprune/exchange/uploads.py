"""Uploads that go on while the next chunk is made: a few at a time, so that memory holds no more than those."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Uploads:
    """Calls `store` for each item in a thread of its own, at most `at_once` of them.

    The threads are daemons: a process that is stopped does not wait for them. What they did not finish is sent
    again when the same command runs again.
    """

    def __init__(self, store: Callable[[str, bytes], None], *, at_once: int) -> None:
        self._store = store
        self._at_once = at_once
        self._changed = threading.Condition()
        self._running: set[str] = set()
        self._failed: dict[str, Exception] = {}
        self._unreported: Exception | None = None

    def add(self, name: str, data: bytes) -> None:
        """Begin an upload; wait first until fewer than `at_once` are under way.

        Raises:
            Exception: what an earlier upload failed with, once.
        """
        with self._changed:
            self._report()
            while name not in self._running and len(self._running) >= self._at_once:
                self._changed.wait()
                self._report()
            if name in self._running:
                return
            self._failed.pop(name, None)
            self._running.add(name)
        try:
            threading.Thread(target=self._run, args=(name, data), daemon=True).start()
        except BaseException:
            self._finished(name, None)
            raise

    def wait_for(self, name: str) -> None:
        """Wait until this one is not under way any more, whatever came of it."""
        with self._changed:
            while name in self._running:
                self._changed.wait()

    def finish(self) -> None:
        """Wait until none is under way.

        Raises:
            Exception: what the first failed with that has not been added again since: it is not stored.
        """
        with self._changed:
            while self._running:
                self._changed.wait()
            self._unreported = None
            for error in self._failed.values():
                raise error

    def _report(self) -> None:
        error, self._unreported = self._unreported, None
        if error is not None:
            raise error

    def _run(self, name: str, data: bytes) -> None:
        error: Exception | None = None
        try:
            self._store(name, data)
        except Exception as caught:  # noqa: BLE001 - raised again in the thread that put the chunk
            error = caught
        self._finished(name, error)

    def _finished(self, name: str, error: Exception | None) -> None:
        with self._changed:
            self._running.discard(name)
            if error is not None:
                self._failed[name] = self._unreported = error
            self._changed.notify_all()
