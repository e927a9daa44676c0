"""Client and aggregator of `pairwise`: every state takes every event, or blames a party and stays as it was."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import pytest
from pairwise_round import STEPS, PairwiseRound, by_client

from secprune.crypto.entropy import random_bytes
from secprune.errors import RemoteMisbehaviourError
from secprune.messages.pairwise import RevealedShare
from secprune.protocols.pairwise import aggregator, client
from secprune.protocols.pairwise.terms import Terms

ME, OTHER, LATE = "clinic-001", "clinic-000", "clinic-004"
NONE = "sha256:" + "9" * 64


def play():
    """A round of five; `LATE` drops out before its report. Notes all states of one client and of the server."""
    round_ = PairwiseRound(5, {LATE: "reports"})
    mine, servers = [client.Idle()], [round_.server]
    party = round_.clients[ME]
    take, feed = party.take, round_.feed

    def watched_take(event):
        take(event)
        mine.append(party.state)

    def watched_feed(event):
        feed(event)
        servers.append(round_.server)

    party.take, round_.feed = watched_take, watched_feed
    assert round_.run() is not None
    one_each = {type(state).__name__: state for state in mine}
    return round_, one_each, {type(state).__name__: state for state in servers}


ROUND, STATES, SERVERS = play()
STATES["LeftOut"] = client.LeftOut(of="survivors")
SERVERS["Failed"] = aggregator.Failed(step="shares", took_part=ROUND.names[:2], missing=ROUND.names[2:])
TERMS = ROUND.terms(ME)
KEYS, SHARES, SURVIVORS = ROUND.keys_listed(ME), ROUND.shares_listed(ME), ROUND.survivors_listed(ME)


def without(event, *names):
    return replace(event, members={n: d for n, d in event.members.items() if n not in names})


EVENTS = {
    "begin": client.Begin(),
    "keys": KEYS,
    "keys without me": without(KEYS, ME),
    "keys of too few": without(KEYS, OTHER, LATE),
    "keys with a stranger": replace(KEYS, members={**KEYS.members, "mallory": NONE}),
    "keys with another of mine": replace(KEYS, own=NONE),
    "other keys": replace(KEYS, digest=NONE),
    "shares": SHARES,
    "shares without me": without(SHARES, ME),
    "shares of too few": without(SHARES, OTHER, LATE),
    "shares with a stranger": replace(SHARES, members={**SHARES.members, "mallory": NONE}),
    "shares with another of mine": replace(SHARES, own=NONE),
    "shares of other keys": replace(SHARES, keys=NONE),
    "shares with a bundle of other keys": replace(
        SHARES,
        bundles={**SHARES.bundles, OTHER: msgspec.structs.replace(SHARES.bundles[OTHER], keys=NONE)},
    ),
    "survivors": SURVIVORS,
    "survivors without me": without(SURVIVORS, ME),
    "survivors too few": without(SURVIVORS, OTHER),
    "survivors with a stranger": replace(SURVIVORS, members={**SURVIVORS.members, "mallory": NONE}),
    "survivors with another report of mine": replace(SURVIVORS, own=NONE),
    "survivors of other shares": replace(SURVIVORS, shares=NONE),
    "other survivors": replace(SURVIVORS, digest=NONE),
    "consent": client.ConsentSeen(OTHER, SURVIVORS.digest),
    "consent to another list": client.ConsentSeen(OTHER, NONE),
    "consent of who dropped out": client.ConsentSeen(LATE, SURVIVORS.digest),
    "consent of a stranger": client.ConsentSeen("mallory", SURVIVORS.digest),
    "my own consent": client.ConsentSeen(ME, SURVIVORS.digest),
}

# What becomes of a state that is not the same afterwards; "refused" is an error that blames the aggregator.
TABLE = {
    ("Idle", "begin"): "Advertised",
    ("Advertised", "keys"): "Shared",
    ("Advertised", "other keys"): "Shared",
    ("Advertised", "keys without me"): "LeftOut",  # the other four are enough
    ("Advertised", "keys of too few"): "refused",
    ("Advertised", "keys with a stranger"): "refused",
    ("Advertised", "keys with another of mine"): "refused",
    ("Shared", "shares"): "Masked",
    ("Shared", "shares without me"): "LeftOut",
    ("Shared", "shares of too few"): "refused",
    ("Shared", "shares with a stranger"): "refused",
    ("Shared", "shares with another of mine"): "refused",
    ("Shared", "shares of other keys"): "refused",
    ("Shared", "shares with a bundle of other keys"): "refused",
    ("Masked", "survivors"): "Consented",
    ("Masked", "other survivors"): "Consented",
    ("Masked", "survivors without me"): "refused",  # three are too few, with or without this client
    ("Masked", "survivors too few"): "refused",
    ("Masked", "survivors with a stranger"): "refused",
    ("Masked", "survivors with another report of mine"): "refused",
    ("Masked", "survivors of other shares"): "refused",
    ("Consented", "other survivors"): "refused",
    ("Consented", "consent"): "Consented, changed",
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_a_client_takes_every_event_in_every_state(state, event):
    before, expected = msgspec.json.encode(STATES[state]), TABLE.get((state, event), "unchanged")
    taken = STATES[state]
    if state == "Consented":
        taken = msgspec.structs.replace(taken, consents=(ME,))
        before = msgspec.json.encode(taken)
    try:
        transition = client.step(TERMS, taken, EVENTS[event], random_bytes)
    except RemoteMisbehaviourError as error:
        assert (expected, error.party) == ("refused", "adder")  # noqa: PT017 - one of two right outcomes
        assert msgspec.json.encode(taken) == before
        return
    assert msgspec.json.encode(taken) == before, "a state is never changed"
    stored = msgspec.json.encode(transition.state)
    assert msgspec.json.decode(stored, type=client.State) == transition.state
    if expected == "unchanged":
        assert stored == before
        assert transition.actions == ()
    elif expected == "Consented, changed":
        assert transition.state.consents == (OTHER, ME)
        assert transition.actions == ()
    else:
        assert type(transition.state).__name__ == expected
        assert len(transition.actions) == (expected != "LeftOut")


def test_states_and_table_are_complete():
    """The control of the table: every class is in it, and every line of it is about something."""
    assert {type(state) for state in STATES.values()} == set(client.State.__args__)
    assert {type(state) for state in SERVERS.values()} == set(aggregator.State.__args__)
    assert {state for state, _ in TABLE} < set(STATES)
    assert {event for _, event in TABLE} < set(EVENTS)


def test_consents_count_once_each_and_only_for_this_list():
    state = client.step(TERMS, STATES["Masked"], SURVIVORS, random_bytes).state
    useless = (
        "consent to another list",
        "consent of who dropped out",
        "consent of a stranger",
        "my own consent",
    )
    consents = [EVENTS[name] for name in useless]
    consents += [client.ConsentSeen(OTHER, SURVIVORS.digest)] * 9
    consents += [client.ConsentSeen("clinic-002", SURVIVORS.digest)] * 9
    for event in consents:
        transition = client.step(TERMS, state, event, random_bytes)
        assert transition.actions == ()
        state = transition.state
    assert isinstance(state, client.Consented)
    assert state.consents == (OTHER, ME, "clinic-002")  # one less than the threshold
    last = client.step(TERMS, state, client.ConsentSeen("clinic-003", SURVIVORS.digest), random_bytes)
    assert last.state == client.Revealed(survivors=SURVIVORS.digest)
    (action,) = last.actions
    assert action.survivors == SURVIVORS.digest
    shares = {share.subject: share.share for share in action.shares}
    held = STATES["Masked"].held
    assert shares == {n: held[n].mask_secret if n == LATE else held[n].self_mask for n in ROUND.names}


@pytest.mark.parametrize("min_clients", [4, 5])
def test_this_sites_own_smallest_cohort_counts_at_the_survivors(min_clients):
    """Four survived. A site that asks for five refuses, although task and threshold are content with four."""
    strict = Terms(round=ROUND.round, me=ME, min_clients=min_clients)
    if min_clients == 4:
        assert client.step(strict, STATES["Masked"], SURVIVORS, random_bytes).actions
        return
    with pytest.raises(RemoteMisbehaviourError, match="5 are the least"):
        client.step(strict, STATES["Masked"], SURVIVORS, random_bytes)


def test_no_list_after_the_first_is_taken():
    """Second lists of keys and shares are not looked at; a second list of survivors is evidence."""
    shared = client.step(TERMS, STATES["Advertised"], KEYS, random_bytes).state
    assert client.step(TERMS, shared, EVENTS["other keys"], random_bytes).state == shared
    other = replace(SHARES, digest=NONE)
    assert client.step(TERMS, STATES["Masked"], other, random_bytes).state == STATES["Masked"]
    with pytest.raises(RemoteMisbehaviourError, match="second list of survivors"):
        client.step(TERMS, STATES["Consented"], EVENTS["other survivors"], random_bytes)


# ---- the aggregator
def arrived(step, name, follows=None):
    due = {"keys": "", "shares": KEYS.digest, "reports": SHARES.digest}
    return aggregator.Arrived(step, name, NONE, due[step] if follows is None else follows)


REVEAL = ROUND.clients[ME].sent["reveals"]
SERVER_EVENTS = {
    **{f"{step} of {name}": arrived(step, name) for step in STEPS[:3] for name in (ME, LATE, "mallory")},
    "shares to another list": arrived("shares", LATE, NONE),
    "report to another list": arrived("reports", LATE, NONE),
    "consent": aggregator.ConsentArrived(ME, SURVIVORS.digest),
    "consent to another list": aggregator.ConsentArrived(ME, NONE),
    "consent of who dropped out": aggregator.ConsentArrived(LATE, SURVIVORS.digest),
    "consent of a stranger": aggregator.ConsentArrived("mallory", SURVIVORS.digest),
    "reveal": aggregator.RevealArrived(ME, SURVIVORS.digest, REVEAL.shares),
    "reveal for another list": aggregator.RevealArrived(ME, NONE, REVEAL.shares),
    "reveal of who dropped out": aggregator.RevealArrived(LATE, SURVIVORS.digest, REVEAL.shares),
    "reveal of a stranger": aggregator.RevealArrived("mallory", SURVIVORS.digest, REVEAL.shares),
    "reveal of one subject twice": aggregator.RevealArrived(ME, SURVIVORS.digest, REVEAL.shares * 2),
    **{f"{step} closed": aggregator.Closed(step) for step in STEPS},
}
EMPTY = {
    "CollectingKeys": aggregator.CollectingKeys(),
    "CollectingShares": aggregator.CollectingShares(keys=KEYS.digest, advertised=KEYS.members),
    "CollectingReports": aggregator.CollectingReports(
        keys=KEYS.digest, advertised=KEYS.members, shares=SHARES.digest, shared=SHARES.members
    ),
    "CollectingConsents": msgspec.structs.replace(SERVERS["CollectingConsents"], consents=(), reveals={}),
    "CollectingReveals": msgspec.structs.replace(SERVERS["CollectingReveals"], reveals={}),
    "Enough": SERVERS["Enough"],
    "Failed": SERVERS["Failed"],
}
SERVER_TABLE = {
    **{("CollectingKeys", f"keys of {name}"): "CollectingKeys" for name in (ME, LATE)},
    **{("CollectingShares", f"shares of {name}"): "CollectingShares" for name in (ME, LATE)},
    **{("CollectingReports", f"reports of {name}"): "CollectingReports" for name in (ME, LATE)},
    ("CollectingConsents", "consent"): "CollectingConsents",
    ("CollectingConsents", "reveal"): "CollectingConsents",
    ("CollectingReveals", "reveal"): "CollectingReveals",
    **{(f"Collecting{step.title()}", f"{step} closed"): "Failed" for step in STEPS},
    ("Enough", "reveals closed"): "Failed",  # some of the shares were wrong, and no more are waited for
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(EMPTY, SERVER_EVENTS)))
def test_the_aggregator_takes_every_event_in_every_state(state, event):
    before = msgspec.json.encode(EMPTY[state])
    transition = aggregator.step(ROUND.server_terms, EMPTY[state], SERVER_EVENTS[event])
    stored = msgspec.json.encode(transition.state)
    assert msgspec.json.encode(EMPTY[state]) == before
    assert msgspec.json.decode(stored, type=aggregator.State) == transition.state
    assert transition.actions == (), "none of these states has enough for a list"
    expected = SERVER_TABLE.get((state, event))
    if expected is None and event == "consent" and state == "CollectingReveals":
        assert ME in transition.state.consents  # counted, although there are enough already
        return
    assert (stored != before) == (expected is not None)
    assert type(transition.state).__name__ == (expected or state)


@pytest.mark.parametrize("step", STEPS[:3])
def test_a_list_is_published_once_all_are_there_or_at_the_close_and_the_first_message_counts(step):
    state = EMPTY[f"Collecting{step.title()}"]
    for name in ROUND.names[:4]:
        transition = aggregator.step(ROUND.server_terms, state, arrived(step, name))
        assert transition.actions == ()
        state = transition.state
    second = aggregator.Arrived(step, ME, "sha256:" + "8" * 64, arrived(step, ME).follows)
    assert aggregator.step(ROUND.server_terms, state, second).state == state
    waited = aggregator.waited_for(ROUND.server_terms, state)
    assert waited == (LATE,)
    closed = aggregator.step(ROUND.server_terms, state, aggregator.Closed(step))
    assert list(by_client(closed.actions[0].message)) == list(ROUND.names[:4])
    full = aggregator.step(ROUND.server_terms, state, arrived(step, LATE))
    assert list(by_client(full.actions[0].message)) == list(ROUND.names)
    # Late, or closed again: nothing.
    for event in (aggregator.Closed(step), arrived(step, LATE)):
        assert aggregator.step(ROUND.server_terms, closed.state, event) == aggregator.Transition(closed.state)


def test_a_clients_consent_counts_once_and_its_first_reveal_stays():
    state = EMPTY["CollectingConsents"]
    for _ in range(9):
        state = aggregator.step(ROUND.server_terms, state, SERVER_EVENTS["consent"]).state
    assert isinstance(state, aggregator.CollectingConsents)
    assert not isinstance(state, aggregator.CollectingReveals)
    assert state.consents == (ME,)
    first = aggregator.step(ROUND.server_terms, state, SERVER_EVENTS["reveal"]).state
    assert first.reveals == {ME: REVEAL.shares}
    second = aggregator.RevealArrived(ME, SURVIVORS.digest, REVEAL.shares[:1])
    assert aggregator.step(ROUND.server_terms, first, second).state == first


def test_one_less_than_the_threshold_or_than_the_smallest_cohort_fails_and_names_who_is_missing():
    for step, enough in itertools.product(STEPS[:3], (4, 5)):
        terms = Terms(round=ROUND.round, me="adder", min_clients=enough)
        state = EMPTY[f"Collecting{step.title()}"]
        for name in ROUND.names[: enough - 1]:
            state = aggregator.step(terms, state, arrived(step, name)).state
        closed = aggregator.step(terms, state, aggregator.Closed(step))
        if enough == 5 and step != "reports":  # the smallest cohort is about the survivors
            assert closed.actions
            continue
        assert closed == aggregator.Transition(
            aggregator.Failed(
                step=step, took_part=ROUND.names[: enough - 1], missing=ROUND.names[enough - 1 :]
            )
        )


def test_nothing_secret_is_shown():
    """Neither states nor actions nor events with secrets in them say what these are."""
    secrets = {b for held in STATES["Masked"].held.values() for b in (held.self_mask, held.mask_secret)}
    secrets |= {STATES["Masked"].self_mask, *STATES["Masked"].seeds.values()}
    secrets |= {STATES["Shared"].mask_secret, STATES["Shared"].share_secret}
    secrets |= {share.share for share in REVEAL.shares}
    for thing in (
        *STATES.values(),
        *STATES["Masked"].held.values(),
        *EMPTY.values(),
        *SERVERS.values(),
        REVEAL,
        SERVER_EVENTS["reveal"],
        client.Transition(STATES["Consented"], (REVEAL,)),
        aggregator.Transition(SERVERS["Enough"]),
        *client.masks_of(TERMS, STATES["Masked"]),
    ):
        for shown in (repr(thing), str(thing), f"{thing}"):
            assert not [secret for secret in secrets if repr(secret)[2:-1] in shown or secret.hex() in shown]
    share = REVEAL.shares[0]
    control = repr(msgspec.structs.asdict(share))
    assert repr(share.share)[2:-1] in control


def test_a_revealed_share_is_not_shown():
    share = REVEAL.shares[0]
    assert repr(share.share) not in repr(RevealedShare(subject=share.subject, share=share.share))
