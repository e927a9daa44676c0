"""Hospitals of a demo that drop out of `pairwise`: real processes, killed (SIGKILL) at a step that is certain.

A process that is killed when its message is seen may already have sent the next one. So a hospital that is to
drop out is given a window on the exchange, a directory of links that lacks one kind of message: the
aggregator's list that it would have to see to go on. It sends what the step asks for, waits, and is killed.
The other parties read its messages where they read all others, and nothing in them knows of this.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, get_args

from msgspec import Struct

from secprune.crypto.envelope import open_envelope
from secprune.errors import LocalMisuseError
from secprune.exchange.api import Phase, Topic
from secprune.exchange.directory import DirectoryExchange
from secprune.exchange.layout import topic_folder
from secprune.messages.pairwise import KeyAdvert, MaskedReport, ShareBundle
from secprune.parties.one_task import study_topic

if TYPE_CHECKING:
    from pathlib import Path

    from secprune.task import Task

Sent = type[KeyAdvert | ShareBundle | MaskedReport]
_PHASES: dict[Sent, Phase] = {KeyAdvert: "keys", ShareBundle: "bundles", MaskedReport: "masked-reports"}


class DropOut(Struct, frozen=True, kw_only=True):
    """A hospital that drops out: after which of its messages, and what it never sees."""

    client: str
    after: Sent
    unseen: Phase
    step: str


_STEPS: tuple[tuple[Sent, Phase, str], ...] = (
    (ShareBundle, "bundle-lists", "after its shares, before its masked report"),
    (MaskedReport, "survivors", "after its masked report, before it revealed its shares"),
    (KeyAdvert, "key-lists", "after its keys, before its shares"),
)


def choose_dropouts(clients: list[str], count: int, *, protocol: str, schedule: str) -> list[DropOut]:
    """The last hospitals drop out, each at another step as long as there are any.

    Raises:
        LocalMisuseError: another protocol or schedule, or more than may be missing.
    """
    if not count:
        return []
    if protocol != "pairwise":
        why = (
            "the demo kills hospitals under pairwise only, not under bfv"
            if protocol == "bfv"
            else f"under {protocol} a report is one message; no hospital can drop out on the way"
        )
        raise LocalMisuseError(
            why,
            hint="add --protocol pairwise, or leave out --dropouts",
        )
    if schedule == "iterative":
        raise LocalMisuseError(
            "a hospital that is gone has no masks of later decoder blocks to compare with",
            hint="leave out --dropouts or --schedule iterative",
        )
    most, least = (len(clients) - 1) // 3, 2 * len(clients) // 3 + 1
    if count > most:
        raise LocalMisuseError(
            f"{count} of {len(clients)} hospitals cannot drop out: {least} must take part in every step",
            hint=f"use --clients {3 * count + 1} or more, or --dropouts {most}",
        )
    steps = itertools.cycle(_STEPS)
    return [
        DropOut(client=client, after=after, unseen=unseen, step=step)
        for client, (after, unseen, step) in zip(reversed(clients[-count:]), steps, strict=False)
    ]


class Watch:
    """Sees who has sent what into a demo's exchange, as everybody who can read it does.

    Args:
        exchange: the directory.
        task: whose first round it is about.
    """

    def __init__(self, exchange: Path, task: Task) -> None:
        self._root, self._task = exchange, task
        self._exchange = DirectoryExchange(exchange)
        self._keys = {name: task.party(name).signing_key for name in task.names("client")}
        self._senders: dict[Sent, dict[str, str]] = {kind: {} for kind in _PHASES}

    def senders(self, kind: Sent) -> set[str]:
        """The clients that have sent a message of this kind."""
        known = self._senders[kind]
        topic = Topic(self._task.task_id, 0, _PHASES[kind])
        for digest, data in self._exchange.messages(topic, known=known):
            known[digest], _ = open_envelope(data, kind, signing_keys=self._keys)
        return set(known.values())

    def make_window(self, window: Path, unseen: Phase) -> None:
        """Make a directory that looks like the exchange, but never shows messages of one kind."""
        topics = [Topic(self._task.task_id, 0, phase) for phase in get_args(Phase) if phase != unseen]
        places = [topic_folder(topic).rstrip("/") for topic in (*topics, study_topic(self._task))]
        for name in ("chunks", *places):
            (self._root / name).mkdir(parents=True, exist_ok=True)
            (window / name).parent.mkdir(parents=True, exist_ok=True)
            (window / name).symlink_to(self._root / name, target_is_directory=True)
