"""The mutation catalogue: every claim of every threat model falls when a protection that it rests on is switched off.

Attacks are left to tests/audit/attacks and tests/e2e/test_report.py: they need documents and a model.
"""

from __future__ import annotations

import pytest
from privacy_tasks import noisy_counts, private
from small_study import MATRICES, make_study

from secprune.audit.check import CheckResult, Verdict, conclude
from secprune.audit.claims import Status
from secprune.audit.draws import Draws
from secprune.parties.auditor.registry import ATTACKS, CHECKS
from secprune.parties.auditor.report import plan_checks
from secprune.parties.auditor.study import open_study
from secprune_cli.report.command import ThreatModels

JUDGE = ThreatModels.load()
NEEDS_MORE = {check.id for check in ATTACKS} | {"replace-one"}  # a model, and documents

WIDE = tuple((name, 4, 16_000) for name, _, _ in MATRICES)
"""With so many features one run of the mechanism shows a doubled clip; with a few dozen it has no power."""

KINDS = {
    "additive": {},
    "pairwise": {"protocol": "pairwise", "aggregators": 1},
    "bfv": {"protocol": "bfv", "aggregators": 1, "key_holders": 2},
    "patients": {"privacy": private(epsilon="8"), "matrices": WIDE},
    "square-sums": {"privacy": private("square-sums", epsilon="8"), "matrices": WIDE},
    "count noise": {"privacy": noisy_counts()},
}
CATALOGUE = {
    "cleartext", "reused-mask", "short-range", "noise-over-sqrt2", "sigma-for-variance", "clip-doubled",
    "one-party-omits-noise", "cohort-of-one", "second-release",
}  # fmt: skip


def finished_study(root, kind):
    options = KINDS[kind]
    study = make_study(root, with_masks="privacy" not in options, **options)
    if kind == "pairwise":
        study.run_pairwise()
    elif kind == "bfv":
        study.run_bfv()
    elif kind == "additive":
        study.submit()
        study.run_servers()
    return open_study(root, JUDGE.declaration)


def status_of(check, study, result):
    """Statuses of all claims that rest on a check, where nothing else was run."""
    models = JUDGE.evaluate({check.id: result}, study.facts)
    return {claim.id: claim.status for model in models for claim in model.claims if check.id in claim.checks}


@pytest.mark.parametrize("kind", KINDS)
def test_every_claim_falls_with_a_protection_it_rests_on(tmp_path, kind):
    root, scratch = tmp_path / "study", tmp_path / "scratch"
    root.mkdir()
    scratch.mkdir()
    (root / "exchange").mkdir()
    study = finished_study(root, kind)
    fallen, seen = set(), set()
    for check, subject in plan_checks(study, 1, scratch):
        if isinstance(subject, str) or check.id in NEEDS_MORE:
            continue
        for name, mutate in check.mutations.items():
            found = check.measure(mutate(subject), Draws(1, f"{check.id}/{name}/mutated"))
            verdict = conclude(check.kind, found, ())
            assert verdict is Verdict.REFUTED, (check.id, name, found.says)
            result = CheckResult(check=check.id, kind=check.kind, verdict=verdict, measurement=found)
            statuses = status_of(check, study, result)
            assert set(statuses.values()) <= {Status.REFUTED}
            fallen |= statuses.keys()
            seen.add(name)
    backed = {
        claim.id
        for model in JUDGE.evaluate({}, study.facts)
        for claim in model.claims
        if set(claim.checks) - NEEDS_MORE
    }
    if kind in {"additive", "pairwise", "bfv"}:
        assert fallen == backed
    due = {"additive": {"cleartext", "reused-mask", "short-range", "cohort-of-one", "second-release"},
           "patients": {"noise-over-sqrt2", "sigma-for-variance", "clip-doubled"}}  # fmt: skip
    assert due.get(kind, set()) <= seen


def test_the_catalogue_has_every_mutation_that_is_asked_for():
    there = {name for check in CHECKS.values() for name in check.mutations}
    assert there >= CATALOGUE


def test_what_is_not_run_is_never_green(tmp_path):
    study = finished_study(tmp_path, "additive")
    for model in JUDGE.evaluate({}, study.facts):
        for claim in model.claims:
            assert claim.status in {Status.NOT_RUN, Status.ASSUMED}
