"""A small fuzzer that keeps what gets further: inputs that reach new lines, or a new reason to be refused.

As AFL does it, with `sys.settrace` for coverage of Python and error texts for what C libraries decide. Its corpus
begins with the valid examples of the other tests here.
"""

from __future__ import annotations

import random
import re
import sys
import time
from functools import cache

import pytest
from fuzz import test_fuzz_chunks as chunks
from fuzz import test_fuzz_files as files
from fuzz import test_fuzz_messages as messages
from fuzz.fuzzing import SECONDS, random_change

import secprune.crypto.bfv.wire
import secprune.crypto.envelope
import secprune.crypto.seal
import secprune.crypto.shamir
import secprune.messages.codec
import secprune.parties.config
import secprune.pruning.tensorfile
import secprune.storage.keyfile
import secprune.storage.masks
import secprune.task
from secprune.errors import SecpruneError

WATCHED = frozenset(
    module.__file__
    for module in (
        *(secprune.messages.codec, secprune.crypto.envelope, secprune.crypto.seal, secprune.crypto.shamir),
        *(secprune.crypto.bfv.wire, secprune.pruning.tensorfile, secprune.storage.keyfile),
        *(secprune.storage.masks, secprune.task, secprune.parties.config),
    )
)


class Reached:
    """Which steps from line to line a run takes in the watched modules, and how its errors read."""

    def __init__(self):
        self.steps = set()

    def __enter__(self):
        self._before, self._last = sys.gettrace(), None
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _call(self, frame, event, argument):
        return self._line if frame.f_code.co_filename in WATCHED else None

    def _line(self, frame, event, argument):
        place = frame.f_code.co_filename, frame.f_lineno
        self.steps.add((self._last, place))
        self._last = place
        if event == "exception" and isinstance(argument[1], SecpruneError):
            self.steps.add(re.sub(r"[^A-Za-z` ]+", "#", argument[1].message)[:80])
        return self._line


def envelope_or_message(data):
    """An envelope; and, as its signer would send it, a message."""
    blames = {"exchange", *messages.SENDERS} if data in set(messages.envelopes()) else {"exchange"}
    messages.check_envelope(data, messages.AnyMessage, blames)
    messages.check_envelope(messages.envelope_of(data), messages.AnyMessage, {"site-0"})


@cache
def small_blob():
    form, data = min(chunks.blobs(), key=lambda blob: len(blob[1]))
    return form, data


TARGETS = {
    "messages": (messages.check, lambda: messages.messages(1), messages.AnyMessage),
    "envelopes": (envelope_or_message, lambda: [*messages.envelopes(), *messages.messages(1)], None),
    "cards": (files.check_card, files.cards, None),
    "party files": (files.check_party_file, files.party_files, None),
    "tensor files": (files.check_tensor_file, files.tensor_files, None),
    "headers": (lambda data: files.check_tensor_file(files.with_header(data, 35)), files.headers, None),
    "mask files": (files.check_mask_file, files.mask_files, None),
    "ciphertexts": (lambda data: chunks.check_blob(data, small_blob()[0]), lambda: [small_blob()[1]], None),
}
EXECUTIONS = {"ciphertexts": 200, "party files": 250, "cards": 400}


def fuzz_target(check, seeds, count, seed):
    """The corpus after `count` runs, or SECONDS; any failure of `check` goes on to the test."""
    chance, corpus, seen = random.Random(seed), list(seeds), set()
    for data in corpus:
        with Reached() as reached:
            check(data)
        seen |= reached.steps
    begin, at_first, turn = time.monotonic(), len(seen), 0
    while turn < count or time.monotonic() - begin < SECONDS:
        # What came last is the least explored.
        parent = (
            corpus[-1 - min(int(chance.expovariate(0.1)), len(corpus) - 1)]
            if turn % 2
            else chance.choice(corpus)
        )
        data = random_change(chance, parent, corpus)
        if len(data) > 3 * max(map(len, seeds)) + 10_000:
            data = data[:10_000]
        try:
            with Reached() as reached:
                check(data)
        except BaseException as error:
            error.add_note(f"turn {turn} of seed {seed}: {data[:3000]!r}")
            raise
        if reached.steps - seen:
            seen |= reached.steps
            corpus.append(data)
        turn += 1
    return turn, len(corpus) - len(seeds), len(seen) - at_first


@pytest.mark.parametrize("target", TARGETS)
def test_what_gets_further_is_changed_further(target):
    check, seeds, kind = TARGETS[target]
    seed = time.time_ns() if SECONDS else 2026
    one = check if kind is None else lambda data: check(data, kind)
    turns, kept, steps = fuzz_target(one, seeds(), EXECUTIONS.get(target, 800), seed)
    print(f"{target}: {turns} runs, {kept} kept, {steps} new steps and reasons")
    assert kept
    assert steps > 3


def test_it_finds_what_blind_changes_do_not():
    """Four conditions, one inside the other: kept inputs get through them one after the other."""

    depths = [f"{' ' * (n + 1)}if len(d) == 4 and d[{n}] % 32 == {3 * n + 1}:\n" for n in range(4)]
    source, space = "def inner(d):\n" + "".join(depths) + "     raise KeyError\n", {}
    code = compile(source, secprune.messages.codec.__file__, "exec")  # as if it were in a watched module
    exec(code, space)
    with pytest.raises(KeyError):
        fuzz_target(space["inner"], [b"zzzz"], 60_000, 1)
