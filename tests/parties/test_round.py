"""A round from reports to counts, with real parties over a real directory."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from small_study import make_study

from secprune.errors import ConfigurationError, NotReadyError, TooFewPartiesError
from secprune.parties.session import open_session
from secprune.parties.status import status
from secprune.task import MatrixSpec


@pytest.mark.parametrize(
    ("protocol", "clients", "aggregators"),
    [("additive", 3, 2), ("additive", 5, 3), ("cleartext", 3, 1), ("cleartext", 4, 2)],
)
def test_counts_are_the_plain_sum(tmp_path, protocol, clients, aggregators):
    study = make_study(tmp_path, clients=clients, aggregators=aggregators, protocol=protocol)
    study.submit()
    outcomes = study.run_servers()
    assert {name: type(o).__name__ for name, o in outcomes.items() if isinstance(o, Exception)} == {}
    counts, expected = study.counts(), study.expected_counts()
    assert set(counts) == set(expected)
    for name, plain in expected.items():
        np.testing.assert_array_equal(counts[name], plain)


def test_a_client_that_stays_away_is_left_out_once_the_coordinator_closes(tmp_path):
    study = make_study(tmp_path, clients=4, min_clients=3)
    study.submit(*study.clients[:3])
    outcomes = study.run_servers(close_after_s=4)
    assert outcomes["hq"].cohort == study.clients[:3]
    for name, plain in study.expected_counts(*study.clients[:3]).items():
        np.testing.assert_array_equal(study.counts()[name], plain)


def test_too_few_clients_release_nothing_and_name_who_is_missing(tmp_path):
    study = make_study(tmp_path, clients=4, min_clients=3)
    study.submit(*study.clients[:2])
    outcomes = study.run_servers(close_after_s=4)
    for outcome in outcomes.values():
        assert isinstance(outcome, TooFewPartiesError)
        assert outcome.missing == study.clients[2:]
    assert not study.messages("shares").exists()
    assert not list(tmp_path.glob("hq/tasks/*/*/counts.safetensors"))


def test_the_aggregators_own_policy_counts_even_if_the_task_allows_less(tmp_path):
    study = make_study(tmp_path, clients=4, min_clients=3)
    study.submit(*study.clients[:3])
    # The policy says how many *this* site wants; a task that promises less is refused before anything else.
    study.write_party_file("adder-0", min_clients=4)
    outcomes = study.run_servers(timeout_s=1, close_after_s=0.2)
    assert "policy asks for 4" in str(outcomes["adder-0"])
    assert not study.messages("shares").exists()


def test_waiting_ends_with_not_ready_and_says_for_whom(tmp_path):
    study = make_study(tmp_path)
    study.submit(*study.clients[:3])
    with pytest.raises(NotReadyError, match="reports of clinic-3") as caught:
        study.run_aggregator("adder-0", timeout_s=0.1)
    assert caught.value.exit_code == 75


def test_every_party_resumes_with_the_same_command(tmp_path):
    study = make_study(tmp_path)
    study.submit(*study.clients[:2])
    for name in study.aggregators:  # each checks what is there, gives up, and is started again
        with pytest.raises(NotReadyError):
            study.run_aggregator(name, timeout_s=0.1)
    study.submit()  # the first two send again: the same bytes
    assert len(list(study.messages("reports").iterdir())) == 4
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())
    again = study.run_servers()
    assert not any(isinstance(o, Exception) for o in again.values())
    assert study.incidents("adder-0") == study.incidents("adder-1") == []
    assert len(list(study.messages("shares").iterdir())) == 2
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)


def test_submitting_again_sends_the_same_bytes(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-0")
    before = {p: p.read_bytes() for p in study.exchange.rglob("*") if p.is_file()}
    study.submit("clinic-0")
    assert {p: p.read_bytes() for p in study.exchange.rglob("*") if p.is_file()} == before


def test_a_second_release_over_the_same_model_is_refused_unless_policy_allows_it(tmp_path):
    study = make_study(tmp_path)
    study.submit()
    study.run_servers()
    first = study.task
    study.write_task(msgspec.structs.replace(first, nonce="ab" * 16, study="another"))
    for seed, name in enumerate(study.clients):
        study.make_masks(name, 100 + seed)
    study.submit()
    outcomes = study.run_servers(timeout_s=12)
    assert all("was released for task" in str(outcomes[name]) for name in study.aggregators)
    assert not study.messages("shares").exists()
    for name in study.aggregators:
        study.write_party_file(name, repeat_releases=True)
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())


def test_status_tells_where_each_party_stands(tmp_path):
    study = make_study(tmp_path)
    study.submit(*study.clients[:2])

    def look(name, role):
        with open_session(tmp_path / name, role, exclusive=False) as session:
            return status(session)

    assert look("clinic-0", "client").stands == "report submitted"
    assert look("clinic-3", "client").stands == "pruning masks ready, not submitted"
    assert "clinic-2, clinic-3" in look("adder-0", "aggregator").waiting_for
    study.submit()
    study.run_servers()
    assert look("adder-1", "aggregator").stands == "share released"
    assert look("hq", "coordinator").stands == "counts ready"
    assert look("clinic-0", "client").cohort == study.clients


def test_a_task_of_more_weights_than_any_model_is_refused_before_anything_is_listed(tmp_path):
    study = make_study(tmp_path)
    huge = tuple(MatrixSpec(name=f"{i}.weight", rows=2**31 - 1, columns=2**31 - 1) for i in range(3))
    model = msgspec.structs.replace(study.task.model, matrices=huge)
    study.write_task(msgspec.structs.replace(study.task, model=model))
    with pytest.raises(ConfigurationError, match="more than 1099511627776"):
        study.submit("clinic-0")
