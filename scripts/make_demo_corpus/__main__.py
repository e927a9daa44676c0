"""Command line: `python -m scripts.make_demo_corpus --out DIR` (all text it writes is synthetic)."""

import argparse
import random
from pathlib import Path

from scripts.make_demo_corpus import (
    cardiology,
    nephrology,
    notes,
    obstetrics,
    oncology,
    orthopaedics,
    paediatrics,
    psychiatry,
    radiology,
)
from scripts.make_demo_corpus.records import parse
from scripts.make_demo_corpus.writer import compose

SEED = 20240501
PUBLIC_SEED = SEED + 1  # other notes than any hospital's, of the same kinds of cases
PUBLIC = ("nephrology", "obstetrics", "orthopaedics", "psychiatry")  # not the hospitals of a demo of four
PUBLIC_NOTES = 25  # of each; each costs half a second of every demo with differential privacy
DEFAULT_OUT = Path("cli/secprune_cli/demo/corpus")
DEFAULT_PUBLIC = Path("cli/secprune_cli/demo/public/clinical.txt")
SOURCES = {
    "cardiology": cardiology.SOURCE,
    "oncology": oncology.SOURCE,
    "paediatrics": paediatrics.SOURCE,
    "radiology": radiology.SOURCE,
    "psychiatry": psychiatry.SOURCE,
    "orthopaedics": orthopaedics.SOURCE,
    "nephrology": nephrology.SOURCE,
    "obstetrics": obstetrics.SOURCE,
}


def generate(name: str, seed: int = SEED) -> str:
    """Return the corpus text of one specialty; it depends on the name and the seed alone."""
    specialty = parse(notes.SOURCE, SOURCES[name])
    return compose(specialty, random.Random(f"{seed}:{name}"))


def public_text(seed: int = PUBLIC_SEED) -> str:
    """Return the text of the demo's public reference."""
    notes = [note for name in PUBLIC for note in generate(name, seed).strip().split("\n\n")[:PUBLIC_NOTES]]
    return "\n\n".join(notes) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Write one file per specialty, and the public text."""
    parser = argparse.ArgumentParser(prog="make_demo_corpus", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder for the text files")
    parser.add_argument("--public", type=Path, default=DEFAULT_PUBLIC, help="file for the public text")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the random draws")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        text = generate(name, options.seed)
        (options.out / f"{name}.txt").write_bytes(text.encode("utf-8"))
    options.public.parent.mkdir(parents=True, exist_ok=True)
    options.public.write_bytes(public_text().encode("utf-8"))


if __name__ == "__main__":
    main()
