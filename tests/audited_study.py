"""Evidence put together by hand, for tests of the report: every verdict, status and kind of figure is in one of them."""

from __future__ import annotations

import numpy as np

from secprune.audit.check import CheckResult, Control, Curve, Figure, Kind, Measurement, Verdict
from secprune.audit.claims import BreakResult, ClaimResult, ModelResult, Shown, Status
from secprune.audit.evidence import Evidence, Flow, Kept, PartyFact, StudyFacts
from secprune.privacy.guarantee import Guarantee
from secprune.privacy.labels import PrivacyLabel
from secprune_cli.report import CheckText

DIGEST = "sha256:" + "5e" * 32
AGGREGATORS = ("university", "health-trust")
ABOUT = {
    name: CheckText(title=title, asks=asks, source="Carlini et al., IEEE S&P 2022, section III")
    for name, title, asks in (
        ("share-view", "What one aggregator gets looks random", "Can one share be told from random bytes?"),
        ("share-view-exhaustive", "Every share of a small modulus", "Is each share as likely as each other?"),
        (
            "membership-share",
            "Membership of a note, from one share",
            "Does a share tell which notes were used?",
        ),
        (
            "membership-mask",
            "Membership of a note, from a plaintext mask",
            "Does a mask tell which notes were used?",
        ),
        (
            "membership-counts",
            "Membership of a note, from exact counts",
            "Do counts tell which notes were used?",
        ),
        ("membership-dp", "Membership of a note, from what noise protects", "Does a noised result tell?"),
        ("canary-bound", "Canaries in one run", "How large is epsilon at least?"),
        ("gaussian-estimate", "Estimate from the shape of the noise", "How large does epsilon look?"),
        ("noise-conformance", "The noise is as large as promised", "Is the noise that of the task?"),
        ("unanimity", "Votes on which all agree", "How often does the sum tell every vote?"),
        (
            "declared-flows",
            "Nothing undeclared was sent",
            "Did anything travel that no threat model declares?",
        ),
        ("ledgers-agree", "The parties' ledgers agree", "Do all parties tell the same story?"),
    )
}


def _roc(name: str, strength: float) -> Curve:
    """Of a Gaussian attack of that strength, roughly."""
    x = np.concatenate([[0.0], np.geomspace(1e-3, 1, 60)])
    return Curve(name=name, x=tuple(map(float, x)), y=tuple(map(float, x ** (1 / (1 + strength)))))


def attack(
    check: str, value: float, verdict: Verdict, *, control: str = "", noticed: bool = True
) -> CheckResult:
    """An attack with that AUC, and a control that succeeds or not."""

    def found(auc: float, refuted: bool) -> Measurement:
        return Measurement(
            refuted=refuted,
            says=f"The attack ranks a used note above another {auc:.0%} of the time.",
            figures=(
                Figure(name="AUC", value=auc, low=max(0.0, auc - 0.04), high=min(1.0, auc + 0.04)),
                Figure(name="TPR at 1% FPR", value=auc**6, low=0.0, high=1.0),
            ),
            sample=400,
            curves=(_roc("ROC", 12 * (auc - 0.5)),),
        )

    return CheckResult(
        check=check,
        kind=Kind.ATTACK,
        verdict=verdict,
        measurement=found(value, verdict is Verdict.REFUTED),
        controls=(Control(mutation=control, measurement=found(0.98 if noticed else 0.51, noticed)),)
        if control
        else (),
        seed=7,
        parameters={"clients": "4", "documents": "2"},
        seconds=12.5,
    )


def _plain(check: str, kind: Kind, verdict: Verdict, *mutations: str, missed: bool = False) -> CheckResult:
    controls = tuple(
        Control(
            mutation=name, measurement=Measurement(refuted=not missed, says=f"Says of {name}.", sample=64)
        )
        for name in mutations
    )
    says = (
        "Nothing that contradicts the promise."
        if verdict is not Verdict.REFUTED
        else "It contradicts the promise."
    )
    found = Measurement(refuted=verdict is Verdict.REFUTED, says=says, sample=65536)
    return CheckResult(
        check=check, kind=kind, verdict=verdict, measurement=found, controls=controls, seed=7, repeatable=True
    )


