"""Who sees what: the transcript as flows between parties, and as the view of whoever has corrupted some of them.

What is declared is not known here: threat models say it, and hand it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct

from secprune.audit.evidence import Flow, Kept
from secprune.audit.transcript import EVERYBODY, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from secprune.audit.transcript import Sent
    from secprune.task import Task

UNDECLARED = "undeclared"
"""Kind of a file that nobody has declared."""

K = TypeVar("K", bound="tuple[str, ...]")


class DeclaredFile(Protocol):
    """How threat models declare a kind of file."""

    @property
    def name(self) -> str:
        """Of the kind."""

    @property
    def derived_from_notes(self) -> bool:
        """Whether it depends on one client's data."""

    @property
    def protected(self) -> str:
        """How it is kept from others."""


class Declaration(Protocol):
    """What threat models declare of the system (`secprune_threat_models.System`)."""

    def declares(self, sender_role: str, receiver_role: str, artefact: str) -> bool:
        """Whether such artefacts go from such a party to such a party ("everybody": not sealed)."""

    def artefact_at(self, keeper: str, path: str) -> DeclaredFile | None:
        """What declares a file below the directory of a keeper: a role, or "exchange"."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a party (or of "exchange"): path below its directory, and bytes."""

    party: str
    role: str
    path: str
    size: int


class Seen(Struct, frozen=True, kw_only=True):
    """Artefacts of one kind from one sender, in a view."""

    sender: str
    artefact: str
    count: int
    bytes: int


class View(Struct, frozen=True, kw_only=True):
    """What somebody has who controls some parties.

    Attributes:
        corrupted: names of the parties.
        reads: what they can read: sent or received by them, or by everybody.
        carries: what they hold sealed for others, because they see the exchange: sizes, times, digests.
    """

    corrupted: tuple[str, ...]
    reads: tuple[Seen, ...]
    carries: tuple[Seen, ...]


def roles_of(task: Task) -> dict[str, str]:
    """Roles of all that are known."""
    return {party.name: party.role for party in task.parties} | {EVERYBODY: EVERYBODY}


def make_flows(
    sent: Iterable[Sent], roles: Mapping[str, str], declares: Callable[[str, str, str], bool]
) -> tuple[Flow, ...]:
    """A transcript by sender, receiver and kind.

    Args:
        sent: the transcript.
        roles: by name, see `roles_of`; of others it is UNKNOWN, as of a receiver that somebody has made up.
        declares: whether threat models declare (role of the sender, role of the receiver, artefact).
    """
    sums = _sums(((one.sender, one.receiver, one.artefact), one.size) for one in sent)
    found = []
    for (sender, receiver, artefact), (count, size) in sums.items():
        sender_role, receiver_role = roles.get(sender, UNKNOWN), roles.get(receiver, UNKNOWN)
        found.append(
            Flow(
                sender=sender,
                sender_role=sender_role,
                receiver=receiver,
                receiver_role=receiver_role,
                artefact=artefact,
                count=count,
                bytes=size,
                declared=declares(sender_role, receiver_role, artefact),
            )
        )
    return tuple(found)


def make_view(sent: Iterable[Sent], corrupted: Collection[str], *, exchange: bool) -> View:
    """What somebody sees who controls these parties.

    Args:
        sent: the transcript.
        corrupted: names of parties; may be empty.
        exchange: whether all of the exchange is seen as well, sealed things with it. Every party reaches it, so what is
            for everybody is in any view.
    """
    visible = {*corrupted, EVERYBODY} if corrupted or exchange else {*corrupted}
    reads: list[Sent] = []
    others: list[Sent] = []
    for one in sent:
        (reads if one.receiver in visible or one.sender in corrupted else others).append(one)
    readable = {one.digest for one in reads}
    carries = [one for one in others if exchange and one.digest not in readable]
    return View(corrupted=tuple(sorted(corrupted)), reads=_seen(reads), carries=_seen(carries))


def make_kept(files: Iterable[StoredFile], declaration: Declaration) -> tuple[Kept, ...]:
    """What lies on whose disk, by kind; of a client's own data no sizes, which say how many notes and patients it has."""
    found: dict[tuple[str, str, str], DeclaredFile | None] = {}
    sizes: list[tuple[tuple[str, str, str], int]] = []
    for file in files:
        artefact = declaration.artefact_at(file.role, file.path)
        key = file.party, file.role, artefact.name if artefact else UNDECLARED
        found[key] = artefact
        sizes.append((key, file.size))
    return tuple(
        Kept(
            party=party,
            role=role,
            artefact=name,
            files=None if own else count,
            bytes=None if own else size,
            derived_from_notes=artefact.derived_from_notes if artefact else True,  # nobody has said otherwise
            protected=artefact.protected if artefact else "",
        )
        for (party, role, name), (count, size) in _sums(sizes).items()
        for artefact in (found[party, role, name],)
        for own in (role == "client" and artefact is not None and artefact.derived_from_notes,)
    )


def _seen(sent: Iterable[Sent]) -> tuple[Seen, ...]:
    """By sender and kind; one artefact for several receivers counts once."""
    distinct = {(one.sender, one.artefact, one.digest): one.size for one in sent}
    sums = _sums(((sender, artefact), size) for (sender, artefact, _), size in distinct.items())
    return tuple(
        Seen(sender=sender, artefact=artefact, count=count, bytes=size)
        for (sender, artefact), (count, size) in sums.items()
    )


def _sums(sizes: Iterable[tuple[K, int]]) -> dict[K, tuple[int, int]]:
    """How many there are of each key, and their sizes together; in order of keys."""
    found: dict[K, tuple[int, int]] = {}
    for key, size in sizes:
        count, total = found.get(key, (0, 0))
        found[key] = count + 1, total + size
    return dict(sorted(found.items()))
