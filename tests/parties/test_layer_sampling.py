"""Layer sampling: one secure sum for each decoder block, over the clients that have it and nobody else."""

from __future__ import annotations

import audited
import msgspec
import numpy as np
import pytest
from ledger_study import audit, exported, run_additive
from ledger_study import posted as all_posted
from sampled_study import BLOCKS, give_masks, make_sampled, sampled_pruning, summed
from turns import ADDER, HQ, allow, post, posted, settle, turn

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError, NotReadyError, SecpruneError, TooFewPartiesError
from secprune.messages.pairwise import KeyAdvert
from secprune.messages.types import Cohort, CountedReport, Report
from secprune.parties import client, schedule
from secprune.parties.auditor.study import open_study
from secprune.parties.pairwise.client import PairwiseClient
from secprune.parties.release import check_participation, check_release, record_release
from secprune.parties.session import REPORT_OF, Patience, open_session
from secprune.parties.status import status
from secprune.privacy.guarantee import pairwise_helpers
from secprune.privacy.labels import privacy_label
from secprune.protocols.pairwise import client as pairwise_states
from secprune.protocols.pairwise.terms import Terms
from secprune.protocols.payloads import kept_name

CAPACITIES = (3, 2, 2, 2, 2)
SIX = (2, 2, 2, 2, 2, 2)
"""Each block has four of them, of which `pairwise` needs three."""
PROTOCOLS = {
    "additive": {"protocol": "additive", "aggregators": 2},
    "cleartext": {"protocol": "cleartext", "aggregators": 1},
    "pairwise": {"protocol": "pairwise", "aggregators": 1},
}


def failed(outcomes):
    return {name: repr(o) for name, o in outcomes.items() if isinstance(o, Exception)}


def assert_plain_sums(study, index, *, without=()):
    """Counts and summed weights of a round are those of its clients, of these alone, and of this block."""
    names = [name for name in study.task.round_clients(index) if name not in without]
    found, block = summed(study, index), study.task.round_matrices(index)
    assert set(found) == {m.name for m in block} | {kept_name(m.name) for m in block}
    for m in block:
        counts = sum(study.masks[name][m.name].astype(np.int64) for name in names)
        weights = sum(study.numbers[name, m.name].astype(np.int64) for name in names)
        np.testing.assert_array_equal(found[m.name], counts)
        np.testing.assert_array_equal(found[kept_name(m.name)], weights)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_block_is_summed_over_its_own_clients_and_nobody_sends_another(tmp_path, protocol):
    study = make_sampled(tmp_path, CAPACITIES, **PROTOCOLS[protocol])
    task = study.task
    assert any(task.round_clients(i) != task.round_clients(i + 1) for i in range(BLOCKS - 1))
    outcomes = run_additive(study)
    assert failed(outcomes) == {}
    for index in range(BLOCKS):
        assert_plain_sums(study, index)
        reports = posted(study, REPORT_OF[protocol], index=index)
        assert sorted(sender for sender, *_ in reports) == sorted(task.round_clients(index))
    sizes = tuple(len(task.round_clients(index)) for index in range(BLOCKS))
    for server in (HQ, *study.aggregators):
        assert (outcomes[server].rounds, outcomes[server].cohort) == (BLOCKS, study.clients)
        assert outcomes[server].cohort_sizes == sizes
        assert not study.incidents(server)
    assert audit(study, exported(study), all_posted(study)).finding is None


@pytest.mark.parametrize("protocol", ["additive", "pairwise"])
def test_a_client_says_what_it_sent_and_of_how_much(tmp_path, protocol):
    """Of the whole model a client with all blocks sends three times as much as one with a single block."""
    study = make_sampled(tmp_path, (3, 3, 3, 1), **PROTOCOLS[protocol])
    outcomes = run_additive(study)
    assert failed(outcomes) == {}
    whole, part = outcomes["clinic-0"], outcomes["clinic-3"]
    assert (whole.blocks, whole.of_blocks, part.blocks, part.of_blocks) == (3, 3, 1, 3)
    assert whole.chunks == 3 * part.chunks
    assert whole.bytes_sent == pytest.approx(3 * part.bytes_sent, rel=0.2)
    weights = sum(m.rows * m.columns for m in study.task.model.matrices)
    assert whole.bits_per_weight == pytest.approx(8 * whole.bytes_sent / weights, abs=1e-3)
    assert part.bits_per_weight == pytest.approx(8 * part.bytes_sent / (weights / 3), abs=1e-3)