def _counts() -> CheckResult:
    found = Measurement(
        refuted=True,
        says="With few notes and few hospitals, the counts tell which notes were used.",
        figures=tuple(
            Figure(name=f"AUC, n = {n}, {d} documents", value=v, low=v - 0.03, high=min(1.0, v + 0.03))
            for (n, d), v in {
                (2, 2): 0.99, (4, 2): 0.97, (16, 2): 0.81, (64, 2): 0.57, (2, 8): 0.9, (4, 8): 0.8, (16, 8): 0.62, (64, 8): 0.52,
            }.items()
        ),
        sample=800,
        curves=(_roc("counts of 4 clients", 5.0), _roc("counts of 16 clients", 1.0)),
    )  # fmt: skip
    return CheckResult(
        check="membership-counts",
        kind=Kind.ATTACK,
        verdict=Verdict.REFUTED,
        measurement=found,
        seed=7,
        seconds=80,
    )


def _unanimity() -> CheckResult:
    curve = Curve(name="unanimous share", x=(2, 4, 8, 16), y=(0.95, 0.91, 0.86, 0.8))
    found = Measurement(
        refuted=True,
        says="On 91% of the weights all four hospitals vote the same.",
        figures=(Figure(name="unanimous share", value=0.91),),
        sample=10_000_000,
        curves=(curve,),
    )
    return CheckResult(
        check="unanimity", kind=Kind.ATTACK, verdict=Verdict.REFUTED, measurement=found, seed=7
    )


def _audits_of_noise() -> tuple[CheckResult, ...]:
    def epsilon(name: str, value: float, low: float | None, refuted: bool) -> Measurement:
        return Measurement(
            refuted=refuted,
            says=f"Epsilon: {value}.",
            figures=(
                Figure(name="claimed epsilon", value=8.0),
                Figure(name=name, value=value, low=low, high=None if low is None else value + 1),
            ),
            sample=1000,
        )

    return (
        CheckResult(
            check="canary-bound",
            kind=Kind.LOWER_BOUND,
            verdict=Verdict.NOT_REFUTED,
            measurement=epsilon("epsilon at least", 1.7, None, False),
            controls=(
                Control(mutation="noise-omitted", measurement=epsilon("epsilon at least", 9.6, None, True)),
            ),
            seed=7,
        ),
        CheckResult(
            check="gaussian-estimate",
            kind=Kind.ESTIMATE,
            verdict=Verdict.NOT_REFUTED,
            measurement=epsilon("epsilon, estimated", 7.7, 7.1, False),
            controls=(
                Control(
                    mutation="noise-over-sqrt2", measurement=epsilon("epsilon, estimated", 11.9, 11.2, True)
                ),
            ),
            seed=7,
        ),
        _plain(
            "noise-conformance",
            Kind.CONFORMANCE,
            Verdict.CONFORMS,
            "noise-over-sqrt2",
            "sigma-for-variance",
            "one-party-omits-noise",
        ),
    )


def claim(identity: str, status: Status, *checks: str, text: str = "") -> ClaimResult:
    """A claim with that status."""
    return ClaimResult(
        id=identity,
        text=text or f"The adversary does not learn a single hospital's pruning mask, by {identity}.",
        property="mask secrecy",
        strength="proof" if status is Status.PROVED else "empirical",
        assumptions=("one aggregator is honest", "AES-256-CTR is a pseudorandom generator"),
        linddun=("Linking", "Identifying"),
        checks=checks,
        status=status,
    )


def model(
    identity: str, title: str, *claims: ClaimResult, breaks: tuple[BreakResult, ...] = (), why: str = ""
) -> ModelResult:
    """A threat model with two non-claims."""
    return ModelResult(
        id=identity,
        title=title,
        corrupts="one of the organisations that add up",
        behaviour="semi-honest",
        knows=("the task", "all public files"),
        sees=("input share", "row-sum words"),
        claims=claims,
        breaks=breaks,
        non_claims=(
            "That the counts are right if an aggregator lies.",
            f"That {title.lower()} does not learn who takes part, and when.",
        ),
        applies=not why,
        why=why,
    )


def flow(
    sender: str,
    role: str,
    receiver: str,
    to: str,
    artefact: str,
    count: int,
    size: int,
    *,
    declared: bool = True,
) -> Flow:
    """Artefacts of one kind from one party to another."""
    return Flow(
        sender=sender,
        sender_role=role,
        receiver=receiver,
        receiver_role=to,
        artefact=artefact,
        count=count,
        bytes=size,
        declared=declared,
    )


