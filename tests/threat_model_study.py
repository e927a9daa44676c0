"""What tests of threat models share: the checks there are, results of them, facts of studies."""

from __future__ import annotations

from secprune.audit.check import CheckResult, Kind, Measurement, Verdict
from secprune.audit.evidence import PartyFact, StudyFacts
from secprune.privacy.labels import PrivacyLabel

PROOFS = {"share-view-exhaustive"}
CONFORMANCE = {
    "share-view",
    "pairwise-view",
    "bfv-view",
    "randomness-source",
    "hybrid-sealing",
    "release-policy",
    "model-pinned",
    "row-sums",
    "sensitivity",
    "replace-one",
    "noise-conformance",
    "accounting",
}
RECORDS = {"declared-flows", "residue", "ledgers-agree", "cohort-size", "one-release"}
ATTACKS = {"membership-share", "membership-dp"}
BOUNDS = {"canary-bound"}
ESTIMATES = {"gaussian-estimate"}
WEAKNESSES = {
    "all-aggregators",
    "colluders-subtract",
    "differencing",
    "paired-votes",
    "bfv-malleability",
    "mask-inversion",
    "membership-mask",
    "membership-counts",
    "membership-colluders",
    "membership-square-sums",
    "membership-count-noise",
    "specialty-mask",
    "specialty-dp",
    "property-in-sum",
    "unanimity",
}
KINDS = {
    **dict.fromkeys(PROOFS, Kind.PROOF),
    **dict.fromkeys(CONFORMANCE, Kind.CONFORMANCE),
    **dict.fromkeys(RECORDS, Kind.RECORD),
    **dict.fromkeys(ATTACKS | WEAKNESSES, Kind.ATTACK),
    **dict.fromkeys(BOUNDS, Kind.LOWER_BOUND),
    **dict.fromkeys(ESTIMATES, Kind.ESTIMATE),
}
CHECKS = frozenset(KINDS)
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
