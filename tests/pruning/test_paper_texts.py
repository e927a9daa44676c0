"""The papers' texts: which documents, how joined, how cut; from a copy in every form, and from the hub."""

from __future__ import annotations

import gzip
import json
import sys

import pytest
import torch

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.ids import sha256
from secprune.pruning.evaluation import paper_tokens
from secprune.pruning.paper_texts import PAPER_TEXTS, load_paper_text

ROWS = {
    "wikitext2": {"text": ["", " = Gout = \n", "", " Urate crystals @-@ seen . \n", " Größe <unk> \n"]},
    "ptb": {"sentence": ["no it was n't <unk> monday", "but while the N was", "x"]},
    "c4": {"text": [f"Document {i}\nhas two lines." for i in range(1150)]},
}
TEXTS = {
    "wikitext2": "\n\n".join(ROWS["wikitext2"]["text"]),
    "ptb": "no it was n't <unk> monday but while the N was x",
    "c4": " ".join(f"Document {i}\nhas two lines." for i in range(1100)),
}
COUNTS = {"wikitext2": 5, "ptb": 3, "c4": 1100}
NAMES = sorted(PAPER_TEXTS)


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets", reason="needs the package datasets (extra dev or evaluate)")


def saved(datasets, name, path):
    datasets.Dataset.from_dict(ROWS[name]).save_to_disk(path)
    return path


def saved_dict(datasets, name, path):
    other = {next(iter(ROWS[name])): ["other split"]}
    splits = {"train": other, PAPER_TEXTS[name].split: ROWS[name]}
    datasets.DatasetDict({k: datasets.Dataset.from_dict(v) for k, v in splits.items()}).save_to_disk(path)
    return path


def parquet(datasets, name, path):
    datasets.Dataset.from_dict(ROWS[name]).to_parquet(path / "anything.parquet")
    return path / "anything.parquet"


def clone(datasets, name, path):
    """As the repository lies on the hub, with other splits and parts beside the one that is meant."""
    spec = PAPER_TEXTS[name]
    column = next(iter(ROWS[name]))
    for part in (spec.config or "en", "another-part"):
        for split in ("train", "test", "validation"):
            meant = part != "another-part" and split == spec.split
            rows = ROWS[name] if meant else {column: [f"{part} {split}"]}
            file = path / part / f"{split}-00000-of-00001.parquet"
            if name == "ptb":  # the hub's own conversion names directories after splits
                file = path / part / split / "0000.parquet"
            if name == "c4" and part == "another-part":
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(rows).to_parquet(file)
    (path / "README.md").write_text("test validation")
    return path


def json_lines(_datasets, name, path):
    column, rows = next(iter(ROWS[name].items()))
    file = path / f"c4-{PAPER_TEXTS[name].split}.00000-of-00008.json.gz"
    with gzip.open(file, "wt") as stream:
        stream.writelines(json.dumps({column: row, "url": "x"}) + "\n" for row in rows)
    return path


@pytest.mark.parametrize("form", [saved, saved_dict, parquet, clone, json_lines])
@pytest.mark.parametrize("name", NAMES)
def test_the_text_is_the_papers_whatever_the_form_of_the_copy(tmp_path, datasets, form, name):
    made = load_paper_text(name, form(datasets, name, tmp_path))
    assert made.text == TEXTS[name]
    assert made.documents == COUNTS[name]
    assert made.digest == sha256(TEXTS[name].encode())
    assert made.revision is None
    assert (made.fingerprint is None) == (form not in {saved, saved_dict})


