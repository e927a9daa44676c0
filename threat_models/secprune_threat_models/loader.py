"""Reads threat models, and refuses what would make them look better than they are.

A model is refused if it has an unknown field, check, artefact or LINDDUN category, a claim without a check (unless it is
assumed, and says what), no non-claims, or an id that is taken. All models together are refused if something that parties
keep or send stands in nobody's view: what nobody looks at, nobody protects.
"""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec

from secprune.errors import ConfigurationError
from secprune.files import read_bytes
from secprune_threat_models.model import ThreatModel, ThreatModelFile
from secprune_threat_models.system import load_system

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from secprune_threat_models.model import Claim
    from secprune_threat_models.system import System

_ENTRY = re.compile(r"\$\.(claims|breaks)\[(\d+)\]")


def load_models(extra: Sequence[Path] = (), *, known_checks: Collection[str]) -> tuple[ThreatModel, ...]:
    """All threat models: those of the package, then a consortium's own.

    Args:
        extra: files of the consortium.
        known_checks: ids of all checks that there are.

    Raises:
        ConfigurationError: names the file, and the claim or break, that breaks a rule.
        LocalEnvironmentError: a file cannot be read.
    """
    directory = importlib.resources.files("secprune_threat_models") / "models"
    shipped = sorted((f for f in directory.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    models = [parse_model(file.read_bytes(), file=file.name) for file in shipped]
    models += [
        parse_model(read_bytes(path, what="the threat model"), file=path.name, source=path.name)
        for path in extra
    ]
    check_models(models, system=load_system(), known_checks=known_checks)
    return tuple(models)


def parse_model(data: bytes, *, file: str, source: str = "shipped") -> ThreatModel:
    """One model, from its TOML.

    Raises:
        ConfigurationError: not TOML, or not a threat model.
    """
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error
    try:
        parsed = msgspec.convert(table, ThreatModelFile)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{file}{_entry(table, str(error))} is not a threat model: {error}",
            hint="docs/threat-models.md has an example; every field is described in schema.json of the package",
        ) from error
    return ThreatModel(**msgspec.structs.asdict(parsed), source=source)


def check_models(models: Iterable[ThreatModel], *, system: System, known_checks: Collection[str]) -> None:
    """Check rules that go beyond one field, of all models together.

    Raises:
        ConfigurationError: says which model and entry break which rule.
    """
    taken: dict[str, str] = {}
    seen: set[str] = set()
    for model in models:
        for what in _faults(model, system=system, known_checks=known_checks):
            raise ConfigurationError(f"{_place(model)}: {what}", hint="correct the file, or leave it out")
        for id_ in (model.id, *(entry.id for entry in model.entries)):
            if id_ in taken:
                raise ConfigurationError(
                    f"{_place(model)}: the id {id_} is taken, by {taken[id_]}", hint="choose another id"
                )
            taken[id_] = _place(model)
        seen.update(model.sees)
    if unseen := [name for name in system.names if name not in seen]:
        raise ConfigurationError(
            f"no threat model sees {', '.join(unseen)}, which system.toml declares",
            hint="put it into the view (sees) of whoever can get it",
        )


def _faults(model: ThreatModel, *, system: System, known_checks: Collection[str]) -> Iterator[str]:
    for name in model.sees:
        if name not in system.names:
            yield f"sees {name!r}, which system.toml does not declare"
    for entry in model.entries:
        if not entry.id.startswith(f"{model.id}-"):
            yield f"{entry.id} does not begin with the model's id"
        for check in entry.checks:
            if check not in known_checks:
                yield f"{entry.id} names the check {check!r}, which does not exist"
    for claim in model.claims:
        if fault := _unbacked(claim):
            yield f"{claim.id} {fault}"


def _unbacked(claim: Claim) -> str:
    if claim.strength != "assumed":
        return "" if claim.checks else "is backed by no check; only what is assumed needs none"
    if claim.checks:
        return "is assumed, and yet names checks; say what they show in a claim of its own"
    return "" if claim.assumptions else "is assumed, and does not say what"


def _place(model: ThreatModel) -> str:
    return f"threat model {model.id}" if model.source == "shipped" else f"{model.source} ({model.id})"


def _entry(table: dict[str, Any], error: str) -> str:
    """Which claim or break an error of msgspec is about, by its id."""
    if found := _ENTRY.search(error):
        entry = table[found[1]][int(found[2])]
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            return f", {entry['id']},"
    return ""
