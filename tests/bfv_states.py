"""States and events of client, key holder and aggregator of `bfv`, and the tables of what becomes of them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import msgspec
from hypothesis import strategies as st
from small_study import make_study

from secprune.errors import RemoteMisbehaviourError
from secprune.messages.bfv import CiphertextSum, HashSeed, KeyShare, Opening
from secprune.messages.types import CountedReport
from secprune.protocols.api import Round
from secprune.protocols.bfv import aggregator, client, key_holder
from secprune.protocols.bfv.terms import Terms, message_digest

ME, NONE, SEED = "clinic-1", "sha256:" + "9" * 64, bytes(range(32))
OWN = f"sha256:{1:064x}"


@functools.cache
def round_of(clients=5, form="blind"):
    with tempfile.TemporaryDirectory() as directory:
        study = make_study(
            Path(directory),
            clients=clients,
            aggregators=1,
            min_clients=3,
            protocol="bfv",
            key_holders=2 if form == "blind" else 1,
            key_holder=form,
            with_masks=False,
        )
    return Round.of(study.task)


ROUND = round_of()
NAMES = ROUND.task.names("client")
TERMS = {me: Terms(ROUND, me, 3) for me in (ME, "adder-0", "holder-0")}


def report(name):
    return f"sha256:{int(name.removeprefix('clinic-')):064x}" if name.startswith("clinic-") else NONE


def members(*names):
    return tuple(sorted(CountedReport(client=name, report=report(name)) for name in names))


def share(fill="a", **changes):
    values = {"parameters": TERMS[ME].parameters.id, "half": "sha256:" + fill * 64, **changes}
    return KeyShare(**ROUND.names, **values)


SHARES = {"holder-0": share("a"), "holder-1": share("b")}
PROMISED = {name: message_digest(one) for name, one in SHARES.items()}
KEYS = TERMS[ME].joint_keys(PROMISED, SHARES)


def a_sum(*names, attempt=0, keys=KEYS, listed=None, chunk="c"):
    return CiphertextSum(
        **ROUND.names,
        keys=keys,
        attempt=attempt,
        members=members(*(names or NAMES)) if listed is None else listed,
        content_keys=(),
        chunks=("sha256:" + chunk * 64,),
    )


FIRST, SECOND = a_sum(), a_sum(*NAMES[:4], attempt=1)
SEEDS = {name: HashSeed(**ROUND.names, sum=message_digest(FIRST), seed=SEED) for name in SHARES}
SUMS = {
    "the sum again": FIRST,
    "another sum of the first attempt": a_sum(chunk="d"),
    "the second sum": SECOND,
    "a second sum with the same": a_sum(attempt=1),
    "a second sum with another report": a_sum(
        attempt=1, listed=(CountedReport(client="clinic-0", report=NONE), *members(*NAMES[1:3]))
    ),
    "a third sum": a_sum(*NAMES[:3], attempt=2),
}
FIRSTS = {
    "a sum": FIRST,
    "a sum of two": a_sum(*NAMES[:2]),
    "a sum of nobody": a_sum(listed=()),
    "a sum with a client twice": a_sum(listed=(members(ME)[0], *members(*NAMES))),
    "a sum in another order": a_sum(listed=members(*NAMES)[::-1]),
    "a sum with a stranger": a_sum(*NAMES, "mallory"),
    "a sum under another key": a_sum(keys=NONE),
}
REFUSED_FIRST = set(FIRSTS) - {"a sum"}
REFUSED_SECOND = {
    "another sum of the first attempt",
    "a second sum with the same",
    "a second sum with another report",
}


def opening(message=FIRST, names=NAMES):
    return Opening(**ROUND.names, sum=message_digest(message), hashes=members(*names))


def check(machine, states, expected, before, event, *, more=()):
    """Take one event: what the table says, the state before as it was, and the state after as it is stored."""
    state = states[before]
    stored = msgspec.json.encode(state)
    try:
        transition = machine.step(*more[:1], state, event, *more[1:])
    except RemoteMisbehaviourError as error:
        assert (expected, error.party) == ("refused", "adder-0")  # noqa: PT017 - one of two right outcomes
        assert msgspec.json.encode(state) == stored
        return None
    assert msgspec.json.encode(state) == stored, "a state is never changed"
    after = msgspec.json.encode(transition.state)
    assert msgspec.json.decode(after, type=machine.State) == transition.state
    if expected == "unchanged":
        assert transition.state is state
    else:
        assert f"{type(transition.state).__name__}" == expected
        assert after != stored
    return transition


# ---- the client
ENCRYPTED = client.Encrypted(keys=KEYS)
SEEN = client.Encrypted(keys=KEYS, sums=(message_digest(FIRST),), members=FIRST.members)
CLIENTS = {
    "Idle": client.Idle(),
    "Encrypted": ENCRYPTED,
    "Seen": SEEN,
    "Answered": msgspec.structs.replace(SEEN, answered=(message_digest(FIRST),)),
    "Both": msgspec.structs.replace(
        SEEN, sums=(message_digest(FIRST), message_digest(SECOND)), members=SECOND.members
    ),
    "Counted": client.Counted(keys=KEYS, sum=message_digest(FIRST)),
    "LeftOut": client.LeftOut(),
}
CLIENT_EVENTS = {
    "keys": client.KeysPublished(PROMISED, SHARES),
    **{name: client.SumSeen(message, OWN) for name, message in (FIRSTS | SUMS).items()},
    "a sum without me": client.SumSeen(a_sum(*NAMES[2:]), OWN),
    "a second sum without me": client.SumSeen(a_sum(*NAMES[2:], attempt=1), OWN),
    "a sum with another report of mine": client.SumSeen(FIRST, NONE),
    "seeds": client.SeedsDrawn(message_digest(FIRST), SEEDS),
    "seeds for another sum": client.SeedsDrawn(message_digest(SECOND), SEEDS),
    "opening": client.OpeningSeen(opening()),
    "opening of another sum": client.OpeningSeen(opening(SECOND)),
}
CLIENT_TABLE = {
    ("Idle", "keys"): "Encrypted",
    ("Encrypted", "a sum"): "Encrypted",
    ("Encrypted", "the sum again"): "Encrypted",
    ("Encrypted", "another sum of the first attempt"): "Encrypted",
    ("Encrypted", "a sum without me"): "LeftOut",
    ("Encrypted", "a sum with another report of mine"): "refused",
    **{("Encrypted", name): "refused" for name in REFUSED_FIRST},
    ("Seen", "seeds"): "Encrypted",
    ("Answered", "opening"): "Counted",
    ("Both", "seeds for another sum"): "Encrypted",  # for the last one; it does not answer for the one before
    ("Both", "a third sum"): "Encrypted",
    **{
        ("Both", name): "refused"
        for name in (*REFUSED_FIRST, *REFUSED_SECOND, "a sum without me", "a second sum without me")
    },
    **{
        (state, name): what
        for state in ("Seen", "Answered")
        for name, what in (
            *((name, "refused") for name in (*REFUSED_FIRST, *REFUSED_SECOND, "a sum without me")),
            ("the second sum", "Encrypted"),
            ("a second sum without me", "LeftOut"),
        )
    },
}


# ---- the key holder
BASE = key_holder.Serving(seed=SEED, keys=KEYS)
HOLDERS = {
    "Committed": key_holder.Committed(seed=SEED),
    "Shared": key_holder.Shared(seed=SEED),
    "Serving": BASE,
    "Seeded": msgspec.structs.replace(BASE, sums=(message_digest(FIRST),), members=FIRST.members),
    "Released": key_holder.Released(members=FIRST.members),
    "Refused": key_holder.Refused(reason="because", party="adder-0"),
    "GivenUp": key_holder.GivenUp(reason="because", missing=NAMES[3:]),
}
HOLDER_EVENTS = {
    "all committed": key_holder.AllCommitted(PROMISED, PROMISED["holder-0"]),
    "keys": key_holder.KeysPublished(PROMISED, SHARES),
    **{name: key_holder.SumSeen(message) for name, message in (FIRSTS | SUMS).items()},
}
HOLDER_TABLE = {
    ("Committed", "all committed"): "Shared",
    ("Shared", "keys"): "Serving",
    ("Serving", "a sum"): "Serving",
    ("Serving", "the sum again"): "Serving",
    ("Serving", "another sum of the first attempt"): "Serving",
    **{("Serving", name): "refused" for name in REFUSED_FIRST},
    **{("Seeded", name): "refused" for name in REFUSED_FIRST | REFUSED_SECOND},
    ("Seeded", "the second sum"): "Serving",
}


# ---- the aggregator
ALL = {name: report(name) for name in NAMES}
ADDING = aggregator.Adding(attempt=0, members=ALL)
HASHING = aggregator.Hashing(attempt=0, members=ALL, sum=message_digest(FIRST))
HASHED = msgspec.structs.replace(HASHING, hashed=ALL)
ASKED = message_digest(opening())
OPENED_STATE = aggregator.Opened(attempt=0, members=ALL, sum=message_digest(FIRST), opening=ASKED)
SERVERS = {
    "Collecting": aggregator.Collecting(),
    "Nearly": aggregator.Collecting(arrived={name: ALL[name] for name in NAMES if name != ME}),
    "Adding": ADDING,
    "Hashing": HASHING,
    "Hashed": HASHED,
    "Second": msgspec.structs.replace(HASHED, attempt=1),
    "Opened": OPENED_STATE,
    "Multiplied": msgspec.structs.replace(OPENED_STATE, products=dict.fromkeys(SHARES, NONE)),
    "Released": aggregator.Released(attempt=0, members=ALL),
    "Failed": aggregator.Failed(step="hashes", took_part=NAMES[:2], missing=NAMES[2:]),
}
F = message_digest(FIRST)
SERVER_EVENTS = {
    "report": aggregator.ReportArrived(ME, ALL[ME]),
    "report of one that is there": aggregator.ReportArrived("clinic-0", NONE),
    "report of a stranger": aggregator.ReportArrived("mallory", NONE),
    "report of a key holder": aggregator.ReportArrived("holder-0", NONE),
    "sum": aggregator.SumWritten(0, F),
    "sum of the next attempt": aggregator.SumWritten(1, F),
    "hash": aggregator.HashArrived(ME, NONE, F),
    "hash for another sum": aggregator.HashArrived(ME, NONE, message_digest(SECOND)),
    "hash of a stranger": aggregator.HashArrived("mallory", NONE, F),
    "right": aggregator.HashesChecked(F),
    "right for another sum": aggregator.HashesChecked(NONE),
    "one wrong": aggregator.HashesChecked(F, (ME,)),
    "three wrong": aggregator.HashesChecked(F, NAMES[:3]),
    "all wrong": aggregator.HashesChecked(F, NAMES),
    "product": aggregator.ProductArrived("holder-1", NONE, ASKED),
    "product for another opening": aggregator.ProductArrived("holder-1", NONE, NONE),
    "product of a client": aggregator.ProductArrived(ME, NONE, ASKED),
    "reports closed": aggregator.Closed("reports"),
    "hashes closed": aggregator.Closed("hashes"),
    "products closed": aggregator.Closed("products"),
    "released": aggregator.SumReleased(),
}
SERVER_TABLE = {
    ("Collecting", "report"): "Collecting",
    ("Collecting", "report of one that is there"): "Collecting",  # it is not, yet
    ("Collecting", "reports closed"): "Failed",
    ("Nearly", "report"): "Adding",
    ("Nearly", "reports closed"): "Adding",
    ("Adding", "sum"): "Hashing",
    ("Hashing", "hash"): "Hashing",
    ("Hashing", "hashes closed"): "Failed",
    **{
        (state, event): after
        for state in ("Hashed", "Second")
        for event, after in (
            ("right", "Opened"),
            ("one wrong", "Adding"),
            ("three wrong", "Failed"),
            ("all wrong", "Failed"),
        )
    },
    ("Opened", "product"): "Opened",
    ("Opened", "released"): "Released",
    ("Multiplied", "released"): "Released",
}


def opening_of(hashed):
    return Opening(**ROUND.names, sum=F, hashes=aggregator.counted(hashed))


# ---- any order
LISTS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)
ANY_SUM = st.builds(
    lambda names, attempt, chunk, stranger: a_sum(
        *names, *(["mallory"] * stranger), attempt=attempt, chunk=chunk
    ),
    LISTS | st.just(list(NAMES)) | st.just(list(NAMES[:4])) | st.just(list(NAMES[:3])),
    st.integers(0, 2),
    st.sampled_from("cd"),
    st.sampled_from([0, 0, 0, 1]),
)


@st.composite
def any_events(draw, kinds, length=40):
    """Events about the same few sums."""
    sums = [*draw(st.lists(ANY_SUM, min_size=1, max_size=5)), FIRST, SECOND]
    return [
        kinds[draw(st.sampled_from(sorted(kinds)))](draw, sums) for _ in range(draw(st.integers(1, length)))
    ]
