"""Whole rounds of `pairwise` with the real cryptography: the exact sum of the survivors, or no sum.

Dropouts at any step, and random orders of events: messages late, twice, out of order or lost, parties killed
before and after a checkpoint.
"""

from __future__ import annotations

import itertools
import random

import msgspec
import numpy as np
import pytest
from pairwise_round import STEPS, PairwiseRound

from secprune import packing
from secprune.crypto.entropy import random_bytes
from secprune.protocols.pairwise import aggregator, client, graph


def due(names, drops, *, threshold, min_clients=3):
    """What a round comes to: ("sum", survivors), or the step that fails and whom it names."""
    gone = {
        step: {c for c, when in drops.items() if STEPS.index(when) <= STEPS.index(step)} for step in STEPS
    }
    for step in ("keys", "shares", "reports"):
        least = max(threshold, min_clients) if step == "reports" else threshold
        if len(names) - len(gone[step]) < least:
            return step, gone[step]
    reported = set(names) - gone["reports"]
    for step in ("consents", "reveals"):
        if len(reported - gone[step]) < threshold:
            return step, reported & gone[step]
    return "sum", reported


def check(round_, drops):
    """Play a round; its outcome is the one that is due, bit for bit. Returns its kind."""
    counts = round_.run()
    what, who = due(round_.names, drops, threshold=round_.server_terms.threshold)
    if what == "sum":
        assert set(round_.server.reported) == who
        plain = np.sum([round_.clients[name].bits for name in who], axis=0)
        assert (counts == plain).all()
        assert counts.any()
        return what
    assert counts is None
    assert isinstance(round_.server, aggregator.Failed)
    assert (round_.server.step, set(round_.server.missing)) == (what, who)
    return what


@pytest.mark.parametrize("clients", [3, 4, 5])
def test_any_one_client_may_drop_out_at_any_step(clients):
    threshold = 2 * clients // 3 + 1
    assert check(PairwiseRound(clients), {}) == "sum"
    for place, step in itertools.product(range(clients), STEPS):
        drops = {f"clinic-{place:03d}": step}
        kind = check(PairwiseRound(clients, drops, seed=place), drops)
        assert kind == ("sum" if clients - 1 >= threshold else step)


def test_every_pattern_of_two_dropouts_among_five():
    """Two are more than the threshold of four bears, whenever they drop out."""
    names, kinds = [f"clinic-{place:03d}" for place in range(5)], []
    for pair in itertools.combinations(names, 2):
        for steps in itertools.product(STEPS, repeat=2):
            drops = dict(zip(pair, steps, strict=True))
            kinds.append(check(PairwiseRound(5, drops), drops))
    assert len(kinds) == 250
    assert "sum" not in kinds, "the last step needs four of five"


def test_every_pattern_among_four():
    kinds = []
    for steps in itertools.product([None, *STEPS], repeat=4):
        drops = {f"clinic-{place:03d}": step for place, step in enumerate(steps) if step}
        kinds.append(check(PairwiseRound(4, drops), drops))
    assert len(kinds) == 6**4
    assert kinds.count("sum") == 1 + 4 * 5
    assert set(kinds) == {"sum", *STEPS}


@pytest.mark.parametrize("steps", list(itertools.product(STEPS, repeat=2)))
def test_seven_clients_bear_two_dropouts_whenever_they_are(steps):
    drops = dict(zip(("clinic-001", "clinic-004"), steps, strict=True))
    assert check(PairwiseRound(7, drops), drops) == "sum"


def test_random_patterns_of_any_size_among_five():
    generator = random.Random(5)
    for seed in range(100):
        gone = generator.sample(range(5), generator.randint(2, 5))
        drops = {f"clinic-{place:03d}": generator.choice(STEPS) for place in gone}
        check(PairwiseRound(5, drops, seed=seed), drops)


def random_drops(generator, clients, most):
    gone = generator.sample(range(clients), generator.randint(0, most))
    return {f"clinic-{place:03d}": generator.choice(STEPS) for place in gone}


