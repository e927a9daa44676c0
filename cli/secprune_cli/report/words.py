"""Words, symbols and numbers of the report: each status, mutation and technical term said once, in plain English.

A status is never told by colour alone: it has a word and a symbol too, and what did not conclude is never green.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from secprune.audit.check import Kind
from secprune.audit.claims import GREEN, Shown, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.audit.check import Check, Figure


class CheckText(Struct, frozen=True, kw_only=True):
    """What evidence does not hold of a check, because it is the same in every study.

    Attributes:
        title: for its heading.
        asks: the question that it answers, in plain words.
        source: paper and section, or where the argument is written down.
    """

    title: str
    asks: str
    source: str = ""

    @classmethod
    def of(cls, check: Check[Any]) -> CheckText:
        """The texts of a check that can be run."""
        return cls(title=check.title, asks=check.asks, source=check.source)


class Badge(NamedTuple):
    """How a status is shown: its word, a symbol for who sees no colours, and its colour's class in the style sheet."""

    word: str
    symbol: str
    colour: str


_SYMBOLS = {
    Status.PROVED: "■",
    Status.CONFORMS: "●",
    Status.NOT_REFUTED: "○",
    Status.ASSUMED: "◇",
    Status.NOT_RUN: "\N{EN DASH}",
    Status.NO_POWER: "?",
    Status.REFUTED: "✖",
}
_COLOURS = {Status.ASSUMED: "grey", Status.REFUTED: "red"}

MEANINGS = {
    Status.PROVED: "no exception exists, over everything that the proof covers, if its assumptions hold",
    Status.CONFORMS: "what was measured is what was promised, as closely as the test can tell",
    Status.NOT_REFUTED: "an attack that is able to find the fault did not find it; a better attack may",
    Status.ASSUMED: "nothing here can check it: it is the claim's own word",
    Status.NOT_RUN: "it was not checked this time: nothing is known",
    Status.NO_POWER: "the check overlooked a fault that was built in on purpose: nothing is known",
    Status.REFUTED: "the claim does not hold in this study",
}
"""Of every status of a claim, for a reader who meets it for the first time."""

SHOWN_MEANINGS = {
    Shown.SHOWN: "the attack was run and succeeded, as the threat model says it would",
    Shown.NOT_SHOWN: "the attack was run and did not succeed this time; that does not make it impossible",
    Shown.NOT_RUN: "the attack was not run; it is still taken to be possible",
}
"""Of every outcome of a declared weakness."""

_SHOWN = {
    Shown.SHOWN: Badge("SHOWN", "▲", "ink"),
    Shown.NOT_SHOWN: Badge("NOT SHOWN", "△", "grey"),
    Shown.NOT_RUN: Badge("NOT RUN", "\N{EN DASH}", "amber"),
}

KINDS = {
    Kind.PROOF: "a proof: every case that it covers was gone through",
    Kind.CONFORMANCE: "a conformance test: what was measured is compared with what was promised",
    Kind.ATTACK: "an attack that was really run",
    Kind.LOWER_BOUND: "a lower bound: the true value is at least this, and may be larger",
    Kind.ESTIMATE: "an estimate: likely near the true value, which may be larger or smaller",
    Kind.RECORD: "a check of the parties' own records",
}
"""Of every kind of check, how it concludes."""

MUTATIONS = {
    "cleartext": "what is sent is sent in the clear",
    "reused-mask": "a mask is used twice",
    "short-range": "masks come from too small a range",
    "float-masks": "masks are floating-point numbers",
    "noise-over-sqrt2": "noise is too small by the square root of two",
    "sigma-for-variance": "the standard deviation is taken for the variance",
    "clip-doubled": "one patient may weigh twice as much as agreed",
    "one-party-omits-noise": "one party leaves out its noise",
    "noise-omitted": "there is no noise at all",
    "sequential": "one patient's notes change how another's are read",
    "cohort-of-one": "a sum over a single client is released",
    "second-release": "a second sum that differs by one client is released",
    "forgotten-releases": "earlier releases are forgotten",
    "planted-leak": "an undeclared file or message was planted",
    "tampered-ledger": "a ledger was changed afterwards",
    "unpinned-model": "the model may be exchanged for another",
    "unchecked-rows": "the sums of rows are not checked",
    "classical-sealing": "messages are sealed without post-quantum cryptography",
    "ambient-randomness": "random numbers come from a source that can be predicted",
    "claims-less": "less noise is used than the task claims",
}
"""What a protection that was switched off means, by the mutation's name in the catalogue."""

