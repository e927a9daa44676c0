"""What the aggregator of `pairwise` sees of a client before it takes the masks off: through the states of the real clients.

Two rounds of one task are run up to the masked reports, each with keys and seeds of its own. The aggregator sees the masked
words; with a client on its side it takes that client's mask of the pair off as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from secprune.audit.check import Check, Kind
from secprune.audit.sums.rounds import words_of
from secprune.audit.sums.share_view import half_range
from secprune.audit.sums.views import compare_views
from secprune.ids import sha256
from secprune.messages.codec import encode
from secprune.messages.pairwise import KeyAdvert, KeyList, ShareBundle, ShareList
from secprune.messages.types import CountedReport
from secprune.protocols.api import Round
from secprune.protocols.pairwise import client
from secprune.protocols.pairwise.aggregator import list_digest
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Masking
from secprune.protocols.pairwise.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from secprune.audit.draws import Draws
    from secprune.audit.sums.rounds import AuditRound
    from secprune.audit.sums.views import Seen
    from secprune.packing import Chunk, Words
    from secprune.protocols.pairwise.masks import Mask

Action = TypeVar("Action", client.Advertise, client.Distribute, client.Submit)

SMALLEST = 4
"""Clients of a round in which one of them may work for the aggregator: below n/3."""


@dataclass(frozen=True, slots=True)
class MaskedClients:
    """A round whose clients know all their masks: their terms and states, by name."""

    round: Round
    terms: Mapping[str, Terms]
    states: Mapping[str, client.Masked]

    def masks(self, name: str) -> list[Mask]:
        """All masks of one client's words."""
        return client.masks_of(self.terms[name], self.states[name])

    @property
    def binding(self) -> Binding:
        """What the masks are bound to."""
        return Binding(self.round, next(iter(self.states.values())).keys)


def masked_clients(round_: Round, entropy: Callable[[int], bytes]) -> MaskedClients:
    """Let the real clients of a round exchange keys and shares until they can write their reports."""
    names = round_.clients
    terms = {name: Terms(round_, name, round_.task.protocol.min_clients) for name in names}
    states: dict[str, client.State] = {}

    def take(name: str, event: client.Event, action: type[Action]) -> Action:
        found = client.step(terms[name], states.get(name, client.Idle()), event, entropy)
        states[name] = found.state
        (taken,) = (one for one in found.actions if isinstance(one, action))
        return taken

    adverts, bundles, parcels = {}, {}, {}
    for name in names:
        keys = take(name, client.Begin(), client.Advertise)
        adverts[name] = KeyAdvert(**round_.names, share_key=keys.share_key, mask_key=keys.mask_key)
    key_list = KeyList(**round_.names, members=_members(adverts))
    for name in names:
        members = {member.client: member.report for member in key_list.members}
        event = client.KeysListed(list_digest(key_list), members, adverts, members[name])
        shares = take(name, event, client.Distribute)
        parcels[name] = shares.parcels
        bundles[name] = ShareBundle(
            **round_.names, keys=shares.keys, commitment=shares.commitment, parcels=()
        )
    share_list = ShareList(**round_.names, keys=list_digest(key_list), members=_members(bundles))
    for name in names:
        members = {member.client: member.report for member in share_list.members}
        for_me = {other: sent[name] for other, sent in parcels.items() if name in sent}
        listed = client.SharesListed(
            list_digest(share_list), share_list.keys, members, bundles, for_me, members[name]
        )
        take(name, listed, client.Submit)
    masked = {name: state for name, state in states.items() if isinstance(state, client.Masked)}
    return MaskedClients(round_, terms, masked)


def _members(messages: Mapping[str, KeyAdvert] | Mapping[str, ShareBundle]) -> tuple[CountedReport, ...]:
    return tuple(
        CountedReport(client=name, report=sha256(encode(message)))
        for name, message in sorted(messages.items())
    )


def two_rounds(audit: AuditRound, entropy: Callable[[int], bytes]) -> tuple[MaskedClients, MaskedClients]:
    """Two rounds of one task, each with what its clients draw for it."""
    first, second = (Round.of(audit.round.task, index) for index in range(2))
    return masked_clients(first, entropy), masked_clients(second, entropy)


def put_on(clients: MaskedClients, masks: Sequence[Mask], chunk: Chunk, words: Words) -> None:
    """Add masks to words, as a client does."""
    Masking(clients.round, clients.binding, masks).put_on(chunk, words)


@dataclass(frozen=True, slots=True)
class PairwiseMasking:
    """Masked reports of `pairwise`.

    Attributes:
        audit: the round.
        rounds: two of them, with the audit's draws.
        put_on: adds masks to the words of a chunk.
        reports: pairs of reports to look at, of each message.
    """

    audit: AuditRound
    rounds: Callable[[AuditRound, Callable[[int], bytes]], tuple[MaskedClients, MaskedClients]] = two_rounds
    put_on: Callable[[MaskedClients, Sequence[Mask], Chunk, Words], None] = put_on
    reports: int = 6

    def messages(self) -> tuple[Words, Words]:
        """Masks of no votes and of all votes."""
        chunk = self.audit.chunk
        empty = np.zeros((chunk.end_row - chunk.first_row, chunk.slab.columns), np.uint8)
        return words_of(self.audit, empty), words_of(self.audit, empty + np.uint8(1))

    def as_seen(self, message: Words) -> Words:
        """Words are not scaled."""
        return message

    def see(self, one: Words, other: Words, draws: Draws) -> Seen:
        """What the aggregator sees, alone and with a client."""
        reporting, *_, colluder = self.audit.clients
        alone, helped = [], []
        for clients, words in zip(self.rounds(self.audit, draws.entropy), (one, other), strict=True):
            self.put_on(clients, clients.masks(reporting), self.audit.chunk, words)
            alone.append(words.copy())
            # What the colluder puts on for this pair is what takes the reporting client's mask off.
            shared = [mask for mask in clients.masks(colluder) if reporting in {mask.first, mask.second}]
            self.put_on(clients, shared, self.audit.chunk, words)
            helped.append(words)
        return {
            "the aggregator": (alone[0], alone[1]),
            "the aggregator with a client": (helped[0], helped[1]),
        }


# ---- mutations
def _no_masks(clients: MaskedClients, masks: Sequence[Mask], chunk: Chunk, words: Words) -> None:
    put_on(clients, masks[:0], chunk, words)


def _short_masks(clients: MaskedClients, masks: Sequence[Mask], chunk: Chunk, words: Words) -> None:
    for mask in masks:
        stream = np.zeros(chunk.shape, np.uint64)
        put_on(clients, [replace(mask, added=True)], chunk, stream)
        words += half_range(stream) if mask.added else -half_range(stream)


def _one_round_twice(
    audit: AuditRound, entropy: Callable[[int], bytes]
) -> tuple[MaskedClients, MaskedClients]:
    clients = masked_clients(audit.round, entropy)
    return clients, clients


PAIRWISE_VIEW: Check[PairwiseMasking] = Check(
    id="pairwise-view",
    title="What the aggregator sees of a masked report",
    asks="Can the aggregator, alone or with a client, tell what a hospital's masked report says before the sum?",
    kind=Kind.CONFORMANCE,
    source="Bonawitz et al. 2017 (doi 10.1145/3133956.3133982), lemma 6.1; docs/pairwise.md",
    measure=compare_views,
    mutations={
        "cleartext": lambda subject: replace(subject, put_on=_no_masks),
        "reused-mask": lambda subject: replace(subject, rounds=_one_round_twice),
        "short-range": lambda subject: replace(subject, put_on=_short_masks),
    },
    repeatable=True,
)
