"""What a party's directory and the exchange say about a round, without taking part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.messages.pairwise import MaskedReport
from secprune.messages.types import Cohort, Report, Vote
from secprune.parties.aggregator import Aggregator
from secprune.parties.client import masks_are_ready
from secprune.parties.coordinator import COUNTS_FILE, Coordinator
from secprune.parties.pairwise.aggregator import PairwiseAggregator
from secprune.parties.pairwise.client import PairwiseClient

if TYPE_CHECKING:
    from secprune.parties.session import Session


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
    kind = MaskedReport if session.task.protocol.name == "pairwise" else Report
    reported = sorted({received.sender for received in session.read(kind, again=True)})
    voted = sorted({received.sender for received in session.read(Vote, again=True)})
    cohorts = {r.sender: tuple(m.client for m in r.message.members) for r in session.read(Cohort, again=True)}
    agreed = len(cohorts) == len(session.task.names("aggregator")) and len(set(cohorts.values())) == 1
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
    last = {"client": "reports", "aggregator": "shares"}
    if session.task.protocol.name == "pairwise":
        last["client"] = "reveals"
    for index in range(session.task.rounds):
        here = session.at_round(index)
        if session.card.role == "coordinator":
            done = (here.work / COUNTS_FILE).exists()
        else:
            done = any(m.phase == last[session.card.role] for m in here.journal.outbox())
        if not done:
            return index
    return session.task.rounds - 1


def _standing(session: Session, reported: list[str]) -> tuple[str, str]:
    phases = {message.phase for message in session.journal.outbox()}
    progress = f"{len(reported)} of {session.task.n_max} clients reported"
    match session.card.role:
        case "client" if session.task.protocol.name == "pairwise" and masks_are_ready(session):
            done = "reveals" in phases
            waiting = "nothing" if done else PairwiseClient(session).waiting_for()
            standing = "shares revealed" if done else "taking part", waiting
        case "client" if session.name in reported:
            standing = "report submitted", "the aggregators"
        case "client" if masks_are_ready(session):
            standing = "pruning masks ready, not submitted", "secprune client submit"
        case "client":
            standing = "not pruned yet", "secprune client prune"
        case "aggregator" if "shares" in phases:
            standing = "share released", "nothing"
        case "aggregator" if session.task.protocol.name == "pairwise":
            standing = progress, PairwiseAggregator(session).waiting_for()
        case "aggregator":
            standing = progress, Aggregator(session, arrived=reported).waiting_for()
        case "coordinator" if (session.work / COUNTS_FILE).exists():
            standing = "counts ready", "secprune coordinator select"
        case "coordinator":
            coordinator = Coordinator(session)
            coordinator.look()
            standing = progress, coordinator.waiting_for()
    return standing