@pytest.mark.parametrize("seed", range(20))
def test_sixteen_clients_as_many_dropouts_as_the_threshold_bears(seed):
    drops = random_drops(random.Random(seed), 16, 16 - (2 * 16 // 3 + 1))
    assert check(PairwiseRound(16, drops, seed=seed), drops) == "sum"


def test_sixty_four_clients():
    drops = {f"clinic-{place:03d}": STEPS[place % 5] for place in range(0, 63, 3)}
    assert len(drops) == 21
    assert check(PairwiseRound(64, drops), drops) == "sum"


def test_a_hundred_and_one_clients_have_a_drawn_graph():
    drops = {f"clinic-{place:03d}": STEPS[1 + place % 4] for place in range(0, 100, 11)}
    round_ = PairwiseRound(101, drops, rows=1, columns=4)
    assert check(round_, drops) == "sum"
    degrees = {len(peers) for peers in round_.server_terms.neighbours(round_.server.advertised).values()}
    assert degrees == {graph.parameters(101).degree}
    assert max(degrees) < 100


@pytest.fixture
def small_graph(monkeypatch):
    monkeypatch.setattr(graph, "parameters", lambda *_: graph.Parameters(12, 7, complete=False))


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_graph_gives_the_exact_sum_with_dropouts(small_graph, seed):
    drops = random_drops(random.Random(seed), 24, 5)
    round_ = PairwiseRound(24, drops, seed=seed)
    assert check(round_, drops) == "sum"
    neighbours = round_.server_terms.neighbours(round_.server.advertised)
    assert {len(peers) for peers in neighbours.values()} == {12}
    for name in round_.server.reported:  # nobody holds a share of a client that is no neighbour
        revealed = round_.clients[name].sent.get("reveals")
        if revealed:
            subjects = {share.subject for share in revealed.shares}
            assert subjects == ({name, *neighbours[name]} & set(round_.server.shared))


def test_a_drawn_graph_waits_until_every_secret_has_its_holders(small_graph):
    """More than the threshold of consents and reveals are not enough if one client's neighbours are missing."""
    round_ = PairwiseRound(24).until("reveals")
    neighbours = round_.server_terms.neighbours(round_.server.advertised)
    missing = neighbours["clinic-000"][:7]  # leaves six of its thirteen holders
    for name in (name for name in round_.names if name not in missing):
        revealed = round_.clients[name].sent["reveals"]
        round_.feed(aggregator.RevealArrived(name, revealed.survivors, revealed.shares))
    assert len(round_.server.reveals) == 17 == round_.server_terms.threshold
    assert isinstance(round_.server, aggregator.CollectingReveals)
    revealed = round_.clients[missing[0]].sent["reveals"]
    round_.feed(aggregator.RevealArrived(missing[0], revealed.survivors, revealed.shares))
    while not isinstance(round_.server, aggregator.Enough):  # the missing ones are others' neighbours, too
        missing = missing[1:]
        revealed = round_.clients[missing[0]].sent["reveals"]
        round_.feed(aggregator.RevealArrived(missing[0], revealed.survivors, revealed.shares))
    assert (round_.counts() == round_.expected()).all()


def test_a_report_of_many_chunks(monkeypatch):
    monkeypatch.setattr(packing, "CHUNK_BYTES", 8 * 7)
    round_ = PairwiseRound(5, {"clinic-002": "reports"}, rows=120, columns=7)
    assert len(round_.round.layout.chunks) > 4
    assert check(round_, round_.drops) == "sum"


# ---- orders of events
class Schedule(PairwiseRound):
    """Parties that look at what is there in random order, some of it again and again, some of it never."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        super().__init__(5, seed=seed)
        lost = self.random.choice([0, 0, 0.02, 0.08])
        self.lost = {
            (name, what) for name in self.names for what in (*STEPS, *LISTS) if self.random.random() < lost
        }
        self.log = []  # everything that a client ever sent: (client, action)
        self.published = []
        self.pending = {}  # by client: actions whose checkpoint is written

    def hops(self):
        """All events that could happen now."""
        for name in self.names:
            yield name, "begin", None
            yield from ((name, kind, None) for kind in self.lists if (name, kind) not in self.lost)
            for other in self.names:
                sent = self.clients[other].sent
                if "consents" in sent and (other, "consents") not in self.lost:
                    yield name, "consent", other
                yield from (
                    ("adder", step, other)
                    for step in STEPS
                    if other == name and step in sent and (other, step) not in self.lost
                )

    def happen(self, who, what, other):
        if who != "adder":
            return self.at_client(who, self.client_event(who, what, other))
        party = self.clients[other]
        if what == "consents":
            event = aggregator.ConsentArrived(other, party.sent[what])
        elif what == "reveals":
            event = aggregator.RevealArrived(other, party.sent[what].survivors, party.sent[what].shares)
        else:
            follows = {"keys": "", "shares": getattr(party.sent[what], "keys", ""), "reports": party.follows}
            event = aggregator.Arrived(what, other, party.digest(what), follows[what])
        return self.at_server(event)

    def client_event(self, name, what, other):
        if what == "begin":
            return client.Begin()
        if what == "consent":
            return client.ConsentSeen(other, self.clients[other].sent["consents"])
        answered = dict(zip(LISTS, STEPS[:3], strict=True))[what]
        if answered not in self.clients[name].sent:
            return None  # it was not there when the list was made, and so is not in it
        make = {"KeyList": self.keys_listed, "ShareList": self.shares_listed}
        return make.get(what, self.survivors_listed)(name)

    def at_client(self, name, event):
        if event is None:
            return
        party = self.clients[name]
        transition = client.step(party.terms, party.state, event, random_bytes)
        if self.random.random() < 0.1:
            return  # killed before the checkpoint: nothing happened, and the event comes again
        stored = msgspec.json.encode(transition.state)
        party.state = msgspec.json.decode(stored, type=client.State)
        # Killed after the checkpoint, in the middle of the actions: all of them are repeated.
        for action in transition.actions * self.random.choice([1, 1, 2]):
            before = {
                step: party.digest(step) for step in ("keys", "shares", "reports") if step in party.sent
            }
            party._act(action)
            party.follows = getattr(party.state, "shares", "")
            assert all(party.digest(step) == digest for step, digest in before.items()), "not the same bytes"
            self.log.append((name, action))

    def at_server(self, event):
        transition = aggregator.step(self.server_terms, self.server, event)
        if self.random.random() < 0.1:
            return
        self.server = msgspec.json.decode(msgspec.json.encode(transition.state), type=aggregator.State)
        for action in transition.actions * self.random.choice([1, 1, 2]):
            self.lists[type(action.message).__name__] = action.message
            self.published.append(action.message)

    def play(self):
        for _ in range(self.random.choice([0, 40, 120])):
            hops = list(self.hops())
            self.happen(*self.random.choice(hops))
            if self.random.random() < 0.01:
                self.at_server(aggregator.Closed(self.random.choice(STEPS)))
        while not isinstance(self.server, aggregator.Enough | aggregator.Failed):
            present = aggregator.present_step(self.server)
            for _ in range(2):
                hops = list(self.hops())
                self.random.shuffle(hops)
                for hop in hops:
                    self.happen(*hop)
            unfinished = not isinstance(self.server, aggregator.Enough)
            if unfinished and aggregator.present_step(self.server) == present:
                self.at_server(aggregator.Closed(present))
        for hop in list(self.hops()):  # late events change nothing but add spare shares
            before = self.server
            self.happen(*hop)
            assert type(self.server) is type(before)
            assert isinstance(before, aggregator.Enough) or self.server == before
        return self.counts() if isinstance(self.server, aggregator.Enough) else None


LISTS = ("KeyList", "ShareList", "SurvivorList")


def check_transcript(schedule):
    """What holds whatever happened, of all that was ever sent."""
    for kind in LISTS:
        assert len({m for m in schedule.published if type(m).__name__ == kind}) <= 1
    for name in schedule.names:
        mine = [action for who, action in schedule.log if who == name]
        consented = {action.survivors for action in mine if isinstance(action, client.GiveConsent)}
        revealed = {action for action in mine if isinstance(action, client.RevealShares)}
        assert len(consented) <= 1
        assert len(revealed) <= 1, "a repeated reveal is the same one"
        for action in revealed:
            assert {action.survivors} == consented
            survivors, party = schedule.members("SurvivorList"), schedule.clients[name]
            assert name in survivors
            assert len({share.subject for share in action.shares}) == len(action.shares)
            for share in action.shares:
                assert share.share in party.kept[share.subject, share.subject in survivors], (
                    "the other secret"
                )


def remember_shares(schedule):
    """Note what each client holds, before it forgets: by subject and kind of secret."""
    real = schedule.at_client

    def watched(name, event):
        real(name, event)
        party = schedule.clients[name]
        for subject, held in getattr(party.state, "held", {}).items():
            party.kept.setdefault((subject, True), set()).add(held.self_mask)
            party.kept.setdefault((subject, False), set()).add(held.mask_secret)

    for party in schedule.clients.values():
        party.kept, party.follows = {}, ""
    schedule.at_client = watched


def test_three_hundred_random_orders_of_events_with_kills_and_losses():
    ends = {"sum": 0, "fewer": 0, "no sum": 0}
    for seed in range(300):
        schedule = Schedule(seed)
        remember_shares(schedule)
        counts = schedule.play()
        check_transcript(schedule)
        if counts is None:
            assert isinstance(schedule.server, aggregator.Failed)
            ends["no sum"] += 1
            continue
        survivors = schedule.members("SurvivorList")
        assert set(schedule.server.reported) == set(survivors)
        assert len(survivors) >= 4
        plain = np.sum([schedule.clients[name].bits for name in survivors], axis=0)
        assert (counts == plain).all()
        ends["sum" if len(survivors) == 5 else "fewer"] += 1
    assert min(ends.values()) > 10, f"the schedules are not varied: {ends}"
