"""What `coordinator init` and `demo` refuse of FedSpaLLM, with nothing written."""

from __future__ import annotations

import shutil

import pytest
from command_line import called

CLIENTS = tuple(f"clinic-{index}" for index in range(4))


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Directories of a coordinator, two aggregators and four clients, and all their cards."""
    root = tmp_path_factory.mktemp("parties")
    (root / "cards").mkdir()
    roles = {"hq": "coordinator", "adder-0": "aggregator", "adder-1": "aggregator"}
    for name, role in (roles | dict.fromkeys(CLIENTS, "client")).items():
        called("keys", "new", "--role", role, "--name", name, "--dir", root / name)
        shutil.copy(root / name / f"{name}.card.json", root / "cards")
    return root


def capacity_options(blocks):
    return [part for name in CLIENTS for part in ("--capacity", f"{name}={blocks}")]


def plain(done):
    """What it complained of, in one line and without a frame."""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(("blocks", "enough"), [(1, False), (2, True)])
def test_capacities_that_leave_a_block_of_the_model_to_too_few_make_no_task(
    cards, checkpoint, tmp_path, blocks, enough
):
    """The model has two blocks, each needs three clients: four capacities of one are four of six."""
    paths = (
        "--dir",
        cards / "hq",
        "--model",
        checkpoint,
        "--cards",
        cards / "cards",
        "--task",
        tmp_path / "t",
    )
    few = ("--sequence-length", 8, "--max-windows", 1, "--algorithm", "fedspallm", "--min-clients", 3)
    done = called("coordinator", "init", *paths, *few, *capacity_options(blocks), check=False)
    assert (done.returncode == 0) == enough, done.stderr
    assert (tmp_path / "t").exists() == enough
    if not enough:
        assert "can prune 4 decoder blocks together; each of 2 needs 3 clients, which makes 6" in plain(done)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--local-sparsity", "nobody=0.4"), "--local-sparsity names nobody, who is no hospital"),
        (("--local-sparsity", "clinic-0"), "is not NAME=VALUE"),
        (("--capacity", "nobody=2"), "do not have the same clients"),
        (("--capacity", "clinic-0=many"), "'many' is not a number of decoder blocks"),
        (("--local-sparsity", "clinic-0=1.5"), "clinic-0=1.5 is no sparsity between 0 and 1"),
        (("--local-sparsity", "clinic-0=0.0"), "clinic-0=0.0 is no sparsity between 0 and 1"),
        (("--local-sparsity", "clinic-0=half"), "clinic-0=half is no sparsity between 0 and 1"),
        (("--local-sparsity", "clinic-0=1/0"), "clinic-0=1/0 is no sparsity between 0 and 1"),
        (("--protocol", "bfv"), "bfv does not sum weights"),
        (("--schedule", "iterative"), "one-shot schedule"),
    ],
    ids=lambda value: " ".join(map(str, value))[:30] if not isinstance(value, str) else "",
)
def test_a_demo_is_refused_before_anything_is_written(checkpoint, notes, tmp_path, options, message):
    paths = ("--model", checkpoint, "--data", notes, "--out", tmp_path / "out")
    few = ("--sequence-length", 16, "--max-windows", 1, "--eval-windows", 1)
    done = called("demo", *paths, *few, "--algorithm", "fedspallm", *options, check=False)
    assert done.returncode in {2, 3}
    assert message in plain(done)
    assert not (tmp_path / "out").exists()


def test_a_sparsity_of_ones_own_with_the_other_algorithm_is_refused_before_anything_is_written(
    checkpoint, notes, tmp_path
):
    paths = ("--model", checkpoint, "--data", notes, "--out", tmp_path / "out")
    done = called("demo", *paths, "--sequence-length", 16, "--local-sparsity", "clinic-0=0.4", check=False)
    assert done.returncode in {2, 3}
    assert "only fedspallm has --local-sparsity" in plain(done)
    assert not (tmp_path / "out").exists()
