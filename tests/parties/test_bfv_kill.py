"""`bfv` with real processes, killed (SIGKILL) at random moments: the exact sum, and one message of each kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from parties.killing import Processes, Runs, began_at, children_of, judge, sent
from small_study import make_study

ONE_CHUNK = (("a.weight", 400, 256),)
FIVE_CHUNKS = tuple(
    (f"{width}.weight", 60, width) for width in (64, 72, 80, 88, 96)
)  # through worker processes
MANY = ("ciphertext-sums", "hash-seeds", "linear-hashes")
"""Messages of which a party sends one for each attempt."""
RUNS = Runs("bfv", 2, kills=8)


def new_study(root, form, key_holders, matrices):
    return make_study(
        root,
        clients=4,
        aggregators=1,
        protocol="bfv",
        key_holder=form,
        key_holders=key_holders,
        matrices=matrices,
    )


def judge_bfv(processes):
    """As `judge`; and those who are in the sum, and have ended, have forgotten their chunks."""
    attempts = 2 if processes.closes else 1  # three of four clients are the fewest
    outcome, members = judge(processes, dict.fromkeys(MANY, attempts))
    for name in {*members} & {*processes.codes}:
        assert not list((processes.study.root / name).rglob("*.chunk"))
    return outcome, members


@pytest.mark.parametrize("seed", RUNS.seeds)
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    kind = ("blind", 2, ONE_CHUNK) if seed % 2 else ("simple", 1, FIVE_CHUNKS)
    processes = RUNS.run(new_study(tmp_path, *kind), seed, judge=judge_bfv, pause_s=0.6, close_after_s=5)
    time.sleep(0.5)
    assert not processes.outlived(), "worker processes outlive the process that was killed"


WORKING = """
import functools, os, time
os.sched_getaffinity = lambda _process: {0, 1}
from secprune.compute.api import Work
from secprune.compute.processes import Processes

def items():
    yield from [0.01] * 6
    print("at work", flush=True)
    time.sleep(60)

list(Processes().map(Work(functools.partial, (time.sleep,)), items(), count=7))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux lists them")
def test_workers_end_when_the_process_that_started_them_is_killed():
    """A key holder's hold its key."""
    process = subprocess.Popen([sys.executable, "-c", WORKING], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at work\n"
    children = children_of(process.pid)
    assert len(children) >= 2
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 5
    while left := {pid for pid, began in children if began_at(pid) == began}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def test_a_client_killed_for_good_after_its_report_is_left_out_or_counted_and_the_sum_is_exact(tmp_path):
    study, gone = new_study(tmp_path, "blind", 1, ONE_CHUNK), "clinic-2"
    processes = Processes(study, close_after_s=5)
    processes.run_until(gone, "encrypted-reports")
    outcome, members = judge_bfv(processes)
    assert outcome == "sum"
    assert set(members) >= set(study.clients) - {gone}
    assert (gone in members) == bool(sent(study, "linear-hashes")[gone])
