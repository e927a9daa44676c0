"""The protocol `bfv` as its users run it: real processes, tenseal and all; once with the real LLM."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import msgspec
import pytest
from command_line import called
from tiny_models import make_checkpoint

from secprune.parties.session import load_task
from secprune.protocols.bfv import key_holder as protocol
from secprune.protocols.bfv.terms import parameters_of

SHORT = ("--clients", 3, "--max-windows", 1, "--eval-windows", 1)


def flat(text):
    return " ".join(text.split())


def demo(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "secprune_cli", "demo", "--protocol", "bfv", *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def result_of(done, out):
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((out / "result.json").read_text())
    assert result["differing_bits"] == 0
    assert result["n_max"] == result["cohort_size"] == 3
    assert result["aggregators"] == 1
    return result


def assert_the_key_is_gone(directory):
    """All rounds are over for this key holder, and no file of its, free pages included, still has a seed of a key."""
    with sqlite3.connect(directory / "journal.sqlite") as journal:
        states = [
            msgspec.json.decode(value, type=protocol.State)
            for (value,) in journal.execute("SELECT value FROM state")
        ]
    journal.close()
    assert states
    assert all(isinstance(state, protocol.Released) for state in states)
    assert b'"seed"' in msgspec.json.encode(protocol.Committed(seed=bytes(32)))  # what a seed would look like
    assert not [path for path in directory.rglob("*") if path.is_file() and b'"seed"' in path.read_bytes()]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("material") / "tiny", "llama", seed=1)


@pytest.mark.slow
def test_the_real_llm_through_ciphertexts_is_exact_and_costs_what_the_parameters_say(tmp_path):
    out = tmp_path / "out"
    result = result_of(demo(*SHORT, "--sequence-length", 64, "--out", out, "--json"), out)
    assert (result["key_holders"], result["key_holder"]) == (1, "blind")
    ideal = parameters_of(load_task(out / "task.toml")).bits_per_weight
    assert ideal < result["wire_bits_per_weight"] < 1.02 * ideal
    assert "disclosed, also to the aggregator" in result["privacy"]["label"]
    assert "not from the aggregator when a client helps it" in result["privacy"]["label"]
    assert_the_key_is_gone(out / "key-holder-1")
    assert result["peak_rss_bytes"]["key-holder-1"] < 400 * 2**20  # far below the model, and its ciphertexts
    assert result["peak_rss_bytes"]["aggregator-1"] < 400 * 2**20
    assert result["seconds"]["slowest key-holder run: open"] > 0


def test_the_simple_form_and_the_iterative_schedule(model, tmp_path):
    """Two blind key holders are in tests/parties/test_bfv_kill.py."""
    out = tmp_path / "out"
    arguments = (
        "--key-holder",
        "simple",
        "--schedule",
        "iterative",
        "--model",
        model,
        "--out",
        out,
        "--json",
    )
    result = result_of(called("demo", "--protocol", "bfv", *SHORT, *arguments), out)
    assert (result["key_holders"], result["key_holder"]) == (1, "simple")
    assert "key-holder-1" in result["peak_rss_bytes"]
    assert_the_key_is_gone(out / "key-holder-1")
    assert "disclosed, also to the key holder" in result["privacy"]["label"]
    assert "model" not in (out / "key-holder-1" / "party.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--protocol", "pairwise", "--key-holders", 1), 2, "pairwise has no key holders"),
        (("--protocol", "additive", "--key-holder", "simple"), 2, "add --protocol bfv"),
        (("--key-holder", "deaf"), 2, "no form of key holder 'deaf'"),
        (("--key-holder", "simple", "--key-holders", 2), 3, "bfv has one key holder in the simple form"),
        (("--aggregators", 2), 3, "bfv has one aggregator, not 2"),
        (("--dropouts", 1), 2, "kills hospitals under pairwise only, not under bfv"),
    ],
)
def test_a_demo_that_cannot_work_does_not_begin(model, tmp_path, arguments, code, message):
    given = ("--protocol", "bfv", "--model", model, "--out", tmp_path / "out")
    done = called("demo", *given, *arguments, check=False)
    assert done.returncode == code, done.stderr
    assert message in flat(done.stderr)
    assert not (tmp_path / "out").exists()
