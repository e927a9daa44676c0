"""What a round of `pairwise` is about, from the task and a party's own policy, and the checks that follow.

Thresholds are counted against the clients of the round, which every party derives from the task that the coordinator has
signed and every site accepted, and never against a list of the aggregator's: with T = floor(2n/3) + 1 of n clients, two
different lists of survivors cannot both get T consents unless more than n/3 of these clients sign both. Without layer
sampling they are the roster; with it, those that have the round's block.

Source: Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), sec. 6 and theorem 6.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from secprune.errors import RemoteMisbehaviourError
from secprune.ids import sha256
from secprune.protocols.pairwise import graph
from secprune.protocols.terms import OneAggregatorTerms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True)
class Terms(OneAggregatorTerms):
    """The terms of one round, as one party sees them."""

    @property
    def threshold(self) -> int:
        """Clients that must take part in every step."""
        return 2 * len(self.clients) // 3 + 1

    def neighbours(self, advertised: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Who shares with whom among the clients of a list of keys: all with each other, up to 100.

        The seed of the draw is a digest of all advertisements, to which every client has contributed.
        """
        seed = sha256(b"secprune/pairwise/graph/v1\0" + msgspec.json.encode(sorted(advertised.items())))
        drawn = bytes.fromhex(seed.removeprefix("sha256:"))
        return graph.neighbours(tuple(advertised), drawn, self._graph(len(advertised)))

    def share_threshold(self, advertised: int) -> int:
        """Shares that recover a secret, of as many clients in the list of keys."""
        drawn = self._graph(advertised)
        return self.threshold if drawn.complete else drawn.threshold

    def _graph(self, advertised: int) -> graph.Parameters:
        return graph.parameters(advertised, len(self.clients))

    def is_first(self, one: str, other: str) -> bool:
        """Whether `one` stands before `other` in the roster; it adds the mask of the pair."""
        return self._place[one] < self._place[other]

    def in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Sorted by place in the roster, each once."""
        return tuple(sorted(set(names), key=self._place.__getitem__))

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.clients)}

    # ---- a client's checks of the aggregator's lists
    def check_list(
        self, what: str, members: Mapping[str, str], *, among: Collection[str], smallest: int = 0
    ) -> None:
        """Refuse a list with strangers in it, or with too few members.

        Raises:
            RemoteMisbehaviourError: the aggregator is to blame; honest software ends the round instead.
        """
        if strangers := sorted(set(members) - set(among)):
            raise self.equivocation(f"the list of {what} names {', '.join(strangers)}, who cannot be in it")
        due = max(self.threshold, smallest)
        if len(members) < due:
            raise self.equivocation(f"the list of {what} has {len(members)} clients, {due} are the least")

    def check_own(self, what: str, members: Mapping[str, str], own: str) -> None:
        """Refuse a list that has another message of this client than it sent.

        Raises:
            RemoteMisbehaviourError: the aggregator is to blame.
        """
        if members[self.me] != own:
            raise self.equivocation(f"the list of {what} has another message of this client than it sent")

    def equivocation(self, what: str) -> RemoteMisbehaviourError:
        """The aggregator showed something that honest software never shows."""
        return RemoteMisbehaviourError(
            what,
            party=self.aggregator,
            hint="this site reveals nothing more in this round; keep the exchange's files as evidence",
        )
