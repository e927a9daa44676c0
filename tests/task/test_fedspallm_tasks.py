"""Tasks of FedSpaLLM: what they say, and which contradict themselves."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace
from sampled_study import model_of_blocks, sampled_pruning
from small_study import NO_DIGEST

from secprune.crypto.identity import SECRET_BYTES, Identity
from secprune.errors import ConfigurationError
from secprune.protocols.api import Round
from secprune.task import (
    CountNoiseSpec,
    FedSpaLLMSpec,
    PartySpec,
    PrivacySpec,
    ProtocolSpec,
    PruningSpec,
    ResponseSpec,
    StatisticsSpec,
    Task,
    check_task,
    parse_task,
)

CLIENTS = tuple(f"clinic-{i}" for i in range(5))
CAPACITIES = dict.fromkeys(CLIENTS, 2)


def made(
    protocol="additive", capacities=CAPACITIES, *, aggregators=2, holders=0, key_holder="blind", **changes
):
    roles = [("hq", "coordinator"), *((f"adder-{i}", "aggregator") for i in range(aggregators))]
    roles += [
        *((f"holder-{i}", "key-holder") for i in range(holders)),
        *((name, "client") for name in CLIENTS),
    ]
    identities = [Identity(bytes([i]) * SECRET_BYTES) for i in range(1, len(roles) + 1)]
    parties = tuple(
        PartySpec(role=role, name=name, signing_key=one.signing_key, sealing_key=one.sealing_key)
        for (name, role), one in zip(roles, identities, strict=True)
    )
    fields = {
        "study": "fedspallm",
        "nonce": "07" * 16,
        "protocol": ProtocolSpec(name=protocol, min_clients=3, key_holder=key_holder),
        "pruning": sampled_pruning(capacities),
        "privacy": PrivacySpec(),
        "model": model_of_blocks(),
        "parties": parties,
    }
    return Task(**fields | changes)


def refusal(task):
    with pytest.raises(ConfigurationError) as caught:
        check_task(task)
    with pytest.raises(ConfigurationError):
        parse_task(task.to_toml())
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("capacities", [{}, CAPACITIES])
@pytest.mark.parametrize(("protocol", "aggregators"), [("additive", 2), ("pairwise", 1), ("cleartext", 1)])
def test_a_task_comes_back_from_its_file(protocol, aggregators, capacities):
    task = made(protocol, capacities, aggregators=aggregators)
    check_task(task)
    again = parse_task(task.to_toml())
    assert again == task
    assert hash(again) == hash(task)
    assert (again.task_id, again.sampled_blocks) == (task.task_id, task.sampled_blocks)
    assert again.pruning.of_fedspallm.capacities == capacities
    assert (task.rounds, task.sampled_blocks is None) == ((1, True) if not capacities else (3, False))


def test_the_order_of_capacities_in_the_file_means_nothing():
    task, other = made(), made(capacities=dict(reversed(CAPACITIES.items())))
    assert (task.task_id, task.sampled_blocks) == (other.task_id, other.sampled_blocks)
    assert (task, hash(task)) == (other, hash(other))
    changed = made(capacities=CAPACITIES | {"clinic-0": 3})
    assert changed.task_id != task.task_id


def test_rounds_clients_and_matrices_belong_together():
    task = made()
    for index in range(task.rounds):
        round_ = Round.of(task, index)
        assert {m.block for m in round_.matrices} == {task.blocks[index]}
        assert round_.clients == tuple(c for c in CLIENTS if index in task.client_rounds(c))
        assert len(round_.clients) >= 3
        bases = {slab.base for slab in round_.layout.slabs}
        assert bases == {6, 5 * (2**15 - 2) + 1}, (
            "counters are made for the whole roster, whoever is in the round"
        )
    everybody = made(capacities={})
    assert everybody.round_clients(0) == CLIENTS
    assert everybody.client_rounds("clinic-3") == (0,)


def test_positions_are_those_of_the_task_s_blocks_whatever_their_numbers():
    model = model_of_blocks()
    moved = replace(model, matrices=tuple(replace(m, block=10 + 3 * m.block) for m in model.matrices))
    task = made(model=moved)
    check_task(task)
    assert task.sampled_blocks == made().sampled_blocks
    assert [m.block for m in task.round_matrices(2)] == [16, 16]


@pytest.mark.parametrize(
    ("capacities", "named"),
    [
        (CAPACITIES | {"ward-9": 2}, "ward-9"),
        (dict.fromkeys(CLIENTS[1:], 3), "clinic-0"),
        (CAPACITIES | {"hq": 2}, "hq"),
        (CAPACITIES | {"adder-0": 2}, "adder-0"),
    ],
)
def test_capacities_of_others_than_the_clients_are_refused(capacities, named):
    assert f"do not have the same clients: {named}" in refusal(made(capacities=capacities))


def test_capacities_that_leave_a_block_to_too_few_are_refused():
    told = refusal(made(capacities=dict.fromkeys(CLIENTS, 1)))
    assert "can prune 5 decoder blocks together; each of 3 needs 3 clients, which makes 9" in told
    check_task(made(capacities=CAPACITIES | {"clinic-0": 1}))  # 9 of 9
    four = replace(made(), protocol=ProtocolSpec(name="additive", min_clients=4))
    assert "which makes 12" in refusal(four)


@pytest.mark.parametrize("capacity", [0, -1, "2", 2.5, True, 2**31])
def test_capacities_are_whole_numbers_above_zero(capacity):
    raw = msgspec.to_builtins(made())
    raw["pruning"]["fedspallm"]["capacities"]["clinic-0"] = capacity
    with pytest.raises(msgspec.ValidationError, match="capacities"):
        msgspec.convert(raw, Task)


@pytest.mark.parametrize("bits", [7, 17, 0])
def test_weights_have_8_to_16_bits(bits):
    text = made().to_toml().replace("weight_bits = 15", f"weight_bits = {bits}")
    with pytest.raises(ConfigurationError, match="weight_bits"):
        parse_task(text)


@pytest.mark.parametrize("form", ["blind", "simple"])
def test_bfv_does_not_sum_weights(form):
    task = made("bfv", aggregators=1, holders=1, key_holder=form)
    assert "bfv does not sum weights" in refusal(task)
    fedprllm = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4)
    check_task(replace(task, pruning=fedprllm))


STATISTICS = StatisticsSpec(inputs=tuple((m.name,) for m in model_of_blocks().matrices), reference=NO_DIGEST)


@pytest.mark.parametrize(
    ("privacy", "dense"),
    [
        (PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma="2", colluders=0)), False),
        (PrivacySpec(mechanism="randomised-response", response=ResponseSpec(flip="1/10")), False),
        (PrivacySpec(payload="square-sums", statistics=STATISTICS), True),
    ],
)
def test_privacy_options_are_refused(privacy, dense):
    """Each is one that FedPrLLM accepts."""
    activations = "dense" if dense else "sequential"
    fedprllm = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, activations=activations)
    check_task(made(privacy=privacy, pruning=fedprllm))
    with_weights = sampled_pruning(CAPACITIES, activations=activations)
    assert "FedSpaLLM has no privacy options" in refusal(made(privacy=privacy, pruning=with_weights))


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "2:4"},
        {"server_comparison": "row"},
        {"server_comparison": "column"},
        {"weight_scaling": True},
        {"schedule": "iterative"},
        {"ties": "votes-index"},
        {"ties": "votes-random"},
    ],
)
def test_choices_of_the_other_algorithm_are_refused(options):
    assert "FedSpaLLM" in refusal(made(pruning=sampled_pruning(CAPACITIES, **options)))


def test_the_table_and_the_algorithm_come_together():
    plain = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4)
    assert "[pruning.fedspallm]" in refusal(made(pruning=replace(plain, algorithm="fedspallm")))
    assert "[pruning.fedspallm]" in refusal(made(pruning=replace(plain, fedspallm=FedSpaLLMSpec())))
