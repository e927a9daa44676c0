"""The protocol `pairwise` as its users run it: real processes that wait, are killed, come back or stay away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import called
from small_study import make_study
from tiny_models import make_checkpoint

from secprune.messages.pairwise import KeyAdvert, MaskedReport, ShareBundle
from secprune.parties.session import load_task
from secprune_cli.demo.dropouts import Watch, choose_dropouts
from secprune_cli.demo.referee import Referee

CLIENTS = ("clinic-0", "clinic-1", "clinic-2", "clinic-3")
STEPS = {KeyAdvert: "key-lists", ShareBundle: "bundle-lists", MaskedReport: "survivors"}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def flat(text):
    return " ".join(text.split())


def secprune(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "secprune_cli", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip


class Parties:
    """Processes of a small study without a language model: its clients have their masks already."""

    def __init__(self, root):
        self.study = make_study(root, clients=len(CLIENTS), aggregators=1, protocol="pairwise")
        self.watch = Watch(self.study.exchange, self.study.task)
        self.running = {}

    def start(self, *names, options=()):
        commands = {"hq": ("coordinator", "run"), "adder-0": ("aggregator", "run")}
        for name in names:
            role, verb = commands.get(name, ("client", "submit"))
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "secprune_cli", role, verb, "--dir", str(self.study.root / name), "--json",
                 *options],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
            )  # fmt: skip

    def see_nothing_of(self, name, phase):
        """From its next start on, this party never sees messages of this kind."""
        self.watch.make_window(self.study.root / name / "window", phase)
        path = self.study.root / name / "party.toml"
        path.write_text(path.read_text().replace("../exchange", "window"))

    def see_all(self, name):
        self.study.write_party_file(name)

    def kill_once_sent(self, name, kind):
        self.wait_until(lambda: name in self.watch.senders(kind))
        process = self.running.pop(name)
        process.kill()
        process.communicate()

    def wait_until(self, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            for name, process in self.running.items():
                assert not process.poll(), f"{name}: {process.communicate()}"
            time.sleep(0.02)

    def finish(self, *names):
        """Exit code and what was said, of all or of these processes."""
        ended = {}
        for name in names or tuple(self.running):
            process = self.running.pop(name)
            out, err = process.communicate(timeout=120)
            ended[name] = process.returncode, json.loads(err or out)
        return ended

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.communicate()


@pytest.fixture
def parties(tmp_path):
    found = Parties(tmp_path)
    yield found
    found.stop()


def assert_counted(parties, *names):
    for matrix, plain in parties.study.expected_counts(*names).items():
        np.testing.assert_array_equal(parties.study.counts()[matrix], plain)


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: f"after its {kind.__name__}")
def test_a_client_that_is_killed_is_left_out_or_counted_and_the_others_finish(parties, kind):
    parties.see_nothing_of("clinic-2", STEPS[kind])
    parties.start(*CLIENTS, "hq")
    parties.wait_until(lambda: parties.watch.senders(KeyAdvert) == set(CLIENTS))
    parties.start("adder-0", options=("--close-after", "5"))
    parties.kill_once_sent("clinic-2", kind)
    ended = parties.finish()
    assert {code for code, _ in ended.values()} == {0}
    counted = CLIENTS if kind is MaskedReport else tuple(c for c in CLIENTS if c != "clinic-2")
    assert ended["hq"][1]["cohort"] == list(counted)
    assert_counted(parties, *counted)
    parties.see_all("clinic-2")
    late = secprune("client", "submit", "--dir", parties.study.root / "clinic-2", "--timeout", "30", "--json")
    if kind is not MaskedReport:
        assert late.returncode == 5
        assert "went on without this client" in json.loads(late.stderr)["error"]
    else:
        assert late.returncode == 0  # its shares are no longer needed, and do no harm


@pytest.mark.parametrize("kind", STEPS, ids=lambda kind: f"after its {kind.__name__}")
def test_a_client_that_is_killed_and_run_again_is_counted(parties, kind):
    parties.see_nothing_of("clinic-1", STEPS[kind])
    parties.start(*CLIENTS, "adder-0", "hq")
    parties.kill_once_sent("clinic-1", kind)
    parties.see_all("clinic-1")
    parties.start("clinic-1")
    ended = parties.finish()
    assert {code for code, _ in ended.values()} == {0}
    assert ended["hq"][1]["cohort"] == ended["adder-0"][1]["cohort"] == list(CLIENTS)
    assert_counted(parties, *CLIENTS)
    for folder in ("keys", "bundles", "masked-reports"):
        assert len(list(parties.study.messages(folder).iterdir())) == len(CLIENTS)


def test_too_few_clients_end_the_round_for_everybody(parties):
    parties.start("clinic-0", "clinic-1", "hq")
    parties.wait_until(lambda: len(parties.watch.senders(KeyAdvert)) == 2)
    parties.start("adder-0", options=("--close-after", "1"))
    ended = parties.finish()
    assert {name: code for name, (code, _) in ended.items()} == dict.fromkeys(ended, 5)
    assert "2 clients took part in the step of keys, 3 of 4 are needed" in ended["adder-0"][1]["error"]
    for name in ("clinic-0", "clinic-1", "hq"):
        said = ended[name][1]
        assert said["fault"] == "too few parties"
        assert "adder-0 gave the round up" in said["error"]
        assert said["missing"] == ["clinic-2", "clinic-3"]
    late = secprune("client", "submit", "--dir", parties.study.root / "clinic-2", "--json")
    assert late.returncode == 5
    again = secprune("aggregator", "run", "--dir", parties.study.root / "adder-0", "--json")
    assert again.returncode == 5
    assert not parties.study.messages("shares").exists()


def test_a_client_gives_up_waiting_only_for_now(parties):
    one = parties.study.root / "clinic-0"
    first = secprune("client", "submit", "--dir", one, "--timeout", "0.5")
    assert first.returncode == 75
    assert "adder-0's list of keys" in flat(first.stderr)
    assert "nothing is lost" in flat(first.stderr)
    standing = json.loads(secprune("client", "status", "--dir", one, "--json").stdout)
    assert standing["stands"] == "taking part"
    assert "adder-0's list of keys" in standing["waiting_for"]
    waiting = secprune("aggregator", "run", "--dir", parties.study.root / "adder-0", "--timeout", "0.5")
    assert waiting.returncode == 75
    assert "keys of clinic-1, clinic-2, clinic-3" in flat(waiting.stderr)
    parties.start(*CLIENTS, "adder-0", "hq", options=("--timeout", "120"))
    assert {code for code, _ in parties.finish().values()} == {0}
    assert_counted(parties, *CLIENTS)


# ---- the demo
@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("material") / "tiny", "llama", seed=1)


def test_a_demo_with_a_dropout_is_exact_over_the_survivors_and_names_who_dropped_out(model, tmp_path):
    arguments = ("--protocol", "pairwise", "--dropouts", 1, "--model", model, "--eval-windows", 1)
    done = called("demo", *arguments, "--out", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["differing_bits"] == 0
    assert result["cohort"] == ["cardiology", "oncology", "paediatrics"]
    assert (result["n_max"], result["cohort_size"], result["aggregators"]) == (4, 3, 1)
    assert result["dropouts"] == {
        "radiology": "killed after its shares, before its masked report; nothing of it is in the sum"
    }
    assert set(result["perplexity"]["local_only"]["per_mask"]) == {*result["cohort"], "radiology"}
    assert "radiology: killed after its shares" in flat(done.stderr)
    assert "up to 1 of 4 clients" in result["privacy"]["label"]
    assert "also to the aggregator" in result["privacy"]["label"]
    pruned = tmp_path / "out" / "pruned-model"
    assert json.loads((pruned / "secprune.json").read_text())["cohort_size"] == 3
    # The comparison is over the survivors, and would not hold with the one that dropped out.
    clients = [*result["cohort"], "radiology"]
    seen = SimpleNamespace(model=model, output=tmp_path / "out", clients=clients, pruned_model=pruned)
    task = load_task(tmp_path / "out" / "task.toml")
    assert Referee(seen, task, counted=result["cohort"]).differing_bits() == 0
    assert Referee(seen, task).differing_bits() > 0


def test_an_iterative_demo_where_nobody_drops_out(model, tmp_path):
    arguments = ("--protocol", "pairwise", "--schedule", "iterative", "--clients", 3, "--eval-windows", 1)
    done = called("demo", *arguments, "--model", model, "--out", tmp_path / "out", "--json")
    result = json.loads(done.stdout)
    assert result["differing_bits"] == 0
    assert result["n_max"] == result["cohort_size"] == 3
    assert result["dropouts"] == {}
    assert (tmp_path / "out" / "aggregator-1").is_dir()
    assert not (tmp_path / "out" / "aggregator-2").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--dropouts", 1), 2, "under additive a report is one message"),
        (
            ("--protocol", "pairwise", "--dropouts", 2),
            2,
            "2 of 4 hospitals cannot drop out: 3 must take part",
        ),
        (("--protocol", "pairwise", "--dropouts", 1, "--clients", 3), 2, "use --clients 4 or more"),
        (("--protocol", "pairwise", "--dropouts", 1, "--schedule", "iterative"), 2, "later decoder blocks"),
        (("--protocol", "pairwise", "--aggregators", 2), 3, "one aggregator, not 2"),
    ],
)
def test_a_demo_that_cannot_work_does_not_begin(model, tmp_path, arguments, code, message):
    done = called("demo", "--model", model, "--out", tmp_path / "out", *arguments, check=False)
    assert done.returncode == code, done.stderr
    assert message in flat(done.stderr)
    assert not (tmp_path / "out").exists()


def test_every_dropout_has_a_step_of_its_own_and_enough_stay():
    names = [f"h{index}" for index in range(10)]
    gone = choose_dropouts(names, 3, protocol="pairwise", schedule="one-shot")
    assert [one.client for one in gone] == ["h9", "h8", "h7"]
    assert {one.after: one.unseen for one in gone} == STEPS
    assert choose_dropouts(names, 0, protocol="additive", schedule="one-shot") == []
