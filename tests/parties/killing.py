"""A process for each party of a study, killed (SIGKILL) at random moments and started again, and what came of it.

SECPRUNE_KILL_RUNS=50 makes so many runs of each protocol (with `--timeout=0`, and `-rP` to see the counts). In two of
five, clients are lost for good, and those who close the round go on without them.
"""

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

from secprune.crypto.envelope import open_envelope
from secprune.errors import EXIT_CODES
from secprune.messages.types import Cohort
from secprune.parties.config import JOURNAL_FILE

PATIENCE_S = 180
COMMANDS = {
    "client": ("client", "submit"),
    "key-holder": ("key-holder", "run"),
    "aggregator": ("aggregator", "run"),
    "coordinator": ("coordinator", "run"),
}
DONE, TOO_FEW = EXIT_CODES["ok"], EXIT_CODES["too few parties"]


class Processes:
    """A process for each party; those that are killed are started again unless they are gone.

    Args:
        study: all parties' directories.
        closer: the role that closes.
        close_after_s: after how long.
    """

    def __init__(self, study, *, closer="aggregator", close_after_s=None):
        self.study, self.closes, self.children = study, bool(close_after_s), set()
        self.codes, self.kills = {}, Counter()  # how parties ended; kills that hit, by what they hit
        self.commands = {party.name: COMMANDS[party.role] for party in study.task.parties}
        closers = study.task.names(closer) if close_after_s else ()
        for name in closers:
            self.commands[name] += ("--close-after", str(close_after_s))
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
        what = "at work" if self.is_at_work(name) else "starting"
        if process.poll() is not None:
            return False
        self.children |= children_of(process.pid)
        process.kill()
        process.wait()  # not communicate(): workers that outlive it for a moment hold its stderr
        process.stderr.close()
        if process.returncode == -signal.SIGKILL:
            self.kills[what] += 1
        if again:
            self.running[name] = self._start(name)
        else:
            del self.running[name]
        return process.returncode == -signal.SIGKILL

    def is_at_work(self, name):
        """Whether a party has opened its journal; as long as it has not, it is only starting."""
        journal = self.study.root / name / JOURNAL_FILE
        try:
            files = list(Path(f"/proc/{self.running[name].pid}/fd").iterdir())
            return any(file.samefile(journal) for file in files if file.exists())
        except OSError:  # not Linux, just ended, or it has never had one
            return False

    def collect(self):
        """Notice who has ended; everybody must have ended well, or without a sum."""
        assert time.monotonic() < self.deadline, sorted(self.running)
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                errors = process.communicate()[1]
                assert process.returncode in (DONE, TOO_FEW), (name, errors)
                self.codes[name] = process.returncode
                del self.running[name]

    def kill_at_random(self, chance, most, *, pause_s, lose=()):
        """Kill and start again until all are done, so many times at most; some are lost for good instead."""
        try:
            while self.running:
                time.sleep(chance.random() * pause_s)
                victim = chance.choice(sorted(self.running))
                # A process takes longest to start, and a kill in that time shows little: a quarter of all, at most.
                may_start = self.kills["starting"] < most // 4
                if self.kills.total() < most and (may_start or self.is_at_work(victim)):
                    self.kill(victim, again=victim not in lose)
                self.collect()
        finally:
            self.stop()

    def run_until(self, gone, phase):
        """Let all work; kill one client for good as soon as it has sent a message of this phase."""
        try:
            while gone in self.running:
                time.sleep(0.002)
                self.collect()
                if sent(self.study, phase)[gone]:
                    assert self.kill(gone, again=False)
            while self.running:
                time.sleep(0.05)
                self.collect()
        finally:
            self.stop()

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.wait()
            process.stderr.close()

    def outlived(self):
        """Worker processes that outlive the process which was killed; they are killed now."""
        left = {pid for pid, began in self.children if began and began_at(pid) == began}
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left


def children_of(pid):
    """Processes that a process has started: (pid, when it began)."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {(int(child), began_at(int(child))) for child in found}
    except OSError:  # not Linux, or just ended
        return set()


def began_at(pid):
    """When a process began; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


# ---- what came of it
def sent(study, phase):
    """Senders of the messages of a phase, each as often as it sent one."""
    envelopes = [path.read_bytes() for path in whole(study.messages(phase))]
    return Counter(msgspec.json.decode(data)["signatures"][0]["keyid"] for data in envelopes)


def whole(folder):
    """The messages in a folder, without those that somebody was killed over."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def told_cohort(study):
    """The clients of the only cohort that all releasers signed."""
    keys = {name: study.task.party(name).signing_key for name in study.task.releasers}
    envelopes = [path.read_bytes() for path in whole(study.messages("cohorts"))]
    signed = dict(open_envelope(envelope, Cohort, signing_keys=keys) for envelope in envelopes)
    assert set(signed) == set(keys)
    (members,) = {cohort.members for cohort in signed.values()}
    return tuple(member.client for member in members)


def judge(processes, most=None):
    """What a run ended in, "sum" or "abort", and the cohort; whatever is wrong with it is raised.

    Args:
        processes: all have ended.
        most: how many messages a party may send, by phase, where that is more than one.
    """
    study, codes = processes.study, processes.codes
    folder = study.messages("reports").parent
    for phase in (path.name for path in folder.iterdir()):
        assert max(sent(study, phase).values(), default=0) <= (most or {}).get(phase, 1), phase
    servers = {party.name for party in study.task.parties if party.role != "client"}
    if codes[study.task.coordinator.name] == TOO_FEW:
        assert {codes[name] for name in servers} == {TOO_FEW}, codes
        assert not whole(study.messages("cohorts"))
        assert not whole(study.messages("shares"))
        assert not list(study.root.rglob("counts.safetensors"))
        return "abort", ()
    members = told_cohort(study)
    assert len(members) >= study.task.protocol.min_clients
    for name, plain in study.expected_counts(*members).items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    assert set(sent(study, "shares")) == set(study.task.releasers)
    assert not (folder / "abandoned").exists()
    assert all(codes[name] == DONE for name in (*servers, *members) if name in codes), codes
    return "sum", members


class Runs:
    """Runs of a protocol, one in each test, and what all of them so far ended in.

    Args:
        name: the protocol.
        count: how many runs there are, but for SECPRUNE_KILL_RUNS.
        kills: how often parties are killed and started again in each.
    """

    def __init__(self, name, count, kills):
        self._name, self._most = name, kills
        self.seeds = range(1, 1 + int(os.environ.get("SECPRUNE_KILL_RUNS", count)))
        self._outcomes, self._kills = Counter(), Counter()

    def run(self, study, seed, *, pause_s, judge=judge, **closing):
        """One run; of five, one loses a client for good, and one two."""
        chance = random.Random(seed)
        lose = chance.sample(study.clients, (0, 0, 0, 1, 2)[seed % 5])
        processes = Processes(study, **(closing if lose else {}))
        try:
            processes.kill_at_random(chance, self._most, pause_s=pause_s, lose=lose)
            outcome, members = judge(processes)
        except BaseException as error:
            error.add_note(f"{self._name}, seed {seed}, {dict(processes.kills)}")
            raise
        self._outcomes[outcome] += 1
        self._kills += processes.kills
        total = self._outcomes.total()
        print(f"\n{self._name}: {total} runs so far: {dict(self._outcomes)}, SIGKILLs: {dict(self._kills)}")
        if not lose:
            assert (outcome, members) == ("sum", study.clients)
        assert processes.kills["at work"]
        return processes
