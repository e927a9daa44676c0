"""The expansion engine: turns a pattern into a text (all of it synthetic).

A pattern is plain text with three kinds of markup: `{a|b|c}` picks one alternative and may nest,
`<name>` inserts a variable, case field or pool entry (expanded in turn), and `[2.6-3.1]` draws a
number with the precision of its bounds.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence

Scope = Mapping[str, Sequence[str]]

_CHOICE = re.compile(r"\{([^{}]*)\}")
_REFERENCE = re.compile(r"<(\w+)>")
_RANGE = re.compile(r"\[([\d.]+)-([\d.]+)\]")
_ARTICLE = re.compile(r"\b([Aa]) (?=8\d?-|11-|18-|8 |11 |18 )")
_SENTENCE_START = re.compile(r"(^\W*|[.?!] )([a-z])", re.MULTILINE)
_MAX_DEPTH = 12


def number(lo: str, hi: str, rng: random.Random) -> str:
    """Draw a number between two decimal strings, with as many decimals as the first one has."""
    places = len(lo.partition(".")[2])
    scale = 10**places
    value = rng.randint(round(float(lo) * scale), round(float(hi) * scale))
    return f"{value / scale:.{places}f}" if places else str(value)


def references(pattern: str) -> set[str]:
    """Return the names that a pattern may insert."""
    return set(_REFERENCE.findall(pattern))


def expand(pattern: str, scope: Scope, rng: random.Random, depth: int = 0) -> str:
    """Expand a pattern into raw text.

    `scope` maps each name to its alternatives. Unknown names raise KeyError, and patterns that
    refer to each other without end raise RecursionError.
    """
    if depth > _MAX_DEPTH:
        raise RecursionError(f"pattern nested too deep: {pattern[:60]}")
    text = pattern
    while _CHOICE.search(text):
        text = _CHOICE.sub(_picker(rng), text)

    def insert(match: re.Match[str]) -> str:
        return expand(rng.choice(scope[match[1]]), scope, rng, depth + 1)

    text = _REFERENCE.sub(insert, text)
    return _RANGE.sub(lambda match: number(match[1], match[2], rng), text)


def _picker(rng: random.Random) -> Callable[[re.Match[str]], str]:
    """Return a replacement function that picks one alternative of a choice."""

    def pick(match: re.Match[str]) -> str:
        options: list[str] = match[1].split("|")
        return rng.choice(options)

    return pick


def tidy(text: str) -> str:
    """Mend spacing, the article before numbers and sentence capitals; drop empty lines."""
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ([,.;:?!])", r"\1", text)
    text = _ARTICLE.sub(r"\1n ", text)
    text = _SENTENCE_START.sub(lambda match: match[1] + match[2].upper(), text)
    return "\n".join(line for line in (raw.strip() for raw in text.splitlines()) if line)
