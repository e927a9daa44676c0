"""What a party's directory and the exchange say about a round, without taking part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.messages.types import Cohort, Vote
from secprune.parties.aggregator import Aggregator
from secprune.parties.bfv.aggregator import BfvAggregator
from secprune.parties.bfv.client import BfvClient
from secprune.parties.bfv.key_holder import KeyHolder
from secprune.parties.coordinator import Coordinator
from secprune.parties.pairwise.aggregator import PairwiseAggregator
from secprune.parties.pairwise.client import PairwiseClient
from secprune.parties.report_words import contents_of, report_is_ready
from secprune.parties.session import REPORT_OF
from secprune.parties.sums import SUM_FILE

if TYPE_CHECKING:
    from secprune.parties.session import Session


_LAST: dict[str, dict[str, str]] = {
    "additive": {"client": "reports", "aggregator": "shares"},
    "cleartext": {"client": "reports", "aggregator": "shares"},
    "pairwise": {"client": "reveals", "aggregator": "shares"},
    "bfv": {"client": "linear-hashes", "aggregator": "shares", "key-holder": "partial-decryptions"},
}
"""The last message of each party in a round."""


class Incident(Struct, frozen=True, kw_only=True):
    """Something that should not have happened, and whom the evidence points to."""

    party: str
    what: str


class Status(Struct, frozen=True, kw_only=True):
    """Where a party stands."""

    role: str
    name: str
    study: str
    task_id: str
    round: int
    stands: str
    waiting_for: str
    reported: tuple[str, ...]
    voted: tuple[str, ...]
    cohort: tuple[str, ...] | None
    incidents: tuple[Incident, ...]


def status(session: Session) -> Status:
    """Look from this party's side at the first round that it has not finished, or at the last one."""
    session = session.at_round(_current_round(session))
    kind = REPORT_OF[session.task.protocol.name]
    reported = sorted({received.sender for received in session.read(kind, again=True)})
    voted = sorted({received.sender for received in session.read(Vote, again=True)})
    cohorts = {r.sender: tuple(m.client for m in r.message.members) for r in session.read(Cohort, again=True)}
    agreed = len(cohorts) == len(session.task.releasers) and len(set(cohorts.values())) == 1
    stands, waiting_for = _standing(session, reported)
    return Status(
        role=session.card.role,
        name=session.name,
        study=session.task.study,
        task_id=session.round.task_id,
        round=session.round.index,
        stands=stands,
        waiting_for=waiting_for,
        reported=tuple(reported),
        voted=tuple(voted),
        cohort=next(iter(cohorts.values())) if agreed else None,
        incidents=tuple(Incident(party=party, what=what) for party, what in session.journal.incidents()),
    )


def _current_round(session: Session) -> int:
    last = _LAST[session.task.protocol.name]
    if session.task.releasers != session.task.names("aggregator"):
        last = last | {"aggregator": "openings", "key-holder": "shares"}
    task, is_client = session.task, session.card.role == "client"
    rounds = task.client_rounds(session.name) if is_client else range(task.rounds)
    for index in rounds:
        here = session.at_round(index)
        if session.card.role == "coordinator":
            done = (here.work / SUM_FILE[here.task.privacy.payload]).exists()
        else:
            done = any(m.phase == last[session.card.role] for m in here.journal.outbox())
        if not done:
            return index
    return rounds[-1]


def _standing(session: Session, reported: list[str]) -> tuple[str, str]:
    """How far this party is in the round, and what it waits for."""
    progress = f"{len(reported)} of {len(session.round.clients)} clients reported"
    if session.card.role == "coordinator":
        payload = session.task.privacy.payload
        if (session.work / SUM_FILE[payload]).exists():
            return f"{'counts' if payload == 'counts' else 'sums'} ready", "secprune coordinator select"
        coordinator = Coordinator(session.at_round(session.round.index))  # which has read nothing yet
        coordinator.look()
        return progress, coordinator.waiting_for()
    if session.card.role == "client" and not report_is_ready(session) and session.name not in reported:
        return "not pruned yet", "secprune client prune"
    phases = {message.phase for message in session.journal.outbox()}
    match session.task.protocol.name:
        case "pairwise":
            return _pairwise_standing(session, phases, progress)
        case "bfv":
            return _bfv_standing(session, phases, progress)
        case _:
            return _additive_standing(session, phases, progress, reported)


def _additive_standing(
    session: Session, phases: set[str], progress: str, reported: list[str]
) -> tuple[str, str]:
    if session.card.role == "aggregator":
        if "shares" in phases:
            return "share released", "nothing"
        return progress, Aggregator(session, arrived=reported).waiting_for()
    if session.name in reported:
        return "report submitted", "the aggregators"
    return f"{contents_of(session).what} ready, not submitted", "secprune client submit"


def _pairwise_standing(session: Session, phases: set[str], progress: str) -> tuple[str, str]:
    if session.card.role == "aggregator":
        if "shares" in phases:
            return "share released", "nothing"
        return progress, PairwiseAggregator(session).waiting_for()
    if "reveals" in phases:
        return "shares revealed", "nothing"
    return "taking part", PairwiseClient(session).waiting_for()


def _bfv_standing(session: Session, phases: set[str], progress: str) -> tuple[str, str]:
    match session.card.role:
        case "client":
            client = BfvClient(session)
            if client.is_left_out:
                return "left out of the sum", "nothing"
            waiting = client.waiting_for()
            return "report answered for" if waiting == "nothing" else "taking part", waiting
        case "key-holder" if phases & {"shares", "partial-decryptions"}:
            return "sum opened", "nothing"
        case "key-holder":
            return progress, KeyHolder(session).waiting_for()
        case _:
            waiting = BfvAggregator(session).waiting_for()
            opened = "openings" in phases and waiting == "nothing"
            return "sum released" if opened else progress, waiting
