"""A round of `pairwise` in memory: the real states and the real cryptography, no files and no processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import msgspec
import numpy as np

from secprune.crypto.entropy import random_bytes
from secprune.crypto.identity import Identity
from secprune.errors import SecpruneError
from secprune.ids import sha256
from secprune.messages.codec import encode
from secprune.messages.pairwise import KeyAdvert, KeyList, ShareBundle, ShareList, SurvivorList
from secprune.messages.types import CountedReport
from secprune.packing import pack, unpack
from secprune.protocols.api import Round
from secprune.protocols.pairwise import aggregator, client, unmask
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.masks import Masking
from secprune.protocols.pairwise.terms import Terms
from secprune.storage.keyfile import card_of
from secprune.task import MatrixSpec, ModelSpec, PrivacySpec, ProtocolSpec, PruningSpec, Task

STEPS = ("keys", "shares", "reports", "consents", "reveals")
NO_DIGEST = "sha256:" + "0" * 64


@cache
def card(role, name):
    """The card of a party; the same one in all rounds, which saves most of the time of a small round."""
    return card_of(Identity.generate(random_bytes), role=role, name=name)


def make_round(clients, *, min_clients=3, rows=5, columns=8, nonce="0" * 32, index=0):
    """A task with one small matrix, and its round."""
    names = [f"clinic-{number:03d}" for number in range(clients)]
    roles = [*(("client", name) for name in names), ("aggregator", "adder"), ("coordinator", "hq")]
    parties = tuple(card(role, name) for role, name in roles)
    task = Task(
        study="test",
        nonce=nonce,
        protocol=ProtocolSpec(name="cleartext", min_clients=min_clients),
        pruning=PruningSpec(sparsity="1/2", sequence_length=8, max_windows=1),
        privacy=PrivacySpec(),
        model=ModelSpec(
            name="m",
            weights_digest=NO_DIGEST,
            tokenizer_digest=NO_DIGEST,
            matrices=(MatrixSpec(name="block.0.a.weight", rows=rows, columns=columns),),
        ),
        parties=parties,
    )
    return Round.of(task, index)


def by_client(shown):
    """The members of a list as a mapping."""
    return {m.client: m.report for m in shown.members}


@dataclass
class ClientParty:
    """One client with its state, what it has sent, and its pruning mask."""

    terms: Terms
    bits: np.ndarray  # (rows, columns)
    state: client.State = field(default_factory=client.Idle)
    sent: dict = field(default_factory=dict)  # by step: the message
    parcels: dict = field(default_factory=dict)  # by receiver

    def take(self, event):
        """Take an event; checkpoint as JSON and back, as a party that was killed does; act."""
        transition = client.step(self.terms, self.state, event, random_bytes)
        self.state = msgspec.json.decode(msgspec.json.encode(transition.state), type=client.State)
        for action in transition.actions:
            self._act(action)

    def _act(self, action):
        names = {"task_id": self.terms.round.task_id, "round": self.terms.round.index}
        match action:
            case client.Advertise():
                self.sent["keys"] = KeyAdvert(**names, share_key=action.share_key, mask_key=action.mask_key)
            case client.Distribute():
                self.parcels = dict(action.parcels)
                self.sent["shares"] = ShareBundle(
                    **names, keys=action.keys, commitment=action.commitment, parcels=()
                )
            case client.Submit():
                self.sent["reports"] = self.report()
            case client.GiveConsent():
                self.sent["consents"] = action.survivors
            case client.RevealShares():
                self.sent["reveals"] = action

    def report(self):
        """Masked words of all chunks."""
        round_ = self.terms.round
        masking = Masking(round_, Binding(round_, self.state.keys), client.masks_of(self.terms, self.state))
        chunks = []
        for chunk in round_.layout.chunks:
            bits = self.bits[chunk.first_row : chunk.end_row]
            words = pack(bits, base=chunk.slab.base, digits=chunk.slab.digits)
            masking.put_on(chunk, words)
            chunks.append(words)
        return chunks

    def digest(self, step):
        """What names this client's message of a step."""
        message = self.sent[step]
        if step == "reports":
            return sha256(b"".join(words.tobytes() for words in message))
        return sha256(encode(message))


