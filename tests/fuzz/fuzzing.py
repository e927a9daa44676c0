"""Fuzzing without a tool: what is done to valid bytes, values of every message type, and how a decoder is judged.

Rule: whatever bytes come, a decoder raises a SecpruneError or returns what encodes back to the very same bytes.

SECPRUNE_FUZZ_SECONDS lets every test here go on for so long with ever new seeds (and `--timeout=0`). Without
it, all is the same in every run.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import random
import shutil
import tempfile
import time
import tracemalloc
from functools import cache
from pathlib import Path

import hypothesis
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secprune.errors import RemoteMisbehaviourError, SecpruneError

SECONDS = float(os.environ.get("SECPRUNE_FUZZ_SECONDS", "0"))
SLOW_S = 3.0
"""No decoder may take longer for inputs of the sizes here."""
MEMORY = 64 * 2**20
"""No decoder may take more for inputs of the sizes here."""
NASTY = (
    *(
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"-0",
        b"0.0",
        b"1E2",
        b"-1",
        b"01",
        b"2147483648",
        b"9223372036854775808",
    ),
    *(b"18446744073709551616", b"9" * 400, b"9" * 5000, b"null", b"true", b'""', b"[]", b"{}", b"[[]]"),
    *(
        b'"\\ud800"',
        b"\\ud800",
        b"\xed\xa0\x80",
        b"\xff\xfe",
        b"\xc0\x80",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\\u0000",
    ),
    *(b" ", b"\n", b"\t", b"\\", b'"', b"'", b"=", b",", b",,", b"/", b"../", b"[" * 3000, b'{"a":' * 3000),
    *(
        b"\x1b[31m",
        b"\xf0\x9f\x92\xa9",
        b"sha256:",
        b"\xff" * 8,
        b"\x00" * 8,
        b"\x7f" + b"\xff" * 7,
        b"\xff" * 4096,
    ),
)
"""What has broken parsers elsewhere."""
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        2**64,
        -(2**63),
        10**400,
        0.5,
        1e308,
        "",
        "a",
        "\x00",
        "\U0001f4a9",
    ),
    *([], {}, [[]], [None], {"": 0}, "sha256:" + "0" * 64, "clinic-0", "A" * 5000, [0] * 3000),
)
"""What is put in the place of some value of a JSON document."""


# ---- running
def fuzz(examples, **strategies):
    """Make a test of a body that takes what these strategies draw; `examples` of them, or for SECONDS."""

    def wrap(body):
        options = settings(
            deadline=None,
            database=None,
            max_examples=examples,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )

        def test():
            settings(options, derandomize=True)(given(**strategies)(body))()
            end = time.monotonic() + SECONDS
            for seed in itertools.count(time.time_ns() if SECONDS else 0):
                if time.monotonic() >= end:
                    return
                hypothesis.seed(seed)(settings(options)(given(**strategies)(body)))()

        test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
        return test

    return wrap


@cache
def workplace():
    """A directory for the files of this process, in memory where there is one."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="secprune-fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def new_directory():
    """An empty one of its own in `workplace`."""
    return Path(tempfile.mkdtemp(dir=workplace()))


# ---- judging
def judged(decoder, data, *, blames=None):
    """What a decoder makes of `data`: its value, or the error that it deliberately raised.

    Args:
        decoder: takes the bytes.
        data: anything.
        blames: who alone may be blamed by a RemoteMisbehaviourError.
    """
    begin, raised = time.process_time(), None  # not what others take on this machine
    try:
        value = decoder(data)
    except SecpruneError as error:
        raised = error
    finally:
        assert time.process_time() - begin < SLOW_S, f"{len(data)} bytes took very long"
    if raised is None:
        return value
    assert type(raised) is not SecpruneError
    assert str(raised)
    if blames is not None and isinstance(raised, RemoteMisbehaviourError):
        assert raised.party in blames, raised.party
    return raised


def refused(found):
    return isinstance(found, SecpruneError)


