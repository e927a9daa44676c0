"""The heads of ledgers: a party posts its own when its part of a round has ended, and keeps those of others.

Whoever has kept the head of a ledger can tell later if entries before it were altered or removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.exchange.api import Topic
from secprune.messages.ledger import LedgerHead
from secprune.parties.session import PHASE_OF

if TYPE_CHECKING:
    from secprune.parties.session import Session


def witness(session: Session) -> None:
    """Record the heads that others have posted so far, then post this party's own for this round, once.

    It waits for nobody. Those who end a round later are witnessed in the next one, or when a command is run again.
    """
    index = session.round.index
    if index > 0:
        _keep_others(session.at_round(index - 1))
    _keep_others(session)
    if session.sent(LedgerHead) is None:
        entries, head = session.journal.ledger_head()
        message = LedgerHead(task_id=session.round.task_id, round=index, entries=entries, head=head)
        session.journal.checkpoint(outgoing=[session.outgoing(message)])
    phase = PHASE_OF[LedgerHead]
    for sent in session.journal.outbox():
        if sent.phase == phase:
            session.exchange.post(Topic(session.round.task_id, index, phase), sent.envelope)


def _keep_others(session: Session) -> None:
    phase = PHASE_OF[LedgerHead]
    there = dict(session.exchange.messages(Topic(session.round.task_id, session.round.index, phase)))
    for received in session.read(LedgerHead, again=True):
        if received.sender != session.name and not received.contradicts and received.digest in there:
            session.journal.witness(phase, received.sender, there[received.digest])
