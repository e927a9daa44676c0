"""Commands as people type them: help, errors with exit codes, JSON, and secrets that are never shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from command_line import called
from small_study import make_study

from secprune.ids import sha256


def secprune(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "secprune_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("keys", "new"),
        ("client",),
        ("client", "run"),
        ("client", "submit"),
        ("aggregator", "run"),
        ("coordinator", "init"),
        ("demo",),
        ("evaluate",),
        ("auditor", "plan"),
    ],
)
def test_help(command):
    done = called(*command, "--help")
    assert "Usage" in done.stdout


def test_help_says_when_to_choose_which_protocol_and_who_waits():
    init = flat(re.sub("[│╭╮╰╯─]", " ", called("coordinator", "init", "--help").stdout))
    assert "pairwise: where there is only one aggregator; it learns the sum" in init
    for command in ("submit", "run"):
        shown = flat(re.sub("[│╭╮╰╯─]", " ", called("client", command, "--help").stdout))
        assert "--timeout" in shown
        assert "pairwise" in shown


def test_keys_new(tmp_path):
    done = secprune(
        "keys", "new", "--role", "client", "--name", "st-marys", "--dir", tmp_path / "s", "--json"
    )
    result = json.loads(done.stdout)
    assert result["name"] == "st-marys"
    assert (tmp_path / "s" / "identity.key").stat().st_mode & 0o777 == 0o600
    secret = json.loads((tmp_path / "s" / "identity.key").read_text())["secret"]
    assert secret not in done.stdout + done.stderr
    assert secret not in (tmp_path / "s" / "st-marys.card.json").read_text()
    again = secprune("keys", "new", "--role", "client", "--name", "st-marys", "--dir", tmp_path / "s")
    assert again.returncode == 2
    assert "already holds keys" in flat(again.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("keys", "new", "--role", "king", "--name", "a"), 2, "is not a party"),
        (("keys", "new", "--role", "client", "--name", "../up"), 2, "is not a party"),
        (("client", "run", "--dir", "nowhere"), 6, "nowhere"),
        (("client", "frobnicate"), 2, "No such command"),
        (("evaluate", "nowhere", "--text", "nothing.txt"), 2, "nothing.txt"),
        (
            ("coordinator", "init", "--model", "m", "--cards", "c", "--task", "t", "--protocol", "none"),
            2,
            "no protocol",
        ),
    ],
)
def test_errors_have_a_message_a_code_and_no_traceback(tmp_path, arguments, code, message):
    done = called(*arguments, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in flat(done.stderr)


def test_an_error_as_json_names_fault_and_hint(tmp_path):
    study = make_study(tmp_path)
    study.write_party_file("clinic-0", min_clients=4)
    done = secprune("client", "submit", "--dir", tmp_path / "clinic-0", "--json")
    said = json.loads(done.stderr)
    assert done.returncode == 3
    assert said["fault"] == "configuration"
    assert "policy" in said["error"]
    assert said["hint"]


def test_a_round_typed_by_hand(tmp_path):
    study = make_study(tmp_path)
    for name in study.clients:
        done = secprune("client", "submit", "--dir", tmp_path / name, "--json")
        assert json.loads(done.stdout)["bytes_sent"] > 0, done.stderr
    waiting = secprune("aggregator", "run", "--dir", tmp_path / "adder-0", "--timeout", "0.5")
    assert waiting.returncode == 75
    assert "the other aggregators' checks" in flat(waiting.stderr)
    status = json.loads(secprune("aggregator", "status", "--dir", tmp_path / "adder-0", "--json").stdout)
    assert status["reported"] == list(study.clients)
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "secprune_cli", role, "run", "--dir", str(tmp_path / name), "--json"],
            stdout=subprocess.PIPE, text=True,
        )
        for role, name in (("aggregator", "adder-0"), ("aggregator", "adder-1"), ("coordinator", "hq"))
    ]  # fmt: skip
    results = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert all(result["cohort"] == list(study.clients) for result in results)


def test_text_that_anybody_could_have_written_is_shown_without_markup_or_control_characters(tmp_path):
    study = make_study(tmp_path)
    study.submit("clinic-0")
    for text in (b'{"[/]":1}', b'{"[red]\\u001b[2J":1}'):
        (study.messages("reports") / sha256(text).removeprefix("sha256:")).write_bytes(text)
    done = secprune("aggregator", "status", "--dir", tmp_path / "adder-0")
    assert done.returncode == 0, done.stderr
    assert "[/]" in done.stdout
    assert "\x1b[2J" not in done.stdout


def test_sigterm_ends_an_aggregator_cleanly(tmp_path):
    study = make_study(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "secprune_cli", "aggregator", "run", "--dir", str(tmp_path / "adder-0")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal = tmp_path / "adder-0" / "journal.sqlite"
    while not journal.exists():
        assert process.poll() is None
        os.sched_yield()
    process.terminate()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode in {143, -15}
    assert "Traceback" not in stderr
    study.submit()
    assert not any(isinstance(o, Exception) for o in study.run_servers().values())
