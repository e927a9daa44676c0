"""The label every result must carry: what is protected from whom, and what is not.

"Differentially private" is never said of a secure sum. The texts stand here once, so that the command
line, the provenance file and the documents cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from secprune.task import Task

_COMPLETE_UP_TO = 100
"""Clients up to which the pairwise graph is complete; a test compares it with the protocol's."""


class PrivacyLabel(Struct, frozen=True, kw_only=True):
    """What a study promises, in the words that go into provenance and reports."""

    payload: str
    protocol: str
    mechanism: str
    differentially_private: bool
    label: str
    hides_from: str
    discloses: str


def privacy_label(task: Task, *, cohort_size: int | None = None) -> PrivacyLabel:
    """The label of a task, or of its result once the cohort is known.

    How many clients may work together against another depends on the cohort, not on the roster: before it is
    known, only `min_clients` of them are sure.
    """
    aggregators = len(task.names("aggregator"))
    counted = task.protocol.min_clients if cohort_size is None else cohort_size
    colluders = max(0, counted - 2)
    sure = "at least " if cohort_size is None else ""
    if task.protocol.name == "cleartext":
        label = "Not differentially private. No secure sum: the first aggregator reads every pruning mask."
        hides = "nobody"
    elif task.protocol.name == "pairwise":
        # Up to 100 clients lists of survivors cannot fork unless more than n/3 of them help; beyond, the drawn
        # graph is made for a fifth of them (protocols/pairwise/graph.py).
        limit = (task.n_max - 1) // 3 if task.n_max <= _COMPLETE_UP_TO else task.n_max // 5
        helpers = min(colluders, limit)
        label = (
            f"Not differentially private. Hides single masks from the aggregator, together with up to {helpers} of "
            f"{task.n_max} clients. The sum itself is disclosed, also to the aggregator."
        )
        hides = f"the aggregator, the coordinator, the exchange and up to {helpers} of the {task.n_max} clients together"
    elif task.protocol.name == "bfv":
        label, hides = _of_key_holders(task, colluders)
    else:
        label = (
            f"Not differentially private. Hides single masks from up to {aggregators - 1} of {aggregators} "
            f"aggregators and {colluders} of {sure}{counted} counted clients. The sum itself is disclosed."
        )
        hides = (
            f"any {aggregators - 1} of the {aggregators} aggregators, the coordinator, the exchange and up to "
            f"{colluders} of the counted clients together"
        )
    return PrivacyLabel(
        payload=task.privacy.payload,
        protocol=task.protocol.name,
        mechanism=task.privacy.mechanism,
        differentially_private=False,
        label=label,
        hides_from=hides,
        discloses=_discloses(task),
    )


def _of_key_holders(task: Task, colluders: int) -> tuple[str, str]:
    """Label of `bfv`, and whom it hides single masks from. A client that helps the aggregator is enough to break it."""
    holders = len(task.names("key-holder"))
    rest = f"the coordinator, the exchange and up to {colluders} of the counted clients together"
    never = "not from the aggregator when a client helps it"
    if task.protocol.key_holder == "simple":
        label = (
            "Not differentially private. Hides single masks from the aggregator alone and from the key holder alone; "
            f"not from the two together, and {never}. The sum itself is disclosed, also to the key holder."
        )
        return label, f"the aggregator alone; the key holder, {rest}"
    some = f" with up to {holders - 1} of {holders} key holders" if holders > 1 else " alone"
    label = (
        f"Not differentially private. Hides single masks from the aggregator{some}, and from all key holders without "
        f"it; not from the aggregator with all key holders, and {never}. The sum itself is disclosed, also to the "
        "aggregator."
    )
    return label, f"the aggregator{some}; all key holders, {rest}"


def _discloses(task: Task) -> str:
    others = {"pairwise": "the coordinator and the aggregator", "bfv": "the coordinator and the aggregator"}
    receivers = others.get(task.protocol.name, "the coordinator")
    if task.protocol.key_holder == "simple":
        receivers = "the coordinator and the key holder"
    votes = "how many clients of the cohort vote to prune each weight; where all agree, each client's vote"
    if task.pruning.weight_scaling:  # kept / dense = (cohort - count) / cohort, for all to divide
        return f"to {receivers}: {votes}. To everybody: the final pruning mask, and of each kept weight the votes"
    return f"to {receivers}: {votes}. To everybody: the final pruning mask"
