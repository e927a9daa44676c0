"""Where randomness comes from: no module draws for itself, but for those that are declared with a reason.

What a report is masked with looks uniform whether it comes from the operating system or from a generator that anybody can wind back
(Mersenne Twister, from 624 words that were seen). So the source is looked for where it is written: in the syntax trees of all
modules of the package. A name is followed through imports and aliases within a module, wherever in it they stand.

It is no proof: text that is executed, names that are put together, or a foreign library that draws inside are not found.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from secprune.audit.check import Check, Figure, Kind, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from secprune.audit.draws import Draws

_SOURCES = (
    "random",
    "secrets",
    "uuid.uuid1",
    "uuid.uuid4",
    "os.urandom",
    "os.getrandom",
    "numpy.random",
    "opendp",
    "torch.rand",
    "torch.rand_like",
    "torch.randn",
    "torch.randn_like",
    "torch.randint",
    "torch.randint_like",
    "torch.randperm",
    "torch.normal",
    "torch.bernoulli",
    "torch.multinomial",
    "torch.poisson",
    "torch.manual_seed",
    "torch.seed",
    "torch.Generator",
    "torch.random",
    "torch.distributions",
    "torch.cuda.manual_seed",
)
_METHODS = frozenset({"bernoulli_", "exponential_", "normal_", "random_", "uniform_"})
_OWN_KEYS = ("generate", "generate_key")
_TYPES = frozenset({"numpy.random.Generator", "numpy.random.BitGenerator"})
"""Only say what a caller hands over."""

DECLARED: Mapping[tuple[str, str], str] = {
    (
        "secprune.crypto.entropy",
        "secrets.token_bytes",
    ): "the source of all secrets: the operating system's generator",
    (
        "secprune.audit.draws",
        "numpy.random.default_rng",
    ): "repeatable draws of audits, from a seed; nothing secret",
    (
        "secprune.audit.guarantees.subject",
        "numpy.random.default_rng",
    ): "a mutation: noise of the wrong distribution, which a check has to notice",
    (
        "secprune.pruning.agreement",
        "numpy.random.default_rng",
    ): "errors of a plan, from a public seed; nothing secret",
    (
        "secprune.pruning.checkpoint",
        "secrets.token_hex",
    ): "the name of a directory that is renamed once it is whole",
    ("secprune.compute.cluster", "uuid.uuid4"): "the name of a run on an own cluster",
}
"""Modules that draw for themselves, what they draw with, and why that is no secret's business."""

HIDDEN = "SEAL draws the noise of `bfv` encryptions, and OpenSSL the ephemeral keys of HPKE, from the operating system"


@dataclass(frozen=True, slots=True)
class Sources:
    """A package: the text of each module, by its name; and what is declared, as in `DECLARED`."""

    modules: Mapping[str, str]
    declared: Mapping[tuple[str, str], str]


@functools.lru_cache(maxsize=1024)
def ambient(text: str) -> tuple[tuple[int, str], ...]:
    """Sources of randomness in the text of a module: (line, what), in order, each once.

    Raises:
        SyntaxError: it is no Python.
    """
    return tuple(sorted(set(_sources(ast.parse(text)))))


def _sources(tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = dict(_imported(tree))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner:
            what = _dotted(node, names)
            if what.rpartition(".")[2] in _METHODS or _is_source(what):
                yield node.lineno, what
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if alias.name == "*" and _is_source(f"{node.module}."):
                    yield node.lineno, f"{node.module}.*"


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that imports bind, and what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    """What an expression like np.random.default_rng stands for; names that no import binds stand for nothing."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return ""


def _is_source(what: str) -> bool:
    if what in _TYPES:
        return False
    if what.startswith("cryptography.") and what.rpartition(".")[2] in _OWN_KEYS:
        return True
    return any(what == source or what.startswith(f"{source}.") for source in _SOURCES)


def _look(subject: Sources, draws: Draws) -> Measurement:
    del draws
    found, excused = [], set()
    for module, text in sorted(subject.modules.items()):
        for line, what in ambient(text):
            if (module, what) in subject.declared:
                excused.add((module, what))
            else:
                found.append(f"{module}, line {line}: {what}")
    missing = not {("secprune.crypto.entropy", "secrets.token_bytes")} <= excused
    if found:
        says = f"Randomness is drawn where none may be: {'; '.join(found[:3])}."
    elif missing:
        says = "The module that is to be the only source of secrets does not draw from the operating system."
    else:
        says = (
            f"Of {len(subject.modules)} modules only {len(excused)} draw for themselves, as declared, and all secrets "
            f"come from the operating system's generator. Not visible in this: {HIDDEN}."
        )
    figures = (
        Figure(name="modules", value=len(subject.modules)),
        Figure(name="declared sources", value=len(excused)),
        Figure(name="undeclared sources", value=len(found)),
    )
    return Measurement(
        refuted=bool(found or missing), says=says, figures=figures, sample=len(subject.modules)
    )


_TWISTER = """
import numpy.random as npr
from secprune.crypto.expand import PIECE_WORDS

def mask(seed, words):
    return npr.Generator(npr.MT19937(seed)).integers(0, 2**64, words, dtype="uint64")
"""

RANDOMNESS: Check[Sources] = Check(
    id="randomness-source",
    title="Where randomness comes from",
    asks="Does anything draw masks, keys or noise from a generator that somebody could predict?",
    kind=Kind.RECORD,
    source="docs/architecture.md, rooms and import rules",
    measure=_look,
    mutations={
        "ambient-randomness": lambda subject: replace(
            subject, modules={**subject.modules, "secprune.protocols.additive.masks": _TWISTER}
        ),
    },
    repeatable=True,
)
