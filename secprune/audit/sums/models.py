"""Whether a site refuses a model that is not the one the task names, however little it differs.

Whoever chooses weights chooses what masks say: a single weight that is made very large makes the mask of its row a statement
about one feature of the notes. A site cannot judge weights, but it can compare them with those that everybody agreed on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from secprune.audit.check import Check, Figure, Kind, Measurement

if TYPE_CHECKING:
    from collections.abc import Callable

    from secprune.audit.draws import Draws

_CHANGES = 24
_WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """A task's model, and a site that has to do with it.

    Attributes:
        weights: the file that the task names, a safetensors file that ends with float32 weights.
        crafted: what the last weight becomes in a model that is made to be revealing, 4 bytes.
        accepts: whether the site's own check takes such a file for the task's.
    """

    weights: bytes
    crafted: bytes
    accepts: Callable[[bytes], bool]


def _change_models(subject: PinnedModel, draws: Draws) -> Measurement:
    weights = subject.weights
    takes_original = subject.accepts(weights)
    others = [weights[:-_WEIGHT_BYTES] + subject.crafted, weights + b"\0", weights[:-1]]
    for place in draws.numpy.integers(0, len(weights), _CHANGES):
        changed = bytearray(weights)
        changed[place] ^= 1 << int(draws.numpy.integers(8))
        others.append(bytes(changed))
    taken = sum(subject.accepts(other) for other in others)
    if not takes_original:
        says = "A site refuses the very model that the task names."
    elif taken:
        says = f"A site takes {taken} of {len(others)} other models for the task's."
    else:
        says = (
            f"A site refuses all of {len(others)} models that differ from the task's, most of them in one bit, one in a "
            "single weight that is made to be revealing. Whether the task's own model is harmless it cannot tell."
        )
    return Measurement(
        refuted=bool(taken or not takes_original),
        says=says,
        figures=(Figure(name="other models", value=len(others)), Figure(name="of them taken", value=taken)),
        sample=len(others) + 1,
    )


MODEL_PINNED: Check[PinnedModel] = Check(
    id="model-pinned",
    title="Other models than the task's",
    asks="Can a coordinator hand a hospital a model with weights that make its mask more revealing?",
    kind=Kind.CONFORMANCE,
    source="docs/attacks.md, 17",
    measure=_change_models,
    mutations={"unpinned-model": lambda subject: replace(subject, accepts=lambda _: True)},
    repeatable=True,
)
