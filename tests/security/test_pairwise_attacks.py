"""Known attacks on masked sums with recovery, each against the real states and cryptography; none may work.

Each has a control: the same attack with the check in question out of the way, or with what an attacker lacks.
"""

from __future__ import annotations

import random
from dataclasses import replace
from math import comb

import msgspec
import pytest
from pairwise_attacker import pass_on, plain_words, recovered, reported, reveals_of, show, strip
from pairwise_round import PairwiseRound, make_round, refused

from secprune.crypto.seal import open_secret
from secprune.protocols.pairwise import aggregator, client, graph, keys
from secprune.protocols.pairwise.keys import Binding
from secprune.protocols.pairwise.terms import Terms

VICTIM = "clinic-006"


# ---- both secrets of one client
def two_lists(round_):
    """The victim survived in one list and dropped out in the other."""
    everybody = round_.list_of("SurvivorList", round_.names)
    others = round_.list_of("SurvivorList", [name for name in round_.names if name != VICTIM])
    return everybody, others


def test_a_second_list_after_consent_is_refused_and_after_the_reveal_has_no_effect():
    round_ = reported()
    round_.consent()
    _, others = two_lists(round_)
    before = reveals_of(round_)
    for name in round_.names[:6]:
        party = round_.clients[name]
        assert isinstance(party.state, client.Revealed)
        party.take(round_.survivors_listed(name, others))
        assert isinstance(party.state, client.Revealed)
    digest = aggregator.list_digest(others)
    pass_on(round_, digest, round_.names[:6], round_.names[:6])
    assert reveals_of(round_) == before
    seed, secret = recovered(round_, before, VICTIM)
    assert seed is not None
    assert secret is None


@pytest.mark.parametrize("rolled_back", [False, True])
def test_a_client_that_answers_two_lists_gives_its_words_away(rolled_back):
    """The control: clients whose state is set back to before their consent, as a restored backup would."""
    round_ = reported()
    states = {name: party.state for name, party in round_.clients.items()}
    round_.consent()
    first = reveals_of(round_)
    _, others = two_lists(round_)
    digest = aggregator.list_digest(others)
    for name in round_.names[:6]:
        if rolled_back:
            round_.clients[name].state = states[name]
        show(round_, name, others)
    pass_on(round_, digest, round_.names[:6], round_.names[:6])
    seed, secret = recovered(round_, [*first, *reveals_of(round_)], VICTIM)
    stripped = strip(round_, VICTIM, seed, secret)
    assert (secret is not None) == rolled_back
    assert (stripped == plain_words(round_, VICTIM)).all() == rolled_back


@pytest.mark.parametrize(("threshold", "works"), [(None, False), (3, True)])
def test_two_lists_to_two_halves(monkeypatch, threshold, works):
    """Neither half has enough consents, even with two corrupt clients in both; with a low threshold they do."""
    if threshold:
        monkeypatch.setattr(Terms, "threshold", property(lambda _: threshold))
    round_ = reported()
    assert round_.server_terms.threshold == (threshold or 5)
    corrupt = round_.names[0], round_.names[3]
    halves = round_.names[:3], round_.names[3:6]
    for half, shown in zip(halves, two_lists(round_), strict=True):
        digest = aggregator.list_digest(shown)
        assert all(show(round_, name, shown) for name in half)
        pass_on(round_, digest, {*half, *corrupt}, half)
    seed, secret = recovered(round_, reveals_of(round_), VICTIM, corrupt if not works else ())
    assert (seed is not None) == (secret is not None) == works
    assert bool(reveals_of(round_)) == works
    if works:
        assert (strip(round_, VICTIM, seed, secret) == plain_words(round_, VICTIM)).all()


