"""Client, aggregator and key holder of `bfv` together: tables, shares, smallest cohorts, attempts, what is stored."""

from __future__ import annotations

import msgspec
import pytest
from bfv_states import (
    BASE,
    CLIENT_EVENTS,
    CLIENT_TABLE,
    CLIENTS,
    ENCRYPTED,
    HOLDER_EVENTS,
    HOLDER_TABLE,
    HOLDERS,
    KEYS,
    ME,
    NAMES,
    NONE,
    OWN,
    PROMISED,
    ROUND,
    SEED,
    SEEDS,
    SERVER_EVENTS,
    SERVER_TABLE,
    SERVERS,
    SHARES,
    TERMS,
    a_sum,
    report,
    round_of,
    share,
)

from secprune.errors import RemoteMisbehaviourError
from secprune.messages.bfv import MAX_ATTEMPTS, CiphertextSum
from secprune.protocols.bfv import aggregator, client, key_holder
from secprune.protocols.bfv.terms import Terms, message_digest


def test_tables_are_complete():
    """The control of the tables: every class is in them, and every line of them is about something."""
    for machine, states, events, table in (
        (client, CLIENTS, CLIENT_EVENTS, CLIENT_TABLE),
        (key_holder, HOLDERS, HOLDER_EVENTS, HOLDER_TABLE),
        (aggregator, SERVERS, SERVER_EVENTS, SERVER_TABLE),
    ):
        assert {type(state) for state in states.values()} == set(machine.State.__args__)
        assert {type(event) for event in events.values()} == set(machine.Event.__args__)
        assert {state for state, _ in table} <= set(states)
        assert {event for _, event in table} <= set(events)


@pytest.mark.parametrize("who", ["a client", "a key holder"])
@pytest.mark.parametrize("other", [share("c"), share("b", parameters=NONE)])
@pytest.mark.parametrize("promised", [False, True])
def test_a_share_that_was_not_promised_is_blamed_on_its_sender(who, other, promised):
    shares = {**SHARES, "holder-1": other}
    commitments = {**PROMISED, "holder-1": message_digest(other)} if promised else PROMISED

    def take():
        if who == "a client":
            return client.step(TERMS[ME], CLIENTS["Idle"], client.KeysPublished(commitments, shares)).state
        event = key_holder.KeysPublished(commitments, shares)
        return key_holder.step(TERMS["holder-0"], HOLDERS["Shared"], event, bytes).state

    if promised and other.parameters != NONE:
        assert take().keys != KEYS, "the control, and another key has another name"
        return
    with pytest.raises(
        RemoteMisbehaviourError, match="other parameters" if promised else "had promised"
    ) as caught:
        take()
    assert caught.value.party == "holder-1"


def test_a_joint_keys_name_says_whose_share_is_which():
    swapped = {"holder-0": SHARES["holder-1"], "holder-1": SHARES["holder-0"]}
    digests = {name: message_digest(one) for name, one in swapped.items()}
    assert TERMS[ME].joint_keys(digests, swapped) != KEYS
    one = TERMS[ME].all_seeds(SEEDS)
    other = TERMS[ME].all_seeds(
        {**SEEDS, "holder-1": msgspec.structs.replace(SEEDS["holder-1"], seed=bytes(32))}
    )
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert one[0].hex() == one[1].removeprefix("sha256:")
    assert len(one[0]) == 32


@pytest.mark.parametrize("who", [ME, "holder-0"])
@pytest.mark.parametrize("least", [4, 5])
def test_terms_with_a_larger_smallest_cohort_refuse_a_smaller_sum(who, least):
    terms, message = Terms(ROUND, who, least), a_sum(*NAMES[:4])

    def take():
        if who == ME:
            return client.step(terms, ENCRYPTED, client.SumSeen(message, OWN)).state
        return key_holder.step(terms, BASE, key_holder.SumSeen(message), bytes).state

    if least == 4:
        assert take().sums == (message_digest(message),)
        return
    with pytest.raises(RemoteMisbehaviourError, match="4 clients, 5 are the least"):
        take()


def test_after_so_many_attempts_the_round_has_failed():
    """One client less each time, of 22: all see 16 sums, and there is no 17th although 6 are enough."""
    round_ = round_of(22)
    names = sorted(round_.task.names("client"))
    terms = Terms(round_, "adder-0", 3)
    state = aggregator.Adding(attempt=0, members={name: report(name) for name in names})
    seen, mine = key_holder.Serving(seed=SEED, keys=KEYS), client.Encrypted(keys=KEYS)
    for attempt in range(MAX_ATTEMPTS):
        assert state.attempt == attempt
        message = msgspec.structs.replace(
            a_sum(), **round_.names, attempt=attempt, members=aggregator.counted(state.members)
        )
        seen = key_holder.step(Terms(round_, "holder-0", 3), seen, key_holder.SumSeen(message), bytes).state
        mine = client.step(
            Terms(round_, names[-1], 3), mine, client.SumSeen(message, report(names[-1]))
        ).state
        assert len(seen.sums) == len(mine.sums) == attempt + 1
        digest = message_digest(message)
        state = aggregator.step(terms, state, aggregator.SumWritten(attempt, digest)).state
        for name in state.members:
            state = aggregator.step(terms, state, aggregator.HashArrived(name, NONE, digest)).state
        state = aggregator.step(terms, state, aggregator.HashesChecked(digest, (names[attempt],))).state
    assert state == aggregator.Failed(
        step="hashes",
        took_part=tuple(names[16:]),
        missing=tuple(n for n in round_.task.names("client") if n in names[:16]),
    )
    more = msgspec.structs.replace(message, attempt=MAX_ATTEMPTS, members=message.members[1:])
    assert key_holder.step(Terms(round_, "holder-0", 3), seen, key_holder.SumSeen(more), bytes).state is seen
    with pytest.raises(msgspec.ValidationError, match="attempt"):
        msgspec.json.decode(msgspec.json.encode(more), type=CiphertextSum)


@pytest.mark.parametrize("machine", [client, key_holder, aggregator])
def test_states_come_back_from_json(machine):
    states = {client: CLIENTS, key_holder: HOLDERS, aggregator: SERVERS}[machine]
    for state in states.values():
        back = msgspec.json.decode(msgspec.json.encode(state), type=machine.State)
        assert back == state
        assert type(back) is type(state)
