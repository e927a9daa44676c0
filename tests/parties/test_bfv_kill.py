"""`bfv` with real processes, killed (SIGKILL) at random moments: the exact sum, and one message of each kind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from small_study import make_study

from secprune.crypto.envelope import open_envelope
from secprune.messages.types import Cohort

ONE_CHUNK = (("a.weight", 400, 256),)
FIVE_CHUNKS = tuple(
    (f"{width}.weight", 60, width) for width in (64, 72, 80, 88, 96)
)  # through worker processes
CLIENTS = 4
KILLS = 8
PATIENCE_S = 180
MANY = ("ciphertext-sums", "hash-seeds", "linear-hashes")
"""Messages of which a party sends one for each attempt."""


class Processes:
    """A process for each party; those that are killed are started again unless they are gone.

    With `closing` the aggregator begins when all clients have: its time must not run while they start.
    """

    def __init__(self, study, *closing):
        self.study, self.children = study, set()
        self.commands = dict.fromkeys(study.clients, ("client", "submit"))
        self.commands |= dict.fromkeys(study.task.names("key-holder"), ("key-holder", "run"))
        self.commands |= dict.fromkeys(study.aggregators, ("aggregator", "run", *closing))
        self.commands["hq"] = ("coordinator", "run")
        self.deadline = time.monotonic() + PATIENCE_S
        self.running = {name: self._start(name) for name in self.commands}

    def _start(self, name):
        directory = str(self.study.root / name)
        return subprocess.Popen(
            [sys.executable, "-m", "secprune_cli", *self.commands[name], "--dir", directory],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def kill(self, name, *, again=True):
        """SIGKILL; whether it was still running."""
        process = self.running[name]
        if process.poll() is not None:
            return False
        self.children |= children_of(process.pid)
        process.kill()
        process.wait()  # not communicate(): workers that outlive it for a moment hold its stderr
        process.stderr.close()
        if again:
            self.running[name] = self._start(name)
        else:
            del self.running[name]
        return True

    def collect(self):
        """Notice who has ended; everybody must have ended well."""
        assert time.monotonic() < self.deadline, sorted(self.running)
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                errors = process.communicate()[1]
                assert process.returncode == 0, (name, errors)
                del self.running[name]

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.wait()
            process.stderr.close()


def children_of(pid):
    """Processes that a process has started: (pid, when it began)."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {(int(child), _began(int(child))) for child in found}
    except OSError:  # not Linux, or just ended
        return set()


def _began(pid):
    """When a process began; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def sent(study, phase):
    """Senders of the messages of a phase, each as often as it sent one."""
    folder = study.messages(phase)
    envelopes = [path.read_bytes() for path in whole(folder)]
    return Counter(msgspec.json.decode(data)["signatures"][0]["keyid"] for data in envelopes)


def whole(folder):
    """The messages in a folder, without those that somebody was killed over."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def assert_exact(study, *, attempts=1):
    releaser = study.task.releasers[0]
    (envelope,) = (path.read_bytes() for path in whole(study.messages("cohorts")))
    keys = {releaser: study.task.party(releaser).signing_key}
    _, cohort = open_envelope(envelope, Cohort, signing_keys=keys)
    members = tuple(member.client for member in cohort.members)
    for name, plain in study.expected_counts(*members).items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    folder = study.messages("encrypted-reports").parent
    for phase in (path.name for path in folder.iterdir()):
        most = attempts if phase in MANY else 1
        assert max(sent(study, phase).values()) <= most, phase
    assert not (folder / "abandoned").exists()
    for name in study.task.names("client"):
        assert (name not in members) or not list((study.root / name).rglob("*.chunk"))
    return members


@pytest.mark.xdist_group("bfv-kill")
@pytest.mark.parametrize(
    ("seed", "form", "key_holders", "matrices"),
    [(1, "blind", 2, ONE_CHUNK), (2, "simple", 1, FIVE_CHUNKS)],
)
def test_killed_and_restarted_parties_still_release_one_exact_sum(
    tmp_path, seed, form, key_holders, matrices
):
    study = make_study(
        tmp_path,
        clients=CLIENTS,
        aggregators=1,
        protocol="bfv",
        key_holder=form,
        key_holders=key_holders,
        matrices=matrices,
    )
    chance, kills, processes = random.Random(seed), Counter(), Processes(study)
    try:
        while processes.running:
            time.sleep(chance.random() * 0.6)
            victim = chance.choice(sorted(processes.running))
            kills[victim] += kills.total() < KILLS and processes.kill(victim)
            processes.collect()
    finally:
        processes.stop()
    print(dict(kills))
    assert kills.total() == KILLS
    assert assert_exact(study) == study.clients
    time.sleep(0.5)
    left = {(pid, began) for pid, began in processes.children if began and _began(pid) == began}
    for pid, _ in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "worker processes outlive the process that was killed"


WORKING = """
import functools, os, time
os.sched_getaffinity = lambda _process: {0, 1}
from secprune.parties.bfv.workers import in_processes

def items():
    yield from [0.01] * 6
    print("at work", flush=True)
    time.sleep(60)

list(in_processes(functools.partial, (time.sleep,), items(), count=7))
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
    while left := {pid for pid, began in children if _began(pid) == began}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.mark.xdist_group("bfv-kill")
@pytest.mark.parametrize("form", ["blind"])
def test_a_client_killed_for_good_after_its_report_is_left_out_or_counted_and_the_sum_is_exact(
    tmp_path, form
):
    study = make_study(
        tmp_path,
        clients=CLIENTS,
        aggregators=1,
        protocol="bfv",
        key_holder=form,
        key_holders=1,
        matrices=ONE_CHUNK,
    )
    processes, gone = Processes(study, "--close-after", "5"), "clinic-2"
    try:
        while gone in processes.running:
            time.sleep(0.002)
            processes.collect()
            if sent(study, "encrypted-reports")[gone]:
                assert processes.kill(gone, again=False)
        while processes.running:
            time.sleep(0.05)
            processes.collect()
    finally:
        processes.stop()
    members = assert_exact(study, attempts=2)
    assert set(members) >= set(study.clients) - {gone}
    assert (gone in members) == bool(sent(study, "linear-hashes")[gone])
