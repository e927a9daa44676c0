"""Signed envelopes and the strict codec, against altered, foreign and malformed bytes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.crypto.envelope import open_envelope, pre_authentication_encoding, sign
from secprune.crypto.identity import SECRET_BYTES, Identity
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.codec import decode, encode
from secprune.messages.types import CloseRound, Report, RoundMessage, SealedKey, Vote

IDENTITY = Identity(bytes(range(SECRET_BYTES)))
KEYS = {"clinic-0": IDENTITY.signing_key}
TASK = "sha256:" + "a" * 64
REPORT = Report(
    task_id=TASK,
    round=0,
    keys=(SealedKey(receiver="adder-0", sealed=b"x" * 40),),
    chunks=("sha256:" + "b" * 64,),
)
ENVELOPE = sign(REPORT, signer="clinic-0", identity=IDENTITY)


def test_pae_is_that_of_dsse_v1():
    """The protocol's own example has type http://example.com/HelloWorld; the shape is what matters here."""
    kind = b"application/vnd.secprune+json"
    assert pre_authentication_encoding(b"hello world") == b"DSSEv1 %d %b 11 hello world" % (len(kind), kind)


def test_round_trip_and_determinism():
    assert open_envelope(ENVELOPE, Report, signing_keys=KEYS) == ("clinic-0", REPORT)
    assert sign(REPORT, signer="clinic-0", identity=IDENTITY) == ENVELOPE


@given(position=st.integers(0, len(ENVELOPE) - 1), value=st.integers(0, 255))
def test_any_altered_byte_is_refused(position, value):
    altered = bytearray(ENVELOPE)
    altered[position] = value
    if bytes(altered) == ENVELOPE:
        return
    with pytest.raises(RemoteMisbehaviourError) as caught:
        open_envelope(bytes(altered), Report, signing_keys=KEYS)
    assert caught.value.party == "exchange"  # anybody could have written this


@given(st.binary(max_size=400))
def test_junk_gives_no_other_exception(junk):
    with pytest.raises(RemoteMisbehaviourError):
        open_envelope(junk, Report, signing_keys=KEYS)


def test_strangers_and_other_types_are_refused():
    with pytest.raises(RemoteMisbehaviourError, match="not in the roster"):
        open_envelope(ENVELOPE, Report, signing_keys={})
    with pytest.raises(RemoteMisbehaviourError) as caught:
        open_envelope(ENVELOPE, Vote, signing_keys=KEYS)
    assert caught.value.party == "clinic-0"  # it signed this


def test_a_signed_but_not_canonical_message_is_the_signers_fault():
    payload = json.dumps(json.loads(encode(REPORT)), indent=1).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": "application/vnd.secprune+json",
        "signatures": [
            {
                "keyid": "clinic-0",
                "sig": base64.b64encode(IDENTITY.sign(pre_authentication_encoding(payload))).decode(),
            }
        ],
    }
    data = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(RemoteMisbehaviourError, match="canonical") as caught:
        open_envelope(data, Report, signing_keys=KEYS)
    assert caught.value.party == "clinic-0"


@pytest.mark.parametrize(
    "text",
    [
        b'{"round":0,"task_id":"%s","type":"CloseRound","extra":1}' % TASK.encode(),
        b'{"round":0,"round":0,"task_id":"%s","type":"CloseRound"}' % TASK.encode(),
        b'{"round":-1,"task_id":"%s","type":"CloseRound"}' % TASK.encode(),
        b'{"round":0,"task_id":"../../etc","type":"CloseRound"}',
        b'{"round":0,"task_id":"%s","type":"CloseRound"} ' % TASK.encode(),
        b'{"round":0.0,"task_id":"%s","type":"CloseRound"}' % TASK.encode(),
        b"[" * 100_000,
        b'{"round":0,"task_id":"%s\\n","type":"CloseRound"}' % TASK.encode(),
    ],
)
def test_the_codec_refuses(text):
    with pytest.raises(RemoteMisbehaviourError):
        decode(text, CloseRound, party="somebody")


def test_the_union_of_all_messages_decodes_by_tag():
    message = CloseRound(task_id=TASK, round=3)
    assert decode(encode(message), RoundMessage, party="somebody") == message  # type: ignore[arg-type]
