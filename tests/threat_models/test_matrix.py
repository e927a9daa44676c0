"""Status is computed: the weakest required check wins, and nothing that was not shown is ever green."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threat_model_study import CHECKS, WEAKNESSES, all_well, facts, result

from secprune.audit.check import Verdict
from secprune.audit.claims import GREEN, Shown, Status, break_shown, claim_status
from secprune_threat_models import evaluate, load_models

MODELS = load_models(known_checks=CHECKS)
VERDICTS = st.dictionaries(st.sampled_from(sorted(CHECKS)), st.sampled_from(Verdict), max_size=len(CHECKS))
SOME = st.lists(st.sampled_from(sorted(CHECKS)), min_size=1, max_size=5, unique=True)
STRENGTH = [
    Status.PROVED,
    Status.CONFORMS,
    Status.NOT_REFUTED,
    Status.ASSUMED,
    Status.NOT_RUN,
    Status.NO_POWER,
    Status.REFUTED,
]


def results(verdicts):
    return {check: result(check, verdict) for check, verdict in verdicts.items()}


@given(VERDICTS, SOME)
def test_the_weakest_wins(verdicts, required):
    status = claim_status(required, results(verdicts))
    single = [Status(verdicts.get(check, Verdict.NOT_RUN).value) for check in required]
    assert status in single
    assert all(STRENGTH.index(status) >= STRENGTH.index(other) for other in single)


@given(VERDICTS, SOME, st.sampled_from(sorted(CHECKS)))
def test_another_required_check_never_strengthens(verdicts, required, more):
    before, after = (claim_status(r, results(verdicts)) for r in (required, [*required, more]))
    assert STRENGTH.index(after) >= STRENGTH.index(before)


@given(VERDICTS, SOME, st.sampled_from([Verdict.NO_POWER, Verdict.NOT_RUN, Verdict.REFUTED]))
def test_what_had_no_power_or_was_not_run_or_is_refuted_is_never_green(verdicts, required, verdict):
    status = claim_status(required, results({**verdicts, required[0]: verdict}))
    assert status not in GREEN


def test_green_is_what_was_shown_and_nothing_is_green_by_being_assumed():
    assert frozenset({Status.PROVED, Status.CONFORMS, Status.NOT_REFUTED}) == GREEN
    assert claim_status((), {}) is Status.ASSUMED
    assert claim_status(["share-view"], {}) is Status.NOT_RUN


@given(VERDICTS, SOME)
def test_a_break_is_shown_by_every_attack_that_ran_and_by_one_at_least(verdicts, required):
    ran = [verdicts[c] for c in required if verdicts.get(c, Verdict.NOT_RUN) is not Verdict.NOT_RUN]
    shown = break_shown(required, results(verdicts))
    if not ran:
        assert shown is Shown.NOT_RUN
    else:
        assert (shown is Shown.SHOWN) == all(v is Verdict.REFUTED for v in ran)


KINDS = [
    ("additive", "counts", "none"),
    ("additive", "counts", "dp-statistics"),
    ("additive", "square-sums", "dp-statistics"),
    ("additive", "counts", "count-noise"),
    ("additive", "square-sums", "none"),
    ("pairwise", "counts", "none"),
    ("pairwise", "square-sums", "dp-statistics"),
    ("bfv", "counts", "none"),
    ("bfv", "counts", "dp-statistics"),
    ("cleartext", "counts", "none"),
]


def claims(models):
    return {claim.id: claim for model in models for claim in model.claims}


def breaks(models):
    return {found.id: found for model in models for found in model.breaks}


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_with_all_well_every_claim_is_green_or_assumed_and_every_break_is_shown(kind):
    models = evaluate(MODELS, all_well(), facts(*kind))
    assert [model.id for model in models] == [model.id for model in MODELS]
    for claim in claims(models).values():
        assert claim.status in GREEN if claim.strength != "assumed" else claim.status is Status.ASSUMED
    assert {found.shown for found in breaks(models).values()} == {Shown.SHOWN}
    assert all(model.non_claims for model in models)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_without_results_nothing_is_green(kind):
    models = evaluate(MODELS, {}, facts(*kind))
    assert {c.status for c in claims(models).values()} <= {Status.NOT_RUN, Status.ASSUMED}
    assert {b.shown for b in breaks(models).values()} == {Shown.NOT_RUN}


@pytest.mark.parametrize("check", sorted(CHECKS - WEAKNESSES))
def test_each_check_turns_the_claims_that_require_it_and_no_others(check):
    turned = set()
    for kind in KINDS:
        before = claims(evaluate(MODELS, all_well(), facts(*kind)))
        name = check.replace("-", "_")
        after = claims(evaluate(MODELS, all_well(**{name: Verdict.REFUTED}), facts(*kind)))
        for id_, claim in after.items():
            assert (claim.status is Status.REFUTED) == (check in claim.checks), id_
            assert claim.status is Status.REFUTED or claim.status is before[id_].status
            turned |= {id_} if check in claim.checks else set()
        powerless = claims(evaluate(MODELS, all_well(**{name: Verdict.NO_POWER}), facts(*kind)))
        assert all(powerless[id_].status is Status.NO_POWER for id_ in after if check in after[id_].checks)
    assert turned, f"no study of any kind has a claim that {check} backs"


def test_a_protocol_has_its_own_claims():
    per = {p: claims(evaluate(MODELS, {}, facts(p))) for p in ("additive", "pairwise", "bfv", "cleartext")}
    checks = {p: {check for claim in of.values() for check in claim.checks} for p, of in per.items()}
    views = {"share-view-exhaustive", "share-view", "pairwise-view", "bfv-view"}
    assert checks["additive"] & views == {"share-view-exhaustive", "share-view"}
    assert checks["pairwise"] & views == {"pairwise-view"}
    assert checks["bfv"] & views == {"bfv-view"}
    assert checks["cleartext"] & views == set()
    assert "hybrid-sealing" not in checks["cleartext"]
    assert "mask secrecy" not in {claim.property for claim in per["cleartext"].values()}


def test_only_noise_promises_something_to_patients():
    def promises(*kind):
        return {c.id for c in claims(evaluate(MODELS, {}, facts(*kind))).values() if "epsilon" in c.property}

    for mechanism in ("none", "count-noise", "randomised-response"):
        assert promises("additive", "counts", mechanism) == set()
    assert "TM06-C1" in promises("pairwise", "counts", "dp-statistics")
    assert "TM03-C1" in promises("additive", "counts", "dp-statistics")  # against all aggregators
    assert {"TM03-C3", "TM04-C5"} <= promises("additive", "square-sums", "dp-statistics")  # collapsed


def test_a_model_that_is_not_about_such_a_study_says_why_and_claims_nothing():
    models = {model.id: model for model in evaluate(MODELS, all_well(), facts("pairwise"))}
    for id_, word in (("TM02", "additive"), ("TM03", "additive"), ("TM13", "bfv")):
        assert not models[id_].applies
        assert f"protocol {word}, and this one has pairwise" in models[id_].why
        assert models[id_].claims == ()
        assert models[id_].breaks == ()
        assert models[id_].non_claims
    assert models["TM01"].applies
    assert models["TM01"].why == ""


def test_a_view_has_only_what_the_study_can_have():
    additive, bfv = ({m.id: set(m.sees) for m in evaluate(MODELS, {}, facts(p))} for p in ("additive", "bfv"))
    assert "reports chunks" in additive["TM01"]
    assert "encrypted-reports chunks" not in additive["TM01"]
    assert "encrypted-reports chunks" in bfv["TM01"]
    assert "reports chunks" not in bfv["TM01"]
    assert "encrypted report" in bfv["TM10"]
    assert "encrypted report" not in additive["TM10"]
