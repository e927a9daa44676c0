"""From a client's pruning masks to the votes that it keeps and reports: with the noise that the task says.

Noise is drawn once, here, and what is kept is noised already: a retry sends the same bytes, and nobody who comes to
read the directory later can take two draws and average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from secprune.errors import LocalMisuseError
from secprune.parties.report_words import MASKS_FILE, NOISY_VOTES_FILE, report_is_ready
from secprune.privacy.votes import count_noise, flip_probability, turned
from secprune.storage.masks import write_masks
from secprune.storage.noisy_votes import write_noisy_votes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from fractions import Fraction

    import numpy.typing as npt

    from secprune.packing import Digits
    from secprune.parties.session import Session
    from secprune.privacy.votes import CountNoise

    Mask = npt.NDArray[np.bool_]

_BLOCK = 2**20
"""Votes that noise is drawn for at a time: the sampler needs some fifty bytes for each."""


def check_not_noised(session: Session) -> None:
    """Refuse to draw noise a second time for one round.

    Raises:
        LocalMisuseError: it has been drawn.
    """
    if session.task.privacy.mechanism != "none" and report_is_ready(session):
        raise LocalMisuseError(
            "what this client reports has been made and noised already; noise is drawn once",
            hint="go on with `secprune client submit`",
        )


def write_votes(session: Session, masks: Iterable[tuple[str, Mask]]) -> None:
    """Keep what this client votes in a round; all or nothing.

    Args:
        session: the client's.
        masks: name and Boolean (rows, columns) of every matrix of the round once, 1 = prune.

    Raises:
        LocalMisuseError: a mask has not the shape that the task says, one is missing, or noise has been drawn.
        LocalEnvironmentError: the disk is full, or the source of randomness does not work.
    """
    check_not_noised(session)
    round_ = session.round
    flip, noise = flip_probability(session.task), count_noise(session.task)
    if noise is not None:
        shapes = {m.name: (m.rows, m.columns) for m in round_.matrices}
        blocks = _noisy_blocks(masks, noise, shapes)
        write_noisy_votes(
            session.work / NOISY_VOTES_FILE, blocks, round_.matrices, noise, task_id=round_.task_id
        )
        return
    votes = masks if flip is None else _turned(masks, flip)
    write_masks(session.work / MASKS_FILE, votes, round_.matrices, task_id=round_.task_id)


def _noisy_blocks(
    masks: Iterable[tuple[str, Mask]], noise: CountNoise, shapes: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, int, Digits]]:
    for name, mask in masks:
        if name in shapes and mask.shape != shapes[name]:
            raise LocalMisuseError(
                f"the pruning mask of {name} is {mask.shape}, the task says {shapes[name]}",
                hint="check that the party file names the model of this task",
            )
        for first_row, rows in _blocks(mask):
            yield name, first_row, noise.on(rows)


def _turned(masks: Iterable[tuple[str, Mask]], flip: Fraction) -> Iterator[tuple[str, Mask]]:
    for name, mask in masks:
        yield name, np.concatenate([turned(rows, flip) for _, rows in _blocks(mask)])


def _blocks(mask: Mask) -> Iterator[tuple[int, Mask]]:
    step = max(1, _BLOCK // mask.shape[1])
    for first_row in range(0, len(mask), step):
        yield first_row, mask[first_row : first_row + step]
