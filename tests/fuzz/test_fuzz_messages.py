"""Foreign messages and envelopes: refused in the name of whom the evidence points to, or canonical."""

from __future__ import annotations

import base64
from collections import Counter
from functools import cache
from typing import get_args

import msgspec
import pytest
from fuzz.fuzzing import (
    MEMORY,
    bulk,
    examples_of,
    fuzz,
    judged,
    mutated,
    peak_of,
    refused,
    restructured,
    values_of,
)
from hypothesis import strategies as st

from secprune.crypto.entropy import random_bytes
from secprune.crypto.envelope import open_envelope, pre_authentication_encoding, sign
from secprune.crypto.identity import Identity
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.codec import decode, encode
from secprune.messages.pairwise import RevealedShares, ShareParcel
from secprune.messages.types import Card, TaskSignature
from secprune.parties.session import PHASE_OF, AnyMessage

KINDS = (*get_args(AnyMessage), ShareParcel, RevealedShares, Card, TaskSignature)
"""Everything that `decode` is called with."""
SENDERS = {f"site-{i}": Identity(bytes([i + 1]) * 128) for i in range(3)}
KEYS = {name: identity.signing_key for name, identity in SENDERS.items()}


@cache
def messages(count=3):
    return [encode(message) for kind in KINDS for message in examples_of(kind, count)]


@cache
def envelopes():
    return [
        sign(message, signer=f"site-{i % 3}", identity=SENDERS[f"site-{i % 3}"])
        for i, message in enumerate(message for kind in KINDS for message in examples_of(kind, 1))
    ]


def envelope_of(payload, signer="site-0", payload_type="application/vnd.secprune+json"):
    """A valid signature on any payload."""
    text = base64.b64encode(payload).decode()
    signature = SENDERS[signer].sign(pre_authentication_encoding(payload))
    signatures = [{"keyid": signer, "sig": base64.b64encode(signature).decode()}]
    return encode({"payload": text, "payloadType": payload_type, "signatures": signatures})


def check(data, kind):
    found = judged(lambda d: decode(d, kind, party="site-7"), data, blames={"site-7"})
    if refused(found):
        assert isinstance(found, RemoteMisbehaviourError)
        return "refused"
    assert encode(found) == data
    return "same bytes"


def check_envelope(data, kind, blames):
    found = judged(lambda d: open_envelope(d, kind, signing_keys=KEYS), data, blames=blames)
    if refused(found):
        assert isinstance(found, RemoteMisbehaviourError)
        return found
    sender, message = found
    # Ed25519 signatures are deterministic: what opens is what its signer would send, byte for byte.
    assert sign(message, signer=sender, identity=SENDERS[sender]) == data
    return found


def test_no_message_is_forgotten():
    assert set(PHASE_OF) <= set(KINDS)


@fuzz(200, message=st.one_of([values_of(kind) for kind in KINDS]))
def test_every_message_comes_back(message):
    data = encode(message)
    assert decode(data, type(message), party="site-7") == message
    if isinstance(message, AnyMessage):
        assert decode(data, AnyMessage, party="site-7") == message


@fuzz(250, data=mutated(messages), kind=st.sampled_from((*KINDS, AnyMessage)))
def test_changed_bytes_are_refused_or_canonical(data, kind):
    check(data, kind)
    check(data, AnyMessage)


@fuzz(250, data=restructured(messages), kind=st.sampled_from((*KINDS, AnyMessage)))
def test_changed_values_are_refused_or_canonical(data, kind):
    check(data, kind)
    check(data, AnyMessage)


@fuzz(150, data=st.binary(max_size=200), kind=st.sampled_from((*KINDS, AnyMessage)))
def test_any_bytes_are_refused_or_canonical(data, kind):
    check(data, kind)
    check_envelope(data, kind, {"exchange"})


@fuzz(200, data=mutated(envelopes), kind=st.sampled_from((*KINDS, AnyMessage)))
def test_a_changed_envelope_is_the_exchanges_fault(data, kind):
    """Nobody signed it; only whole and valid envelopes of another kind are their signer's."""
    check_envelope(data, kind, {"exchange", *SENDERS} if data in envelopes() else {"exchange"})


@fuzz(200, data=restructured(envelopes), kind=st.sampled_from((*KINDS, AnyMessage)))
def test_an_envelope_with_other_values_is_the_exchanges_fault(data, kind):
    check_envelope(data, kind, {"exchange", *SENDERS} if data in envelopes() else {"exchange"})


@fuzz(
    250,
    payload=st.one_of(mutated(messages), restructured(messages)),
    kind=st.sampled_from((*KINDS, AnyMessage)),
    signer=st.sampled_from(tuple(SENDERS)),
)
def test_what_was_validly_signed_and_is_malformed_is_its_signers_fault(payload, kind, signer):
    found = check_envelope(envelope_of(payload, signer), kind, {signer})
    assert refused(found) or found[0] == signer


def test_many_changed_messages():
    ends = Counter()
    for number, data in enumerate(bulk(messages, 12_000)):
        kind = KINDS[number % len(KINDS)] if number % 2 else AnyMessage
        ends[check(data, kind)] += 1
    assert ends["same bytes"] > 20, ends
    assert ends["refused"] > 1000, ends


def test_many_changed_envelopes():
    whole = set(envelopes())
    for data in bulk(envelopes, 4000):
        check_envelope(data, AnyMessage, {"exchange", *SENDERS} if data in whole else {"exchange"})


@pytest.mark.parametrize("fault", ["type", "stranger", "wrong key", "other's name"])
def test_an_envelope_that_nobody_of_the_roster_signed_is_the_exchanges_fault(fault):
    payload, stranger = messages()[0], Identity.generate(random_bytes)
    data = {
        "type": envelope_of(payload, payload_type="application/json"),
        "stranger": sign(msgspec.Raw(payload), signer="mallory", identity=stranger),
        "wrong key": sign(msgspec.Raw(payload), signer="site-1", identity=stranger),
        "other's name": envelope_of(payload).replace(b"site-0", b"site-1"),
    }[fault]
    found = check_envelope(data, KINDS[0], {"exchange"})
    assert refused(found)


def test_changed_messages_take_no_memory():
    """Nor what is small and says much: numbers, lists and depths without an end."""
    bombs = [b"[" * 100_000, b'{"chunks":' + b"[" * 50_000, b'{"a":' * 50_000, b"9" * 100_000]
    bombs += [b'{"chunks":[' + b"1," * 50_000 + b'1],"type":"Report"}', b'"' + b"\\u0000" * 50_000 + b'"']

    def work():
        for data in (
            *bombs,
            *(data for data, _ in zip(bulk(messages, 600, seed=3), range(600), strict=False)),
        ):
            check(data, AnyMessage)
            check_envelope(envelope_of(data), AnyMessage, {"site-0"})

    assert peak_of(work) < MEMORY
