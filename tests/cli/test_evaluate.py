"""`secprune evaluate` as people type it: a text, a text of the papers, lm-eval's tasks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from command_line import called
from tiny_models import NOTES, make_checkpoint, make_tokenizer

from secprune.ids import sha256
from secprune.pruning.checkpoint import tokenizer_digest
from secprune.pruning.models import load_model

OLD_KEYS = ["model", "text", "perplexity", "sequence_length", "windows", "tokens_scored"]


def evaluate(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "secprune_cli", "evaluate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
    )


def flat(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", seed=5, dtype=torch.bfloat16)


def papers_perplexity(checkpoint, text, length):
    """From the definition: whole windows only, the mean of their mean losses."""
    model = load_model(checkpoint, dtype=torch.float32)
    ids = torch.tensor(make_tokenizer()(text)["input_ids"])
    windows = ids[: len(ids) // length * length].view(-1, length)
    with torch.no_grad():
        losses = [float(model(window[None], labels=window[None]).loss) for window in windows]
    return math.exp(sum(losses) / len(losses)), len(windows), len(ids)


def test_a_text_gives_what_it_always_gave_and_tells_how(tmp_path, checkpoint):
    (tmp_path / "notes.txt").write_text("\n\n".join(NOTES[:6]))
    done = evaluate(
        checkpoint, "--text", tmp_path / "notes.txt", "--sequence-length", 32, "--device", "cpu", "--json"
    )
    result = json.loads(done.stdout)
    assert list(result)[: len(OLD_KEYS)] == OLD_KEYS
    assert result["text"] == str(tmp_path / "notes.txt")
    tokens = sum(len(ids) for ids in make_tokenizer()(NOTES[:6])["input_ids"]) + 5
    assert result["tokens"] == tokens
    assert tokens % 32 > 1
    assert result["windows"] == tokens // 32 + 1
    assert result["tokens_scored"] == tokens - result["windows"]
    assert result["partial_window_scored"] is True
    assert (result["dtype"], result["device"]) == ("bfloat16", "cpu")
    assert result["tokenizer_digest"] == tokenizer_digest(checkpoint)
    assert "dataset" not in result  # nothing that is derived from notes, a digest say
    same = ("evaluate", checkpoint, "--text", tmp_path / "notes.txt", "--sequence-length", 32, "--json")
    whole = called(*same, "--device", "cpu", "--whole-windows")
    assert json.loads(whole.stdout)["windows"] == tokens // 32


def test_a_text_of_the_papers_is_measured_as_they_do(tmp_path, checkpoint):
    """From a plain text file, which takes no further package."""
    (tmp_path / "ptb.test.txt").write_text("".join(f" {note} \n" for note in NOTES))
    text = " ".join(NOTES)
    expected, windows, tokens = papers_perplexity(checkpoint, text, 128)
    options = (checkpoint, "--dataset", "ptb", "--dataset-path", tmp_path, "--dtype", "float32")
    done = called("evaluate", *options, "--device", "cpu", "--json")
    result = json.loads(done.stdout)
    assert result["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert result["sequence_length"] == 128  # all that this model takes
    assert (result["windows"], result["tokens"], result["tokens_scored"]) == (windows, tokens, windows * 127)
    assert result["partial_window_scored"] is False
    assert result["dtype"] == "float32"
    assert "text" not in result
    assert result["dataset"] == {
        "name": "ptb",
        "repository": "ptb-text-only/ptb_text_only",
        "config": "penn_treebank",
        "split": "test",
        "copy": str(tmp_path),
        "join_rule": "all documents, one space between them",
        "documents": len(NOTES),
        "documents_published": 3761,
        "text_digest": sha256(text.encode()),
    }
    shown = flat(called("evaluate", *options, "--max-windows", 2).stdout)
    assert "dataset: documents published 3761" in shown
    assert "windows 2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "exactly one of --text, --dataset, --tasks"),
        (("--text", "t.txt", "--dataset", "c4"), "--text and --dataset"),
        (("--dataset", "c4", "--tasks", "arc_easy"), "--dataset and --tasks"),
        (("--dataset", "wikitext103"), "wikitext103"),
        (("--text", "t.txt", "--dtype", "int8"), "int8"),
        (("--text", "t.txt", "--dataset-path", "p"), "--dataset-path means nothing with --text"),
        (("--text", "t.txt", "--limit", "3"), "--limit means nothing with --text"),
        (("--dataset", "c4", "--tasks-path", "p"), "--tasks-path means nothing with --dataset"),
        (("--tasks", "a", "--sequence-length", "8"), "--sequence-length means nothing with --tasks"),
        (("--tasks", "a", "--whole-windows"), "--partial-window means nothing with --tasks"),
        (("--dataset", "ptb", "--dataset-path", "nowhere"), "no copy of ptb at nowhere"),
    ],
)
def test_wrong_use_has_a_message(tmp_path, arguments, message):
    done = called("evaluate", "nowhere", *arguments, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in flat(done.stderr)


def blocked(tmp_path, package):
    """A directory for PYTHONPATH in which `package` is as if it were not installed."""
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
    )
    return str(tmp_path)


@pytest.mark.parametrize(
    ("package", "options"),
    [("datasets", ("--dataset", "wikitext2")), ("lm_eval", ("--tasks", "arc_easy"))],
)
def test_what_is_not_installed_is_named_with_its_extra(tmp_path, checkpoint, package, options):
    done = evaluate(checkpoint, *options, "--json", PYTHONPATH=blocked(tmp_path, package))
    assert done.returncode == 6, done.stderr
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["fault"] == "local environment"
    assert "secprune[evaluate]" in said["hint"]


def test_a_hub_that_cannot_be_reached(tmp_path, checkpoint):
    pytest.importorskip("datasets", reason="needs the package datasets (extra dev or evaluate)")
    done = evaluate(checkpoint, "--dataset", "c4", HF_HOME=str(tmp_path))
    assert done.returncode == 6, done.stderr
    assert "cannot get allenai/c4" in flat(done.stderr)
    assert "--dataset-path" in done.stderr
    assert "Traceback" not in done.stderr


def test_zero_shot_tasks(tmp_path, checkpoint):
    pytest.importorskip("lm_eval", reason="needs lm-eval (pip install 'secprune[evaluate]')")
    choices = ["ibuprofen", "warfarin"]
    rows = [{"note": note, "choices": choices, "answer": i % 2} for i, note in enumerate(NOTES[:6])]
    data, definition = tmp_path / "data.jsonl", tmp_path / "task.yaml"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "secprune_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{note}} Give",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
        "metadata": {"version": 1},
    }
    definition.write_text(json.dumps(task))  # JSON is YAML
    options = (checkpoint, "--tasks", "secprune_choice", "--tasks-path", tmp_path, "--device", "cpu")
    done = evaluate(*options, "--json", HF_HOME=str(tmp_path / "home"))
    result = json.loads(done.stdout)  # nothing else is on standard output
    assert {score["metric"] for score in result["scores"]} == {"acc", "acc_norm"}
    for score in result["scores"]:
        assert (score["task"], score["num_fewshot"], score["samples"]) == ("secprune_choice", 0, 6)
        assert score["version"] == "1"
        assert 0 <= score["value"] <= 1
        assert score["stderr"] is not None
    assert (result["dtype"], result["limit"]) == ("bfloat16", None)
    assert result["lm_eval_version"]
