"""Whether the coordinator shows everybody the same task: the signature that each party works under is posted.

A study's name stands for one task. Two different tasks under one name and one coordinator's key are evidence
against that coordinator, whoever posts them; nothing that anybody else signs could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.errors import RemoteMisbehaviourError
from secprune.exchange.api import Topic
from secprune.ids import sha256, short
from secprune.protocols.one_task import other_task

if TYPE_CHECKING:
    from secprune.parties.session import Session
    from secprune.task import Task


def study_topic(task: Task) -> Topic:
    """Where the signatures of all tasks of one study lie: a place that no task chooses."""
    name = b"secprune/study/v1\0" + task.coordinator.signing_key + task.study.encode()
    return Topic(sha256(name), 0, "tasks")


def check_one_task(session: Session) -> None:
    """Post the signature of this party's task, and compare it with those that others were given.

    An exchange that shows everybody only a part of what is posted can keep it from being found out.

    Raises:
        RemoteMisbehaviourError: the coordinator has signed another task for this study.
    """
    session.exchange.post(study_topic(session.task), session.task_signature)
    for _, envelope in session.exchange.messages(study_topic(session.task)):
        other = other_task(session.task, envelope)
        if other is None:
            continue
        coordinator = session.task.coordinator.name
        session.journal.note(
            coordinator, f"signed two different tasks of one study, the other is {short(other)}"
        )
        raise RemoteMisbehaviourError(
            f"{coordinator} signed two different tasks for the study {session.task.study!r}: {short(other)} and "
            f"{short(session.round.task_id)}",
            party=coordinator,
            hint="nothing is sent or released here; compare the task files with the other parties. A task that "
            "replaces another needs a study name of its own",
        )
