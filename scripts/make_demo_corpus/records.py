"""Reads the source of a specialty: its pools, note types and cases (all of them synthetic).

The source is a text of sections. `%pool NAME` lists alternatives, one a line. `%note NAME` is the
layout of one type of note, line by line. `%case` holds `key: pattern` lines, of which `vars` lists
values drawn once per note, such as `age=60-85; sex=m; side=left|right`. A line that starts with two
spaces continues the line above it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from scripts.make_demo_corpus.grammar import number, references

_MALE = {"he": "he", "him": "him", "his": "his", "himself": "himself"}
_FEMALE = {"he": "she", "him": "her", "his": "her", "himself": "herself"}
_ADULT = 16
_OLD = ("67", "68", "69", "7", "8", "9")
_NOUNS = {"m": {"man": "man", "boy": "boy"}, "f": {"man": "woman", "boy": "girl"}}


@dataclass(frozen=True)
class Case:
    """One clinical case: the values drawn per note and the patterns of its fields."""

    variables: Mapping[str, str]
    fields: Mapping[str, str]

    def draw(self, rng: random.Random) -> dict[str, list[str]]:
        """Draw the variables once and return the scope of one note of this case."""
        scope = {name: [pattern] for name, pattern in self.fields.items()}
        values = {name: _draw_value(spec, rng) for name, spec in self.variables.items()}
        sex = values.pop("sex", None) or rng.choice("mf")
        for name, word in (_MALE if sex == "m" else _FEMALE).items():
            scope[name] = [word]
            scope[name.capitalize()] = [word.capitalize()]
        for name, word in (_NOUNS[sex] | values).items():
            scope[name] = [word]
        if values.get("age", "").isdigit() and int(values["age"]) < _ADULT:
            scope["man"] = scope["boy"]
        scope["retired"] = ["retired " if values.get("age", "").startswith(_OLD) else ""]
        return scope

    def names(self) -> set[str]:
        """Return every name that this case defines."""
        return set(self.draw(random.Random(0)))


@dataclass
class Specialty:
    """The parsed source of one specialty."""

    cases: list[Case] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    pools: dict[str, list[str]] = field(default_factory=dict)

    def scope(self, case: Case, rng: random.Random) -> dict[str, list[str]]:
        """Draw one note's scope: the pools, then the case.

        Where the case has a `stage`, say `baby`, the pool `play_baby` stands in for `play`.
        """
        drawn = case.draw(rng)
        suffix = "_" + drawn.get("stage", ["-"])[0]
        staged = {
            name.removesuffix(suffix): lines for name, lines in self.pools.items() if name.endswith(suffix)
        }
        return self.pools | staged | drawn

    def notes_for(self, case: Case) -> list[str]:
        """Return the note types whose every name this case or a pool defines, in order."""
        known = case.names() | set(self.pools)
        return [name for name, layout in self.notes.items() if references(layout) <= known]


def _draw_value(spec: str, rng: random.Random) -> str:
    """Draw one value of a `vars` entry: a number of a range, or one of several words."""
    lo, dash, hi = spec.partition("-")
    if dash and lo.replace(".", "").isdigit() and hi.replace(".", "").isdigit():
        return number(lo, hi, rng)
    return rng.choice(spec.split("|"))


def _sections(source: str) -> list[tuple[str, str, list[str]]]:
    """Split a source into (kind, name, lines), with continued lines joined."""
    found: list[tuple[str, str, list[str]]] = []
    for line in source.splitlines():
        if line.startswith("%"):
            kind, _, name = line[1:].partition(" ")
            found.append((kind, name, []))
        elif line.startswith("  "):
            found[-1][2][-1] += " " + line.strip()
        elif line.strip():
            found[-1][2].append(line.strip())
    return found


def _parse_case(lines: list[str]) -> Case:
    """Parse the lines of one case."""
    fields = {key.strip(): text.strip() for key, _, text in (line.partition(":") for line in lines)}
    entries = (entry.partition("=") for entry in fields.pop("vars").split(";"))
    return Case({key.strip(): value.strip() for key, _, value in entries}, fields)


def parse(*sources: str) -> Specialty:
    """Parse one or more sources into a specialty; later pools replace earlier ones."""
    result = Specialty()
    for source in sources:
        for kind, name, lines in _sections(source):
            if kind == "pool":
                result.pools[name] = lines
            elif kind == "note":
                result.notes[name] = "\n".join(lines)
            elif kind == "case":
                result.cases.append(_parse_case(lines))
            else:
                raise ValueError(f"unknown section kind: {kind}")
    return result
