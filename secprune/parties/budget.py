"""A client's privacy budget: what its patients have cost over all tasks, and whether one more is allowed.

What a task costs is its rho (zero-concentrated differential privacy), which adds up over tasks; the sum is turned into
epsilon at the policy's `max_delta` and must not exceed its `max_epsilon`. It is counted for each unit, patient or
document, by its id: another export of the same patients, or one more note, does not start anew. It is about this party's
directory only; a site that takes part from two of them has two budgets.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.crypto.entropy import random_bytes
from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.parties.config import PARTY_FILE
from secprune.privacy.accounting import epsilon_of_rho

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.parties.session import Session

_KEY_BYTES = 32


class TaskSpending(Struct, frozen=True, kw_only=True):
    """What one task has cost: `epsilon` at the policy's delta, of each of `units` patients or documents."""

    task_id: str
    epsilon: float
    units: int
    datasets: tuple[str, ...]


class BudgetStatus(Struct, frozen=True, kw_only=True):
    """How much of the budget is gone; `epsilon` of the unit that has cost most, all its tasks together."""

    max_epsilon: str
    max_delta: str
    epsilon: float
    tasks: tuple[TaskSpending, ...]


def reserve(session: Session, *, dataset: str, units: Sequence[str], rho: Fraction) -> None:
    """Record that this task costs each of these units `rho`, if the budget allows it.

    Run by a client, before it computes anything from a note. Again for the same task, it records only units that are new to it.

    Args:
        session: of the client.
        dataset: digest of the data set.
        units: ids of the patients, or of the documents; only keyed digests of them are kept.
        rho: of all rounds of the task together.

    Raises:
        ConfigurationError: it would exceed the budget, or the same task was recorded with another rho; nothing is
            recorded.
        LocalMisuseError: no units, or a rho that is not above 0.
    """
    _check_request(units, rho)

    def allow(others: Fraction, before: Fraction | None) -> None:
        if before is not None and before != rho:
            raise ConfigurationError(
                f"this task was recorded to cost rho {float(before):.6g}, not {float(rho):.6g}: a task has one cost",
                hint="go on with the release of secprune that this task was begun with",
            )
        _check(session, others, rho)

    session.journal.spend(
        dataset=dataset, units=units, rho=rho, allow=allow, make_key=lambda: random_bytes(_KEY_BYTES)
    )


def check_budget(session: Session, *, dataset: str, units: Sequence[str], rho: Fraction) -> float:
    """As `reserve`, but record nothing; returns the epsilon that would be spent afterwards.

    Raises:
        ConfigurationError: as there.
        LocalMisuseError: likewise.
    """
    _check_request(units, rho)
    return _check(session, session.journal.spent(dataset=dataset, units=units), rho)


def budget_status(session: Session) -> BudgetStatus:
    """What this client's patients have cost so far."""
    policy = session.config.policy
    spendings, largest = session.journal.spendings()
    delta = _delta(session)
    return BudgetStatus(
        max_epsilon=policy.max_epsilon,
        max_delta=policy.max_delta,
        epsilon=epsilon_of_rho(largest, delta),
        tasks=tuple(
            TaskSpending(
                task_id=one.task_id,
                epsilon=epsilon_of_rho(one.rho, delta),
                units=one.units,
                datasets=one.datasets,
            )
            for one in spendings
        ),
    )


def _check_request(units: Sequence[str], rho: Fraction) -> None:
    if not units:
        raise LocalMisuseError("there is nobody in this data set", hint="look at `notes` in the party file")
    if rho <= 0:
        raise LocalMisuseError(f"a private sum costs something, not rho {rho}")


def _check(session: Session, others: Fraction, rho: Fraction) -> float:
    """Epsilon of `rho` on top of what was spent.

    Raises:
        ConfigurationError: more than the policy allows.
    """
    policy, delta = session.config.policy, _delta(session)
    after = epsilon_of_rho(others + rho, delta)
    if Fraction(after) > Fraction(policy.max_epsilon):
        raise ConfigurationError(
            f"patients of this data set have cost epsilon {epsilon_of_rho(others, delta):.4g} in earlier tasks, this one "
            f"asks for {epsilon_of_rho(rho, delta):.4g}, together {after:.4g}; this site's budget is "
            f"{policy.max_epsilon} (at delta {policy.max_delta})",
            hint="ask the coordinator for a task with more noise, leave out patients who took part before, or raise "
            f"max_epsilon under [policy] in {PARTY_FILE} if your site agrees",
        )
    return after


def _delta(session: Session) -> Fraction:
    delta = Fraction(session.config.policy.max_delta)
    if not 0 < delta < 1:
        raise ConfigurationError(
            f"max_delta = {session.config.policy.max_delta} is not a probability above 0 and below 1",
            hint=f"set it under [policy] in {PARTY_FILE}, for instance to 0.00001",
        )
    return delta
