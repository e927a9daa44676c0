"""What tests of threat models share: the checks there are, results of them, facts of studies."""

from __future__ import annotations

from secprune.audit.check import CheckResult, Kind, Measurement, Verdict
from secprune.audit.evidence import PartyFact, StudyFacts
from secprune.parties.auditor.registry import CHECKS as REGISTRY
from secprune.privacy.labels import PrivacyLabel

KINDS = {check.id: check.kind for check in REGISTRY.values()}
CHECKS = frozenset(KINDS)
WEAKNESSES = {check.id for check in REGISTRY.values() if not check.mutations}


def _promises(kind):
    return {check for check, its in KINDS.items() if its is kind} - WEAKNESSES


PROOFS, CONFORMANCE, RECORDS = map(_promises, (Kind.PROOF, Kind.CONFORMANCE, Kind.RECORD))
ATTACKS, BOUNDS, ESTIMATES = map(_promises, (Kind.ATTACK, Kind.LOWER_BOUND, Kind.ESTIMATE))
BEST = {Kind.PROOF: Verdict.PROVED, Kind.CONFORMANCE: Verdict.CONFORMS, Kind.RECORD: Verdict.CONFORMS}


def result(check, verdict):
    """A result that says only its verdict; of one that was run, with a measurement to it."""
    found = None
    if verdict is not Verdict.NOT_RUN:
        found = Measurement(refuted=verdict is Verdict.REFUTED, says="")
    return CheckResult(
        check=check, kind=KINDS.get(check, Kind.CONFORMANCE), verdict=verdict, measurement=found
    )


def all_well(**others):
    """Results as they should be: promises hold, weaknesses are shown; `others` by check, - written _."""
    results = {
        check: result(check, Verdict.REFUTED if check in WEAKNESSES else BEST.get(kind, Verdict.NOT_REFUTED))
        for check, kind in KINDS.items()
    }
    return results | {name.replace("_", "-"): result(name, v) for name, v in others.items()}


def facts(protocol="additive", payload="counts", mechanism="none"):
    """Facts of a study of this kind."""
    return StudyFacts(
        study="ward notes",
        task_id="sha256:" + "0" * 64,
        model="sha256:" + "1" * 64,
        weights=1000,
        sparsity="1/2",
        schedule="one-shot",
        protocol=protocol,
        payload=payload,
        mechanism=mechanism,
        min_clients=3,
        roster=4,
        cohort=("clinic-0", "clinic-1", "clinic-2"),
        parties=(PartyFact(name="hq", role="coordinator", fingerprint="sha256:" + "2" * 64),),
        label=PrivacyLabel(
            payload=payload,
            protocol=protocol,
            mechanism=mechanism,
            differentially_private=mechanism == "dp-statistics",
            label="",
            hides_from="",
            discloses="",
        ),
    )