def test_the_threshold_is_the_least_that_stops_it(monkeypatch):
    """With one less, a corrupt third is enough to get both secrets of a client: 4 of 7, two of them corrupt."""
    monkeypatch.setattr(Terms, "threshold", property(lambda terms: 2 * len(terms.clients) // 3))
    round_ = reported()
    corrupt, halves = round_.names[:2], (round_.names[2:4], round_.names[4:6])
    for half, shown in zip(halves, two_lists(round_), strict=True):
        assert all(show(round_, name, shown) for name in half)
        pass_on(round_, aggregator.list_digest(shown), {*half, *corrupt}, half)
    seed, secret = recovered(round_, reveals_of(round_), VICTIM, corrupt)
    assert (strip(round_, VICTIM, seed, secret) == plain_words(round_, VICTIM)).all()


def test_no_lists_that_a_lying_aggregator_makes_up_give_both_secrets():
    """Any lists to anybody, any order, two of seven clients corrupt: they consent to everything, tell all."""
    one_of_two = 0
    for seed in range(40):
        generator, round_ = random.Random(seed), reported(7)
        corrupt, honest = round_.names[:2], round_.names[2:]
        lists = [*two_lists(round_)]
        lists += [round_.list_of("SurvivorList", generator.sample(round_.names, size)) for size in (4, 5, 6)]
        generator.shuffle(lists)
        liked = [8, *generator.sample([4, 1, 1, 0], 4)]  # how often each is shown
        consents = {(name, aggregator.list_digest(shown)) for name in corrupt for shown in lists}
        for _ in range(40):
            name = generator.choice(honest)
            if generator.random() < 0.3:
                show(round_, name, *generator.choices(lists, liked))
                if "consents" in round_.clients[name].sent:
                    consents.add((name, round_.clients[name].sent["consents"]))
            else:
                for consent in generator.sample(sorted(consents), len(consents) - 1):
                    round_.clients[name].take(client.ConsentSeen(*consent))
        for subject in honest:
            both = recovered(round_, reveals_of(round_), subject, corrupt)
            assert None in both
            one_of_two += both != (None, None)
    assert one_of_two > 10, "the attacker got nothing, so that nothing was tried"


# ---- views of keys and shares that differ
def test_lists_of_shares_that_differ_never_get_enough_consents():
    """A client that is shown fewer sharers than the others does not consent to what they consent to."""
    round_ = PairwiseRound(7).until("reports")
    fewer = round_.list_of("ShareList", round_.names[:6])
    for name in round_.names:
        party = round_.clients[name]
        party.take(round_.shares_listed(name, fewer if name == "clinic-000" else None))
        round_.feed(aggregator.Arrived("reports", name, party.digest("reports"), party.state.shares))
    assert "clinic-000" not in round_.server.arrived  # an honest aggregator sees it by itself
    everybody = round_.list_of("SurvivorList", round_.names)
    error = refused(
        lambda: round_.clients["clinic-000"].take(round_.survivors_listed("clinic-000", everybody))
    )
    assert error.party == "adder"
    # Also where the survivors leave out whom it does not know: the list of shares is another.
    known = round_.list_of("SurvivorList", round_.names[:6])
    error = refused(lambda: round_.clients["clinic-000"].take(round_.survivors_listed("clinic-000", known)))
    assert "other shares" in str(error)
    assert show(round_, "clinic-001", known), "the control: those who saw that list of shares consent"


def test_lists_of_keys_that_differ_are_noticed_before_any_mask_is_known():
    """Partial views of who takes part, which would leave single clients without honest peers."""
    round_ = PairwiseRound(7).until("shares")
    fewer = round_.list_of("KeyList", round_.names[:6])
    for name in round_.names[:6]:
        round_.clients[name].take(round_.keys_listed(name, fewer if name < "clinic-003" else None))
    for name in round_.names[:6]:
        follows = round_.clients[name].state.keys
        shown = round_.list_of("ShareList", round_.names[:6], follows)
        error = refused(
            lambda name=name, shown=shown: round_.clients[name].take(round_.shares_listed(name, shown))
        )
        assert "other keys" in str(error)
        assert isinstance(round_.clients[name].state, client.Shared)


@pytest.mark.parametrize("whose", ["my own", "a peer's"])
def test_a_key_that_is_swapped_for_the_aggregators_own(whose):
    """My own is noticed at once. A peer's cannot be signed; were it taken, the lists of keys would differ."""
    round_ = PairwiseRound(7).until("shares")
    me, peer = round_.names[:2]
    swapped = me if whose == "my own" else peer
    evil = keys.share_key(b"\6" * 32, round_.round, swapped)
    honest = round_.clients[swapped].sent["keys"]
    event = round_.keys_listed(me)
    event = replace(
        event,
        digest="sha256:" + "e" * 64,
        members={**event.members, swapped: "sha256:" + "e" * 64},
        adverts={**event.adverts, swapped: msgspec.structs.replace(honest, share_key=evil.sealing_key)},
    )
    if whose == "my own":
        assert "another message" in str(refused(lambda: round_.clients[me].take(event)))
        return
    round_.clients[me].take(event)
    parcel = round_.clients[me].parcels[peer].shares
    binding = Binding(round_.round, event.digest)
    assert (
        len(open_secret(parcel, evil, binding.context("shares", me, peer))) == 66
    )  # without signatures it works
    for name in round_.names[1:]:
        round_.clients[name].take(round_.keys_listed(name))
    shown = round_.list_of("ShareList", round_.names)
    error = refused(lambda: round_.clients[peer].take(round_.shares_listed(peer, shown)))
    assert "other keys" in str(error)  # the others go no further, so that one share is all there is


# ---- who counts
@pytest.mark.parametrize("size", [3, 4])
def test_survivors_below_the_threshold_or_the_smallest_cohort(size):
    round_ = reported(5)
    shown = round_.list_of("SurvivorList", round_.names[:size])
    assert show(round_, "clinic-000", shown) == (size == 4)
    strict = reported(5)
    strict.clients["clinic-000"].terms = Terms(strict.round, "clinic-000", min_clients=5)
    assert not show(strict, "clinic-000", strict.list_of("SurvivorList", strict.names[:size]))


def test_a_survivor_that_shared_nothing():
    """A client of the roster that is not in the list of shares: nobody holds a share of its secrets."""
    round_ = reported(7, {VICTIM: "shares"})
    members = {name: round_.clients[name].digest("reports") for name in round_.names if name != VICTIM}
    event = round_.survivors_listed("clinic-000", round_.list_of("SurvivorList", members))
    more = replace(event, members={**members, VICTIM: "sha256:" + "6" * 64})
    error = refused(lambda: round_.clients["clinic-000"].take(more))
    assert VICTIM in str(error)
    round_.clients["clinic-000"].take(event)  # the control
    assert isinstance(round_.clients["clinic-000"].state, client.Consented)


def test_a_small_roster_of_keys_does_not_lower_the_threshold():
    """The aggregator lists four of five keys; three survivors are a majority of them, and still too few."""
    round_ = PairwiseRound(5, {"clinic-004": "keys"}).until("consents")
    terms = round_.clients["clinic-000"].terms
    assert terms.threshold == terms.share_threshold(4) == 4
    assert not show(round_, "clinic-000", round_.list_of("SurvivorList", round_.names[:3]))
    assert show(round_, "clinic-000", round_.list_of("SurvivorList", round_.names[:4]))


def test_names_that_are_not_in_the_roster_count_nowhere():
    """Made-up clients, to be all but one of a cohort."""
    sybils = {f"sybil-{i}": f"sha256:{i:064x}" for i in range(9)}
    round_ = PairwiseRound(5).until("shares")
    event = round_.keys_listed("clinic-000")
    with_sybils = replace(event, members={**event.members, **sybils})
    assert "sybil-0" in str(refused(lambda: round_.clients["clinic-000"].take(with_sybils)))
    round_ = reported(5)
    shown = round_.list_of("SurvivorList", round_.names[:4])
    assert show(round_, "clinic-000", shown)
    pass_on(round_, aggregator.list_digest(shown), sybils, ["clinic-000"])
    assert round_.clients["clinic-000"].state.consents == ("clinic-000",)
    before = round_.server
    for name, digest in sybils.items():
        for step in ("reports", "shares", "keys"):
            round_.feed(aggregator.Arrived(step, name, digest))
        round_.feed(aggregator.ConsentArrived(name, before.survivors))
    assert round_.server == before


def test_a_client_that_is_left_out_never_consents_nor_reveals():
    round_ = reported(5)
    shown = round_.list_of("SurvivorList", round_.names[:4])
    everybody = round_.list_of("SurvivorList", round_.names)
    left = round_.clients["clinic-004"]
    assert not show(round_, "clinic-004", shown)
    assert left.state == client.LeftOut(of="survivors")
    assert not show(round_, "clinic-004", everybody)  # nor is it brought back
    for digest in map(aggregator.list_digest, (shown, everybody)):
        pass_on(round_, digest, round_.names, ["clinic-004"])
    assert not {"consents", "reveals"} & set(left.sent)


def test_leaving_out_honest_keys_does_not_make_the_corrupt_ones_too_many():
    """The aggregator lists two thirds of 300 clients, among them all 60 that are with it."""
    round_ = make_round(300)
    terms = Terms(round_, "clinic-000", min_clients=3)
    listed = {name: f"sha256:{place:064x}" for place, name in enumerate(terms.clients[: terms.threshold])}
    degree, corrupt = len(terms.neighbours(listed)["clinic-000"]), int(graph.CORRUPT * 300)
    others, threshold = len(listed) - 2, terms.share_threshold(len(listed))
    if degree == others + 1:
        assert 2 * threshold > len(listed) + corrupt
        return
    ways = [comb(corrupt, i) * comb(others - corrupt, degree - i) for i in range(degree + 1)]
    bad = sum(ways[max(0, 2 * threshold - 2 - degree) :])  # condition 2 of `graph`
    assert (len(listed) ** 2 * bad) << (graph.PRIVACY_BITS + graph.GRINDING_BITS) <= comb(others, degree)


def test_a_list_of_shares_with_a_client_that_is_not_in_the_list_of_keys():
    round_ = PairwiseRound(5, {"clinic-004": "keys"}).until("reports")
    event = round_.shares_listed("clinic-000")
    bundles = {**event.bundles, "clinic-004": event.bundles["clinic-003"]}
    more = replace(event, members={**event.members, "clinic-004": "sha256:" + "4" * 64}, bundles=bundles)
    assert "clinic-004" in str(refused(lambda: round_.clients["clinic-000"].take(more)))
