"""What an attack on a round of `bfv` has to end in: all refuse, keys are gone, and nothing is released."""

from __future__ import annotations

import base64
import re

from bfv_attacker import ADDER, HQ, NONE, counted, holders, key_seeds, received, stored, turn

from secprune.errors import RemoteMisbehaviourError, SecpruneError
from secprune.messages.bfv import CiphertextSum, PartialDecryption
from secprune.messages.types import AggregateShare
from secprune.parties.coordinator import COUNTS_FILE
from secprune.protocols.bfv import key_holder

FIRST_FOUR = ("clinic-0", "clinic-1", "clinic-2", "clinic-3")
BLIND = ("blind", 1)
TWO = ("blind", 2)


def is_on_disk(study, name, secret):
    """Whether a secret stands in any file of a party, as bytes or as its journal's JSON writes them."""
    forms = (secret, base64.b64encode(secret).rstrip(b"="), secret.hex().encode())
    files = [path.read_bytes() for path in (study.root / name).rglob("*") if path.is_file()]
    assert files
    return any(one in data for one in forms for data in files)


def released_nothing(study):
    """No counts at the coordinator, which learns that the round is over, and no sum or part of one for anybody."""
    outcome = turn(study, HQ)
    assert isinstance(outcome, SecpruneError), outcome
    files = list((study.root / HQ).rglob(COUNTS_FILE))
    return not files and not received(study, AggregateShare) and not received(study, PartialDecryption)


def refused(liar, seeds, match, *, blamed=ADDER):
    """Every key holder refuses, and has forgotten its key; nothing is opened, then or later."""
    study = liar.study
    for name in holders(study):
        error = turn(study, name)
        assert isinstance(error, RemoteMisbehaviourError), error
        assert error.party == blamed
        assert re.search(match, error.message), error
        assert stored(study, name, key_holder.State) == key_holder.Refused(reason=error.message, party=blamed)
        assert not is_on_disk(study, name, seeds[name])
    assert released_nothing(study)


def refused_for_ever(liar, seeds, match):
    """As `refused`, and an honest sum, answered for and opened, changes nothing."""
    refused(liar, seeds, match)
    message = liar.show(liar.total(), liar.members())
    liar.open(message, dict.fromkeys(liar.study.clients, NONE))
    refused(liar, seeds, match)


def on_disk(liar):
    """The key seeds of all key holders, which are in their journals now."""
    seeds = key_seeds(liar.study)
    assert all(is_on_disk(liar.study, name, seed) for name, seed in seeds.items())
    return seeds


# ---- what was shown
def attempts(liar, first, second, *, digests=None):
    liar.show(liar.total(*first), liar.members(*first))
    members = counted({m.client: m.report for m in liar.members(*second)} | (digests or {}))
    liar.show(liar.total(*second), members, attempt=1)


def sums(liar):
    return [message for _, _, message in received(liar.study, CiphertextSum)]
