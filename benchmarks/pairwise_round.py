"""A round of `pairwise` in memory, with the real states and the real keys, up to what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from benchmarks.study import Shapes, Study
from secprune.crypto.entropy import random_bytes
from secprune.ids import sha256
from secprune.messages.codec import encode
from secprune.messages.pairwise import (
    KeyAdvert,
    KeyList,
    MaskedReport,
    ParcelDigest,
    ShareBundle,
    ShareList,
    ShareParcel,
    SurvivorList,
)
from secprune.protocols.api import Round
from secprune.protocols.pairwise import aggregator, client, unmask
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.terms import Terms
from secprune.task import ProtocolSpec

if TYPE_CHECKING:
    from secprune.crypto.seal import Context
    from secprune.protocols.pairwise.masks import Mask


class PairwiseStudy(Study):
    """A task of `pairwise` over `shapes`, with one aggregator, and everybody's keys."""

    def __init__(self, shapes: Shapes, *, clients: int) -> None:
        super().__init__(shapes, clients=clients)
        self.task = msgspec.structs.replace(
            self.task,
            protocol=ProtocolSpec(name="pairwise", min_clients=3),
            parties=tuple(party for party in self.task.parties if party.name != "adder-1"),
        )
        self.round = Round.of(self.task)
        self.clients = self.task.names("client")


@dataclass
class PairwiseRound:
    """One round in memory: every client has dealt its shares; what is measured goes on from there."""

    study: PairwiseStudy
    terms: dict[str, Terms] = field(init=False)
    server: aggregator.State = field(default_factory=aggregator.CollectingKeys)
    states: dict[str, client.State] = field(default_factory=dict)
    adverts: dict[str, KeyAdvert] = field(default_factory=dict)
    bundles: dict[str, ShareBundle] = field(default_factory=dict)
    parcels: dict[tuple[str, str], ShareParcel] = field(default_factory=dict)
    lists: dict[type, KeyList | ShareList | SurvivorList] = field(default_factory=dict)

    def __post_init__(self) -> None:
        round_ = self.study.round
        self.terms = {
            name: Terms(round=round_, me=name, min_clients=3) for name in (*self.study.clients, "adder-0")
        }
        for name in self.study.clients:
            advertise = self._step(name, client.Begin())
            assert isinstance(advertise, client.Advertise)
            self.adverts[name] = KeyAdvert(
                **round_.names, share_key=advertise.share_key, mask_key=advertise.mask_key
            )
            self.feed(aggregator.Arrived("keys", name, digest(self.adverts[name])))
        keys = self.lists[KeyList]
        members = {m.client: m.report for m in keys.members}
        for name in self.study.clients:
            listed = client.KeysListed(
                aggregator.list_digest(keys), members, self.adverts, digest(self.adverts[name])
            )
            deal = self._step(name, listed)
            assert isinstance(deal, client.Distribute)
            parcels = []
            for peer, parcel in sorted(deal.parcels.items()):
                self.parcels[name, peer] = parcel
                parcels.append(ParcelDigest(receiver=peer, parcel=digest(parcel)))
            self.bundles[name] = ShareBundle(
                **round_.names, keys=deal.keys, commitment=deal.commitment, parcels=tuple(parcels)
            )
        for name in self.study.clients:
            bundle = self.bundles[name]
            self.feed(aggregator.Arrived("shares", name, digest(bundle), bundle.keys))

    def _step(self, name: str, event: client.Event) -> client.Action | None:
        transition = client.step(self.terms[name], self.states.get(name, client.Idle()), event, random_bytes)
        self.states[name] = transition.state
        return transition.actions[0] if transition.actions else None

    def feed(self, event: aggregator.Event) -> None:
        """An event for the aggregator."""
        transition = aggregator.step(self.terms["adder-0"], self.server, event)
        self.server = transition.state
        for action in transition.actions:
            self.lists[type(action.message)] = action.message

    def shares_listed(self, name: str) -> client.SharesListed:
        """What a client is shown before it masks its words."""
        shares = self.lists[ShareList]
        assert isinstance(shares, ShareList)
        return client.SharesListed(
            digest=aggregator.list_digest(shares),
            keys=shares.keys,
            members={m.client: m.report for m in shares.members},
            bundles=self.bundles,
            parcels={peer: self.parcels[peer, name] for peer in self.study.clients if peer != name},
            own=digest(self.bundles[name]),
        )

    def open_shares(self, name: str) -> client.Masked:
        """Open what the others dealt to a client: its state with all masks. Its present state stays."""
        masked = client.step(
            self.terms[name], self.states[name], self.shares_listed(name), random_bytes
        ).state
        assert isinstance(masked, client.Masked)
        return masked

    def masks(self, name: str, masked: client.Masked) -> list[Mask]:
        """All masks of a client."""
        return client.masks_of(self.terms[name], masked)

    def reveal(self, reports: dict[str, str]) -> dict[str, client.RevealShares]:
        """From the digests of the survivors' reports to enough shares; what each survivor reveals."""
        shares = aggregator.list_digest(self.lists[ShareList])
        for name in self.study.clients:
            self.states[name] = self.open_shares(name)
        for name, digest in reports.items():
            self.feed(aggregator.Arrived("reports", name, digest, shares))
        self.feed(aggregator.Closed("reports"))
        survivors = self.lists[SurvivorList]
        listed = aggregator.list_digest(survivors)
        members = {m.client: m.report for m in survivors.members}
        for name, own in members.items():
            self._step(name, client.SurvivorsListed(listed, shares, members, own))
            self.feed(aggregator.ConsentArrived(name, listed))
        revealed = {}
        for name in members:
            for other in members:
                action = self._step(name, client.ConsentSeen(other, listed))
                if isinstance(action, client.RevealShares):
                    revealed[name] = action
        for name, action in revealed.items():
            self.feed(aggregator.RevealArrived(name, listed, action.shares))
        assert isinstance(self.server, aggregator.Enough)
        return revealed

    def masks_left(self) -> list[Mask]:
        """What the aggregator recovers: self masks of survivors, pair masks of clients that dropped out."""
        assert isinstance(self.server, aggregator.Enough)
        return unmask.masks_left(
            self.terms["adder-0"],
            self.server,
            adverts=self.adverts,
            bundles=self.bundles,
            parcel=lambda sender, receiver: self.parcels[sender, receiver],
        )


def round_context(round_: Round, purpose: str, name: str, follows: str) -> Context:
    """See `parties.pairwise.client`: what a report, or revealed shares, are bound to; `follows` is a list."""
    return Binding(round_, follows).context(purpose, name, "adder-0")


def digest(message: KeyAdvert | ShareBundle | ShareParcel | MaskedReport) -> str:
    return sha256(encode(message))
