"""The options of `coordinator init` and `demo` that choose FedSpaLLM."""

from __future__ import annotations

import shutil

import msgspec
import pytest
from command_line import called
from tiny_models import make_checkpoint

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties.session import load_task
from secprune.task import FedSpaLLMSpec, PruningSpec
from secprune_cli._pruning import algorithm_options, named_values, pruning_arguments, pruning_spec

BASE = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1)
FEDSPALLM = msgspec.structs.replace(
    BASE, algorithm="fedspallm", local_pruner="sparsegpt", fedspallm=FedSpaLLMSpec()
)


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory):
    """Directories of a coordinator, an aggregator and three clients, with their cards."""
    root = tmp_path_factory.mktemp("enrolled")
    (root / "cards").mkdir()
    make_checkpoint(root / "tiny", "llama", seed=1)
    roles = {"hq": "coordinator", "adder-0": "aggregator", "adder-1": "aggregator"}
    roles |= {f"clinic-{index}": "client" for index in range(3)}
    for name, role in roles.items():
        called("keys", "new", "--role", role, "--name", name, "--dir", root / name)
        shutil.copy(root / name / f"{name}.card.json", root / "cards")
    return root


def init(root, task, *options):
    paths = ("--dir", root / "hq", "--model", root / "tiny", "--cards", root / "cards", "--task", task)
    few = ("--sequence-length", 8, "--max-windows", 1)
    return called("coordinator", "init", *paths, *few, *options, check=False)


CAPACITIES = {"clinic-0": 2, "clinic-1": 3, "clinic-2": 2}


@pytest.mark.parametrize(
    ("options", "pruner", "spec"),
    [
        ((), "sparsegpt", FedSpaLLMSpec()),
        (("--local-pruner", "wanda", "--weight-bits", "12"), "wanda", FedSpaLLMSpec(weight_bits=12)),
        (
            [part for name, blocks in CAPACITIES.items() for part in ("--capacity", f"{name}={blocks}")],
            "sparsegpt",
            FedSpaLLMSpec(capacities=CAPACITIES),
        ),
    ],
)
def test_init_makes_a_task_of_fedspallm(enrolled, tmp_path, options, pruner, spec):
    done = init(enrolled, tmp_path / "t", "--algorithm", "fedspallm", *options)
    assert done.returncode == 0, done.stderr
    pruning = load_task(tmp_path / "t").pruning
    assert (pruning.algorithm, pruning.local_pruner, pruning.fedspallm) == ("fedspallm", pruner, spec)


def test_without_the_option_nothing_is_new(enrolled, tmp_path):
    done = init(enrolled, tmp_path / "t")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "t").read_text()
    assert "fedspallm" not in text
    assert load_task(tmp_path / "t").pruning.local_pruner == "wanda"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weight-bits", "12"), "only fedspallm has --weight-bits"),
        (("--capacity", "clinic-0=2"), "only fedspallm has --weight-bits and --capacity"),
        (("--algorithm", "fedavg"), "not a way to prune"),
        (("--algorithm", "fedspallm", "--weight-bits", "17"), "--weight-bits"),
        (("--algorithm", "fedspallm", "--capacity", "clinic-0=two"), "'two' is not a number"),
        (("--algorithm", "fedspallm", "--capacity", "clinic-0=0"), "not a way to prune"),
        (("--algorithm", "fedspallm", "--capacity", "clinic-0=2"), "do not have the same clients"),
        (("--algorithm", "fedspallm", "--server-comparison", "row"), "no row or column"),
    ],
)
def test_options_that_make_no_task_leave_none(enrolled, tmp_path, options, message):
    done = init(enrolled, tmp_path / "t", *options)
    assert done.returncode in {2, 3}
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "pruning",
    [
        BASE,
        msgspec.structs.replace(BASE, local_pruner="sparsegpt", weight_scaling=True),
        FEDSPALLM,
        msgspec.structs.replace(FEDSPALLM, local_pruner="wanda", sparsity="0.55"),
        msgspec.structs.replace(FEDSPALLM, fedspallm=FedSpaLLMSpec(weight_bits=9, capacities=CAPACITIES)),
    ],
)
def test_arguments_of_a_way_to_prune_give_it_back(enrolled, tmp_path, pruning):
    """What `demo` hands to `coordinator init` makes the task that the demo has planned."""
    done = init(enrolled, tmp_path / "t", *pruning_arguments(pruning))
    assert done.returncode == 0, done.stderr
    assert load_task(tmp_path / "t").pruning == pruning


def test_the_local_pruner_that_is_usual_with_an_algorithm():
    for algorithm, usual in (("fedprllm", "wanda"), ("fedspallm", "sparsegpt")):
        options = algorithm_options(algorithm, local_pruner="", weight_bits=None, capacities=None)
        assert pruning_spec(sparsity="1/2", sequence_length=8, max_windows=1, **options).local_pruner == usual
    with pytest.raises(ConfigurationError, match="not a way to prune"):
        pruning_spec(sparsity="1/2", sequence_length=8, max_windows=1, local_pruner="none")


@pytest.mark.parametrize("given", [["a"], ["=1"], ["a="], ["a=1", "a=1"]])
def test_values_by_name(given):
    assert named_values(["a=1", "b=c=d"], what="--x") == {"a": "1", "b": "c=d"}
    with pytest.raises(LocalMisuseError, match="--x"):
        named_values(given, what="--x")
