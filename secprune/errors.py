"""Every deliberate error of secprune, named by whose fault it is.

Rule 1: what secprune raises on purpose derives from `SecpruneError`; anything else is a bug.
Rule 2: the class tells who is at fault (h11's local/remote split, with two more kinds), so that an
operator is never told to fix what a peer broke, and a peer is never blamed for a full disk.
Rule 3: the message says what happened, `hint` says what to do next. Neither ever holds key material,
text of a note, or a value derived from one client's data.
"""

from __future__ import annotations

EXIT_CODES = {
    "ok": 0,
    "bug": 1,
    "local misuse": 2,
    "configuration": 3,
    "remote misbehaviour": 4,
    "too few parties": 5,
    "local environment": 6,
    "claim refuted": 7,
    "not ready": 75,
}
"""What each kind of fault makes the command line exit with (75 is sysexits' EX_TEMPFAIL)."""


class SecpruneError(Exception):
    """Root of all deliberate errors.

    Args:
        message: what happened, in one sentence an operator can read.
        hint: the next thing to do; empty only where there is nothing to do.
    """

    fault = "bug"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def exit_code(self) -> int:
        """Process exit code of this kind of fault."""
        return EXIT_CODES[self.fault]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without calling __init__ again, whose options differ: errors come back from worker processes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[SecpruneError], args: tuple[object, ...], state: dict[str, object]) -> SecpruneError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class LocalMisuseError(SecpruneError):
    """This party was asked to do something with wrong input: empty notes, a wrong path, a bad option."""

    fault = "local misuse"


class ConfigurationError(SecpruneError):
    """The task or this party's own file is malformed, contradicts itself, or breaks this site's policy."""

    fault = "configuration"


class RemoteMisbehaviourError(SecpruneError):
    """A peer (or the exchange between the parties) sent something that honest software never sends.

    Args:
        party: who is to blame, as far as the evidence goes: a party's name, or "exchange".
    """

    fault = "remote misbehaviour"

    def __init__(self, message: str, *, party: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.party = party


class TooFewPartiesError(SecpruneError):
    """The cohort is smaller than the task or this site's policy allows; nothing was released.

    Args:
        missing: names of the clients that are not in the cohort.
    """

    fault = "too few parties"

    def __init__(self, message: str, *, missing: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.missing = missing


class LocalEnvironmentError(SecpruneError):
    """This machine failed: disk full, file unreadable, a package of an extra not installed."""

    fault = "local environment"


class NotReadyError(SecpruneError):
    """What was asked for depends on a peer that has not acted yet; run the same command again later."""

    fault = "not ready"


class ClaimRefutedError(SecpruneError):
    """An audit found that something which a study promises does not hold. The report says what, and how it was found."""

    fault = "claim refuted"
