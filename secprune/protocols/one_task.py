"""A study's name stands for one task: what proves that a coordinator has signed two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.crypto.envelope import open_envelope
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.types import TaskSignature

if TYPE_CHECKING:
    from secprune.task import Task


def other_task(task: Task, envelope: bytes) -> str | None:
    """The id of another task that the same coordinator has signed for the same study, if the envelope shows one.

    None for anything else: anybody can write anything into an exchange.
    """
    keys = {task.coordinator.name: task.coordinator.signing_key}
    try:
        _, signed = open_envelope(envelope, TaskSignature, signing_keys=keys)
    except (RemoteMisbehaviourError, RecursionError):
        return None
    is_other = signed.study == task.study and signed.task_id != task.task_id
    return signed.task_id if is_other else None
