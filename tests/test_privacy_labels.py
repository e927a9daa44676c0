"""What a study promises is what its protocol keeps, number by number."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from pairwise_round import make_round

from secprune.privacy import guarantee, labels
from secprune.protocols.pairwise import graph
from secprune.protocols.pairwise.terms import Terms
from secprune.task import FedSpaLLMSpec, ProtocolSpec, PruningSpec


def _pairwise_task(clients):
    task = make_round(clients).task
    return type(task)(
        **{
            **{name: getattr(task, name) for name in task.__struct_fields__},
            "protocol": ProtocolSpec(name="pairwise", min_clients=3),
        }
    )


@pytest.mark.parametrize(("clients", "helpers"), [(3, 0), (4, 1), (5, 1), (7, 2), (16, 5)])
def test_pairwise_promises_what_its_threshold_gives(clients, helpers):
    task = _pairwise_task(clients)
    label = labels.privacy_label(task, cohort_size=clients)
    assert f"up to {min(helpers, clients - 2)} of {clients} clients" in label.label
    assert "also to the aggregator" in label.label
    assert label.discloses.startswith("to the coordinator and the aggregator")
    assert not label.differentially_private
    # Two sets of T clients, one for each list of survivors, have more in common than may collude.
    threshold = Terms(round=make_round(clients), me="adder", min_clients=3).threshold
    assert 2 * threshold - clients > helpers
    assert threshold > helpers, "colluding clients alone have too few shares"


def test_beyond_the_complete_graph_a_fifth():
    assert guarantee.COMPLETE_UP_TO == graph.COMPLETE_UP_TO
    assert graph.CORRUPT.denominator == 5


@pytest.mark.parametrize("protocol", ["pairwise", "additive", "cleartext"])
def test_fedspallm_says_that_weights_are_disclosed_too(protocol):
    task = make_round(4).task
    pruning = PruningSpec(
        algorithm="fedspallm", sparsity="1/2", sequence_length=8, max_windows=1, fedspallm=FedSpaLLMSpec()
    )
    spec = ProtocolSpec(name=protocol, min_clients=3)
    weights = labels.privacy_label(replace(task, protocol=spec, pruning=pruning), cohort_size=4)
    votes = labels.privacy_label(replace(task, protocol=spec), cohort_size=4)
    assert not weights.differentially_private
    assert "the sum of the weights that clients kept" in weights.discloses
    assert "where one client alone kept a weight, that client's weight" in weights.discloses
    assert "To everybody: the final pruning mask, and the mean of the kept weights" in weights.discloses
    assert "those that one client alone kept" in weights.label
    things = (
        "every client's kept weights" if protocol == "cleartext" else "Hides single masks and kept weights"
    )
    assert things in weights.label
    assert "kept" not in votes.label + votes.discloses