class PairwiseRound:
    """All parties of one round. `drops[client] = step`: the client sends nothing from that step on."""

    def __init__(self, clients, drops=None, *, seed=0, **options):
        self.round = make_round(clients, **options)
        task = self.round.task
        generator = np.random.default_rng(seed)
        self.names, self.drops = task.names("client"), drops or {}
        rows, columns = task.model.matrices[0].rows, task.model.matrices[0].columns
        self.clients = {}
        for name in self.names:
            scores = generator.random((rows, columns))
            bits = (scores.argsort(axis=1).argsort(axis=1) < columns // 2).astype(np.uint8)
            self.clients[name] = ClientParty(self.terms(name), bits)
        self.server_terms = self.terms("adder")
        self.server = aggregator.CollectingKeys()
        self.lists = {}

    def terms(self, me):
        return Terms(round=self.round, me=me, min_clients=self.round.task.protocol.min_clients)

    def takes_part(self, name, step):
        return name not in self.drops or STEPS.index(step) < STEPS.index(self.drops[name])

    def feed(self, event):
        transition = aggregator.step(self.server_terms, self.server, event)
        self.server = msgspec.json.decode(msgspec.json.encode(transition.state), type=aggregator.State)
        for action in transition.actions:
            self.lists[type(action.message).__name__] = action.message

    def close(self):
        if step := aggregator.present_step(self.server):
            self.feed(aggregator.Closed(step))

    def members(self, kind):
        return by_client(self.lists[kind])

    # ---- the events that each list makes at a client; `shown` is another list, by a lying aggregator
    def keys_listed(self, name, shown=None):
        shown = shown or self.lists["KeyList"]
        members = by_client(shown)
        return client.KeysListed(
            digest=aggregator.list_digest(shown),
            members=members,
            adverts={other: self.clients[other].sent["keys"] for other in members if other in self.clients},
            own=self.clients[name].digest("keys"),
        )

    def shares_listed(self, name, shown=None):
        shown = shown or self.lists["ShareList"]
        members = by_client(shown)
        there = [other for other in members if other in self.clients]
        return client.SharesListed(
            digest=aggregator.list_digest(shown),
            keys=shown.keys,
            members=members,
            bundles={other: self.clients[other].sent["shares"] for other in there},
            parcels={
                other: self.clients[other].parcels[name]
                for other in there
                if name in self.clients[other].parcels
            },
            own=self.clients[name].digest("shares"),
        )

    def survivors_listed(self, name, shown=None):
        shown = shown or self.lists["SurvivorList"]
        return client.SurvivorsListed(
            digest=aggregator.list_digest(shown),
            shares=shown.shares,
            members=by_client(shown),
            own=self.clients[name].digest("reports"),
        )

    def list_of(self, kind, names, follows=""):
        """A list that names the messages of these clients, whether or not the aggregator published it."""
        what = {"KeyList": "keys", "ShareList": "shares", "SurvivorList": "reports"}[kind]
        members = tuple(
            CountedReport(client=name, report=self.clients[name].digest(what)) for name in sorted(names)
        )
        head = {"task_id": self.round.task_id, "round": self.round.index, "members": members}
        if kind == "KeyList":
            return KeyList(**head)
        if kind == "ShareList":
            return ShareList(**head, keys=follows or aggregator.list_digest(self.lists["KeyList"]))
        return SurvivorList(**head, shares=follows or aggregator.list_digest(self.lists["ShareList"]))

    # ---- steps
    def advertise(self):
        for name in self.names:
            if self.takes_part(name, "keys"):
                self.clients[name].take(client.Begin())
                self.feed(aggregator.Arrived("keys", name, self.clients[name].digest("keys")))
        self.close() if isinstance(self.server, aggregator.CollectingKeys) else None

    def share(self):
        for name in self.members("KeyList"):
            if self.takes_part(name, "shares"):
                self.clients[name].take(self.keys_listed(name))
                bundle = self.clients[name].sent["shares"]
                self.feed(
                    aggregator.Arrived("shares", name, self.clients[name].digest("shares"), bundle.keys)
                )
        self.close() if isinstance(self.server, aggregator.CollectingShares) else None

    def report(self):
        for name in self.members("ShareList"):
            if self.takes_part(name, "reports"):
                self.clients[name].take(self.shares_listed(name))
                follows = self.clients[name].state.shares
                self.feed(aggregator.Arrived("reports", name, self.clients[name].digest("reports"), follows))
        self.close() if isinstance(self.server, aggregator.CollectingReports) else None

    def consent(self):
        consenting = [name for name in self.members("SurvivorList") if self.takes_part(name, "consents")]
        for name in consenting:
            self.clients[name].take(self.survivors_listed(name))
            self.feed(aggregator.ConsentArrived(name, self.clients[name].sent["consents"]))
        for name in consenting:
            if self.takes_part(name, "reveals"):
                for other in consenting:
                    self.clients[name].take(client.ConsentSeen(other, self.clients[other].sent["consents"]))

    def reveal(self):
        for name in self.names:
            revealed = self.clients[name].sent.get("reveals")
            if revealed is not None:
                self.feed(aggregator.RevealArrived(name, revealed.survivors, revealed.shares))
        if not isinstance(self.server, aggregator.Enough):
            self.close()

    def until(self, step):
        """All steps before this one; returns itself."""
        plays = (self.advertise, self.share, self.report, self.consent, self.reveal)
        for play in plays[: STEPS.index(step)]:
            play()
        return self

    def run(self):
        """All steps; returns the counts, or None where the round ended without a sum."""
        for play in (self.advertise, self.share, self.report, self.consent, self.reveal):
            if isinstance(self.server, aggregator.Failed):
                return None
            play()
        return self.counts() if isinstance(self.server, aggregator.Enough) else None

    def masks_left(self):
        """What the aggregator recovers."""
        return unmask.masks_left(
            self.server_terms,
            self.server,
            adverts={name: self.clients[name].sent["keys"] for name in self.server.advertised},
            bundles={name: self.clients[name].sent["shares"] for name in self.server.shared},
            parcel=lambda sender, receiver: self.clients[sender].parcels[receiver],
        )

    def counts(self):
        left = self.masks_left()
        masking = Masking(self.round, Binding(self.round, self.server.keys), left)
        found = []
        for chunk in self.round.layout.chunks:
            total = np.zeros(chunk.shape, np.uint64)
            for name in self.server.reported:
                total += self.clients[name].sent["reports"][chunk.index]
            masking.take_off(chunk, total)
            rows = chunk.end_row - chunk.first_row
            found.append(unpack(total, base=chunk.slab.base, digits=chunk.slab.digits, rows=rows))
        return np.concatenate(found)

    def expected(self):
        """Counts of the survivors' masks, in cleartext."""
        return np.sum([self.clients[name].bits for name in self.server.reported], axis=0)


def refused(action):
    """The error that an action ends in."""
    try:
        action()
    except SecpruneError as error:
        return error
    raise AssertionError("nothing was refused")