def test_submitting_again_sends_the_same_bytes(tmp_path):
    study = make_sampled(tmp_path, CAPACITIES)
    study.take_part("clinic-0")
    before = {p: p.read_bytes() for p in study.exchange.rglob("*") if p.is_file()}
    study.take_part("clinic-0")
    assert {p: p.read_bytes() for p in study.exchange.rglob("*") if p.is_file()} == before


# ---- a client that has no part in a round
@pytest.mark.parametrize("protocol", ["additive", "cleartext"])
def test_a_report_of_a_client_that_does_not_have_the_block_is_refused_and_the_client_named(
    tmp_path, protocol
):
    """It is well formed in every respect: made by the client's own software for this very round."""
    study = make_sampled(tmp_path, SIX, **PROTOCOLS[protocol])
    name = next(name for name in study.clients if 0 not in study.task.client_rounds(name))
    with open_session(tmp_path / name, "client") as session:
        masks = {m.name: np.ones((m.rows, m.columns), bool) for m in session.round.matrices}
        study.put_kept_weights(session, masks)
        client.submit(session)
    assert [sender for sender, *_ in posted(study, Report)] == [name]
    outcomes = settle(study)
    assert failed(outcomes) == {}
    for index in range(BLOCKS):
        assert_plain_sums(study, index)
    for server in (HQ, *study.aggregators):
        assert study.incidents(server) == [(name, f"{name} does not take part in round 0 (in reports)")]


def test_keys_of_a_client_that_does_not_have_the_block_are_refused_and_the_client_named(tmp_path):
    study = make_sampled(tmp_path, SIX, **PROTOCOLS["pairwise"])
    name = next(name for name in study.clients if 0 not in study.task.client_rounds(name))
    with open_session(tmp_path / name, "client") as session:
        PairwiseClient(session)._step(pairwise_states.Begin())
    assert [sender for sender, *_ in posted(study, KeyAdvert)] == [name]
    outcomes = settle(study)
    assert failed(outcomes) == {}
    for index in range(BLOCKS):
        assert_plain_sums(study, index)
    assert study.incidents(ADDER) == [(name, f"{name} does not take part in round 0 (in keys)")]


def test_the_smallest_cohort_is_that_of_each_round(tmp_path):
    """Reports of three clients in all do not help a block of which only two came."""
    study = make_sampled(tmp_path, CAPACITIES, min_clients=3)
    index = min(range(BLOCKS), key=lambda i: len(study.task.round_clients(i)))
    assert index == 0, "the first round is the one that fails"
    first, *others = study.task.round_clients(index)
    there = [name for name in study.clients if name != first]
    settle(study, *there, *study.aggregators, HQ)
    turn(study, HQ, close="reports")
    outcomes = settle(study, *study.aggregators, HQ)
    for server in (HQ, *study.aggregators):
        assert isinstance(outcomes[server], TooFewPartiesError), outcomes
        assert outcomes[server].missing == (first,)
        assert f"{len(others)} reports" in str(outcomes[server])
    assert not study.messages("shares").exists()


# ---- pairwise: each round has a threshold of its own
def test_thresholds_are_counted_against_the_clients_of_the_round(tmp_path):
    study = make_sampled(tmp_path, SIX, **PROTOCOLS["pairwise"])
    for index in range(BLOCKS):
        with open_session(tmp_path / ADDER, "aggregator") as session:
            terms = Terms(session.at_round(index).round, ADDER, 3)
        assert (len(terms.clients), terms.threshold) == (4, 3)
        assert terms.clients == study.task.round_clients(index)


def test_a_client_that_never_comes_is_left_out_of_its_rounds_and_the_others_are_whole(tmp_path):
    study = make_sampled(tmp_path, SIX, **PROTOCOLS["pairwise"])
    gone, rounds = "clinic-0", study.task.client_rounds("clinic-0")
    there = [name for name in study.clients if name != gone]
    outcomes = settle(study, *there, ADDER, HQ, close=("keys",) * len(rounds))
    assert failed(outcomes) == {}
    for index in range(BLOCKS):
        assert_plain_sums(study, index, without=[gone] if index in rounds else [])
    assert outcomes[HQ].cohort == outcomes[ADDER].cohort == tuple(there)
    assert outcomes[HQ].cohort_sizes == tuple(3 if index in rounds else 4 for index in range(BLOCKS))