def flows(clients: int, *, extra: tuple[Flow, ...] = ()) -> tuple[Flow, ...]:
    """Those of an additive study."""
    names = [f"hospital-{index + 1}" for index in range(clients)]
    return (
        *(
            flow(name, "client", aggregator, "aggregator", "input share", 32, 33_554_432 if first else 1_132)
            for name in names
            for first, aggregator in ((True, AGGREGATORS[0]), (False, AGGREGATORS[1]))
        ),
        *(flow(name, "client", "everybody", "everybody", "report", 1, 4_811) for name in names),
        flow(AGGREGATORS[0], "aggregator", AGGREGATORS[1], "aggregator", "row-sum words", clients, 81_920),
        flow(AGGREGATORS[1], "aggregator", AGGREGATORS[0], "aggregator", "row-sum words", clients, 81_920),
        *(
            flow(name, "aggregator", "coordinator-1", "coordinator", "aggregate share", 32, 33_554_432)
            for name in AGGREGATORS
        ),
        *(flow(name, "aggregator", "everybody", "everybody", "vote", 2, 1_950) for name in AGGREGATORS),
        flow("coordinator-1", "coordinator", "everybody", "everybody", "task", 1, 9_240),
        *extra,
    )


LEAK = flow("hospital-2", "client", "coordinator-1", "coordinator", "debug log", 1, 48_211, declared=False)


def facts(study: str, clients: int, *, private: bool, protocol: str = "additive") -> StudyFacts:
    """Of a study with noise for patients, or without."""
    given = Guarantee(
        unit="patient",
        adjacency="add/remove one patient",
        adversary="everybody",
        epsilon=8.0,
        delta=1e-6,
        mechanism="discrete Gaussian",
        accountant="zCDP",
    )
    names = tuple(f"hospital-{index + 1}" for index in range(clients))
    parties = (
        *((name, "client") for name in names),
        *((name, "aggregator") for name in AGGREGATORS[: 1 if protocol == "pairwise" else 2]),
        ("coordinator-1", "coordinator"),
    )
    label = (
        "(8, 0.000001)-differentially private per patient, add/remove, against everyone, all servers colluding included. "
        if private
        else "Not differentially private. "
    )
    return StudyFacts(
        study=study,
        task_id=DIGEST,
        model=DIGEST,
        weights=106_168_320,
        sparsity="1/2",
        schedule="one-shot",
        protocol=protocol,
        payload="counts",
        mechanism="dp-statistics" if private else "none",
        min_clients=3,
        roster=clients,
        cohort=names,
        parties=tuple(PartyFact(name=name, role=role, fingerprint=DIGEST) for name, role in parties),
        label=PrivacyLabel(
            payload="counts",
            protocol=protocol,
            mechanism="dp-statistics" if private else "none",
            differentially_private=private,
            label=label + "Hides single masks from up to 1 of 2 aggregators. The sum itself is disclosed.",
            hides_from="any one of the two aggregators, the coordinator and the exchange",
            discloses="to the coordinator: how many clients vote to prune each weight; where all agree, each client's vote. "
            "To everybody: the final pruning mask",
            guarantee=given if private else None,
        ),
        public_only={"perplexity, result": 18.31, "perplexity, public only": 18.9, "mask agreement": 0.934}
        if private
        else {},
    )


def kept(*, undeclared: bool = False) -> tuple[Kept, ...]:
    """What lies on disks after a study."""
    rows = [
        ("hospital-1", "client", "notes", 1, 812_000, True, "never leaves the client"),
        (
            "hospital-1",
            "client",
            "local pruning masks",
            1,
            13_271_040,
            True,
            "file mode 0600; never leaves the client",
        ),
        (AGGREGATORS[0], "aggregator", "journal", 1, 401_408, True, "file mode 0600"),
        (
            "coordinator-1",
            "coordinator",
            "summed counts",
            1,
            106_168_320,
            True,
            "sum over at least 3 clients",
        ),
        ("coordinator-1", "coordinator", "public card", 7, 4_200, False, "signed by its owner"),
    ]
    if undeclared:
        rows.append(("hospital-2", "client", "undeclared", 2, 9_100, True, ""))
    return tuple(
        Kept(party=p, role=r, artefact=a, files=f, bytes=b, derived_from_notes=d, protected=how)
        for p, r, a, f, b, d, how in rows
    )


def evidence(study: str, clients: int, results, models, *, private: bool, **changed) -> Evidence:
    """All of it, from what differs."""
    given = {
        "facts": facts(study, clients, private=private),
        "auditor": "regional data-protection office",
        "rehearsal": "synthetic notes of four made-up hospitals, and a model of 134 million weights",
        "flows": flows(clients),
        "kept": kept(),
        "results": results,
        "models": models,
        "seed": 7,
        "versions": {"secprune": "0.1.0", "numpy": "2.4.1", "python": "3.11.9"},
        "inputs": {"task.toml": DIGEST, "model.safetensors": DIGEST},
        "commands": (
            "secprune auditor report --study demo-out --out audit --rehearse --seed 7",
            "secprune auditor verify --evidence audit/evidence.json",
        ),
    }
    return Evidence(**given | changed)


