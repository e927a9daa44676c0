"""`secprune auditor`: export at each party, verify at anybody's, exit codes."""

from __future__ import annotations

import json
import shutil

import pytest
from ledger_study import falsified, run_additive
from small_study import make_study
from typer.testing import CliRunner

from secprune.errors import RemoteMisbehaviourError, SecpruneError
from secprune_cli.main import app


def secprune(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("study"))
    assert not [o for o in run_additive(made).values() if isinstance(o, Exception)]
    for party in made.task.parties:
        out = made.root / f"{party.name}.ledger"
        done = secprune("auditor", "export", "--dir", made.root / party.name, "--out", out, "--json")
        assert json.loads(done.stdout)["party"] == party.name
    return made


def verify(study, *more, files=None):
    files = files or sorted(study.root.glob("*.ledger"))
    return secprune("auditor", "verify", "--task", study.root / "task.toml", *more, *files)


def test_consistent_ledgers(study):
    shown = verify(study, "--exchange", study.exchange)
    assert shown.exit_code == 0, shown.output
    assert "consistent" in shown.stdout
    result = json.loads(verify(study, "--json").stdout)
    assert result["consistent"]
    assert result["finding"] is None
    assert set(result["entries"]) == set(study.identities)
    part = json.loads(verify(study, "--json", files=[study.root / "hq.ledger"]).stdout)
    assert set(part["no_ledger_of"]) == set(study.identities) - {"hq"}


def test_the_first_inconsistency_is_named(study, tmp_path):
    data = (study.root / "adder-0.ledger").read_bytes()
    wrong = tmp_path / "adder-0.ledger"
    wrong.write_bytes(falsified(study, "adder-0", data, lambda entries: entries.pop(2)))
    done = verify(study, "--json", "--exchange", study.exchange, files=[study.root / "hq.ledger", wrong])
    assert isinstance(done.exception, RemoteMisbehaviourError)
    assert done.exception.exit_code == 4
    assert done.exception.party == "adder-0"
    assert "in the ledger of adder-0" in done.exception.message
    found = json.loads(done.stdout)
    assert not found["consistent"]
    assert (found["finding"]["party"], found["finding"]["check"]) == ("adder-0", "heads")


def test_nothing_to_export_and_no_exchange(study, tmp_path):
    directory = tmp_path / "hq"
    directory.mkdir()
    shutil.copy(study.root / "hq" / "identity.key", directory)
    done = secprune("auditor", "export", "--dir", directory, "--out", tmp_path / "out")
    assert isinstance(done.exception, SecpruneError)
    assert done.exception.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert not (directory / "journal.sqlite").exists()
    done = verify(study, "--exchange", tmp_path / "nowhere")
    assert isinstance(done.exception, SecpruneError)
    assert done.exception.exit_code == 2
    assert not (tmp_path / "nowhere").exists()
