"""What a check concludes, and that its draws can be repeated."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secprune.audit.check import Check, Control, Kind, Measurement, Verdict, conclude, not_run, run
from secprune.audit.claims import GREEN, Shown, Status, break_shown, claim_status
from secprune.audit.draws import Draws


def check(kind=Kind.ATTACK, mutations=("broken",)):
    """A check that refutes a subject below zero; a mutation called "broken" goes below, another does not."""
    return Check(
        id="sign",
        title="",
        asks="",
        kind=kind,
        measure=lambda subject, _draws: Measurement(refuted=subject < 0, says=""),
        mutations={name: lambda _s, name=name: -1 if name == "broken" else 1 for name in mutations},
    )


def result_of(subject, kind=Kind.ATTACK, mutations=("broken",)):
    return run(check(kind, mutations), subject, partial(Draws, 1), seed=1, clock=itertools.count().__next__)


@pytest.mark.parametrize(
    ("kind", "best"),
    [
        (Kind.PROOF, Verdict.PROVED),
        (Kind.CONFORMANCE, Verdict.CONFORMS),
        (Kind.RECORD, Verdict.CONFORMS),
        (Kind.ATTACK, Verdict.NOT_REFUTED),
        (Kind.LOWER_BOUND, Verdict.NOT_REFUTED),
        (Kind.ESTIMATE, Verdict.NOT_REFUTED),
    ],
)
def test_each_kind_concludes_no_more_than_it_can(kind, best):
    assert result_of(1, kind).verdict is best
    assert result_of(-1, kind).verdict is Verdict.REFUTED


def test_a_mutation_that_goes_unnoticed_takes_the_power_but_not_a_refutation():
    assert result_of(1, mutations=("broken", "unnoticed")).verdict is Verdict.NO_POWER
    assert result_of(1, mutations=()).verdict is Verdict.NO_POWER
    assert result_of(-1, mutations=("unnoticed",)).verdict is Verdict.REFUTED


def test_what_was_not_run_says_why():
    result = not_run(check(), "no model")
    assert (result.verdict, result.why, result.measurement) == (Verdict.NOT_RUN, "no model", None)


@given(st.booleans(), st.lists(st.booleans(), max_size=4), st.sampled_from(Kind))
def test_nothing_is_green_unless_every_control_was_noticed(refuted, noticed, kind):
    controls = tuple(
        Control(mutation=str(n), measurement=Measurement(refuted=yes, says=""))
        for n, yes in enumerate(noticed)
    )
    verdict = conclude(kind, Measurement(refuted=refuted, says=""), controls)
    green = Status(verdict.value) in GREEN
    assert green == (not refuted and bool(noticed) and all(noticed))


@given(st.lists(st.sampled_from(Verdict), max_size=5))
def test_a_claim_takes_its_weakest_check(verdicts):
    results = {str(n): not_run(check(), "") for n in range(len(verdicts))}
    results = {
        n: _with(result, verdict) for (n, result), verdict in zip(results.items(), verdicts, strict=True)
    }
    status = claim_status(results, results)
    if not verdicts:
        assert status is Status.ASSUMED
        return
    weakest = max(verdicts, key=list(Verdict).index)
    assert status.value == weakest.value
    assert claim_status([*results, "another"], results) in {Status.NOT_RUN, Status.NO_POWER, Status.REFUTED}


def test_a_break_is_shown_by_attacks_that_succeed():
    shown, failed, absent = result_of(-1), result_of(1), not_run(check(), "")
    assert break_shown(["a"], {"a": shown}) is Shown.SHOWN
    assert break_shown(["a", "b"], {"a": shown, "b": failed}) is Shown.NOT_SHOWN
    assert break_shown(["a", "b"], {"a": shown, "b": absent}) is Shown.SHOWN
    assert break_shown(["a", "c"], {"a": absent}) is Shown.NOT_RUN


def test_draws_follow_from_seed_and_purpose_alone():
    def first(seed, purpose):
        draws = Draws(seed, purpose)
        return draws.entropy(7), draws.entropy(9), draws.numpy.integers(2**60)

    assert first(1, "a") == first(1, "a")
    others = {first(1, "a"), first(2, "a"), first(1, "b")}
    assert len(others) == 3
    assert len(Draws(1, "a").entropy(1_001)) == 1_001
    with pytest.raises(ValueError, match="a seed is from 0"):
        Draws(-1, "a")


def _with(result, verdict):
    import msgspec

    return msgspec.structs.replace(result, verdict=verdict)
