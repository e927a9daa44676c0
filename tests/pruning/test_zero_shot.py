"""Zero-shot tasks through lm-eval, on a task of our own: no network. Runs where lm-eval is installed."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from tiny_models import make_model

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.pruning.zero_shot import TaskScore, _scores, zero_shot

DRUGS = ["amoxicillin", "metformin", "furosemide", "apixaban", "sertraline"]
ILLNESSES = ["pneumonia", "diabetes", "heart failure", "atrial fibrillation", "depression"]
YAML = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "The patient has {{{{illness}}}} and takes"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 2.5
"""


@pytest.fixture
def lm_eval(monkeypatch, tmp_path):
    # Read when they are imported; a later test in this process finds them imported already, as set here.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("lm_eval", reason="needs lm-eval (pip install 'secprune[evaluate]')")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def questions(tmp_path):
    """Twelve questions; a directory with the task "drugs", and what it asks."""
    asked = []
    for i in range(12):
        right = i % 5
        choices = [DRUGS[(right + j) % 5] for j in range(3)]
        answer = (i * 2) % 3
        choices[0], choices[answer] = choices[answer], choices[0]
        asked.append({"illness": ILLNESSES[right], "choices": choices, "answer": answer})
    directory = tmp_path / "tasks"
    directory.mkdir()
    file = directory / "drugs.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in asked))
    (directory / "drugs.yaml").write_text(YAML.format(name="secprune_drugs", file=file))
    return directory, asked


def right_answers(model, tokenizer, asked):
    """From the definition: the choice with the highest probability after the question."""
    right = []
    for question in asked:
        prompt = tokenizer(f"The patient has {question['illness']} and takes")["input_ids"]
        likely = []
        for choice in question["choices"]:
            ids = tokenizer(f" {choice}")["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
            likely.append(sum(float(logits[len(prompt) + k - 1, token]) for k, token in enumerate(ids)))
        right.append(max(range(3), key=likely.__getitem__) == question["answer"])
    return right


@pytest.mark.usefixtures("lm_eval")
def test_accuracy_is_that_of_the_definition(tokenizer, questions, capsys):
    directory, asked = questions
    model = make_model("llama", seed=4)
    right = right_answers(model, tokenizer, asked)
    assert 0 < sum(right) < 12  # a model that is always or never right would show nothing
    measured = zero_shot(model, tokenizer, ["secprune_drugs"], tasks_path=directory)
    (score,) = measured.scores
    mean = sum(right) / 12
    assert score == TaskScore(
        task="secprune_drugs", version="2.5", metric="acc", value=pytest.approx(mean),
        stderr=pytest.approx(math.sqrt(mean * (1 - mean) / 11)), num_fewshot=0, samples=12,
    )  # fmt: skip
    assert measured.lm_eval_version[0].isdigit()
    assert capsys.readouterr().out == ""
    (limited,) = zero_shot(model, tokenizer, ["secprune_*"], tasks_path=directory, limit=5).scores
    assert (limited.samples, limited.value) == (5, pytest.approx(sum(right[:5]) / 5))


@pytest.mark.usefixtures("lm_eval")
def test_a_task_that_nobody_knows_and_one_without_its_data(tokenizer, questions):
    directory, _ = questions
    model = make_model("llama")
    with pytest.raises(LocalMisuseError, match=r"no task secprune_none$"):
        zero_shot(model, tokenizer, ["secprune_drugs", "secprune_none"], tasks_path=directory)
    (directory / "drugs.jsonl").unlink()
    with pytest.raises(LocalEnvironmentError, match="cannot run secprune_drugs") as caught:
        zero_shot(model, tokenizer, ["secprune_drugs"], tasks_path=directory)
    assert "docs/evaluation.md" in caught.value.hint


def test_groups_filters_and_what_is_no_number():
    results = {
        "results": {
            "a": {"alias": "a", "sample_len": 3, "acc,none": 0.5, "acc_stderr,none": 0.1},
            "b": {"exact_match,strict": 1, "exact_match_stderr,strict": "N/A", "note,none": "text"},
        },
        "groups": {"both": {"alias": "both", "acc,none": 0.75, "acc_stderr,none": "N/A"}},
        "versions": {"a": 1.0},
        "n-shot": {"a": 0, "b": 0},
        "n-samples": {"a": {"original": 9, "effective": 3}, "b": {"original": 2, "effective": 2}},
    }
    shared = {"num_fewshot": 0}
    assert list(_scores(results)) == [
        TaskScore(task="a", version="1.0", metric="acc", value=0.5, stderr=0.1, samples=3, **shared),
        TaskScore(
            task="b", version=None, metric="exact_match,strict", value=1.0, stderr=None, samples=2, **shared
        ),
        TaskScore(task="both", version=None, metric="acc", value=0.75, stderr=None, samples=None, **shared),
    ]


def test_without_lm_eval_the_extra_is_named(monkeypatch, tokenizer):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(LocalEnvironmentError, match="lm_eval is not installed") as caught:
        zero_shot(None, tokenizer, ["arc_easy"])
    assert "secprune[evaluate]" in caught.value.hint


@pytest.mark.parametrize(
    ("tasks", "options"), [([], {}), (["arc_easy"], {"limit": 0}), (["arc_easy"], {"batch_size": 0})]
)
def test_nothing_to_ask_is_refused(tasks, options):
    with pytest.raises(LocalMisuseError, match="nothing to ask"):
        zero_shot(None, None, tasks, **options)


def test_a_directory_of_tasks_must_be_there(tmp_path):
    with pytest.raises(LocalMisuseError, match="no directory"):
        zero_shot(None, None, ["a"], tasks_path=tmp_path / "nowhere")
