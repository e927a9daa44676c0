"""What a study promises is what its protocol keeps, number by number."""

from __future__ import annotations

import pytest
from pairwise_round import make_round

from secprune.privacy import guarantee, labels
from secprune.protocols.pairwise import graph
from secprune.protocols.pairwise.terms import Terms
from secprune.task import ProtocolSpec


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
