"""Studies of `bfv` for worlds of real parties, and what can be seen in such a world from outside."""

from __future__ import annotations

import contextlib
from functools import cache

import numpy as np
from small_study import make_study

from secprune.crypto.envelope import open_envelope
from secprune.messages.bfv import CiphertextSum
from secprune.parties.config import read_party_file
from secprune.parties.coordinator import RoundResult
from secprune.parties.session import PHASE_OF, Session
from secprune.parties.status import status
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.journal import Journal

MATRICES = (("a.weight", 9, 40), ("b.weight", 12, 25))
TINY_MATRICES = (("a.weight", 3, 8), ("b.weight", 2, 6))
MIN_CLIENTS = 3
"""Of a tiny study."""
FORMS = [("simple", 1), ("blind", 1), ("blind", 2)]
SOON = 60
"""Turns after which the aggregator goes on without whoever is missing: about eight of each party."""


# ---- studies
def bfv_study(root, **options):
    return make_study(root, aggregators=1, protocol="bfv", **{"key_holders": 1, **options})


@cache
def tiny_study(root, clients, form, key_holders):
    """Keys and masks of a study; the same ones in all schedules, which have their own files and exchange."""
    return make_study(
        root / f"study-{clients}-{form}-{key_holders}",
        clients=clients,
        min_clients=MIN_CLIENTS,
        aggregators=1,
        protocol="bfv",
        key_holder=form,
        key_holders=key_holders,
        matrices=TINY_MATRICES,
    )


# ---- what is in a world
def assert_sum_of(world, *names):
    assert isinstance(world.coordinator.outcome, RoundResult), world.coordinator
    assert world.coordinator.outcome.cohort == tuple(sorted(names))
    stored = TensorFile(world.counts_file())
    for name, plain in world.study.expected_counts(*names).items():
        np.testing.assert_array_equal(np.array(stored.raw(name)), plain)
    for holder in world.key_holders:
        assert holder.outcome.cohort == tuple(sorted(names))


def messages(world, kind):
    """All messages of a kind, in the order of sending: (sender, message)."""
    keys = {party.name: party.signing_key for party in world.study.task.parties}
    return [open_envelope(data, kind, signing_keys=keys) for _, data in world.envelopes(PHASE_OF[kind])]


def attempts(world):
    """The clients of each sum that the aggregator asked answers for."""
    return [[m.client for m in message.members] for _, message in messages(world, CiphertextSum)]


def look(world, name):
    """What `status` says, beside a party that is at work."""
    journal = Journal(world.root / f"{name}.sqlite", task_id=world.round.task_id, round_index=0)
    session = Session(
        world.directory_of(world.parties[name]),
        read_party_file(world.study.root / name),
        world.study.task.party(name),
        world.study.identities[name],
        world.study.task,
        world.round,
        world.board,
        journal,
        b"",
    )
    with contextlib.closing(journal):
        found = status(session)
    return found.stands, found.waiting_for
