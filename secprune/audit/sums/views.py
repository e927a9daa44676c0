"""What coalitions see of a client's reports: the same for any message, and of two reports nothing but that they are two.

For each of two messages, one with no votes and one with all votes, many pairs of reports of one client are made: the first of a
pair holds this message, the second the other one. Then, for each coalition,

* the first reports are uniform, and those of one message cannot be told from those of the other;
* the difference of the two reports of a pair is uniform, so that it does not show how two messages differ;
* bits of the two agree half of the time.

Together all tests cry wrongly at most once in a million runs. They look at words one by one and in pairs, and cannot tell a
secret generator from one that the adversary can predict: that is the check `randomness-source`, and an assumption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from secprune.audit.check import Figure, Measurement
from secprune.audit.figures import proportion
from secprune.audit.sums.uniformity import coin_tail, same, together, told_apart, uniform

if TYPE_CHECKING:
    from secprune.audit.draws import Draws
    from secprune.audit.sums.uniformity import PValue
    from secprune.packing import Words

LEVEL = 1e-6
"""Probability of a false alarm in one run, all tests together."""

_ROUNDING = np.uint64(2)

Seen = dict[str, tuple["Words", "Words"]]
"""What each coalition sees of two reports of one client: by its name, of the first and of the second."""


class Viewed(Protocol):
    """A protocol with everything that a coalition can do to what it receives."""

    @property
    def reports(self) -> int:
        """Pairs of reports to look at, of each message."""

    def messages(self) -> tuple[Words, Words]:
        """One without votes, and one with all of them."""

    def as_seen(self, message: Words) -> Words:
        """What a message would look like to a coalition if nothing protected it."""

    def see(self, one: Words, other: Words, draws: Draws) -> Seen:
        """Two reports of one client, as coalitions see them, scaled to 64 bits."""


def compare_views(subject: Viewed, draws: Draws) -> Measurement:
    """Whether anything can be told from what coalitions see (see above)."""
    messages = subject.messages()
    looks = [subject.as_seen(message).reshape(-1) for message in messages]
    views: dict[str, tuple[list[Words], list[Words], list[Words], list[Words]]] = {}
    for world in (0, 1):
        for _ in range(subject.reports):
            seen = subject.see(messages[world].copy(), messages[1 - world].copy(), draws)
            for coalition, (first, second) in seen.items():
                of_coalition = views.setdefault(coalition, ([], [], [], []))
                of_coalition[world].append(first.reshape(-1))
                of_coalition[2 + world].append(second.reshape(-1))
    tests: list[PValue] = []
    right, asked, plain, differing, words = 0, 1, 0, 0, 0
    for coalition, lists in views.items():
        empty, full, after_empty, after_full = (np.stack(reports) for reports in lists)  # (reports, words)
        pairs = (empty - after_empty, full - after_full)
        tests += uniform(f"{coalition}, no votes", empty) + uniform(f"{coalition}, all votes", full)
        tests += same(f"{coalition}, no votes against all votes", empty, full)
        for name, pair in zip(("no votes first", "all votes first"), pairs, strict=True):
            tests += uniform(f"{coalition}, difference of two reports, {name}", pair)
        tests.append(together(f"{coalition}, two reports, no votes first", empty, after_empty))
        tests.append(together(f"{coalition}, two reports, all votes first", full, after_full))
        of_classifier = told_apart(empty, full)
        tests.append((f"{coalition}, classifier", coin_tail(*of_classifier)))
        if of_classifier[0] / of_classifier[1] >= right / asked:
            right, asked = of_classifier
        words = max(words, 4 * empty.size)
        plain = max(plain, sum(_matches(view, look) for view, look in zip((empty, full), looks, strict=True)))
        apart = looks[0] - looks[1]
        differing = max(differing, _matches(pairs[0], apart) + _matches(pairs[1], -apart))
    worst, p = min(tests, key=lambda test: test[1])
    alarm = min(1.0, p * len(tests))
    return Measurement(
        refuted=alarm < LEVEL,
        says=_words(alarm, worst, len(views)),
        figures=(
            Figure(name="probability that honest reports look so odd", value=alarm),
            proportion("which of two messages, guessed rightly by the best coalition", right, asked),
            Figure(name="words that are seen as they are", value=plain / (words / 2)),
            Figure(name="words whose change from report to report is seen", value=differing / (words / 2)),
            Figure(name="tests", value=len(tests)),
        ),
        sample=words,
    )


def _matches(views: Words, expected: Words) -> int:
    """How many words are what is expected, but for rounding."""
    error = views - expected
    return int(np.count_nonzero(np.minimum(error, -error) <= _ROUNDING))


def _words(alarm: float, worst: str, coalitions: int) -> str:
    if alarm < LEVEL:
        return f"What is seen of a report depends on what is in it, or is not random: {worst}."
    return (
        f"In {coalitions} views of reports nothing tells an empty mask from a full one, and two reports of a client "
        "show nothing of how they differ. Such tests cannot tell a generator that somebody can predict."
    )