GLOSSARY = (
    (
        "pruning mask",
        (
            "For every number (weight) in a language model, whether to delete it. A hospital computes its mask from its own "
            "notes, so the mask says something about them."
        ),
    ),
    (
        "mask (of a secure sum)",
        "Random numbers that hide a message; they cancel out when all messages are added up.",
    ),
    (
        "secure sum",
        (
            "A way to add up the hospitals' numbers so that nobody sees a single hospital's. It hides the summands; it does "
            "not hide the sum, nor what the sum says."
        ),
    ),
    (
        "client, aggregator, coordinator",
        "A hospital; a server that adds up what it cannot read; who runs the study.",
    ),
    (
        "membership attack",
        "Trying to tell whether a given note was among those that were used. The usual yardstick for leakage.",
    ),
    (
        "AUC",
        "How often an attack ranks a note that was used above one that was not: 0.5 is guessing, 1.0 is always right.",
    ),
    (
        "TPR at 1% FPR",
        (
            "The share of used notes that an attack finds when it may accuse only one in a hundred others wrongly: guessing "
            "finds 1%. It shows whether a few people are exposed even where the average is not."
        ),
    ),
    (
        "epsilon (differential privacy)",
        (
            "A bound on how much any result can change because of one patient: the smaller, the better protected. It means "
            "nothing without saying who is protected (the unit), against whom, and delta."
        ),
    ),
    (
        "control, mutation",
        (
            "The same check of a system in which one protection was switched off on purpose. A check that does not notice "
            "is not able to notice, and counts for nothing."
        ),
    ),
    (
        "NO POWER",
        (
            "A check did not notice a fault that was built in on purpose, so that its finding no fault means nothing. It is "
            "not a pass."
        ),
    ),
)
"""Ten terms that the report cannot do without."""


def badge(status: Status | Shown) -> Badge:
    """How to show the status of a claim or check, or the outcome of a declared weakness."""
    if isinstance(status, Shown):
        return _SHOWN[status]
    colour = "green" if status in GREEN else _COLOURS.get(status, "amber")
    return Badge(status.value, _SYMBOLS[status], colour)


def size(number: int) -> str:
    """Bytes for people: exact below ten thousand, else three digits of a decimal unit."""
    if number < 10_000:
        return f"{number:,} B"
    scaled, unit = number / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if scaled < 999.5:
            break
        scaled, unit = scaled / 1000, larger
    return f"{scaled:.3g} {unit}" if scaled < 999.5 else f"{scaled:,.0f} {unit}"


def decimal(number: float) -> str:
    """A figure with three or four digits that matter, without an exponent where that can be read."""
    if not math.isfinite(number):
        return "infinite" if number > 0 else str(number)
    if number == int(number) and abs(number) < 1e9:
        return f"{int(number):,}"
    if abs(number) >= 1000:
        return f"{number:,.0f}" if abs(number) < 1e9 else f"{number:.3g}"
    return f"{number:.3f}" if abs(number) >= 0.01 else f"{number:.2g}"


def interval(figure: Figure) -> str:
    """Its 95% confidence interval, or what there is of it."""
    low, high = figure.low, figure.high
    if low is None and high is None:
        return "\N{EN DASH}"
    if high is None and low is not None:
        return f"at least {decimal(low)}"
    if low is None and high is not None:
        return f"at most {decimal(high)}"
    return f"{decimal(low or 0.0)} to {decimal(high or 0.0)}"


def listed(words: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def plural(number: int, one: str) -> str:
    """As in "1 client" or "2 clients"."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
