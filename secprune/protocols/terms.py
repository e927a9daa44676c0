"""What a round with one aggregator is about, from the task and a party's own policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secprune.protocols.api import Round


@dataclass(frozen=True)
class OneAggregatorTerms:
    """The terms of one round, as one party sees them; each protocol adds its own rules.

    Attributes:
        round: task and number of the round.
        me: this party.
        min_clients: the smallest cohort, the larger of the task's and of this site's policy.
    """

    round: Round
    me: str
    min_clients: int

    @property
    def clients(self) -> tuple[str, ...]:
        """Clients of the round, in roster order; all parties derive them from the task, and no list of anybody's adds one."""
        return self.round.clients

    @property
    def aggregator(self) -> str:
        """The one aggregator."""
        return self.round.task.names("aggregator")[0]
