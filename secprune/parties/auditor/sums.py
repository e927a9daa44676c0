"""Which checks of the secure sums a task is for, and what they are run on.

Sizes are such that all of them together take less than half a minute of one core. What a check needs beyond the task is made
here: rounds with keys of the audit's own, the installed package's source, a directory with a small model in it.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct

import secprune
from secprune.audit.sums.ciphertext_view import CIPHERTEXT_VIEW, Encryption, keys_of
from secprune.audit.sums.collusion import ALL_AGGREGATORS, COLLUDERS_SUBTRACT, DIFFERENCING, Study
from secprune.audit.sums.malleability import MALLEABILITY, Ciphertexts
from secprune.audit.sums.models import MODEL_PINNED, PinnedModel
from secprune.audit.sums.pairwise_view import PAIRWISE_VIEW, SMALLEST, PairwiseMasking
from secprune.audit.sums.randomness import DECLARED, RANDOMNESS, Sources
from secprune.audit.sums.releases import RELEASE_POLICY, ReleasePolicy
from secprune.audit.sums.rounds import audit_round
from secprune.audit.sums.sealing import SEALING, Sealing
from secprune.audit.sums.share_model import SHARE_MODEL, ShareModel
from secprune.audit.sums.share_view import SHARE_VIEW, Sharing
from secprune.audit.sums.votes import PAIRED_VOTES, ROW_SUMS, RowSums
from secprune.errors import ConfigurationError
from secprune.messages.types import SealedKey
from secprune.packing import digits_per_word
from secprune.parties.client import check_model
from secprune.privacy.votes import are_noised
from secprune.protocols.api import secure_sum
from secprune.protocols.bfv.terms import parameters_of
from secprune.pruning.checkpoint import tokenizer_digest, weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from secprune.audit.check import Planned
    from secprune.audit.draws import Draws
    from secprune.task import Task

_CLIENTS = 16
"""In a round of the audit's, at most: what is seen of one report does not depend on how many others there are."""

_COLUMNS = 1024
_PAIRWISE_COLUMNS = 4096
_SMALL_COLUMNS = 32


def checks_of(
    task: Task, draws: Callable[[str], Draws], *, scratch: Path, sealed: Sequence[bytes] = ()
) -> list[Planned]:
    """All checks of sums, each with its subject or with why it is not for this task.

    Args:
        task: of the study.
        draws: for keys of rounds and models; the checks themselves are given others when they are run.
        scratch: a directory that this may write to while the checks are run; the caller removes it.
        sealed: keys of the study, as its messages hold them (`sealed_keys`).
    """
    return [
        *_of_shares(task, draws),
        *_of_one_aggregator(task, draws),
        *_of_votes(task),
        *_of_every_sum(task, draws),
        (RANDOMNESS, Sources(own_sources(), DECLARED)),
        (SEALING, Sealing(sealed=tuple(sealed))),
        (MODEL_PINNED, pinned_model(task, draws("sums/model"), scratch)),
    ]


def _of_shares(task: Task, draws: Callable[[str], Draws]) -> list[Planned]:
    name = task.protocol.name
    if name not in {"additive", "cleartext"}:
        why = f"the protocol {name} has no shares"
        return [
            (SHARE_MODEL, why),
            (SHARE_VIEW, why),
            (ALL_AGGREGATORS, f"the protocol {name} has one aggregator"),
        ]
    clients = min(task.n_max, _CLIENTS)
    audit = audit_round(
        name,
        draws("sums/shares"),
        clients=clients,
        aggregators=max(2, len(task.names("aggregator"))),
        rows=digits_per_word(clients),
        columns=_COLUMNS,
    )
    sharing = Sharing(audit, secure_sum(audit.round.task))
    return [(SHARE_MODEL, ShareModel(sharing)), (SHARE_VIEW, sharing), (ALL_AGGREGATORS, sharing)]


