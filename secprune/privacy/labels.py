"""The label every result must carry: what is protected from whom, and what is not.

"Differentially private" is never said of a secure sum, only of noise, and only with unit, adjacency, adversary,
epsilon and delta beside it. The texts stand here once, so that the command line, the provenance file and the documents
cannot disagree.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct

from secprune.privacy.guarantee import Guarantee, guarantee, honest_parties, pairwise_helpers

if TYPE_CHECKING:
    from secprune.task import Task

_FOUR_DIGITS = Context(prec=4, rounding=ROUND_CEILING)

_SPECIALTY = (
    "A {unit} whose data several hospitals hold is one at each of them. It does not hide a hospital's specialty, nor "
    "anything else that is true of most of its {unit}s."
)
_NOT_FOR_PATIENTS = (
    "Not a {unit} guarantee: one note moves many votes. It does not hide a hospital's specialty either."
)


class PrivacyLabel(Struct, frozen=True, kw_only=True):
    """What a study promises, in the words that go into provenance and reports.

    `guarantee`: the numbers behind it; None without noise.
    """

    payload: str
    protocol: str
    mechanism: str
    differentially_private: bool
    label: str
    hides_from: str
    discloses: str
    guarantee: Guarantee | None = None


def privacy_label(task: Task, *, cohort_size: int | None = None) -> PrivacyLabel:
    """The label of a task, or of its result once the cohort is known.

    How many clients may work together against another depends on the cohort, not on the roster: before it is
    known, only `min_clients` of them are sure. What noise promises rests on `min_clients` in any case.

    Raises:
        ConfigurationError: the task's noise is so small that nothing is known of it.
    """
    given = guarantee(task)
    hidden, hides = _of_sum(task, cohort_size)
    if given is None:
        label = f"Not differentially private. {hidden}"
        if task.privacy.payload == "square-sums":
            label += " Statistics are summed as they are: for tests and rehearsals only."
        if task.pruning.algorithm == "fedspallm":
            label += (
                " Kept weights were fitted to a hospital's notes; the sum gives those that one client alone kept, and the "
                "released model holds their means."
            )
    elif task.privacy.mechanism == "dp-statistics":
        label = f"{_of_patients(task, given)} {hidden} {_SPECIALTY.format(unit=given.unit)}"
        whom = (
            "everybody" if given.epsilon_collapsed is None else f"everybody, if {_who_must_be_honest(task)}"
        )
        hides = f"{whom}: that any one {given.unit} is among the data, up to epsilon; single {_things(task)}: {hides}"
    else:
        label = f"{_of_votes(task, given)} {hidden}"
    return PrivacyLabel(
        payload=task.privacy.payload,
        protocol=task.protocol.name,
        mechanism=task.privacy.mechanism,
        differentially_private=task.privacy.mechanism == "dp-statistics",
        label=label,
        hides_from=hides,
        discloses=_discloses(task),
        guarantee=given,
    )


def rounded_up(number: float) -> str:
    """An epsilon in four digits, never smaller than it is, without an exponent."""
    return format(_FOUR_DIGITS.create_decimal(Decimal(number)).normalize(), "f")


def _pair(epsilon: float, given: Guarantee) -> str:
    return f"({rounded_up(epsilon)}, {format(Decimal(repr(given.delta)), 'f')})"


def _of_patients(task: Task, given: Guarantee) -> str:
    """What noise on statistics promises each patient or document."""
    promise = f"{_pair(given.epsilon, given)}-differentially private per {given.unit}, add/remove"
    if given.epsilon_collapsed is None:
        return f"{promise}, against everyone, all servers colluding included."
    return (
        f"{promise}, if {_who_must_be_honest(task)}; {_pair(given.epsilon_collapsed, given)} otherwise, against all servers and all "
        "other clients together."
    )


def _of_votes(task: Task, given: Guarantee) -> str:
    """What noise on votes promises, which is little."""
    if given.epsilon_of_vote is None:
        what = f"Deniability of one weight's vote, if {_who_must_be_honest(task)}."
    else:
        vote = rounded_up(given.epsilon_of_vote)
        what = f"Deniability of one weight's vote (epsilon {vote} for each vote), against everyone."
    client = f"Client-level epsilon = {rounded_up(given.epsilon)} at delta {format(Decimal(repr(given.delta)), 'f')}."
    return f"{what} {client} {_NOT_FOR_PATIENTS.format(unit='patient')}"


def _who_must_be_honest(task: Task) -> str:
    noise = task.privacy.count_noise
    return honest_parties(task, task.privacy.of_patients.colluders if noise is UNSET else noise.colluders)


def _things(task: Task) -> str:
    """What clients send, in the plural."""
    if task.pruning.algorithm == "fedspallm":
        return "masks and kept weights"
    return "masks" if task.privacy.payload == "counts" else "vectors of statistics"


def _of_sum(task: Task, cohort_size: int | None) -> tuple[str, str]:
    """What the secure sum hides, as a sentence, and from whom."""
    aggregators, things = len(task.names("aggregator")), _things(task)
    counted = task.protocol.min_clients if cohort_size is None else cohort_size
    colluders = max(0, counted - 2)
    sure = "at least " if cohort_size is None else ""
    if task.protocol.name == "cleartext":
        every = "every pruning mask" if task.privacy.payload == "counts" else "every client's statistics"
        if task.pruning.algorithm == "fedspallm":
            every = "every pruning mask and every client's kept weights"
        return f"No secure sum: the first aggregator reads {every}.", "nobody"
    if task.protocol.name == "pairwise":
        helpers = min(colluders, pairwise_helpers(task))
        hidden = (
            f"Hides single {things} from the aggregator, together with up to {helpers} of "
            f"{task.n_max} clients. The sum itself is disclosed, also to the aggregator."
        )
        whom = f"the aggregator, the coordinator, the exchange and up to {helpers} of the {task.n_max} clients together"
        return hidden, whom
    if task.protocol.name == "bfv":
        return _of_key_holders(task, colluders)
    hidden = (
        f"Hides single {things} from up to {aggregators - 1} of {aggregators} "
        f"aggregators and {colluders} of {sure}{counted} counted clients. The sum itself is disclosed."
    )
    whom = (
        f"any {aggregators - 1} of the {aggregators} aggregators, the coordinator, the exchange and up to "
        f"{colluders} of the counted clients together"
    )
    return hidden, whom


def _of_key_holders(task: Task, colluders: int) -> tuple[str, str]:
    """The same for `bfv`. A client that helps the aggregator is enough to break it."""
    holders, things = len(task.names("key-holder")), _things(task)
    rest = f"the coordinator, the exchange and up to {colluders} of the counted clients together"
    never = "not from the aggregator when a client helps it"
    if task.protocol.key_holder == "simple":
        hidden = (
            f"Hides single {things} from the aggregator alone and from the key holder alone; "
            f"not from the two together, and {never}. The sum itself is disclosed, also to the key holder."
        )
        return hidden, f"the aggregator alone; the key holder, {rest}"
    some = f" with up to {holders - 1} of {holders} key holders" if holders > 1 else " alone"
    hidden = (
        f"Hides single {things} from the aggregator{some}, and from all key holders without "
        f"it; not from the aggregator with all key holders, and {never}. The sum itself is disclosed, also to the "
        "aggregator."
    )
    return hidden, f"the aggregator{some}; all key holders, {rest}"


def _discloses(task: Task) -> str:
    others = {"pairwise": "the coordinator and the aggregator", "bfv": "the coordinator and the aggregator"}
    receivers = others.get(task.protocol.name, "the coordinator")
    if task.protocol.key_holder == "simple":
        receivers = "the coordinator and the key holder"
    if task.privacy.payload == "square-sums":
        noised = "a noised sum" if task.privacy.mechanism == "dp-statistics" else "the exact sum"
        return f"to {receivers}: {noised} of feature statistics. To everybody: the final pruning mask"
    noisy = task.privacy.mechanism in {"count-noise", "randomised-response"}
    votes = "how many clients of the cohort vote to prune each weight; where all agree, each client's vote"
    if noisy:
        votes = "how many clients of the cohort vote to prune each weight, give or take the noise"
    if task.pruning.algorithm == "fedspallm":
        return (
            f"to {receivers}: {votes}; the sum of the weights that clients kept; where one client alone kept a weight, "
            "that client's weight. To everybody: the final pruning mask, and the mean of the kept weights"
        )
    if task.pruning.weight_scaling:  # kept / dense = (cohort - count) / cohort, for all to divide
        return f"to {receivers}: {votes}. To everybody: the final pruning mask, and of each kept weight the votes"
    return f"to {receivers}: {votes}. To everybody: the final pruning mask"
