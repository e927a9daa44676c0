"""Bulk data and secrets of other parties: words, sealed chunks and keys, ciphertexts, shares of a secret."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import cache

import msgspec
import numpy as np
from fuzz.fuzzing import (
    MEMORY,
    SECONDS,
    VALUES,
    bulk,
    fuzz,
    judged,
    mutated,
    new_directory,
    peak_of,
    random_change,
    refused,
)
from hypothesis import strategies as st
from small_study import make_study

from secprune.crypto import shamir
from secprune.crypto.bfv.parameters import choose_parameters
from secprune.crypto.bfv.wire import parse, planes_of, serialise
from secprune.crypto.seal import ChunkCipher, Context, open_secret, seal_secret
from secprune.errors import RemoteMisbehaviourError, TooFewPartiesError
from secprune.messages.types import AggregateShare, Parcel, Report, SealedKey
from secprune.protocols.additive.aggregate import AggregateReader, AggregateWriter, seal_share_key
from secprune.protocols.additive.row_sums import open_row_sums, seal_row_sums
from secprune.protocols.api import Round, secure_sum
from secprune.protocols.words import vector_from_bytes, words_from_bytes, words_to_bytes


@cache
def study():
    return make_study(new_directory(), matrices=(("a.weight", 3, 8), ("b.weight", 2, 13)))


@cache
def round_():
    return Round.of(study().task)


def rng(seed):
    return np.random.default_rng(seed)


# ---- words
@cache
def words():
    return [
        bytes(words_to_bytes(rng(i).integers(0, 2**64, chunk.shape, np.uint64)))
        for i, chunk in enumerate(round_().layout.chunks)
    ]


@fuzz(150, data=st.one_of(mutated(words), st.binary(max_size=300)))
def test_words_are_refused_or_the_same_bytes(data):
    for chunk in round_().layout.chunks:
        found = judged(lambda d, c=chunk: words_from_bytes(d, c, sender="site-1"), data, blames={"site-1"})
        assert refused(found) == (len(data) != 8 * chunk.words)
        assert refused(found) or bytes(words_to_bytes(found)) == data
    found = judged(lambda d: vector_from_bytes(d, 5, sender="site-1"), data, blames={"site-1"})
    assert refused(found) == (len(data) != 40)
    assert refused(found) or bytes(words_to_bytes(found)) == data


# ---- sealed
CONTEXT = Context("sha256:" + "0" * 64, 0, "report", "site-1", "adder-0", "site-1")


def cipher():
    return ChunkCipher(bytes(32), CONTEXT, count=3)


@cache
def sealed_chunks():
    return [cipher().seal(i, plain) for i, plain in enumerate((b"", b"x", bytes(100)))]


@fuzz(200, data=st.one_of(mutated(sealed_chunks), st.binary(max_size=60)), index=st.integers(0, 2))
def test_a_changed_chunk_does_not_open(data, index):
    found = judged(lambda d: cipher().open(index, d), data, blames={"site-1"})
    if refused(found):
        assert isinstance(found, RemoteMisbehaviourError)
        return
    assert cipher().seal(index, found) == data
    assert data == sealed_chunks()[index]


@cache
def sealed_keys():
    key = study().task.party("adder-0").sealing_key
    return [seal_secret(bytes([i] * 32), key, CONTEXT) for i in range(2)]


@fuzz(120, data=st.one_of(mutated(sealed_keys), st.binary(max_size=1300)))
def test_a_changed_sealed_key_does_not_open(data):
    opening = study().identities["adder-0"].opening
    found = judged(lambda d: open_secret(d, opening, CONTEXT), data, blames={"site-1"})
    assert refused(found) == (data not in sealed_keys())
    assert not refused(found) or isinstance(found, RemoteMisbehaviourError)


def test_many_changed_sealed_chunks_and_keys():
    opening = study().identities["adder-0"].opening
    for number, data in enumerate(bulk(sealed_chunks, 4000)):
        found = judged(lambda d, i=number % 3: cipher().open(i, d), data, blames={"site-1"})
        assert refused(found) == (data != sealed_chunks()[number % 3])
    for data in bulk(sealed_keys, 1000):
        assert refused(judged(lambda d: open_secret(d, opening, CONTEXT), data, blames={"site-1"})) == (
            data not in sealed_keys()
        )


# ---- what is sealed well and says something else
@cache
def keys_of_any_length():
    """Secrets of wrong lengths, sealed by who may seal them; by length."""
    task, found = study().task, {}
    for size in (0, 1, 16, 31, 32, 33, 64, 4000):
        for purpose, sender, receiver, subject in (
            ("report", "clinic-0", "adder-0", "clinic-0"),
            ("report", "clinic-0", "adder-1", "clinic-0"),
            ("aggregate", "adder-0", "hq", "hq"),
            ("row-sums", "adder-0", "adder-1", "clinic-0"),
        ):
            context = Context(task.task_id, 0, purpose, sender, receiver, subject)
            found[purpose, receiver, size] = seal_secret(
                bytes(size), task.party(receiver).sealing_key, context
            )
    return found


def test_keys_of_the_wrong_length_are_their_senders_fault():
    task, identities, count = study().task, study().identities, len(round_().layout.chunks)
    digests = ("sha256:" + "1" * 64,) * count
    for (purpose, receiver, size), sealed in keys_of_any_length().items():
        key = SealedKey(receiver=receiver, sealed=sealed)
        if purpose == "report":
            keys = tuple(
                key if a == receiver else SealedKey(receiver=a, sealed=b"") for a in study().aggregators
            )
            report = Report(**round_().names, keys=keys, chunks=digests)

            def read(_, report=report, receiver=receiver):
                identity = identities[receiver]
                return secure_sum(task).open_key(
                    round_(), "clinic-0", report, aggregator=receiver, identity=identity
                )

            blamed = "clinic-0"
        elif purpose == "aggregate":
            share = AggregateShare(**round_().names, members=(), parcel=Parcel(key=key, chunks=digests))

            def read(_, share=share):
                return AggregateReader(round_(), "adder-0", share, identities["hq"])

            blamed = "adder-0"
        else:
            parcel = Parcel(key=key, chunks=digests[:1])

            def read(_, parcel=parcel):
                names = {"sender": "adder-0", "receiver": "adder-1", "client": "clinic-0"}
                return open_row_sums(
                    round_(),
                    [parcel],
                    **names,
                    identity=identities["adder-1"],
                    fetch=lambda _: sealed_chunks()[0],
                )

            blamed = "adder-0"
        found = judged(read, sealed, blames={blamed})
        if purpose == "row-sums":
            assert refused(found)
        else:
            assert refused(found) == (size != 32)


@fuzz(
    150,
    receivers=st.lists(st.sampled_from(("adder-0", "adder-1", "hq")), max_size=4),
    sealed=mutated(sealed_keys),
    chunks=st.integers(0, 4),
)
def test_a_report_of_any_shape_opens_or_is_its_clients_fault(receivers, sealed, chunks):
    keys = tuple(SealedKey(receiver=name, sealed=sealed[:4096]) for name in receivers)
    report = Report(**round_().names, keys=keys, chunks=("sha256:" + "1" * 64,) * chunks)
    for name in study().aggregators:
        identity = study().identities[name]
        found = judged(
            lambda _, n=name, i=identity: secure_sum(study().task).open_key(
                round_(), "clinic-0", report, aggregator=n, identity=i
            ),
            sealed,
            blames={"clinic-0"},
        )
        assert isinstance(found, RemoteMisbehaviourError)


def test_changed_chunks_of_an_aggregate_share_and_of_row_sums_are_their_senders_fault():
    chunk, identities = round_().layout.chunks[0], study().identities
    writer = AggregateWriter(round_(), "adder-0", bytes(32))
    total = rng(1).integers(0, 2**64, chunk.shape, np.uint64)
    data, digest = writer.seal(chunk, total), "sha256:" + "1" * 64
    parcel = Parcel(
        key=seal_share_key(round_(), "adder-0", bytes(32)), chunks=(digest,) * len(round_().layout.chunks)
    )
    share = AggregateShare(**round_().names, members=(), parcel=parcel)
    reader = AggregateReader(round_(), "adder-0", share, identities["hq"])
    groups, stored = sum(slab.groups for slab in round_().layout.slabs), []
    names = {"sender": "adder-0", "receiver": "adder-1", "client": "clinic-0"}
    sums = rng(2).integers(0, 2**64, groups, np.uint64)
    sealed = seal_row_sums(round_(), sums, **names, entropy=bytes, put=lambda d: stored.append(d) or digest)
    ours = [data, stored[0], ChunkCipher(bytes(32), CONTEXT, count=1).seal(0, b"")]
    for changed in bulk(lambda: ours, 1500):
        found = judged(lambda d: reader.open(chunk, d), changed, blames={"adder-0"})
        assert refused(found) == (changed != data)
        found = judged(
            lambda d: open_row_sums(
                round_(), [sealed], **names, identity=identities["adder-1"], fetch=lambda _: d
            ),
            changed,
            blames={"adder-0"},
        )
        assert refused(found) == (changed != stored[0])


# ---- ciphertexts
@cache
def parameters():
    return choose_parameters(clients=8, key_holders=1, blind=False, weights=10**6)


@cache
def blobs():
    p, found = parameters(), []
    for form in ("ciphertexts", "masks", "products", "key share"):
        planes = [rng(q % 99).integers(0, q, (1, p.degree), np.uint64) for q in planes_of(form, p)]
        found.append((form, serialise(planes, form, p)))
    return found


def check_blob(data, form):
    p = parameters()
    found = judged(lambda d: parse(d, form, p, count=1, sender="site-1"), data, blames={"site-1"})
    if refused(found):
        assert isinstance(found, RemoteMisbehaviourError)
        return "refused"
    assert all(int(plane.max()) < q for plane, q in zip(found, planes_of(form, p), strict=True))
    assert serialise(found, form, p) == data
    return "same bytes"


def test_many_changed_ciphertexts():
    """Beside tests/crypto/bfv/test_bfv_wire.py, which knows the layout: without any knowledge."""
    ends, chance = Counter(), random.Random(time.time_ns() if SECONDS else 5)
    end, turn = time.monotonic() + SECONDS, 0
    while turn < 400 or time.monotonic() < end:
        form, data = chance.choice(blobs())
        changed = random_change(chance, data, [blob for _, blob in blobs()])
        if turn % 5 == 0:  # a large coefficient is one that many ones in a row make
            at, size = chance.randrange(len(data)), chance.randrange(len(data) // 2)
            changed = (data[:at] + b"\xff" * size + data[at + size :])[: len(data)]
        ends[check_blob(changed, form)] += 1
        turn += 1
    assert ends["refused"] > 150
    assert ends["same bytes"] > 10


# ---- shares of a secret
@cache
def shares():
    chance = random.Random(7)
    return list(shamir.split(bytes(range(32)), threshold=3, holders=6, entropy=chance.randbytes))


EDGES = [(shamir.PRIME + n).to_bytes(33, "big") for n in (-1, 0, 1)] + [
    b"\xff" * 33,
    bytes(33),
    bytes(32),
    b"",
]


def check_shares(found_shares):
    def recover(_):
        return shamir.recover(found_shares, threshold=3, holders=6)

    blames = {"dealer or holders", *(f"holder {i}" for i in range(6))}
    found = judged(recover, b"", blames=blames)
    if len(found_shares) < 3:
        assert isinstance(found, TooFewPartiesError)
    if refused(found):
        return "refused"
    assert len(found) == 32
    assert all(
        len(share) == 33 and int.from_bytes(share, "big") < shamir.PRIME for share in found_shares.values()
    )
    # They lie on one polynomial: any three of them give the same.
    chosen = sorted(found_shares)[-3:]
    assert shamir.recover({i: found_shares[i] for i in chosen}, threshold=3, holders=6) == found
    return "secret"


@fuzz(
    200,
    changed=st.dictionaries(st.integers(0, 5), st.one_of(mutated(shares), st.sampled_from(EDGES))),
    honest=st.sets(st.integers(0, 5)),
)
def test_changed_shares_are_refused_or_fit_together(changed, honest):
    end = check_shares({i: shares()[i] for i in honest} | changed)
    wrong = {i for i, share in changed.items() if share != shares()[i]}
    if len(honest - set(changed)) >= 3 and wrong:
        assert end == "refused"


def test_many_changed_shares():
    chance, end, ends, turn = random.Random(time.time_ns() if SECONDS else 11), time.monotonic(), Counter(), 0
    while turn < 3000 or time.monotonic() < end + SECONDS:
        held = {i: shares()[i] for i in chance.sample(range(6), chance.randrange(7))}
        for i in chance.sample(sorted(held), min(len(held), chance.choice((0, 0, 1, 2)))):
            alias = int.from_bytes(shares()[i], "big") + shamir.PRIME
            held[i] = chance.choice(
                [*EDGES, alias.to_bytes(33, "big"), random_change(chance, shares()[i], shares())]
            )
        ends[check_shares(held)] += 1
        turn += 1
    assert ends["secret"] > 300
    assert ends["refused"] > 300


# ---- memory
def test_what_claims_to_be_large_takes_no_memory():
    """What is changed here says of itself that it is of gigabytes."""
    p, (form, data) = parameters(), blobs()[0]
    claims = [data[:40] + (2**32 - 1).to_bytes(4, "little") + data[44:], data[:44], data[:8] + b"\xff" * 36]
    assert peak_of(lambda: [check_blob(claim, form) for claim in claims]) < MEMORY
    huge = [value for value in VALUES if isinstance(value, int) and value > 2**30]
    assert huge
    assert peak_of(lambda: [judged(msgspec.json.decode, b"%d" % value) for value in huge]) < MEMORY
    assert p.degree
