"""Work in processes of this machine."""

from __future__ import annotations

import os
import signal
import threading

import compute_items
import pytest
from compute_items import Gate

from secprune.compute.api import Work
from secprune.compute.processes import Processes
from secprune.errors import LocalEnvironmentError
from secprune.exchange.api import ChunkMissingError


def test_results_are_those_of_this_process_in_order():
    work = Work(compute_items.adder, (b"secret",))
    assert list(Processes(2).map(work, iter(range(50)), count=50)) == list(
        map(work.in_this_process(), range(50))
    )


def test_items_are_taken_only_a_few_ahead_and_by_other_processes():
    taken = []

    def items():
        for item in range(40):
            taken.append(item)
            yield item

    results = Processes(2).map(Work(compute_items.where, ()), items(), count=40)
    workers = set()
    for done in range(1, 30):
        workers.add(next(results))
        assert len(taken) <= done + 2
    results.close()
    assert len(taken) < 40
    assert 1 <= len(workers - {os.getpid()}) <= 2


@pytest.mark.parametrize(("processes", "count"), [(1, 40), (8, 3), (8, 0)])
def test_one_process_or_few_items_stay_here(processes, count):
    here = set(Processes(processes).map(Work(compute_items.where, ()), range(count), count=count))
    assert here <= {os.getpid()}
    kept = Work(compute_items.unmakeable, ("bug",), here=lambda item: -item)
    assert list(Processes(processes).map(kept, range(count), count=count)) == [-item for item in range(count)]


def test_a_process_that_is_killed_is_named_and_what_came_before_stays(tmp_path):
    got = []

    def kill():
        _, process = Gate.await_one(tmp_path)
        os.kill(process, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(LocalEnvironmentError, match=r"process .* was killed") as caught:
        got.extend(Processes(2).map(Work(Gate, (tmp_path, 10)), range(30), count=30))
    thread.join()
    assert "nothing is lost" in caught.value.hint
    assert 0 < len(got) <= 10
    assert got == [item * item for item in range(len(got))]


def test_what_the_function_raises_arrives_as_itself():
    results = Processes(2).map(Work(compute_items.failing, ("missing",)), range(8), count=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ChunkMissingError, match="it is not there") as caught:
        next(results)
    assert (caught.value.digest, caught.value.hint) == ("sha256:12", "wait")


def test_a_function_that_cannot_be_made_there_says_why():
    work = Work(compute_items.unmakeable, ("missing",), here=lambda item: item)
    with pytest.raises(ChunkMissingError, match="it is not there"):
        list(Processes(2).map(work, range(8), count=8))


def test_secrets_of_work_are_not_shown():
    assert "hunter" not in repr(Work(compute_items.adder, (b"hunter",), here=lambda item: item))