def test_a_client_that_comes_too_late_for_one_block_is_counted_in_its_others(tmp_path):
    study = make_sampled(tmp_path, SIX, **PROTOCOLS["pairwise"])
    late, (missed, *others) = "clinic-0", study.task.client_rounds("clinic-0")
    there = [name for name in study.clients if name != late]
    assert missed == 0
    settle(study, *there, ADDER, HQ)
    turn(study, ADDER, close="keys")
    outcomes = settle(study)
    assert isinstance(outcomes[late], TooFewPartiesError)
    assert "in 1 of 2 rounds: 0" in str(outcomes[late])
    assert failed(outcomes).keys() == {late}
    assert_plain_sums(study, missed, without=[late])
    for index in range(1, BLOCKS):
        assert_plain_sums(study, index)
    assert outcomes[HQ].cohort == tuple(there)
    assert outcomes[HQ].cohort_sizes == (3, 4, 4)
    assert others, "it was in another round"


def test_who_has_no_part_in_a_round_that_is_given_up_does_not_wait_for_the_next_one(tmp_path):
    study = make_sampled(tmp_path, SIX, **PROTOCOLS["pairwise"])
    gone = study.task.round_clients(0)[:2]
    there = [name for name in study.clients if name not in gone]
    assert any(0 not in study.task.client_rounds(name) for name in there)
    waiting = settle(study, *there, ADDER, HQ)
    assert all(isinstance(waiting[name], NotReadyError) for name in there)
    outcomes = settle(study, *there, ADDER, HQ, close=("keys",))
    for name in (*there, ADDER, HQ):
        assert isinstance(outcomes[name], TooFewPartiesError), outcomes
        assert outcomes[name].missing == gone


# ---- sums over one block do not isolate in sums over another
def released_before(study, *parties):
    """What these parties have released: each block over its own clients."""
    for name in parties:
        with open_session(study.root / name, "aggregator") as session:
            for index in range(BLOCKS):
                here = session.at_round(index)
                record_release(here, here.round.clients)


def next_study(study, capacities, nonce):
    """Another task over the same model, of the same clients."""
    pruning = sampled_pruning({f"clinic-{i}": c for i, c in enumerate(capacities)})
    task = msgspec.structs.replace(study.task, study="another", nonce=nonce, pruning=pruning)
    study.write_task(task)
    return task


def may_release(study, index, members=None, name=ADDER):
    with open_session(study.root / name, "aggregator") as session:
        here = session.at_round(index)
        try:
            check_release(here, members or here.round.clients)
        except ConfigurationError as error:
            return str(error)
    return ""


def test_cohorts_of_two_blocks_may_differ_by_one_client_for_they_are_about_other_weights(tmp_path):
    study = make_sampled(tmp_path, (3, 3, 3, 2), nonce="00" * 16)
    cohorts = [set(study.task.round_clients(index)) for index in range(BLOCKS)]
    assert any(len(one - other) == 1 for one in cohorts for other in cohorts)
    released_before(study, ADDER)
    assert [may_release(study, index) for index in range(BLOCKS)] == ["", "", ""]
    # All of one task at once would be told from each block of another.
    allow(study, ADDER)
    one_round = msgspec.structs.replace(study.task, study="all", pruning=sampled_pruning({}))
    study.write_task(one_round)
    assert "clinic-3 alone" in may_release(study, 0, study.clients)


def test_two_tasks_over_one_block_are_judged_by_that_block(tmp_path):
    """Whoever has only been in sums over other blocks is as good as new."""
    study = make_sampled(tmp_path, (1,) * 12)
    first = [study.task.round_clients(index) for index in range(BLOCKS)]
    assert [len(clients) for clients in first] == [4, 4, 4]
    released_before(study, ADDER)
    next_study(study, (1,) * 12, "01" * 16)
    assert "3 of the same clients" in may_release(study, 0, first[0][:3])
    assert may_release(study, 0, first[1]) == ""
    allow(study, ADDER)
    assert f"about {first[0][3]} alone" in may_release(study, 0, first[0][:3]), "two sums that differ by one"
    assert may_release(study, 0, first[0]) == ""
    assert may_release(study, 1, first[0][:3]) == "", "the one that would differ is over other weights"


