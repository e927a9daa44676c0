"""The messages of a round, in the order in which they are sent.

    client       Report          to all aggregators: digests of its sealed chunks, a sealed key for each
    aggregator   ReportCheck     to the other aggregators: opened row-sum words of one report, or a refusal
    coordinator  CloseRound      no more reports are waited for
    aggregator   Vote            the reports it would count
    aggregator   Cohort          the reports that all aggregators voted for; signed identically by all
    aggregator   AggregateShare  to the coordinator: digests of the sealed chunks of its share of the sum
    coordinator  RoundOutcome    to the clients, in the iterative schedule: the agreed mask of this round

Every message names its task and round. Who sent it is the envelope's signer, never a field.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta, Struct

from secprune.ids import Digest, Name, Reason, RoundIndex, StudyName
from secprune.task import PartySpec

_Digests = Annotated[tuple[Digest, ...], Meta(max_length=2**20)]


class SealedKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A 32-byte key or seed, encrypted to `receiver` with HPKE."""

    receiver: Name
    sealed: Annotated[bytes, Meta(max_length=4096)]


class Parcel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bulk data for one receiver: its content key, sealed, and the digests of its sealed chunks."""

    key: SealedKey
    chunks: _Digests


class RoundNames(TypedDict):
    """What every message says of its round."""

    task_id: str
    round: int


class InRound(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True, tag_field="type"):
    """A message of one round; all of them begin so."""

    task_id: Digest
    round: RoundIndex


class Report(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one client sends in a round.

    `keys` holds a sealed content key for the first aggregator and a sealed seed for each other one, in
    roster order (none in `cleartext`); `chunks` are the first aggregator's share, in layout order.
    """

    keys: Annotated[tuple[SealedKey, ...], Meta(max_length=64)]
    chunks: _Digests


class ReportCheck(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One aggregator's word on one report.

    `refusal` is empty if everything it can see alone is right; then `row_sums` holds, for every other
    aggregator, the row-sum words of its share, sealed.
    """

    client: Name
    report: Digest
    refusal: Reason = ""
    row_sums: Annotated[tuple[Parcel, ...], Meta(max_length=64)] = ()


class CloseRound(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The coordinator's word that reports which have not arrived are not waited for."""


class CountedReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """A client and the digest of the report counted for it."""

    client: Name
    report: Digest


class RefusedReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """A client whose report is not counted, and why."""

    client: Name
    reason: Reason


Counted = Annotated[tuple[CountedReport, ...], Meta(max_length=2**16)]


class Vote(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reports this aggregator would count; it votes once in a round."""

    accepted: Counted
    refused: Annotated[tuple[RefusedReport, ...], Meta(max_length=2**16)] = ()


class Cohort(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The intersection of all votes, sorted by client; an aggregator signs one in a round."""

    members: Counted


class AggregateShare(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One aggregator's share of the sum over exactly `members`, for the coordinator."""

    members: Counted
    parcel: Parcel


class RoundOutcome(InRound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agreed pruning mask of a round, from which clients go on; `chunks` are a mask file, in the clear."""

    chunks: _Digests


RoundMessage = Report | ReportCheck | CloseRound | Vote | Cohort | AggregateShare | RoundOutcome


class Card(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="Card", tag_field="type"):
    """A party's public keys, signed by itself to prove that it has the private ones."""

    party: PartySpec


class TaskSignature(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="TaskSignature", tag_field="type"
):
    """The coordinator's signature on a task, the only one of that study: kept beside the task file, and posted."""

    task_id: Digest
    study: StudyName
