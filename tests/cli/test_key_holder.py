"""The key holder of `bfv` on the command line, and what goes wrong before a round begins."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from command_line import called
from small_study import make_study
from tiny_models import make_checkpoint

from secprune.parties.config import PartyFile, read_party_file
from secprune.storage.keyfile import read_card
from secprune_cli._errors import missing_extra

WITHOUT = "import sys; sys.modules[{!r}] = None; from secprune_cli.main import main; main()"


def run(*command):
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)


def secprune(*arguments):
    return run("-m", "secprune_cli", *arguments)


def flat(text):
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path, aggregators=1, protocol="bfv", key_holders=1)


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory):
    """Directories of a coordinator, an aggregator, three clients and two key holders, with their cards."""
    root = tmp_path_factory.mktemp("enrolled")
    (root / "cards").mkdir()
    make_checkpoint(root / "tiny", "llama", seed=1)
    roles = {"hq": "coordinator", "adder": "aggregator", "holder-1": "key-holder", "holder-2": "key-holder"}
    roles |= {f"clinic-{index}": "client" for index in range(3)}
    for name, role in roles.items():
        called("keys", "new", "--role", role, "--name", name, "--dir", root / name)
        shutil.copy(root / name / f"{name}.card.json", root / "cards")
    return root


# ---- keys and task
def test_keys_new_makes_a_key_holder(tmp_path):
    done = secprune("keys", "new", "--role", "key-holder", "--name", "regulator", "--dir", tmp_path, "--json")
    assert json.loads(done.stdout)["role"] == "key-holder"
    card = read_card(tmp_path / "regulator.card.json")
    assert (card.role, card.name) == ("key-holder", "regulator")
    assert (tmp_path / "identity.key").stat().st_mode & 0o777 == 0o600
    assert read_party_file(tmp_path) == PartyFile(task="../task.toml", exchange="../exchange")


def init(root, cards, task, *options):
    paths = ("--dir", root / "hq", "--model", root / "tiny", "--cards", cards, "--task", task)
    few = ("--sequence-length", 8, "--max-windows", 1)
    return called("coordinator", "init", *paths, *few, *options, check=False)


@pytest.mark.parametrize(
    ("left_out", "options", "code", "message"),
    [
        ("holder-?", ("--protocol", "bfv"), 3, "one or more key holders in the blind form"),
        ("none", ("--protocol", "bfv", "--key-holder", "simple"), 3, "one key holder in the simple form"),
        ("none", ("--protocol", "bfv", "--key-holder", "deaf"), 2, "no form of key holder 'deaf'"),
        ("none", ("--protocol", "pairwise"), 3, "only the protocol bfv has key holders, not pairwise"),
        ("none", ("--protocol", "additive"), 3, "only the protocol bfv has key holders, not additive"),
        ("holder-?", ("--protocol", "pairwise", "--key-holder", "simple"), 3, "only the protocol bfv"),
        ("adder", ("--protocol", "bfv"), 3, "the protocol bfv has one aggregator, not 0"),
    ],
)
def test_a_roster_that_does_not_fit_makes_no_task(enrolled, tmp_path, left_out, options, code, message):
    cards = tmp_path / "cards"
    shutil.copytree(enrolled / "cards", cards)
    for path in cards.glob(f"{left_out}.card.json"):
        path.unlink()
    done = init(enrolled, cards, tmp_path / "task.toml", *options)
    assert done.returncode == code, done.stderr
    assert message in flat(done.stderr)
    assert "next:" in done.stderr
    assert not (tmp_path / "task.toml").exists()


def test_a_task_with_key_holders_names_their_fingerprints(enrolled, tmp_path):
    done = init(enrolled, enrolled / "cards", tmp_path / "task.toml", "--protocol", "bfv", "--json")
    assert done.returncode == 0, done.stderr
    assert {"holder-1", "holder-2"} < set(json.loads(done.stdout)["fingerprints"])


# ---- the command
@pytest.mark.parametrize("command", [("key-holder",), ("key-holder", "run"), ("key-holder", "status")])
def test_help(command):
    done = called(*command, "--help")
    assert "Usage" in done.stdout


def test_help_recommends_the_other_protocols():
    shown = flat(called("coordinator", "init", "--help").stdout)
    assert "a client that helps the aggregator breaks it, so prefer the others" in shown
    assert "blind" in shown
    assert "simple" in shown


def test_status_at_the_start(study):
    said = json.loads(secprune("key-holder", "status", "--dir", study.root / "holder-0", "--json").stdout)
    assert (said["role"], said["name"]) == ("key-holder", "holder-0")
    assert said["stands"] == "0 of 4 clients reported"
    assert said["reported"] == said["incidents"] == []
    assert said["cohort"] is None


def test_it_waits_and_keeps_its_key_to_itself(study):
    directory = study.root / "holder-0"
    done = secprune("key-holder", "run", "--dir", directory, "--timeout", "0.5")
    assert done.returncode == 75, done.stderr
    assert "adder-0's sum of all reports" in flat(done.stderr)
    assert (directory / "journal.sqlite").stat().st_mode & 0o777 == 0o600
    said = json.loads(secprune("key-holder", "status", "--dir", directory, "--json").stdout)
    assert said["waiting_for"] == "adder-0's sum of all reports"
    assert len(list(study.messages("key-shares").iterdir())) == 1


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        ("key-holder", "clinic-0", "client"),
        ("key-holder", "adder-0", "aggregator"),
        ("aggregator", "holder-0", "key-holder"),
        ("client", "holder-0", "key-holder"),
    ],
)
def test_another_partys_directory_is_refused(study, command, name, message):
    done = called(command, "run", "--dir", study.root / name, check=False)
    assert done.returncode in {2, 3}, done.stderr
    assert message in flat(done.stderr)


def test_a_policy_that_lists_other_key_holders_stops_every_party(study):
    for name in ("clinic-0", "adder-0", "holder-0"):
        study.write_party_file(name, key_holders=["sha256:" + "1" * 64])
        command = {"clinic-0": ("client", "submit"), "adder-0": ("aggregator", "run")}
        words = command.get(name, ("key-holder", "run"))
        done = called(*words, "--dir", study.root / name, check=False)
        assert done.returncode == 3, done.stderr
        assert "key-holder holder-0" in flat(done.stderr)
        assert "policy does not list" in flat(done.stderr)


# ---- without the extra
@pytest.mark.parametrize("package", ["tenseal", "zstandard"])
def test_without_the_extra_it_says_what_to_install(study, package):
    options = ("--dir", study.root / "holder-0", "--json")
    done = run("-c", WITHOUT.format(package), "key-holder", "run", *options)
    assert done.returncode == 6, done.stderr
    said = json.loads(done.stderr)
    assert said["error"] == f"this command needs {package}, which is not installed"
    assert said["hint"] == "run: pip install 'secprune[he]'"
    assert not study.messages("key-commitments").exists()
    done = run("-c", WITHOUT.format(package), "key-holder", "status", *options)
    assert done.returncode == 0, done.stderr


def test_the_aggregator_and_the_coordinator_need_no_extra(study):
    for command, name in (("aggregator", "adder-0"), ("coordinator", "hq")):
        done = run(
            "-c", WITHOUT.format("tenseal"), command, "run", "--dir", study.root / name, "--timeout", "0.5"
        )
        assert done.returncode == 75, done.stderr


def test_any_other_missing_module_is_a_bug():
    with pytest.raises(ModuleNotFoundError):
        missing_extra(ModuleNotFoundError("no", name="numpy"))
