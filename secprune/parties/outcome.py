"""What a round ended with, on its way from the coordinator to the clients, who need it for the next one.

It is part of the study's public outcome, so it travels in the clear, signed. In the iterative schedule it is the agreed
mask of a block: a client checks that it prunes exactly as many weights as the task says; it cannot check that it is the
top-k of the counts, which it does not see (docs/attacks.md). With recentring it is the noised sum of statistics of the
first round: whatever stands in it, the second round is as private as the task says, only less useful.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.files import read_bytes, write_atomically
from secprune.messages.types import RoundOutcome
from secprune.packing import CHUNK_BYTES
from secprune.parties.sums import SUMS_FILE
from secprune.pruning.tensorfile import TensorFile
from secprune.storage.masks import MaskFile, write_masks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from secprune.parties.session import Patience, Session

AGREED_FILE = "agreed-mask.safetensors"


def publish_outcome(session: Session, masks: Iterable[tuple[str, npt.NDArray[np.bool_]]]) -> None:
    """Post the agreed mask of this round. Run by the coordinator; the same mask gives the same bytes."""
    path = session.work / AGREED_FILE
    write_masks(path, masks, session.round.matrices, task_id=session.round.task_id)
    _publish(session, path)


def publish_sums(session: Session) -> None:
    """Post the noised sums of this round. Run by the coordinator."""
    _publish(session, session.work / SUMS_FILE)


def _publish(session: Session, path: Path) -> None:
    data = read_bytes(path, what="the outcome of the round")
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    digests = tuple(session.exchange.put_chunk(piece) for piece in pieces)
    message = RoundOutcome(**session.round.names, chunks=digests)
    session.journal.checkpoint(outgoing=[session.outgoing(message)])
    session.send()


def mask_bytes(session: Session) -> int:
    """Bytes of a round's masks, one bit a weight, without the header of the file (below one chunk)."""
    return sum(m.rows * -(-m.columns // 8) for m in session.round.matrices)


def await_outcome(session: Session, patience: Patience) -> MaskFile:
    """Wait for the agreed mask of this round and keep it. Run by a client.

    Raises:
        RemoteMisbehaviourError: the coordinator signed two, or one that prunes another number of weights.
        NotReadyError: patience ran out.
    """
    round_, path = session.round, session.work / AGREED_FILE
    _await(session, patience, path, "the agreed mask", size=mask_bytes(session))
    try:
        agreed = MaskFile(path, round_.matrices, task_id=round_.task_id)
    except (ConfigurationError, LocalMisuseError) as error:
        path.unlink()  # it may have been damaged here since; what the coordinator signed can be read again
        raise RemoteMisbehaviourError(
            f"the agreed mask is no mask of this round: {error.message}",
            party=session.task.coordinator.name,
            hint="run the same command again; if this stays, ask the coordinator how it came about",
        ) from error
    for m in round_.matrices:
        pruned = int(np.count_nonzero(agreed.rows(m.name)))
        if pruned != session.task.pruning.final_k(m.rows, m.columns):
            raise RemoteMisbehaviourError(
                f"the agreed mask of {m.name} prunes {pruned} weights",
                party=session.task.coordinator.name,
                hint="do not go on; ask the coordinator how it came about",
            )
    return agreed


def await_sums(session: Session, patience: Patience) -> Path:
    """Wait for the noised sums of this round and keep them. Run by a client of a task with recentring.

    Raises:
        RemoteMisbehaviourError: the coordinator signed two, or something else than sums of this round.
        NotReadyError: patience ran out.
    """
    path, vectors = session.work / SUMS_FILE, session.task.vectors
    _await(session, patience, path, "the sums", size=8 * sum(vectors.values()))
    fault = ""
    try:
        file = TensorFile(path)
        cohort = file.metadata.get("cohort", "")
        if file.metadata.get("task_id") != session.round.task_id or not cohort.isdecimal() or len(cohort) > 6:
            fault = "they do not say of which task and cohort they are"
        elif any(name not in file.names or file.entry(name) != ("I64", (n,)) for name, n in vectors.items()):
            fault = "they do not have the form of this task"
        elif not session.task.protocol.min_clients <= int(cohort) <= len(session.round.clients):
            fault = f"they are of {cohort} clients"
    except ConfigurationError as error:
        fault = error.message
    if fault:
        path.unlink()  # it may have been damaged here since; what the coordinator signed can be read again
        raise RemoteMisbehaviourError(
            f"the sums are none of this round: {fault}",
            party=session.task.coordinator.name,
            hint="run the same command again; if this stays, ask the coordinator how they came about",
        )
    return path


def _await(session: Session, patience: Patience, path: Path, what: str, *, size: int) -> None:
    """Wait for what the coordinator posts of this round, about so many bytes, and keep it."""
    if path.exists():
        return
    while (received := next(iter(session.read_one_each(RoundOutcome)), None)) is None:
        session.check_abandoned()
        patience.wait(f"{what} of round {session.round.index}")
    if len(received.message.chunks) > 2 + size // CHUNK_BYTES:
        raise RemoteMisbehaviourError(f"{what} of the round: too large", party=received.sender)
    data = b"".join(session.exchange.get_chunk(digest) for digest in received.message.chunks)
    write_atomically(path, data)
