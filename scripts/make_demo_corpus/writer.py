"""Composes the notes of one specialty into a file (all text synthetic).

Every case is told several times, as different types of note. Of several drafts of a note the one
that repeats least of what the file already says is kept.
"""

import random
import re

from scripts.make_demo_corpus.grammar import expand, tidy
from scripts.make_demo_corpus.records import Case, Specialty

TARGET_BYTES = 46_200
MIN_WORDS, MAX_WORDS = 60, 350
_DRAFTS = 5
_GRAM = 4


def _grams(text: str) -> list[str]:
    """Return the overlapping word groups of a text, with numbers made alike."""
    words = re.findall(r"[a-z']+|\d+", re.sub(r"\d[\d.]*", "0", text.lower()))
    return [" ".join(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1)]


def _draft(specialty: Specialty, case: Case, note: str, rng: random.Random) -> str:
    """Write one draft of a note."""
    scope = specialty.scope(case, rng)
    return tidy(expand(specialty.notes[note], scope, rng))


def _freshest(drafts: list[str], seen: set[str]) -> str | None:
    """Return the draft of admissible length that repeats the smallest share of `seen`."""
    best: str | None = None
    best_score = 2.0
    for draft in drafts:
        if not MIN_WORDS <= len(draft.split()) <= MAX_WORDS:
            continue
        grams = _grams(draft)
        score = sum(gram in seen for gram in grams) / len(grams)
        if score < best_score:
            best, best_score = draft, score
    return best


def _rounds(specialty: Specialty, rng: random.Random) -> list[tuple[Case, str]]:
    """Pair every case with each of its note types: all cases once, then all again, and so on."""
    decks: list[list[str]] = []
    for case in specialty.cases:
        deck = specialty.notes_for(case)
        rng.shuffle(deck)
        decks.append(deck)
    order: list[tuple[Case, str]] = []
    for turn in range(max(len(deck) for deck in decks)):
        indices = [i for i, deck in enumerate(decks) if turn < len(deck)]
        rng.shuffle(indices)
        order += [(specialty.cases[i], decks[i][turn]) for i in indices]
    return order


def compose(specialty: Specialty, rng: random.Random) -> str:
    """Compose the text of one file: notes separated by one blank line."""
    documents: list[str] = []
    seen: set[str] = set()
    size = 0
    for case, note in _rounds(specialty, rng):
        drafts = [_draft(specialty, case, note, rng) for _ in range(_DRAFTS)]
        document = _freshest(drafts, seen)
        if document is None:
            continue
        documents.append(document)
        seen.update(_grams(document))
        size += len(document.encode()) + 2
        if size >= TARGET_BYTES:
            return "\n\n".join(documents) + "\n"
    raise ValueError(f"the cases fill only {size} of {TARGET_BYTES} bytes")
