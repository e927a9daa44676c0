"""The coordinator: makes the task, closes the round, puts the sum together, writes the pruned model.

It learns the task, and the sum of one cohort's reports, once; nothing of a single client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from secprune.errors import (
    ConfigurationError,
    LocalMisuseError,
    RemoteMisbehaviourError,
    TooFewPartiesError,
)
from secprune.messages.types import AggregateShare, CloseRound, Cohort, CountedReport, Vote
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.parties.release import record_release
from secprune.parties.session import REPORT_OF
from secprune.parties.sums import COUNTS_FILE, open_sum_writer
from secprune.protocols.additive.aggregate import AggregateReader, unshard
from secprune.protocols.agreement import intersection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secprune.parties.session import Patience, Received, Session

Members = tuple[CountedReport, ...]
M = TypeVar("M", Vote, Cohort, AggregateShare)


class RoundResult(Struct, frozen=True, kw_only=True):
    """What was summed, over whom; the sum lies in the party's own directory, by round.

    Attributes:
        task_id: of the task.
        rounds: how many, all of them or one.
        cohort: clients counted in every one of these rounds that they take part in.
        cohort_sizes: clients counted in each round.
        refused: by client, why its report was not counted.
        seconds: by what was done.
    """

    task_id: str
    rounds: int
    cohort: tuple[str, ...]
    cohort_sizes: tuple[int, ...]
    refused: dict[str, str]
    seconds: dict[str, float]


class Coordinator:
    """The coordinator at work on one round.

    Args:
        session: its open directory.
        close_after_s: how long reports are waited for; then the round goes on without the missing ones.
        progress: told about long work.
    """

    def __init__(
        self, session: Session, *, close_after_s: float | None = None, progress: Progress = silent
    ) -> None:
        self._session, self._progress = session, progress
        self._close_after_s = close_after_s
        self._releasers = session.task.releasers
        self._reported: set[str] = set()
        self._votes: dict[str, Vote] = {}
        self._cohorts: dict[str, Members] = {}
        self._shares: dict[str, AggregateShare] = {}

    def run(self, patience: Patience) -> RoundResult:
        """Drive the round until the sum is on disk.

        Raises:
            TooFewPartiesError: the aggregators accept too few reports in common.
            RemoteMisbehaviourError: an aggregator contradicts itself or the others, or the shares do not add
                up to a sum of honest reports; nothing is written.
            NotReadyError: patience ran out.
        """
        self._session.send()
        while True:
            moved = self.look()
            self._check_votes()
            heard = self._votes, self._cohorts, self._shares  # an exchange may show a later one first
            if all(name in messages for messages in heard for name in self._releasers):
                return self._combine(self._agreed_members())
            if not moved:
                self._session.check_abandoned()
                self._close_if_due(patience.waited_s)
                patience.wait(self.waiting_for())

    def waiting_for(self) -> str:
        """What the coordinator waits for, for people."""
        if len(self._votes) == len(self._releasers):
            return "aggregate shares of " + ", ".join(a for a in self._releasers if a not in self._shares)
        missing = [c for c in self._session.round.clients if c not in self._reported]
        if missing:
            return "reports of " + ", ".join(missing)
        return "votes of " + ", ".join(a for a in self._releasers if a not in self._votes)

    def look(self) -> bool:
        """Read what is new in the exchange; whether there was anything."""
        moved = False
        for report in self._session.read(REPORT_OF[self._session.task.protocol.name]):
            self._reported.add(report.sender)
            self._progress("reports", len(self._reported), len(self._session.round.clients))
            moved = True
        for vote in self._from_releasers(Vote):
            self._votes[vote.sender] = vote.message
            moved = True
        for cohort in self._from_releasers(Cohort):
            self._cohorts[cohort.sender] = cohort.message.members
            moved = True
        for share in self._from_releasers(AggregateShare):
            self._shares[share.sender] = share.message
            moved = True
        return moved

    def _from_releasers(self, kind: type[M]) -> Iterator[Received[M]]:
        """What those sent who release shares in this task; nobody else's word on the cohort counts."""
        for received in self._session.read_one_each(kind):
            if received.sender in self._releasers:
                yield received
            else:
                self._session.journal.note(received.sender, "sent what only others send in this task")

    def _close_if_due(self, waited_s: float) -> None:
        if self._close_after_s is None or waited_s < self._close_after_s or self._votes:
            return
        if any(m.phase == "close" for m in self._session.journal.outbox()):
            return
        round_ = self._session.round
        close = self._session.outgoing(CloseRound(**round_.names))
        self._session.journal.checkpoint(outgoing=[close])
        self._session.send()

    def _check_votes(self) -> None:
        if len(self._votes) < len(self._releasers):
            return
        members = intersection([vote.accepted for vote in self._votes.values()])
        if len(members) < self._session.task.protocol.min_clients:
            counted = {m.client for m in members}
            missing = tuple(c for c in self._session.round.clients if c not in counted)
            reasons = "".join(f"; {c} was refused: {reason}" for c, reason in self._refusals().items())
            raise TooFewPartiesError(
                f"{len(members)} reports are accepted by all aggregators, {self._session.task.protocol.min_clients} are needed; "
                f"missing: {', '.join(missing)}{reasons}",
                missing=missing,
                hint="nothing was released; make a new task when the missing clients are ready",
            )

    def _refusals(self) -> dict[str, str]:
        return {refused.client: refused.reason for vote in self._votes.values() for refused in vote.refused}

    def _agreed_members(self) -> Members:
        members = intersection([self._votes[a].accepted for a in self._releasers])
        for releaser in self._releasers:
            if not members == self._cohorts[releaser] == self._shares[releaser].members:
                raise RemoteMisbehaviourError(
                    f"{releaser} released a sum over another cohort than all aggregators agreed on",
                    party=releaser,
                    hint="no counts were written; compare the aggregators' records of this round",
                )
        return members

    def _combine(self, members: Members) -> RoundResult:
        session, round_, watch = self._session, self._session.round, Stopwatch()
        readers = [
            AggregateReader(round_, name, self._shares[name], session.identity) for name in self._releasers
        ]
        with watch.phase("combine"), open_sum_writer(session, cohort=len(members)) as writer:
            for chunk in round_.layout.chunks:
                shares = [
                    reader.open(
                        chunk, session.exchange.get_chunk(self._shares[name].parcel.chunks[chunk.index])
                    )
                    for name, reader in zip(self._releasers, readers, strict=True)
                ]
                writer.write(chunk, unshard(chunk, shares, payload=round_.payload, cohort_size=len(members)))
                self._progress("putting the sum together", chunk.index + 1, len(round_.layout.chunks))
        record_release(session, [m.client for m in members])
        return RoundResult(
            task_id=round_.task_id,
            rounds=1,
            cohort=tuple(m.client for m in members),
            cohort_sizes=(len(members),),
            refused=self._refusals(),
            seconds=watch.seconds,
        )


def require_counts(session: Session) -> None:
    """Refuse to go on without counts.

    Raises:
        ConfigurationError: this task sums something else.
        LocalMisuseError: `run` has not written them yet.
    """
    if session.task.privacy.payload != "counts":
        raise ConfigurationError(
            "this task sums statistics, and there will be no counts of votes",
            hint="select from its sums, which stand in the same directory",
        )
    if not (session.work / COUNTS_FILE).exists():
        raise LocalMisuseError("there are no counts yet", hint="run `secprune coordinator run` first")
