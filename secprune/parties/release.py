"""Which sums may be released: two sums over cohorts that differ by one client reveal that client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.errors import ConfigurationError
from secprune.ids import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.parties.session import Session


def check_release_or_abandon(session: Session, members: Sequence[str]) -> None:
    """As `check_release`, before clients are asked for anything: a refusal leaves nothing behind but its reason.

    Raises:
        ConfigurationError: as there; everybody has been told.
    """
    try:
        check_release(session, members)
    except ConfigurationError as error:
        session.abandon(error.message)
        raise


def check_release(session: Session, members: Sequence[str]) -> None:
    """Refuse a second sum over the same model with any of the same clients, unless policy allows it.

    Rounds of one task are about different matrices, so they are not second sums.

    Raises:
        ConfigurationError: an earlier release of this party overlaps with `members`.
    """
    if session.config.policy.repeat_releases:
        return
    for earlier in session.journal.releases(session.task.model.weights_digest):
        both = sorted(set(earlier.members) & set(members))
        if both and earlier.task_id != session.round.task_id:
            raise ConfigurationError(
                f"a sum over this model was released for task {short(earlier.task_id)} with {len(both)} of the "
                f"same clients ({', '.join(both[:5])}); the difference of two sums can reveal a single client",
                hint="if your site accepts that, set repeat_releases = true under [policy]",
            )
