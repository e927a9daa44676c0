"""Before a study that protects patients: the public reference, made of public text by the coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from secprune.errors import LocalMisuseError
from secprune.parties.progress import Progress, Stopwatch, silent
from secprune.pruning.calibration import first_window
from secprune.pruning.checkpoint import weights_digest
from secprune.pruning.devices import choose_device
from secprune.pruning.models import load_tokenizer
from secprune.pruning.notes import read_patients
from secprune.pruning.offload import open_blocks
from secprune.pruning.patients import batches_of_patients, distinct_inputs, mean_squares
from secprune.pruning.reference import (
    ReferenceFacts,
    document_digest,
    read_reference,
    reference_of,
    write_reference,
)

if TYPE_CHECKING:
    from pathlib import Path

_MIN_DOCUMENTS = 10
"""Fewer documents say little about how far a document is from their mean."""


class ReferenceResult(Struct, frozen=True, kw_only=True):
    """What was made.

    Attributes:
        reference: the file.
        digest: its digest, which goes into the task.
        documents: of public text, that have tokens.
        features: statistics of one document, each distinct input of linear modules once.
        spread: a document's typical norm about the reference, in parts of the square root of `features`.
        typical_clip: the clip bound that half of the documents are within.
        seconds: by what was done.
    """

    reference: str
    digest: str
    documents: int
    features: int
    spread: float
    typical_clip: str
    seconds: dict[str, float]


def make_reference(
    model: Path,
    text: Path,
    output: Path,
    *,
    sequence_length: int,
    max_windows: int,
    device: str = "auto",
    progress: Progress = silent,
) -> ReferenceResult:
    """Take the statistics of public text. Run by the coordinator, who has no private notes.

    Args:
        model: directory of the model.
        text: public documents, `.txt` or `.jsonl` or a directory; of the same kind as the hospitals' notes, if possible.
        output: file to write.
        sequence_length: tokens in a window, as in the task.
        max_windows: of one document, as in the task.
        device: as for `client.prune`.
        progress: told of the decoder blocks.

    Raises:
        LocalMisuseError: too few documents, or `output` exists.
        ConfigurationError: a module that no token reached.
    """
    if output.exists():
        raise LocalMisuseError(f"{output} exists already", hint="choose another name; nothing is overwritten")
    watch = Stopwatch()
    with watch.phase("load"):
        documents = read_patients(text, "document")
        tokenizer = load_tokenizer(model)
        batches = batches_of_patients(
            documents, tokenizer, sequence_length=sequence_length, max_windows=max_windows
        )
        if len(batches) < _MIN_DOCUMENTS:
            raise LocalMisuseError(
                f"the public text holds {len(batches)} documents, at least {_MIN_DOCUMENTS} are needed",
                hint="give a file with a blank line between documents, or more files",
            )
        blocks = open_blocks(model, device=choose_device(device))
    with watch.phase("statistics"):
        notes = [note for document in documents for note in document.notes]
        probe = first_window(notes, tokenizer, sequence_length=sequence_length)
        inputs = distinct_inputs(blocks, probe)
        statistics = list(
            mean_squares(
                blocks, batches, inputs, progress=lambda done, steps: progress("decoder blocks", done, steps)
            )
        )
        public = reference_of(statistics)
    facts = ReferenceFacts(
        weights_digest=weights_digest(model),
        sequence_length=sequence_length,
        max_windows=max_windows,
        inputs=inputs,
        documents=tuple(sorted(document_digest(n) for document in documents for n in document.notes)),
        norms=public.norms,
        shift=public.shift,
    )
    write_reference(output, facts, public)
    reference = read_reference(output)
    return ReferenceResult(
        reference=str(output),
        digest=reference.digest,
        documents=len(batches),
        features=sum(reference.features.values()),
        spread=round(reference.spread, 4),
        typical_clip=reference.typical_clip,
        seconds=watch.seconds,
    )
