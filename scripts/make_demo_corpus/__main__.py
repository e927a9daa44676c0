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
DEFAULT_OUT = Path("cli/secprune_cli/demo/corpus")
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


def main(argv: list[str] | None = None) -> None:
    """Write one file per specialty."""
    parser = argparse.ArgumentParser(prog="make_demo_corpus", description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder for the text files")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the random draws")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        text = generate(name, options.seed)
        (options.out / f"{name}.txt").write_bytes(text.encode("utf-8"))


if __name__ == "__main__":
    main()