def peak_of(work):
    """Bytes that were allocated at once while this ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- changing
def change(data, operation, others):
    """One operation on bytes: (kind, where from 0 to 1, a length, a piece of bytes)."""
    kind, where, size, piece = operation
    where = min(where, 1 - 2**-20)
    at = min(int(where * len(data)), max(len(data) - 1, 0))
    match kind:
        case "flip" if data:
            return data[:at] + bytes([data[at] ^ 1 << size % 8]) + data[at + 1 :]
        case "set" if data:
            return data[:at] + bytes([size % 256]) + data[at + 1 :]
        case "truncate":
            return data[:at]
        case "extend":
            return data + piece
        case "insert":
            return data[:at] + piece + data[at:]
        case "overwrite":
            return data[:at] + piece + data[at + len(piece) :]
        case "delete":
            return data[:at] + data[at + size :]
        case "repeat":
            return data[:at] + data[at : at + size] * min(1 + len(piece), 64) + data[at:]
        case "splice":
            other = others[size % len(others)]
            return data[:at] + other[int(where * len(other)) :]
        case "swap":
            return data[:at] + data[at + size : at + 2 * size] + data[at : at + size] + data[at + 2 * size :]
        case "token":  # between two of the marks that JSON and TOML are made of
            marks = [i for i, byte in enumerate(data) if byte in b'{}[]:,"=\n.']
            if len(marks) < 2:
                return piece
            low = int(where * (len(marks) - 1))
            return data[: marks[low] + 1] + piece + data[marks[low + 1] :]
        case "doubled pair":  # the first member of some object stands in it twice
            opens = [i for i, byte in enumerate(data) if byte == ord("{")]
            if opens:
                low = opens[int(where * (len(opens) - 1))]
                end = data.find(b",", low)
                return data[: low + 1] + data[low + 1 : end + 1] + data[low + 1 :] if end > 0 else data
    return data


KINDS = (
    *("flip", "set", "truncate", "extend", "insert", "overwrite", "delete", "repeat", "splice", "swap"),
    *("token", "doubled pair"),
)
OPERATIONS = st.tuples(
    st.sampled_from(KINDS),
    st.floats(0, 1),
    st.one_of(st.integers(0, 64), st.integers(0, 5000)),
    st.one_of(st.sampled_from(NASTY), st.binary(max_size=40)),
)


@st.composite
def mutated(draw, examples):
    """One of the examples that this function gives after one to four operations."""
    examples = examples()
    data = examples[draw(st.integers(0, len(examples) - 1))]
    for operation in draw(st.lists(OPERATIONS, min_size=1, max_size=4)):
        data = change(data, operation, examples)
    return data


def bulk(examples, count, *, seed=1):
    """Very many changed examples, quickly: `count` of them, or for SECONDS."""
    chance, examples = random.Random(time.time_ns() if SECONDS else seed), examples()
    begin = time.monotonic()
    for done in itertools.count():
        if done >= count and time.monotonic() - begin >= SECONDS:
            return
        yield random_change(chance, chance.choice(examples), examples)


def random_change(chance, data, others):
    """As `mutated`, for loops without Hypothesis."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        size = chance.choice((chance.randrange(64), chance.randrange(5000)))
        piece = chance.choice((chance.choice(NASTY), chance.randbytes(chance.randrange(1, 9))))
        data = change(data, (chance.choice(KINDS), chance.random(), size, piece), others)
    return data


def places(value, path=()):
    """The paths of all values inside a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@st.composite
def restructured(draw, examples):
    """One of the JSON documents that this function gives with a value or a key changed, in canonical form again."""
    examples = examples()
    document = json.loads(examples[draw(st.integers(0, len(examples) - 1))])
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(document))))
        document = _restructure(
            document,
            path,
            draw(st.sampled_from(("put", "remove", "add", "double"))),
            draw(st.sampled_from(VALUES)),
        )
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _restructure(document, path, how, value):
    document = json.loads(json.dumps(document))
    if not path:
        return [document] if how == "double" else value if how == "put" else document
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    last = path[-1]
    match how:
        case "put":
            holder[last] = value
        case "remove":
            del holder[last]
        case "double" if isinstance(holder, list):
            holder.insert(last, holder[last])
        case _ if isinstance(holder, dict):
            holder[f"{last}x"] = value
        case _:
            holder.append(value)
    return document


# ---- values of every type
_TEXTS = {
    "^[a-z0-9][a-z0-9-]{0,62}\\Z": st.sampled_from(("clinic-0", "adder-1", "hq", "a" * 63, "0")),
    "^sha256:[0-9a-f]{64}\\Z": st.integers(0, 2**256 - 1).map(lambda n: f"sha256:{n:064x}"),
}


def values_of(kind):
    """A strategy for valid values of a type, from its annotations; so that no field of any message is forgotten."""
    return _values(msgspec.inspect.type_info(kind))


def _values(info):
    match info:
        case msgspec.inspect.StructType():
            fields = {field.name: _values(field.type) for field in info.fields}
            return st.builds(info.cls, **fields)
        case msgspec.inspect.UnionType():
            return st.one_of([_values(kind) for kind in info.types])
        case msgspec.inspect.VarTupleType():
            low, high = info.min_length or 0, min(info.max_length or 3, 3)
            return st.lists(_values(info.item_type), min_size=low, max_size=max(low, high)).map(tuple)
        case msgspec.inspect.LiteralType():
            return st.sampled_from(info.values)
        case msgspec.inspect.BytesType():
            low = info.min_length or 0
            high = min(info.max_length if info.max_length is not None else 40, low + 40)
            return st.integers(0, 2**64).flatmap(
                lambda seed: st.integers(low, high).map(lambda size: random.Random(seed).randbytes(size))
            )
        case msgspec.inspect.IntType():
            high = info.lt - 1 if info.lt is not None else info.le
            return st.integers(info.ge or 0, high)
        case msgspec.inspect.StrType():
            return _TEXTS[info.pattern] if info.pattern else st.text(max_size=min(info.max_length or 30, 30))
        case msgspec.inspect.BoolType():
            return st.booleans()
    raise AssertionError(f"no values of {info}")


def examples_of(kind, count=3):
    """Some values of a type, the same ones in every run."""
    found = []

    @settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=count,
        suppress_health_check=list(HealthCheck),
    )
    @given(values_of(kind))
    def collect(value):
        found.append(value)

    collect()
    return found
