"""Every check of sums holds of the project's own code, and every mutation of it is found; every weakness is shown."""

from __future__ import annotations

import pytest
from audit_draws import SEED, draws
from sum_subjects import CONFORMING, WEAKNESSES

from secprune.audit.check import Verdict, conclude, run

MUTATED = [(name, mutation) for name, (check, _) in CONFORMING.items() for mutation in check.mutations]


def measured(check, subject):
    return check.measure(subject, draws(check.id))


@pytest.mark.parametrize("name", CONFORMING)
def test_the_project_conforms(name):
    check, subject = CONFORMING[name]
    found = measured(check, subject())
    assert not found.refuted, found.says
    assert found.sample > 0


@pytest.mark.parametrize(("name", "mutation"), MUTATED)
def test_every_mutation_is_found(name, mutation):
    check, subject = CONFORMING[name]
    found = measured(check, check.mutations[mutation](subject()))
    assert conclude(check.kind, found, ()) == Verdict.REFUTED


@pytest.mark.parametrize("name", WEAKNESSES)
def test_every_weakness_is_shown(name):
    check, subject = WEAKNESSES[name]
    assert not check.mutations
    found = measured(check, subject())
    assert found.refuted, found.says


def test_a_run_with_all_mutations_says_so():
    """One of each kind that does not take long, as a report runs them; the others follow from the tests above."""
    for name, verdict in (
        ("row-sums", Verdict.CONFORMS),
        ("hybrid-sealing", Verdict.CONFORMS),
        ("share-view-exhaustive", Verdict.PROVED),
    ):
        check, subject = CONFORMING[name]
        assert run(check, subject(), draws, seed=SEED, clock=lambda: 0.0).verdict == verdict


@pytest.mark.parametrize(
    "name", ["share-view", "pairwise-view", "hybrid-sealing", "model-pinned", "row-sums", "all-aggregators"]
)
def test_what_is_repeatable_repeats(name):
    check, subject = {**CONFORMING, **WEAKNESSES}[name]
    assert check.repeatable
    assert measured(check, subject()) == measured(check, subject())
