"""The public reference: the same feature statistics as hospitals take, of public text. Its file, and what can be known from it.

It is what clients measure their patients against, what a sum is put back into, and what a study has without any private
data: the *public-only baseline* is the mask of the reference alone. It must not be made of private data: it is not protected
by anything. The file lists digests of its documents, so that a site can find its own notes among them and refuse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.files import SHARED_FILE, file_digest
from secprune.ids import Digest, sha256
from secprune.privacy.mechanism import FEATURES_SHARE, log_features, log_square_means
from secprune.pruning.tensorfile import TensorFile, write_tensor_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from secprune.pruning.notes import Patient

Floats = npt.NDArray[np.float64]

QUANTILES = (0.5, 0.75, 0.9, 0.95)
"""Of the norms of public documents, in a reference's file."""

MAX_DIRECTIONS = 32
"""In which public documents differ most; more add little, and the file grows by as much as one document for each."""

_KIND = "public reference"
_DIRECTIONS = " directions"  # after an input's name; no name has a space


class ReferenceFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reference is made of, in its file.

    Attributes:
        weights_digest: of the model.
        sequence_length: tokens in a window.
        max_windows: of one document.
        inputs: each distinct input of linear modules, as the weights that it enters.
        documents: digests of the texts.
        norms: quantiles (`QUANTILES`) of the norm of a document's features about the reference, before clipping.
        shift: distance between the mean features of the first half of the documents and of the second, in parts of the
            square root of the number of features: how far apart texts of two kinds are, if the file is in order of kind.
    """

    weights_digest: Digest
    sequence_length: int
    max_windows: int
    inputs: tuple[tuple[str, ...], ...]
    documents: tuple[Digest, ...]
    norms: tuple[float, ...]
    shift: float


class Reference:
    """A public reference.

    Args:
        facts: what it is made of.
        square_means: by the first weight of each input, (features,) float64, above zero.
        directions: likewise, (directions, features): in which public documents differ most, orthonormal over all inputs.
        digest: of its file.
    """

    def __init__(
        self,
        facts: ReferenceFacts,
        square_means: Mapping[str, Floats],
        directions: Mapping[str, Floats],
        digest: Digest,
    ) -> None:
        self.facts, self.digest = facts, digest
        self.square_means, self.directions = dict(square_means), dict(directions)

    @property
    def features(self) -> dict[str, int]:
        """Features of each input by name."""
        return {name: len(values) for name, values in self.square_means.items()}

    @property
    def spread(self) -> float:
        """A document's typical norm, in parts of the square root of the number of features."""
        return self.facts.norms[0] / math.sqrt(sum(self.features.values()))

    @property
    def typical_clip(self) -> str:
        """A clip bound that half of the public documents are within, to four places."""
        return typical_clip(self.facts.norms)

    def overlap(self, patients: Iterable[Patient]) -> int:
        """How many of these patients' notes are among the reference's documents."""
        known = set(self.facts.documents)
        return sum(document_digest(note) in known for patient in patients for note in patient.notes)


def typical_clip(norms: Sequence[float]) -> str:
    """The clip bound that half of the documents with these norms (`QUANTILES`) are within, to four places."""
    return f"{norms[0] / FEATURES_SHARE:.4f}"


def document_digest(text: str) -> Digest:
    """Digest of a text, whatever its white space is."""
    return sha256(" ".join(text.split()).encode())


class PublicStatistics(Struct, frozen=True):
    """What `reference_of` finds; see `Reference` and `ReferenceFacts`."""

    square_means: dict[str, Floats]
    directions: dict[str, Floats]
    norms: tuple[float, ...]
    shift: float


