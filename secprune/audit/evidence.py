"""What an audit found, as it is signed and filed: facts of the study, who saw what, every check, every claim.

Never in it: notes, masks, counts, statistics, keys, or a number that was derived from one real client's data.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from secprune.audit.check import CheckResult
from secprune.audit.claims import ModelResult
from secprune.ids import Digest, StudyName
from secprune.privacy.labels import PrivacyLabel


class PartyFact(Struct, frozen=True, kw_only=True):
    """A party of the study."""

    name: str
    role: str
    fingerprint: str


class StudyFacts(Struct, frozen=True, kw_only=True):
    """What the audited study was; everything is public.

    Attributes:
        study: its name.
        task_id: digest of the task.
        model: digest of the dense weights.
        weights: how many are pruned over.
        sparsity: share to prune, as the task says it.
        schedule: "one-shot" or "iterative".
        protocol: of the secure sum.
        payload: what is summed.
        mechanism: of privacy, or "none".
        min_clients: smallest cohort allowed.
        roster: clients that could take part.
        cohort: clients counted; empty before a release.
        parties: all.
        label: what the study promises.
        public_only: the public-only baseline beside the result, by name ("perplexity", "mask agreement"); empty if unknown.
    """

    study: str
    task_id: str
    model: str
    weights: int
    sparsity: str
    schedule: str
    protocol: str
    payload: str
    mechanism: str
    min_clients: int
    roster: int
    cohort: tuple[str, ...]
    parties: tuple[PartyFact, ...]
    label: PrivacyLabel
    public_only: dict[str, float] = {}


class Flow(Struct, frozen=True, kw_only=True):
    """Artefacts of one kind that went from one party to another, all together.

    Attributes:
        sender: name of the party.
        sender_role: its role.
        receiver: name of the party that can read them; "everybody" if they are not sealed.
        receiver_role: its role; "everybody" likewise.
        artefact: kind, as declared in the threat models' system.
        count: how many.
        bytes: of them all, as they travel.
        declared: whether the threat models declare such a flow.
    """

    sender: str
    sender_role: str
    receiver: str
    receiver_role: str
    artefact: str
    count: int
    bytes: int
    declared: bool


class Kept(Struct, frozen=True, kw_only=True):
    """Files of one kind that lie on one party's disk: what a later intruder finds there.

    Attributes:
        party: name.
        role: its role.
        artefact: kind, as declared; "undeclared" if it is not.
        files: how many; None where it would tell how much one client has.
        bytes: of them all; likewise.
        derived_from_notes: whether their content depends on one client's data.
        protected: how, as declared.
    """

    party: str
    role: str
    artefact: str
    files: int | None
    bytes: int | None
    derived_from_notes: bool
    protected: str


class Evidence(Struct, frozen=True, kw_only=True, tag="Evidence", tag_field="type"):
    """The whole of it.

    Attributes:
        version: of this format.
        facts: of the study.
        auditor: name of who ran it.
        rehearsal: what attacks were run on, in words; empty if none were.
        flows: who sent what to whom.
        kept: what lies where.
        results: of all checks, in order.
        models: of all threat models, in order.
        seed: what all draws follow from.
        versions: of the software, by name.
        inputs: digests of the public files that were read, by name.
        commands: that repeat it.
    """

    version: Literal[1] = 1
    facts: StudyFacts
    auditor: str
    rehearsal: str
    flows: tuple[Flow, ...]
    kept: tuple[Kept, ...]
    results: tuple[CheckResult, ...]
    models: tuple[ModelResult, ...]
    seed: int
    versions: dict[str, str]
    inputs: dict[str, str]
    commands: tuple[str, ...]


class EvidenceManifest(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="EvidenceManifest", tag_field="type"
):
    """What an auditor signs: the digests of its files, by name.

    Attributes:
        study: name of the study.
        task_id: digest of its task.
        files: digests, by name.
    """

    study: StudyName
    task_id: Digest
    files: dict[str, Digest]
