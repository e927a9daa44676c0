"""Evidence on disk: three files and a signature, which anybody can check without the study.

    evidence.json     Evidence, readable
    report.html       the same for people
    manifest.json     digests of both, in an envelope signed by the auditor
    auditor.card.json the auditor's public keys; compare their fingerprint over another channel

A signature says who found this, not that it is right: `verify_evidence` computes all verdicts and statuses again from the
measurements, and with the study at hand runs again what follows from the seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from secprune.audit.check import conclude
from secprune.audit.evidence import Evidence, EvidenceManifest
from secprune.crypto.envelope import open_envelope, sign
from secprune.errors import LocalMisuseError, RemoteMisbehaviourError, SecpruneError
from secprune.files import SHARED_FILE, read_bytes, write_atomically
from secprune.ids import sha256
from secprune.parties.auditor.report import repeat
from secprune.parties.auditor.study import open_study
from secprune.storage.keyfile import read_card, write_card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from secprune.audit.check import CheckResult
    from secprune.crypto.identity import Identity
    from secprune.parties.auditor.report import Judge
    from secprune.task import PartySpec

EVIDENCE_FILE, REPORT_FILE = "evidence.json", "report.html"
MANIFEST_FILE, CARD_FILE = "manifest.json", "auditor.card.json"


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


def verify_evidence(bundle: Path, judge: Judge, *, study: Path | None = None) -> EvidenceCheck:
    """Check a bundle offline.

    Args:
        bundle: directory that `write_bundle` wrote.
        judge: the threat models, with any that the consortium added.
        study: the study's directory, to compare its public files and to run again what is repeatable.

    Raises:
        LocalMisuseError: it is no bundle.
        RemoteMisbehaviourError: something in it is not what was signed, or does not follow; names the auditor.
    """
    card, evidence = _open(bundle)
    _check_verdicts(card.name, evidence)
    by_id = {result.check: result for result in evidence.results}
    models = judge.evaluate(by_id, evidence.facts)
    if models != evidence.models:
        odd = next(
            (new.id for new, old in zip(models, evidence.models, strict=False) if new != old), "the list"
        )
        raise _wrong(
            card.name,
            f"the statuses of {odd} are not those that follow from the checks and threat models here",
        )
    repeated = () if study is None else _check_study(card.name, evidence, judge, study)
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


def _check_verdicts(signer: str, evidence: Evidence) -> None:
    for result in evidence.results:
        if result.measurement is None:
            due = "NOT RUN"
        else:
            due = conclude(result.kind, result.measurement, result.controls).value
        if result.verdict.value != due:
            raise _wrong(signer, f"{result.check} says {result.verdict.value}, its measurements say {due}")


def _check_study(signer: str, evidence: Evidence, judge: Judge, root: Path) -> tuple[str, ...]:
    study = open_study(root, judge.declaration)
    for name, digest in evidence.inputs.items():
        if study.inputs.get(name) != digest:
            raise _wrong(signer, f"{name} is not here as it was when it was audited")
    recorded = {
        result.check: result for result in evidence.results if result.repeatable and result.measurement
    }
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