def reference_of(found: Sequence[Mapping[str, Floats]]) -> PublicStatistics:
    """Put the square-means of public documents together.

    The reference is their geometric mean, about which the logarithms of the same text have mean zero. The directions are
    the principal ones of the documents about it.

    Args:
        found: of each document, by input: (features,) square-means.

    Raises:
        ConfigurationError: an input that no document reached.
    """
    square_means: dict[str, Floats] = {}
    features: dict[str, npt.NDArray[np.float32]] = {}
    gram = np.zeros((len(found), len(found)))
    halves, moved = len(found) // 2, 0.0
    for name in found[0]:
        logs = [log_square_means(one[name]) for one in found if one[name].any()]
        if not logs:
            raise ConfigurationError(
                f"no token of the public text reached {name}",
                hint="give more public text, or text of another kind",
            )
        square_means[name] = np.exp(np.mean(logs, axis=0))
        x = np.stack([log_features(one[name], square_means[name]) for one in found])  # (documents, features)
        gram += x @ x.T
        moved += float(np.sum((x[:halves].mean(axis=0) - x[halves:].mean(axis=0)) ** 2))
        features[name] = x.astype(np.float32)
    values, vectors = np.linalg.eigh(gram)  # ascending
    count = min(MAX_DIRECTIONS, int(np.count_nonzero(values > 1e-9 * values[-1])))
    weights = vectors[:, ::-1][:, :count] / np.sqrt(values[::-1][:count])  # (documents, directions)
    directions = {name: weights.T @ x for name, x in features.items()}
    norms = np.quantile(np.sqrt(np.diag(gram)), QUANTILES)
    shift = math.sqrt(moved / sum(len(values) for values in square_means.values()))
    return PublicStatistics(square_means, directions, tuple(float(norm) for norm in norms), shift)


def write_reference(path: Path, facts: ReferenceFacts, public: PublicStatistics) -> Digest:
    """Write a reference, and return its digest."""
    tensors = {name: values.astype("<f8").view("<u8") for name, values in public.square_means.items()}
    shapes = [(name, "F64", bits.shape) for name, bits in tensors.items()]
    for name, values in public.directions.items():
        tensors[name + _DIRECTIONS] = values.astype("<f4").view("<u4")
        shapes.append((name + _DIRECTIONS, "F32", values.shape))
    metadata = {"kind": _KIND, "facts": msgspec.json.encode(facts).decode()}
    with write_tensor_file(path, shapes, metadata=metadata, mode=SHARED_FILE) as writer:
        for name, bits in tensors.items():
            writer.write(name, bits)
    return file_digest(path)


def read_reference(path: Path, *, digest: Digest | None = None) -> Reference:
    """Read a reference.

    Args:
        path: its file.
        digest: which one it must be; None for any.

    Raises:
        LocalMisuseError: there is none.
        ConfigurationError: it is damaged, or another one than the task names.
    """
    if not path.is_file():
        raise LocalMisuseError(
            f"there is no public reference at {path}",
            hint="copy the file that the coordinator made with `secprune coordinator reference`; `reference` in the party "
            "file says where it lies",
        )
    found = file_digest(path)
    if digest not in (None, found):
        raise ConfigurationError(
            f"{path.name} is not the task's public reference: {found} instead of {digest}",
            hint="ask the coordinator for the file again",
        )
    file = TensorFile(path)
    try:
        facts = msgspec.json.decode(file.metadata.get("facts", ""), type=ReferenceFacts)
    except msgspec.DecodeError as error:
        raise _damaged(path, "does not say what it is made of") from error
    names = [group[0] for group in facts.inputs]
    due = {*names, *(name + _DIRECTIONS for name in names)}
    if file.metadata.get("kind") != _KIND or set(file.names) != due or len(file.names) != 2 * len(names):
        raise _damaged(path, "does not hold the inputs that it names")
    square_means, directions = {}, {}
    count = file.entry(names[0] + _DIRECTIONS)[1][:1]
    for name in names:
        dtype, shape = file.entry(name)
        if (dtype, len(shape)) != ("F64", 1) or file.entry(name + _DIRECTIONS) != ("F32", (*count, *shape)):
            raise _damaged(path, f"holds {name} in another form")
        square_means[name] = file.raw(name).view("<f8").astype(np.float64)
        directions[name] = file.raw(name + _DIRECTIONS).view("<f4").astype(np.float64)
        if not (np.isfinite(square_means[name]).all() and (square_means[name] > 0).all()):
            raise _damaged(path, f"has features of {name} that are not above zero")
        if not np.isfinite(directions[name]).all():
            raise _damaged(path, f"has directions of {name} that are no numbers")
    return Reference(facts, square_means, directions, found)


def _damaged(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path.name} is no public reference: it {what}", hint="ask the coordinator for the file again"
    )
