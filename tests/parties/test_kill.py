"""Real processes, killed (SIGKILL) at random moments and started again: the exact sum, one report each, once."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import numpy as np
import pytest
from small_study import make_study

MATRICES = (("a.weight", 1500, 1024), ("b.weight", 700, 512))


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_and_restarted_parties_still_release_one_exact_sum(tmp_path, seed):
    study = make_study(tmp_path, matrices=MATRICES)
    commands = dict.fromkeys(study.clients, ("client", "submit"))
    commands |= dict.fromkeys(study.aggregators, ("aggregator", "run"))
    commands["hq"] = ("coordinator", "run")

    def start(name):
        return subprocess.Popen(
            [sys.executable, "-m", "secprune_cli", *commands[name], "--dir", str(tmp_path / name)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    chance, kills, deadline = random.Random(seed), 0, time.monotonic() + 120
    running = {name: start(name) for name in commands}
    while running:
        assert time.monotonic() < deadline
        time.sleep(chance.random() * 0.2)
        victim = chance.choice(sorted(running))
        if kills < 15 and running[victim].poll() is None:
            running[victim].kill()
            running[victim].wait()
            kills += 1
            running[victim] = start(victim)
        for name, process in list(running.items()):
            if process.poll() is not None:
                assert process.returncode == 0, process.stderr.read()
                del running[name]
    for name, plain in study.expected_counts().items():
        np.testing.assert_array_equal(study.counts()[name], plain)
    assert len(list(study.messages("reports").iterdir())) == len(study.clients)
    assert len(list(study.messages("shares").iterdir())) == len(study.aggregators)
