"""Texts of the utility table in docs/results.md: `python -m scripts.make_utility_corpus --out DIR` (all of it synthetic or public).

DIR/hospitals has one .jsonl for each of eight hospitals, two of each of four specialties, 125 patients with a note each; the
last fifth is held out by whoever reads them. DIR/public has two texts of 200 documents for references: synthetic notes of four
other specialties, and the manual of Python, which is English of another kind.
"""

import argparse
import json
import pydoc_data.topics
import re
from pathlib import Path

from scripts.make_demo_corpus.__main__ import PUBLIC, SOURCES, generate

HOSPITALS, PATIENTS = 2, 125  # of each specialty; of each hospital
FIRST_SEED, PUBLIC_SEED = 1000, 7
PUBLIC_DOCUMENTS = 200
_WORDS = 150


def notes(name: str, count: int, seed: int) -> list[str]:
    """Return so many different notes of one specialty."""
    found: list[str] = []
    while len(found) < count:
        found += generate(name, seed).strip().split("\n\n")
        seed += 1
    return found[:count]


def manual() -> list[str]:
    """Return pieces of Python's manual, at even distances."""
    pieces = []
    for _, topic in sorted(pydoc_data.topics.topics.items()):
        words = re.sub(r"\n\s*\n", "\n", topic.strip()).split(" ")
        for start in range(0, len(words), _WORDS):
            piece = re.sub(r"\n\s*\n", "\n", " ".join(words[start : start + _WORDS]).strip())
            if len(piece.split()) > _WORDS * 2 // 3:
                pieces.append(piece)
    return [pieces[i * len(pieces) // PUBLIC_DOCUMENTS] for i in range(PUBLIC_DOCUMENTS)]


def main(argv: list[str] | None = None) -> None:
    """Write all texts."""
    parser = argparse.ArgumentParser(prog="make_utility_corpus", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the texts")
    out = parser.parse_args(argv).out
    hospitals, public = out / "hospitals", out / "public"
    hospitals.mkdir(parents=True, exist_ok=True)
    public.mkdir(exist_ok=True)
    for name in SOURCES:
        if name in PUBLIC:
            continue
        found = notes(name, HOSPITALS * PATIENTS, FIRST_SEED)
        for number in range(HOSPITALS):
            own = found[number * PATIENTS : (number + 1) * PATIENTS]
            lines = [
                json.dumps({"patient": f"{name}-{number}-{place}", "text": note})
                for place, note in enumerate(own)
            ]
            (hospitals / f"{number + 1}-{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clinical = [note for name in PUBLIC for note in notes(name, PUBLIC_DOCUMENTS // len(PUBLIC), PUBLIC_SEED)]
    (public / "clinical.txt").write_text("\n\n".join(clinical) + "\n", encoding="utf-8")
    (public / "manual.txt").write_text("\n\n".join(manual()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
