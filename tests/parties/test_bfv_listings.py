"""`bfv` over an exchange that shows a message in one listing and not in the next, or twice in one."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_world import tiny_study
from faulty_exchange import BfvWorld, fast_directory

from secprune.parties.bfv import shared
from secprune.parties.coordinator import RoundResult

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def root():
    with fast_directory() as directory:
        yield directory


def _until(world, phase, *, without=()):
    for _ in range(60):
        for party in world.parties.values():
            if party.name not in without:
                world.turn(party)
            if len(world.posted[phase]):
                return
    raise AssertionError(f"nothing was posted in {phase}")


def _small_world(root, form="blind", key_holders=1):
    return BfvWorld(tiny_study(root, 4, form, key_holders), Path(tempfile.mkdtemp(dir=root)))


def _finish(world):
    world.hidden.clear()
    world.run_until_quiet()
    assert isinstance(world.coordinator.outcome, RoundResult)
    assert not world.blamed()
    assert not world.posted["abandoned"]
    world.close()


@pytest.mark.parametrize(
    ("who", "stage", "hidden"),
    [
        ("adder-0", "encrypted-reports", "key-shares"),
        ("adder-0", "ciphertext-sums", "key-shares"),
        ("adder-0", "ciphertext-sums", "encrypted-reports"),
        ("adder-0", "hash-seeds", "ciphertext-sums"),
        ("adder-0", "partial-decryptions", "openings"),
        ("adder-0", "partial-decryptions", "ciphertext-sums"),
        ("adder-0", "votes", "partial-decryptions"),
        ("clinic-0", "hash-seeds", "ciphertext-sums"),
        ("clinic-0", "hash-seeds", "key-shares"),
        ("clinic-0", "openings", "ciphertext-sums"),
        ("holder-0", "openings", "ciphertext-sums"),
        ("holder-0", "openings", "linear-hashes"),
        ("holder-0", "openings", "hash-seeds"),
        ("hq", "shares", "votes"),
        ("hq", "shares", "cohorts"),
        ("hq", "shares", "shares"),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["running", "started again"])
def test_what_is_not_listed_for_a_while_spoils_nothing(root, who, stage, hidden, again):
    world = _small_world(root)
    party = world.parties[who]
    _until(world, stage)
    if again:
        world.stop(party)
    world.hidden[who] = set(world.posted[hidden])
    assert world.hidden[who]
    for _ in range(3):
        world.sweep()
    _finish(world)


def test_keys_that_are_listed_once_and_not_again_are_waited_for(root, monkeypatch):
    world, seen = _small_world(root), Counter()
    client, honest = world.parties["clinic-0"], shared.key_shares

    def once(session, terms):
        seen[session.name] += 1
        return None if session.name == "clinic-0" and seen["clinic-0"] % 2 == 0 else honest(session, terms)

    _until(world, "key-shares", without=("clinic-0",))
    with monkeypatch.context() as patch:
        patch.setattr(shared, "key_shares", once)
        world.turn(client)
    assert seen["clinic-0"] == 2
    _finish(world)


def test_partial_decryptions_that_are_listed_twice_are_counted_once(root):
    world = _small_world(root, "blind", 2)
    _until(world, "partial-decryptions")
    world.rates.doubled = 1.0
    _finish(world)


def test_partial_decryptions_that_are_listed_once_and_not_again_are_waited_for(root):
    world = _small_world(root, "blind", 2)
    _until(world, "openings")
    for _ in range(3):
        for party in (*world.key_holders, *world.clients):
            world.turn(party)
    (first, second) = world.posted["partial-decryptions"]
    for shown in ({second}, {first}):  # one after the other, and never both
        world.hidden["adder-0"] = shown
        world.turn(world.aggregator)
    assert world.aggregator.outcome is None, world.aggregator.last
    _finish(world)