def test_a_client_is_asked_about_its_own_blocks_alone(tmp_path):
    study = make_sampled(tmp_path, SIX, nonce="00" * 16)
    assert failed(run_additive(study)) == {}
    before = {name: study.task.client_rounds(name) for name in study.clients}
    task = next_study(study, SIX, "01" * 16)
    again = set()
    for name in study.clients:
        with open_session(tmp_path / name, "client") as session:
            for index in range(BLOCKS):
                try:
                    check_participation(session, [index])
                except ConfigurationError:
                    again.add((name, index))
    expected = {(n, i) for n in study.clients for i in before[n] if i in task.client_rounds(n)}
    assert again == expected
    assert 0 < len(expected) < sum(len(task.client_rounds(name)) for name in study.clients)


# ---- what a site has declared
def test_a_task_with_more_blocks_than_the_site_declared_is_refused(tmp_path):
    study = make_sampled(tmp_path, CAPACITIES)
    study.write_party_file("clinic-1", max_blocks=1)
    told = "has clinic-1 prune 2 of 3 decoder blocks, this site's policy allows 1"
    with pytest.raises(ConfigurationError, match=told):
        study.take_part("clinic-1")
    assert not (tmp_path / "exchange" / "messages").exists()
    study.write_party_file("clinic-1", max_blocks=2)
    assert study.take_part("clinic-1").blocks == 2


def test_without_layer_sampling_every_block_is_assigned(tmp_path):
    study = make_sampled(tmp_path, CAPACITIES)
    study.write_task(msgspec.structs.replace(study.task, pruning=sampled_pruning({})))
    give_masks(study)
    study.write_party_file("clinic-1", max_blocks=2)
    with pytest.raises(ConfigurationError, match="prune 3 of 3 decoder blocks"):
        study.take_part("clinic-1")


# ---- looking
def test_status_looks_at_the_first_round_that_the_party_takes_part_in(tmp_path):
    study = make_sampled(tmp_path, SIX)
    name = next(name for name in study.clients if 0 not in study.task.client_rounds(name))

    def look(party):
        with open_session(tmp_path / party, study.task.party(party).role, exclusive=False) as session:
            return status(session)

    assert (look(name).round, look(name).waiting_for) == (1, "secprune client submit")
    assert look(ADDER).stands == "0 of 4 clients reported"
    study.take_part(name)
    assert (look(name).round, look(name).stands) == (2, "report submitted")
    assert ", ".join(study.task.round_clients(0)) in look(HQ).waiting_for
    assert failed(run_additive(study)) == {}
    assert (look(ADDER).round, look(HQ).stands) == (2, "counts ready")


def test_a_client_that_has_not_pruned_submits_nothing(tmp_path):
    study = make_sampled(tmp_path, CAPACITIES)
    study.write_task(msgspec.structs.replace(study.task, nonce=random_bytes(16).hex()))
    with open_session(tmp_path / "clinic-0", "client") as session, pytest.raises(SecpruneError) as caught:
        schedule.submit(session, Patience(0, poll_s=0))
    assert "secprune client prune" in caught.value.hint


# ---- what is said of it
def test_the_label_promises_what_the_smallest_round_bears(tmp_path):
    """All helpers may be in one round: of nine clients two could help in a round of all, of three nobody can."""
    study = make_sampled(tmp_path, (1,) * 9, **PROTOCOLS["pairwise"])
    everybody = msgspec.structs.replace(study.task, pruning=sampled_pruning({}))
    assert "up to 0 of 9 clients" in privacy_label(study.task, cohort_size=3).label
    assert pairwise_helpers(everybody) == 2
    with open_session(tmp_path / ADDER, "aggregator") as session:
        for index in range(BLOCKS):
            terms = Terms(session.at_round(index).round, ADDER, 3)
            shared = 2 * terms.threshold - len(terms.clients)  # by two sets of consents, at least
            assert shared > pairwise_helpers(study.task)


def test_an_auditor_counts_those_who_have_the_block(tmp_path):
    """A cohort is not made larger by clients that had no part in the round."""
    study = make_sampled(tmp_path, SIX)
    assert failed(run_additive(study)) == {}
    measured = cohort_size(study)
    assert (measured.refuted, measured.figures[0].value) == (False, 4)
    inside = study.task.round_clients(0)
    (outside, *_) = sorted(set(study.clients) - set(inside))
    members = tuple(CountedReport(client=c, report=study.task.task_id) for c in (*inside[:2], outside))
    post(study, ADDER, Cohort(task_id=study.task.task_id, round=0, members=members))
    measured = cohort_size(study)
    assert (measured.refuted, measured.figures[0].value) == (True, 2)


def cohort_size(study):
    return audited.measured(open_study(study.root, audited.Declared), "cohort-size")