@pytest.mark.parametrize("name", ["wikitext2", "ptb"])
def test_the_original_plain_text_gives_the_same(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # is not needed for it
    lines = {
        "wikitext2": " \n = Gout = \n \n Urate crystals @-@ seen . \n Größe <unk> \n",
        "ptb": " no it was n't <unk> monday \n but while the N was \n x\n",
    }
    (tmp_path / "a.test.txt").write_text(lines[name])
    (tmp_path / "a.train.txt").write_text("something else\n")
    assert load_paper_text(name, tmp_path).text == TEXTS[name]
    assert load_paper_text(name, tmp_path / "a.test.txt").text == TEXTS[name]


def test_the_shards_of_a_copy_are_read_in_order_and_c4_ends_with_its_first(tmp_path, datasets):
    directory = tmp_path / "en"
    directory.mkdir()
    for shard, first in (("00001", "second shard"), ("00000", "first shard")):
        rows = [{"text": f"{first} {i}"} for i in range(3)]
        with gzip.open(directory / f"c4-validation.{shard}-of-00008.json.gz", "wt") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
    assert load_paper_text("c4", tmp_path).text == "first shard 0 first shard 1 first shard 2"
    for shard, text in (("00001", "b"), ("00000", "a")):
        rows = datasets.Dataset.from_dict({"text": [text]})
        rows.to_parquet(tmp_path / "w" / f"test-{shard}-of-00002.parquet")
    assert load_paper_text("wikitext2", tmp_path / "w").text == "a\n\nb"


def test_what_is_asked_of_the_hub_and_what_is_kept_of_its_answer(monkeypatch, datasets):
    commit = "b" * 40
    asked = []

    def load_dataset(*arguments, **options):
        asked.append((arguments, options))
        rows = datasets.Dataset.from_dict(ROWS[name])
        rows.info.download_checksums = {f"hf://datasets/some/where@{commit}/part/test.parquet": {}}
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for name in ("wikitext2", "ptb", "c4"):
        made = load_paper_text(name)
        assert (made.text, made.revision) == (TEXTS[name], commit)
        assert made.fingerprint
    shard = "en/c4-validation.00000-of-00008.json.gz"
    assert asked == [
        (("Salesforce/wikitext", "wikitext-2-raw-v1"), {"split": "test", "revision": None}),
        (
            ("ptb-text-only/ptb_text_only", "penn_treebank"),
            {"split": "test", "revision": "refs/convert/parquet"},
        ),
        (
            ("allenai/c4", None),
            {
                "split": "validation",
                "revision": None,
                "data_files": {"validation": shard},
                "verification_mode": "no_checks",
            },
        ),
    ]


def test_a_hub_that_cannot_be_reached_is_this_machines_fault(monkeypatch, datasets):
    def load_dataset(*_arguments, **_options):
        raise ConnectionError("Couldn't reach the Hub\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(LocalEnvironmentError, match=r"ConnectionError: Couldn't reach the Hub$") as caught:
        load_paper_text("wikitext2")
    assert "--dataset-path" in caught.value.hint


def test_without_datasets_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "test.parquet").touch()
    for path in (None, tmp_path):
        with pytest.raises(LocalEnvironmentError) as caught:
            load_paper_text("wikitext2", path)
        assert "secprune[evaluate]" in caught.value.hint


def test_no_such_text_and_no_such_copy(tmp_path):
    with pytest.raises(LocalMisuseError, match="not a text"):
        load_paper_text("wikitext103")
    with pytest.raises(LocalMisuseError, match="no copy"):
        load_paper_text("ptb", tmp_path / "nowhere")


def test_what_is_not_a_copy_is_refused(tmp_path, datasets):
    def refused(name, path, match):
        with pytest.raises(LocalMisuseError, match=match) as caught:
            load_paper_text(name, path)
        assert "docs/evaluation.md" in caught.value.hint

    rows = datasets.Dataset.from_dict({"question": ["a"], "label": [1]})
    rows.save_to_disk(tmp_path / "columns")
    refused("wikitext2", tmp_path / "columns", "no documents in a column text")
    datasets.Dataset.from_dict({"text": [1, 2]}).save_to_disk(tmp_path / "numbers")
    refused("wikitext2", tmp_path / "numbers", "no documents")
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "splits")
    refused("wikitext2", tmp_path / "splits", r"split test \(KeyError\)")
    (tmp_path / "test.parquet").write_bytes(b"no parquet")
    refused("wikitext2", tmp_path / "test.parquet", "cannot read")
    (tmp_path / "test.csv").touch()
    refused("ptb", tmp_path / "test.csv", "neither parquet")
    (tmp_path / "mixed").mkdir()
    refused("ptb", tmp_path / "mixed", "no file of the split test")
    (tmp_path / "mixed" / "test.txt").write_bytes(b"\xff")
    refused("ptb", tmp_path / "mixed", "not UTF-8")
    (tmp_path / "mixed" / "test.parquet").touch()
    refused("ptb", tmp_path / "mixed", "several kinds")
    refused("c4", tmp_path / "mixed" / "test.txt", "cannot be told apart")
    (tmp_path / "empty.txt").touch()
    refused("ptb", tmp_path / "empty.txt", "no documents")


def test_tokens_of_c4_are_cut_after_256_windows_and_those_of_others_are_not(tokenizer):
    whole = tokenizer([TEXTS["c4"]])["input_ids"][0]
    assert len(whole) > 256 * 16
    for name, expected in (("c4", whole[: 256 * 16]), ("ptb", whole), ("wikitext2", whole)):
        tokens = paper_tokens(PAPER_TEXTS[name], TEXTS["c4"], tokenizer, sequence_length=16)
        assert tokens.dtype == torch.int64
        assert tokens.tolist() == expected


def test_the_tokenizer_is_used_as_it_is_set_up():
    """One that begins every text with a token begins the stream with one, and nothing else is added."""
    calls = []

    def tokenizer(texts, **options):
        calls.append((texts, options))
        return {"input_ids": [[1, 5, 6]]}

    tokens = paper_tokens(PAPER_TEXTS["ptb"], "a b", tokenizer, sequence_length=2)
    assert tokens.tolist() == [1, 5, 6]
    assert calls == [(["a b"], {"add_special_tokens": True, "verbose": False})]
