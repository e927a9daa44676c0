"""`pairwise` with real processes, killed (SIGKILL) at random moments: the exact sum, and one message of each kind."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter

import msgspec
import numpy as np
import pytest
from small_study import make_study

from secprune.crypto.envelope import open_envelope
from secprune.messages.types import Cohort

MATRICES = (("a.weight", 1500, 1024), ("b.weight", 700, 512))
CLIENTS = 4
PATIENCE_S = 180


class Processes:
    """A process for each party; those that are killed are started again unless they are gone.

    With `closing` the aggregator begins when all clients have: its time must not run while they start.
    """

    def __init__(self, study, *closing):
        self.study = study
        self.commands = dict.fromkeys(study.clients, ("client", "submit"))
        self.commands |= dict.fromkeys(study.aggregators, ("aggregator", "run", *closing))
        self.commands["hq"] = ("coordinator", "run")
        self.deadline = time.monotonic() + PATIENCE_S
        self.waiting = list(study.aggregators) if closing else []
        self.running = {name: self._start(name) for name in self.commands if name not in self.waiting}

    def _start(self, name):
        directory = str(self.study.root / name)
        return subprocess.Popen(
            [sys.executable, "-m", "secprune_cli", *self.commands[name], "--dir", directory],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def kill(self, name, *, again=True):
        """SIGKILL; whether it was still running."""
        if self.running[name].poll() is not None:
            return False
        self.running[name].kill()
        self.running[name].communicate()
        if again:
            self.running[name] = self._start(name)
        else:
            del self.running[name]
        return True

    def collect(self):
        """Notice who has ended; everybody must have ended well."""
        assert time.monotonic() < self.deadline, sorted(self.running)
        if self.waiting and set(sent(self.study, "keys")) == set(self.study.clients):
            self.running |= {name: self._start(name) for name in self.waiting}
            self.waiting.clear()
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                errors = process.communicate()[1]
                assert process.returncode == 0, (name, errors)
                del self.running[name]

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.communicate()


def sent(study, phase):
    """Senders of the messages of a phase, each as often as it sent one."""
    folder = study.messages(phase)
    envelopes = [path.read_bytes() for path in whole(folder)]
    return Counter(msgspec.json.decode(data)["signatures"][0]["keyid"] for data in envelopes)


def whole(folder):
    """The messages in a folder, without those that somebody was killed over."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def assert_exact(study):
    (envelope,) = (path.read_bytes() for path in whole(study.messages("cohorts")))
    aggregator = study.task.party(study.aggregators[0])
    _, cohort = open_envelope(envelope, Cohort, signing_keys={aggregator.name: aggregator.signing_key})
    members = tuple(member.client for member in cohort.members)
    for name, plain in study.expected_counts(*members).items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    folder = study.messages("keys").parent
    for phase in (path.name for path in folder.iterdir()):
        assert set(sent(study, phase).values()) <= {1}, phase
    assert not (folder / "abandoned").exists()
    return members


@pytest.mark.parametrize("seed", [1])
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    study = make_study(tmp_path, clients=CLIENTS, aggregators=1, protocol="pairwise", matrices=MATRICES)
    chance, kills, processes = random.Random(seed), 0, Processes(study)
    try:
        while processes.running:
            time.sleep(chance.random() * 0.3)
            victim = chance.choice(sorted(processes.running))
            kills += kills < 12 and processes.kill(victim)
            processes.collect()
    finally:
        processes.stop()
    assert kills == 12
    assert assert_exact(study) == study.clients


@pytest.mark.parametrize("after", ["bundles", "masked-reports"])
def test_a_client_killed_for_good_is_counted_if_its_report_was_out_and_the_sum_is_exact(tmp_path, after):
    study = make_study(tmp_path, clients=CLIENTS, aggregators=1, protocol="pairwise", matrices=MATRICES)
    processes, gone = Processes(study, "--close-after", "5"), "clinic-2"
    try:
        while gone in processes.running:
            time.sleep(0.002)
            processes.collect()
            if sent(study, after)[gone]:
                assert processes.kill(gone, again=False)
        while processes.running:
            time.sleep(0.05)
            processes.collect()
    finally:
        processes.stop()
    members = assert_exact(study)
    assert (gone in members) == bool(sent(study, "masked-reports")[gone])
    assert set(members) >= set(study.clients) - {gone}
