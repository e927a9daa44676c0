"""Evidence on disk: three files and a signature, which anybody can check without the study.

    evidence.json     Evidence, readable
    report.html       the same for people
    manifest.json     digests of both, in an envelope signed by the auditor
    auditor.card.json the auditor's public keys; compare their fingerprint over another channel

A signature says who found this, not that it is right. `verify_evidence` computes all verdicts, statuses and the report again
from the measurements; every check must be there, of its kind and with all of its controls. With the study at hand it compares
facts, flows and public files, and runs again what follows from them and the seed. Attacks, what parties keep (which changes
when a study has ended), and the versions that are named rest on the auditor's word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.audit.check import Verdict, conclude
from secprune.audit.evidence import Evidence, EvidenceManifest
from secprune.crypto.envelope import open_envelope, sign
from secprune.errors import LocalMisuseError, RemoteMisbehaviourError, SecpruneError
from secprune.files import SHARED_FILE, read_bytes, write_atomically
from secprune.ids import sha256
from secprune.parties.auditor.registry import CHECKS
from secprune.parties.auditor.report import repeat, versions
from secprune.parties.auditor.study import open_study
from secprune.storage.keyfile import read_card, write_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from secprune.audit.check import CheckResult
    from secprune.crypto.identity import Identity
    from secprune.parties.auditor.report import Judge
    from secprune.parties.auditor.study import Study
    from secprune.task import PartySpec

EVIDENCE_FILE, REPORT_FILE = "evidence.json", "report.html"
MANIFEST_FILE, CARD_FILE = "manifest.json", "auditor.card.json"

_PLOT = re.compile(rb'<svg class="plot".*?</svg>', re.DOTALL)


class EvidenceCheck(Struct, frozen=True, kw_only=True):
    """What was found right in a bundle.

    Attributes:
        signer: who signed it.
        fingerprint: of the signer's key.
        study: that it is about.
        verdicts: computed again from measurements.
        statuses: of claims and breaks, likewise.
        repeated: checks that were run again with the same figures.
    """

    signer: str
    fingerprint: str
    study: str
    verdicts: int
    statuses: int
    repeated: tuple[str, ...]


def write_bundle(out: Path, evidence: Evidence, html: str, *, identity: Identity, card: PartySpec) -> None:
    """Write evidence, report and the signature on both; the signature last."""
    files = {EVIDENCE_FILE: _as_json(evidence), REPORT_FILE: html.encode()}
    for name, data in files.items():
        write_atomically(out / name, data, mode=SHARED_FILE)
    write_card(out / CARD_FILE, card, identity)
    manifest = EvidenceManifest(
        study=evidence.facts.study,
        task_id=evidence.facts.task_id,
        files={name: sha256(data) for name, data in files.items()},
    )
    signed = sign(manifest, signer=card.name, identity=identity)
    write_atomically(out / MANIFEST_FILE, signed, mode=SHARED_FILE)


def verify_evidence(
    bundle: Path,
    judge: Judge,
    *,
    render: Callable[[Evidence], str],
    study: Path | None = None,
    exchange: Path | None = None,
) -> EvidenceCheck:
    """Check a bundle offline.

    Args:
        bundle: directory that `write_bundle` wrote.
        judge: the threat models, with any that the consortium added.
        render: makes the report of evidence.
        study: the study's directory, to compare it and to run again what is repeatable.
        exchange: a copy of the study's exchange, if it is not in the directory.

    Raises:
        LocalMisuseError: it is no bundle, or threat models that it names are not at hand.
        RemoteMisbehaviourError: something in it is not what was signed, or does not follow; names the auditor.
    """
    card, evidence = _open(bundle)
    _check_results(card.name, evidence)
    by_id = {result.check: result for result in evidence.results}
    models = judge.evaluate(by_id, evidence.facts)
    here = {model.id for model in models}
    if unknown := [model.id for model in evidence.models if model.id not in here]:
        raise LocalMisuseError(
            f"the threat models {', '.join(unknown)} are not at hand",
            hint="give the files that the report was made with, each with --threat-model",
        )
    if models != evidence.models:
        odd = next(
            (new.id for new, old in zip(models, evidence.models, strict=False) if new != old), "the list"
        )
        raise _wrong(
            card.name,
            f"the statuses of {odd} are not those that follow from the checks and threat models here",
        )
    if not _is_same_page(
        render(evidence).encode(), read_bytes(bundle / REPORT_FILE, what=REPORT_FILE), evidence
    ):
        raise _wrong(card.name, f"{REPORT_FILE} is not what this version makes of {EVIDENCE_FILE}")
    repeated = (
        ()
        if study is None
        else _check_study(card.name, evidence, open_study(study, judge.declaration, exchange=exchange))
    )
    return EvidenceCheck(
        signer=card.name,
        fingerprint=card.fingerprint,
        study=evidence.facts.study,
        verdicts=len(evidence.results),
        statuses=sum(len(model.claims) + len(model.breaks) for model in models),
        repeated=repeated,
    )


def _open(bundle: Path) -> tuple[PartySpec, Evidence]:
    if not (bundle / MANIFEST_FILE).is_file():
        raise LocalMisuseError(
            f"there is no evidence in {bundle}",
            hint="name the directory that `secprune auditor report` wrote",
        )
    card = read_card(bundle / CARD_FILE)
    try:
        _, manifest = open_envelope(
            read_bytes(bundle / MANIFEST_FILE, what="the manifest"),
            EvidenceManifest,
            signing_keys={card.name: card.signing_key},
        )
    except RemoteMisbehaviourError as error:
        raise _wrong(card.name, f"the manifest is not signed by the card's key: {error.message}") from error
    data = {}
    for name in (EVIDENCE_FILE, REPORT_FILE):
        data[name] = read_bytes(bundle / name, what=name)
        if manifest.files.get(name) != sha256(data[name]):
            raise _wrong(card.name, f"{name} was changed after it was signed")
    try:
        evidence = msgspec.json.decode(data[EVIDENCE_FILE], type=Evidence)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _wrong(card.name, f"{EVIDENCE_FILE} is no evidence of this version: {error}") from error
    if evidence.facts.task_id != manifest.task_id:
        raise _wrong(card.name, "the evidence is about another task than the one that was signed")
    return card, evidence


def _is_same_page(due: bytes, found: bytes, evidence: Evidence) -> bool:
    """Whether two reports agree; in all but their plots, if these were drawn by another version of matplotlib."""
    if evidence.versions.get("matplotlib") != versions().get("matplotlib"):
        due, found = (_PLOT.sub(b"", page) for page in (due, found))
    return due == found


def _check_results(signer: str, evidence: Evidence) -> None:
    """Every check of this version is there once, as it is defined, with the verdict that follows from what it measured."""
    if evidence.auditor != signer:
        raise _wrong(signer, f"the evidence says that {evidence.auditor} made it")
    if sorted(result.check for result in evidence.results) != sorted(CHECKS):
        raise _wrong(signer, "the checks are not those of this version, each of them once")
    for result in evidence.results:
        check = CHECKS[result.check]
        mutations = [control.mutation for control in result.controls]
        if (result.kind, result.repeatable) != (check.kind, check.repeatable and bool(result.measurement)):
            raise _wrong(signer, f"{result.check} is another kind of check than it says")
        if result.measurement is None:
            due = Verdict.NOT_RUN
        elif mutations != list(check.mutations) or result.seed != evidence.seed:
            raise _wrong(
                signer, f"{result.check} was run with other controls than it has, or from another seed"
            )
        else:
            due = conclude(check.kind, result.measurement, result.controls)
        if result.verdict is not due:
            raise _wrong(
                signer, f"{result.check} says {result.verdict.value}, its measurements say {due.value}"
            )


def _check_study(signer: str, evidence: Evidence, study: Study) -> tuple[str, ...]:
    names = sorted(evidence.inputs.keys() | study.inputs.keys())
    for name in names:
        if study.inputs.get(name) != evidence.inputs.get(name):
            raise _wrong(signer, f"{name} is not here as it was when it was audited")
    if study.facts != evidence.facts:
        odd = [
            name
            for name in study.facts.__struct_fields__
            if getattr(study.facts, name) != getattr(evidence.facts, name)
        ]
        raise _wrong(signer, f"the facts of the study are others: {', '.join(odd)}")
    if study.flows != evidence.flows:
        raise _wrong(signer, "who sent what to whom is not what the study's exchange and parties tell")
    recorded = {result.check: result for result in evidence.results if result.repeatable}
    found = repeat(study, evidence.seed, set(recorded))
    for check in _differing(recorded, found):
        raise _wrong(signer, f"{check} gives other figures when it is run again with the same seed")
    return tuple(sorted(found))


def _differing(recorded: dict[str, CheckResult], found: dict[str, CheckResult]) -> Iterator[str]:
    for check, result in found.items():
        if (result.measurement, result.controls) != (recorded[check].measurement, recorded[check].controls):
            yield check


def _as_json(evidence: Evidence) -> bytes:
    return msgspec.json.format(msgspec.json.encode(evidence), indent=1)


def _wrong(signer: str, what: str) -> SecpruneError:
    return RemoteMisbehaviourError(
        what, party=signer, hint="do not rely on this evidence; ask its auditor for the files again"
    )
