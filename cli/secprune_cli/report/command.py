"""What `secprune auditor report` does: audit, judge by the threat models, write evidence and report, and say how it stands."""

from __future__ import annotations

import importlib.resources
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.audit.claims import Shown, Status
from secprune.crypto.entropy import random_bytes
from secprune.crypto.identity import Identity
from secprune.errors import ClaimRefutedError, LocalMisuseError
from secprune.files import private_directory
from secprune.parties.auditor.attacks import Sizes
from secprune.parties.auditor.bundle import EVIDENCE_FILE, REPORT_FILE, write_bundle
from secprune.parties.auditor.registry import CHECKS
from secprune.parties.auditor.report import Rehearsal, make_evidence
from secprune.parties.config import IDENTITY_FILE
from secprune.pruning.notes import read_notes
from secprune.storage.keyfile import card_of, read_identity
from secprune_cli.report.render import render
from secprune_cli.report.words import CheckText
from secprune_threat_models import evaluate, load_models, load_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from secprune.audit.check import CheckResult
    from secprune.audit.claims import ModelResult
    from secprune.audit.evidence import Evidence, StudyFacts
    from secprune.audit.views import Declaration
    from secprune.parties.progress import Progress
    from secprune.task import PartySpec, Task
    from secprune_threat_models import ThreatModel

_SIZES = Sizes()
_SEED_BYTES = 6  # 48 bits, so that seeds survive JSON