def _of_one_aggregator(task: Task, draws: Callable[[str], Draws]) -> list[Planned]:
    name = task.protocol.name
    masking: PairwiseMasking | str = f"the protocol is {name}, not pairwise"
    ciphertexts: tuple[Encryption | str, Ciphertexts | str] = (f"the protocol is {name}, not bfv",) * 2
    if name == "pairwise":
        audit = audit_round(
            name,
            draws("sums/pairwise"),
            clients=SMALLEST,
            aggregators=1,
            rows=digits_per_word(SMALLEST),
            columns=_PAIRWISE_COLUMNS,
        )
        masking = PairwiseMasking(audit)
    if name == "bfv":
        parameters = parameters_of(task)
        ciphertexts = Encryption(parameters), Ciphertexts(parameters, keys_of(parameters))
        if importlib.util.find_spec("tenseal") is None:
            ciphertexts = ("needs tenseal: pip install 'secprune[he]'",) * 2
    return [(PAIRWISE_VIEW, masking), (CIPHERTEXT_VIEW, ciphertexts[0]), (MALLEABILITY, ciphertexts[1])]


def _of_votes(task: Task) -> list[Planned]:
    row_sums = RowSums(min(task.n_max, _CLIENTS))
    why = ""
    if task.privacy.payload != "counts":
        why = "no votes are summed"
    elif are_noised(task) or any(task.pruning.row_budget(m.columns) is None for m in task.model.matrices):
        why = (
            "the rows of a report hold no fixed number of votes, and nothing is checked (docs/attacks.md, 15)"
        )
    of_reports = why
    if not why and task.protocol.name not in {"additive", "cleartext"}:
        of_reports = f"the protocol {task.protocol.name} checks no single report, only the sum"
    return [(ROW_SUMS, of_reports or row_sums), (PAIRED_VOTES, why or row_sums)]


def _of_every_sum(task: Task, draws: Callable[[str], Draws]) -> list[Planned]:
    clients = min(task.n_max, _CLIENTS)
    audit = audit_round(
        "additive",
        draws("sums/released"),
        clients=clients,
        aggregators=2,
        rows=2 * digits_per_word(clients),
        columns=_SMALL_COLUMNS,
    )
    study = Study(audit)
    return [
        (RELEASE_POLICY, ReleasePolicy()),
        (COLLUDERS_SUBTRACT, study),
        (DIFFERENCING, study),
    ]


def own_sources() -> dict[str, str]:
    """The text of every module of the installed library, by name."""
    root = Path(secprune.__file__).parent
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = ("secprune", *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


def sealed_keys(messages: Iterable[Struct]) -> tuple[bytes, ...]:
    """All sealed keys in messages of a study, for `checks_of`."""
    return tuple(key.sealed for message in messages for key in _keys_in(message))


def _keys_in(value: object) -> Iterator[SealedKey]:
    if isinstance(value, SealedKey):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _keys_in(getattr(value, name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _keys_in(one)


def pinned_model(task: Task, draws: Draws, scratch: Path) -> PinnedModel:
    """A small model in a directory of its own, the same task about it, and a client's own check of it."""
    directory = scratch / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "tokenizer.json").write_text("{}")
    shape = (4, 8)
    data = draws.numpy.standard_normal(shape, np.float32).astype("<f4").tobytes()
    entry = {"dtype": "F32", "shape": shape, "data_offsets": (0, len(data))}
    header = json.dumps({"model.weight": entry}).encode()
    weights = len(header).to_bytes(8, "little") + header + data
    file = directory / "model.safetensors"
    file.write_bytes(weights)
    model = msgspec.structs.replace(
        task.model, weights_digest=weights_digest(directory), tokenizer_digest=tokenizer_digest(directory)
    )
    about_it = msgspec.structs.replace(task, model=model)

    def accepts(data: bytes) -> bool:
        file.write_bytes(data)
        try:
            check_model(about_it, directory)
        except ConfigurationError:
            return False
        return True

    return PinnedModel(weights, np.float32(1e6).tobytes(), accepts)
