"""Which sums may be released: together, two sums can be about a single client (`privacy.differencing`).

An aggregator or key holder remembers what it has released. A client remembers in which sums over a model it has
been counted, from the cohorts that those who release signed; so it need not believe that they keep to the rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from secprune.crypto.envelope import open_envelope
from secprune.errors import ConfigurationError, RemoteMisbehaviourError
from secprune.exchange.api import Topic
from secprune.ids import short
from secprune.messages.types import Cohort
from secprune.parties.one_task import check_one_task
from secprune.privacy.differencing import isolated
from secprune.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secprune.parties.session import Session
    from secprune.storage.journal import Release


def part_of_model(task: Task, index: int) -> str:
    """What a round sums over: "" for all matrices of the model, else one of its decoder blocks."""
    return f"block {task.blocks[index]}" if task.pruning.by_blocks else ""


def record_release(session: Session, members: Sequence[str]) -> None:
    """Remember that this round's share is about to be let go. Run by who releases, before it does."""
    part = part_of_model(session.task, session.round.index)
    session.journal.record_release(session.task.model.weights_digest, members, part=part)


def record_counted(session: Session, members: Sequence[str]) -> None:
    """Remember a sum that others can release now that this client has done its part. Run by a client, before it does."""
    session.journal.learn_release(
        session.task.model.weights_digest,
        session.round.task_id,
        session.round.index,
        sorted(members),
        part=part_of_model(session.task, session.round.index),
    )


def check_release_or_abandon(session: Session, members: Sequence[str]) -> None:
    """As `check_release`, before clients are asked for anything: a refusal leaves nothing behind but its reason.

    Raises:
        ConfigurationError: as there; everybody has been told.
        RemoteMisbehaviourError: likewise.
    """
    try:
        check_release(session, members)
    except (ConfigurationError, RemoteMisbehaviourError) as error:
        session.abandon(error.message)
        raise


def check_release(session: Session, members: Sequence[str]) -> None:
    """Refuse a sum that, together with earlier ones of other tasks over the same weights, gives somebody away.

    Unless this site's policy says `repeat_releases`, a second sum with any of the same clients is refused. With
    it, only one that makes a combination of sums possible which is about fewer than `min_clients` clients.

    Raises:
        ConfigurationError: it is refused.
        RemoteMisbehaviourError: the coordinator has signed another task of the same study.
    """
    check_one_task(session)
    earlier = _earlier(session)
    if not session.config.policy.repeat_releases:
        for other in earlier:
            both = sorted(set(other.members) & set(members))
            if both:
                raise ConfigurationError(
                    f"a sum over this model was released for task {short(other.task_id)} with {len(both)} of the "
                    f"same clients ({', '.join(both[:5])}); two sums can say more than each of them",
                    hint="if your site accepts that, set repeat_releases = true under [policy]; sums whose clients "
                    f"differ by fewer than {session.min_clients} are refused even then",
                )
    for cohorts in _by_part(session, earlier):
        alone = sorted(isolated(set(members), cohorts, fewer_than=session.min_clients))
        if alone:
            raise ConfigurationError(
                f"with the sums over this model that have been released, this one would say something about "
                f"{', '.join(alone[:5])} alone, fewer than {session.min_clients} clients",
                hint="no policy allows that; make a task with the same clients as before, or with others so that "
                f"at least {session.min_clients} differ",
            )


def check_participation(session: Session, rounds: Iterable[int] | None = None) -> None:
    """Refuse to give votes on a model again, where they could be told from earlier ones. Run by a client, early.

    The cohort is not known yet, so all clients of the round stand for it; whoever releases checks the cohort.

    Args:
        session: the client's.
        rounds: to ask about; the session's own if not given. Of those it takes no part in there is nothing to refuse.

    Raises:
        ConfigurationError: this site's policy does not allow it.
        RemoteMisbehaviourError: the coordinator has signed another task of the same study.
    """
    check_one_task(session)
    learn_cohorts(session)
    for index in (session.round.index,) if rounds is None else rounds:
        here = session.at_round(index)
        if session.name in here.round.clients:
            _check_counted(here)


def _check_counted(session: Session) -> None:
    counted = [other for other in _earlier(session) if session.name in other.members]
    if counted and not session.config.policy.repeat_releases:
        raise ConfigurationError(
            f"this site's votes on this model are in a sum that was released for task {short(counted[0].task_id)}; "
            "two sums can say more than each of them",
            hint="if your site accepts that, set repeat_releases = true under [policy]",
        )
    if counted:
        check_release(session, session.round.clients)


def learn_cohorts(session: Session) -> None:
    """Remember this task, and the cohorts that were signed in earlier ones over the same model. Run by a client.

    They are read where this task's messages are; of a task that was run elsewhere nothing is learned.
    """
    journal = session.journal
    journal.keep_task(session.task.canonical)
    for text in journal.tasks():
        task = msgspec.json.decode(text, type=Task)
        if task.model.weights_digest == session.task.model.weights_digest:
            for index in range(task.rounds):
                for members in _signed_cohorts(session, task, index):
                    journal.learn_release(
                        task.model.weights_digest,
                        task.task_id,
                        index,
                        members,
                        part=part_of_model(task, index),
                    )


def _signed_cohorts(session: Session, task: Task, index: int) -> Iterable[list[str]]:
    """Cohorts with this client that anybody who releases has signed; one is enough to be careful."""
    keys = {name: task.party(name).signing_key for name in task.releasers}
    for _, data in session.exchange.messages(Topic(task.task_id, index, "cohorts")):
        try:
            _, cohort = open_envelope(data, Cohort, signing_keys=keys)
        except RemoteMisbehaviourError:
            continue  # whoever takes part in that task notes it
        members = [member.client for member in cohort.members]
        if (cohort.task_id, cohort.round) == (task.task_id, index) and session.name in members:
            yield sorted(members)


def _earlier(session: Session) -> list[Release]:
    """Sums of other tasks over any of the matrices of this round."""
    part, model = part_of_model(session.task, session.round.index), session.task.model.weights_digest
    return [
        other
        for other in (*session.journal.releases(model), *session.journal.counted(model))
        if other.task_id != session.round.task_id and (not part or other.part in {"", part})
    ]


def _by_part(session: Session, earlier: list[Release]) -> Iterable[list[set[str]]]:
    """Cohorts of sums over the same matrices, for each part of the model that this round is about."""
    part = part_of_model(session.task, session.round.index)
    parts = {part} if part else {other.part for other in earlier} - {""} or {""}
    for one in sorted(parts):
        yield [set(other.members) for other in earlier if other.part in {"", one}]