@dataclass(frozen=True)
class ThreatModels:
    """The threat models as the library asks for them (`secprune.parties.auditor.report.Judge`)."""

    models: tuple[ThreatModel, ...]

    @classmethod
    def load(cls, extra: Sequence[Path] = ()) -> ThreatModels:
        """The shipped ones, and those that a consortium added.

        Raises:
            ConfigurationError: a file breaks a rule of the loader.
        """
        return cls(load_models(extra, known_checks=CHECKS.keys()))

    def declaration(self, task: Task) -> Declaration:
        """What such a study may send and keep."""
        privacy = task.privacy
        return load_system().in_study(
            protocol=task.protocol.name, payload=privacy.payload, mechanism=privacy.mechanism
        )

    def evaluate(self, results: Mapping[str, CheckResult], facts: StudyFacts) -> tuple[ModelResult, ...]:
        """Every model with the status of its claims."""
        return evaluate(self.models, results, facts)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What to audit and how; see `secprune auditor report --help`."""

    study: Path
    out: Path
    rehearse: bool = False
    exchange: Path | None = None
    model: Path | None = None
    notes: Path | None = None
    public: Path | None = None
    threat_models: tuple[Path, ...] = ()
    keys: Path | None = None
    seed: int | None = None
    device: str = "auto"
    sizes: Sizes = _SIZES


class ReportResult(Struct, frozen=True, kw_only=True):
    """How a study stands.

    Attributes:
        report: the file for people.
        evidence: the same for programs, signed.
        auditor: who signed it.
        fingerprint: of the auditor's key.
        seed: that repeats it.
        claims: how many stand how.
        refuted: claims that do not hold.
        unsure: claims whose checks had no power or were not run.
        breaks: what adversaries can do, shown.
        seconds: that all checks took together.
    """

    report: str
    evidence: str
    auditor: str
    fingerprint: str
    seed: int
    claims: dict[str, int]
    refuted: tuple[str, ...]
    unsure: tuple[str, ...]
    breaks: tuple[str, ...]
    seconds: float


def write_report(options: ReportOptions, *, progress: Progress) -> ReportResult:
    """Audit a study and write the report; everything is written, whatever it says.

    Raises:
        LocalMisuseError: no study there, nothing to rehearse with, or a report in `out` already.
        ConfigurationError: the task, or a threat model, is not valid.
    """
    out = options.out
    if out.exists() and any(out.iterdir()):
        raise LocalMisuseError(
            f"{out} is not empty", hint="choose another directory; evidence is never overwritten"
        )
    judge = ThreatModels.load(options.threat_models)
    seed = options.seed if options.seed is not None else int.from_bytes(random_bytes(_SEED_BYTES), "big")
    own = None if options.keys is None else read_identity(options.keys / IDENTITY_FILE)
    evidence = make_evidence(
        options.study,
        judge,
        auditor="auditor" if own is None else own[1].name,
        seed=seed,
        exchange=options.exchange,
        rehearsal=_rehearsal(options) if options.rehearse else None,
        commands=_commands(options, seed),
        progress=progress,
    )
    private_directory(out)
    identity, card = own or _new_keys()
    write_bundle(out, evidence, rendered(evidence), identity=identity, card=card)
    return _result(options, evidence, card)


def check_claims_hold(result: ReportResult) -> None:
    """Turn a refuted claim into an exit code.

    Raises:
        ClaimRefutedError: names the claims.
    """
    if result.refuted:
        raise ClaimRefutedError(
            f"{len(result.refuted)} claims do not hold: {', '.join(result.refuted)}",
            hint=f"read {result.report}: each check says what it found, and what to compare it with",
        )


def rendered(evidence: Evidence) -> str:
    """The report of evidence, as this version makes it."""
    return render(evidence, about())


def about() -> dict[str, CheckText]:
    """What checks are called and ask, for a report."""
    return {
        check.id: CheckText(title=check.title, asks=check.asks, source=check.source)
        for check in CHECKS.values()
    }


def _rehearsal(options: ReportOptions) -> Rehearsal:
    shipped = Path(str(importlib.resources.files("secprune_cli") / "demo"))
    notes = options.notes or shipped / "corpus"
    files = sorted(path for path in notes.glob("*") if path.suffix in {".txt", ".jsonl"})
    return Rehearsal(
        notes={path.stem: read_notes(path) for path in files},
        public=read_notes(options.public or shipped / "public" / "clinical.txt"),
        model=options.model,
        sizes=options.sizes,
        device=options.device,
    )


def _commands(options: ReportOptions, seed: int) -> tuple[str, ...]:
    words = ["secprune auditor report", "--study STUDY", "--out OUT", f"--seed {seed}"]
    words += ["--rehearse"] if options.rehearse else []
    given = {"--model": options.model, "--notes": options.notes, "--public": options.public}
    own = [f"--threat-model {path.name}" for path in options.threat_models]
    own += [] if options.exchange is None else ["--exchange EXCHANGE"]
    words += [f"{name} {path.name}" for name, path in given.items() if path is not None]
    return " ".join([*words, *own]), " ".join(["secprune auditor verify --evidence OUT --study STUDY", *own])


def _new_keys() -> tuple[Identity, PartySpec]:
    """Keys of an auditor who has none, kept nowhere: what is filed holds no private key, and nobody signs with them again."""
    identity = Identity.generate(random_bytes)
    return identity, card_of(identity, role="auditor", name="auditor")


def _result(options: ReportOptions, evidence: Evidence, card: PartySpec) -> ReportResult:
    claims = [claim for model in evidence.models for claim in model.claims]
    breaks = [one for model in evidence.models for one in model.breaks]
    counts = Counter(claim.status.value for claim in claims)
    return ReportResult(
        report=str(options.out / REPORT_FILE),
        evidence=str(options.out / EVIDENCE_FILE),
        auditor=card.name,
        fingerprint=card.fingerprint,
        seed=evidence.seed,
        claims={status.value: counts[status.value] for status in Status if counts[status.value]},
        refuted=tuple(claim.id for claim in claims if claim.status is Status.REFUTED),
        unsure=tuple(c.id for c in claims if c.status in {Status.NO_POWER, Status.NOT_RUN}),
        breaks=tuple(one.id for one in breaks if one.shown is Shown.SHOWN),
        seconds=round(sum(result.seconds for result in evidence.results), 1),
    )
