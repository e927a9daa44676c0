"""A round of `bfv` between real parties: clients and key holders that are missing."""

from __future__ import annotations

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from bfv_world import FORMS, SOON, assert_sum_of, attempts, look, messages

from secprune.errors import NotReadyError, TooFewPartiesError
from secprune.messages.bfv import HashSeed, LinearHash
from secprune.messages.pairwise import Abandoned


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_the_round_goes_on_without_a_client_that_never_submits(new_world, quick, form, key_holders):
    world = new_world(4, form, key_holders, close_after_s=SOON)
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-2", "clinic-3")
    assert len(attempts(world)) == 1


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_a_client_that_stops_after_its_report_costs_one_more_attempt(new_world, quick, form, key_holders):
    world = new_world(4, form, key_holders, close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports"}
    world.run_until_quiet(sweeps=200)
    rest = ["clinic-0", "clinic-1", "clinic-3"]
    assert attempts(world) == [sorted(world.study.clients), rest]
    assert_sum_of(world, *rest)
    seeds = {message.seed for _, message in messages(world, HashSeed)}
    assert len(seeds) == 2 * key_holders, "another sum is answered for under other seeds"


@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_two_clients_may_stop_one_after_the_other(new_world, quick, form, key_holders):
    """One after its report, one after its first answer; three are left, and three are enough."""
    world = new_world(5, form, key_holders, min_clients=3, close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports", "clinic-4": "linear-hashes"}
    world.run_until_quiet(sweeps=400)
    rest = ["clinic-0", "clinic-1", "clinic-3"]
    assert attempts(world) == [sorted(world.study.clients), [*rest, "clinic-4"], rest]
    assert_sum_of(world, *rest)


def test_a_client_that_comes_back_too_late_is_left_out(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.parties["clinic-2"].gone = True
    for _ in range(200):
        world.sweep()
        if world.posted["ciphertext-sums"]:
            break
    world.parties["clinic-2"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, "clinic-0", "clinic-1", "clinic-3")
    assert isinstance(world.parties["clinic-2"].outcome, TooFewPartiesError)
    assert world.parties["clinic-2"].outcome.missing == ("clinic-2",)
    assert "clinic-2" not in dict(messages(world, LinearHash))


def test_status_says_that_a_client_was_left_out(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.leaves = {"clinic-2": "encrypted-reports"}
    world.run_until_quiet(sweeps=200)
    world.parties["clinic-2"].gone, world.leaves = False, {}
    world.run_until_quiet()
    assert isinstance(world.parties["clinic-2"].outcome, TooFewPartiesError)
    assert "answered for" not in look(world, "clinic-2")[0]


MISSING = {
    "never come": {"clinic-1": "", "clinic-2": ""},
    "stop after their reports": {"clinic-1": "encrypted-reports", "clinic-2": "encrypted-reports"},
    "stop one by one": {"clinic-1": "encrypted-reports", "clinic-2": "linear-hashes"},
}


@pytest.mark.parametrize("leaves", MISSING.values(), ids=MISSING)
@pytest.mark.parametrize(("form", "key_holders"), FORMS)
def test_with_too_few_clients_everybody_is_told_who_is_missing(new_world, quick, form, key_holders, leaves):
    world = new_world(4, form, key_holders, min_clients=3, close_after_s=SOON)
    world.leaves = leaves
    world.run_until_quiet(sweeps=400)
    ended = [party for party in world.parties.values() if not party.gone]
    assert {type(party.outcome) for party in ended} == {TooFewPartiesError}, ended
    assert {party.outcome.missing for party in ended} == {("clinic-1", "clinic-2")}
    assert len(ended) == len(world.parties) - 2
    assert world.counts_file() is None
    assert [sender for sender, _ in messages(world, Abandoned)] == ["adder-0"]
    for phase in ("openings", "partial-decryptions", "votes", "cohorts", "shares"):
        assert not world.posted[phase]
    # Started again, everybody ends in the same way, and the key opens nothing.
    world.calm()
    world.run_until_quiet(sweeps=5)
    assert {type(party.outcome) for party in ended} == {TooFewPartiesError}
    assert not world.posted["partial-decryptions"]
    assert not world.posted["shares"]


def test_without_a_limit_the_aggregator_waits_and_says_for_whom(new_world, quick):
    world = new_world(timeout_s=SOON)
    world.parties["clinic-1"].gone = True
    world.run_until_quiet(sweeps=30)
    assert isinstance(world.aggregator.last, NotReadyError)
    assert "reports of clinic-1" in str(world.aggregator.last)
    world.parties["clinic-1"].gone = False
    world.run_until_quiet()
    assert_sum_of(world, *world.study.clients)


def test_clients_are_not_given_up_for_want_of_a_key_holder_that_comes_late(new_world, quick):
    world = new_world(close_after_s=SOON)
    world.parties["holder-0"].gone = True
    world.run_until_quiet(sweeps=30)
    world.parties["holder-0"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, *world.study.clients)


def test_clients_are_not_dropped_while_a_key_holder_has_drawn_no_seed(new_world, quick):
    world = new_world(4, "blind", 2, close_after_s=SOON)
    for _ in range(200):
        world.sweep()
        if world.posted["encrypted-reports"]:
            break
    world.parties["holder-1"].gone = True
    world.run_until_quiet(sweeps=30)
    world.parties["holder-1"].gone = False
    world.run_until_quiet(sweeps=200)
    assert_sum_of(world, *world.study.clients)
