"""The agreed mask of a round, on its way from the coordinator to the clients (iterative schedule only).

It is part of the study's public outcome, so it travels in the clear, signed. A client checks that it prunes
exactly as many weights as the task says; it cannot check that it is the top-k of the counts, which it does
not see (docs/attacks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.errors import ConfigurationError, LocalMisuseError, RemoteMisbehaviourError
from secprune.files import read_bytes, write_atomically
from secprune.messages.types import RoundOutcome
from secprune.packing import CHUNK_BYTES
from secprune.storage.masks import MaskFile, write_masks

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from secprune.parties.session import Patience, Session

AGREED_FILE = "agreed-mask.safetensors"


def publish_outcome(session: Session, masks: Iterable[tuple[str, npt.NDArray[np.bool_]]]) -> None:
    """Post the agreed mask of this round. Run by the coordinator; the same mask gives the same bytes."""
    round_, path = session.round, session.work / AGREED_FILE
    write_masks(path, masks, round_.matrices, task_id=round_.task_id)
    data = read_bytes(path, what="the agreed mask")
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    digests = tuple(session.exchange.put_chunk(piece) for piece in pieces)
    message = RoundOutcome(**round_.names, chunks=digests)
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
    if not path.exists():
        while (received := next(iter(session.read_one_each(RoundOutcome)), None)) is None:
            session.check_abandoned()
            patience.wait(f"the agreed mask of round {round_.index}")
        if len(received.message.chunks) > 2 + mask_bytes(session) // CHUNK_BYTES:
            raise RemoteMisbehaviourError("the agreed mask is too large", party=received.sender)
        data = b"".join(session.exchange.get_chunk(digest) for digest in received.message.chunks)
        write_atomically(path, data)
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