SOUND_RESULTS = (
    _plain("share-view-exhaustive", Kind.PROOF, Verdict.PROVED, "reused-mask", "short-range", "float-masks"),
    _plain("share-view", Kind.CONFORMANCE, Verdict.CONFORMS, "reused-mask", "short-range"),
    attack("membership-share", 0.51, Verdict.NOT_REFUTED, control="cleartext"),
    attack("membership-dp", 0.53, Verdict.NOT_REFUTED, control="noise-omitted"),
    attack("membership-mask", 0.99, Verdict.REFUTED),
    _counts(),
    _unanimity(),
    *_audits_of_noise(),
    _plain("declared-flows", Kind.RECORD, Verdict.CONFORMS, "planted-leak"),
)

_COUNTS_BREAK = BreakResult(
    id="TM03-B1",
    text="Whoever sees the counts can tell whether a given note was used, the better the fewer notes and hospitals there are.",
    stops_it="noise on statistics",
    checks=("membership-counts", "unanimity"),
    shown=Shown.SHOWN,
)

SOUND_MODELS = (
    model(
        "TM01",
        "One aggregator",
        claim("TM01-C1", Status.PROVED, "share-view-exhaustive"),
        claim("TM01-C2", Status.CONFORMS, "share-view", "declared-flows"),
        claim("TM01-C3", Status.NOT_REFUTED, "membership-share"),
        claim("TM01-C4", Status.ASSUMED),
    ),
    model(
        "TM03",
        "All aggregators together",
        breaks=(
            BreakResult(
                id="TM03-B0",
                text="All aggregators together read every hospital's pruning mask.",
                stops_it="aggregators at organisations that do not collude",
                checks=("membership-mask",),
                shown=Shown.SHOWN,
            ),
            _COUNTS_BREAK,
            BreakResult(
                id="TM03-B2",
                text="Two releases that differ by one hospital give that hospital's mask.",
                stops_it="one release for each model",
                checks=("differencing",),
                shown=Shown.NOT_RUN,
            ),
        ),
    ),
    model(
        "TM06",
        "Recipient of the pruned model",
        claim("TM06-C1", Status.NOT_REFUTED, "membership-dp", "canary-bound"),
    ),
    model("TM12", "Key holder", why="the protocol has no key holders"),
)


def sound() -> Evidence:
    """Additive, with noise for patients: every claim holds."""
    return evidence("demo-2026", 4, SOUND_RESULTS, SOUND_MODELS, private=True)


def open_questions() -> Evidence:
    """Pairwise, without noise, 64 clients: one claim has NO POWER, one is NOT RUN, none is refuted."""
    results = (
        attack("membership-share", 0.5, Verdict.NO_POWER, control="cleartext", noticed=False),
        CheckResult(
            check="share-view", kind=Kind.CONFORMANCE, verdict=Verdict.NOT_RUN, why="it needs two aggregators"
        ),
    )
    models = (
        model(
            "TM02",
            "The one aggregator",
            claim("TM02-C1", Status.NO_POWER, "membership-share"),
            claim("TM02-C2", Status.NOT_RUN, "share-view"),
            breaks=(
                BreakResult(
                    id="TM02-B1",
                    text="The aggregator learns the sum.",
                    stops_it="additive",
                    checks=("colluders-subtract",),
                    shown=Shown.NOT_SHOWN,
                ),
            ),
        ),
    )
    pairwise = facts("wards-2026", 64, private=False, protocol="pairwise")
    parcels = flow("hospital-1", "client", "hospital-2", "client", "parcels", 63, 92_000)
    sent = flows(64, extra=(parcels,))
    return evidence("wards-2026", 64, results, models, private=False, facts=pairwise, flows=sent)


def refuted() -> Evidence:
    """As `sound`, but an aggregator's share can be told from random bytes, and something undeclared was sent."""
    broken = {"share-view": Verdict.REFUTED, "declared-flows": Verdict.REFUTED}
    results = tuple(
        _plain(r.check, r.kind, broken[r.check], "reused-mask") if r.check in broken else r
        for r in SOUND_RESULTS
    )
    first, *rest = SOUND_MODELS
    worse = model(
        first.id,
        first.title,
        claim("TM01-C1", Status.PROVED, "share-view-exhaustive"),
        claim("TM01-C2", Status.REFUTED, "share-view", "declared-flows"),
        claim("TM01-C3", Status.NO_POWER, "membership-share"),
    )
    return evidence(
        "demo-2026",
        4,
        results,
        (worse, *rest),
        private=True,
        flows=flows(4, extra=(LEAK,)),
        kept=kept(undeclared=True),
    )
