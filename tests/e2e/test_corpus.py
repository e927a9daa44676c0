"""The shipped notes: made by the committed script and seed, one specialty a file, nobody's words."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

from secprune.pruning.notes import read_notes

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "cli" / "secprune_cli" / "demo" / "corpus"
PUBLIC = CORPUS.parent / "public" / "clinical.txt"


def test_the_script_makes_the_very_bytes_that_are_shipped(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.make_demo_corpus",
            "--out",
            tmp_path,
            "--public",
            tmp_path / "public" / "text",
        ],
        check=True,
        cwd=ROOT,
    )
    assert (tmp_path / "public" / "text").read_bytes() == PUBLIC.read_bytes()
    made = {p.name: p.read_bytes() for p in tmp_path.glob("*.txt")}
    assert made == {p.name: p.read_bytes() for p in CORPUS.glob("*.txt")}
    assert len(made) == 8


def test_it_is_varied_enough_to_measure_perplexity_on():
    for path in CORPUS.glob("*.txt"):
        notes = read_notes(path)
        assert len(notes) >= 40
        assert len(set(notes)) == len(notes)
        raw = path.read_bytes()
        assert 40_000 < len(raw) < 70_000
        assert len(zlib.compress(raw, 9)) > 0.23 * len(raw), "template text compresses further"
        assert len({word for note in notes for word in note.lower().split()}) > 1100


def test_no_note_of_a_hospital_is_public():
    public = read_notes(PUBLIC)
    assert len(public) == len(set(public)) == 100
    assert not set(public) & {note for path in CORPUS.glob("*.txt") for note in read_notes(path)}
