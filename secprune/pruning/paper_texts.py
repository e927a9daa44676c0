"""The three texts on which pruning papers measure perplexity, joined exactly as their codes join them.

Figures of different papers can only be compared if the text is the same to the byte, and it often is not:
other splits, other separators, other lengths. So each text is defined here once, and a `PaperText` carries
what is needed to tell whether two measurements had the same one, its SHA-256 above all.

The texts are public data sets. They are read with the package `datasets` (extra "evaluate"), from the
Hugging Face hub, from its cache on this machine, or from a copy for machines without internet access.

Source: Wanda, `lib/data.py` (WikiText-2); SparseGPT, `datautils.py` (PTB, C4).
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.files import environment_errors
from secprune.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_READERS = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".json.gz": "json",
    ".jsonl.gz": "json",
    ".txt": "lines",
}
"""By what a copy's file name ends in: the builder of `datasets`, or "lines" for what is read here."""

_GIVE_A_COPY = "give a copy on this machine with --dataset-path; docs/evaluation.md says how to make one"


@dataclass(frozen=True, slots=True)
class TextSpec:
    """Which documents of which data set make up a text, and how they are joined.

    Attributes:
        name: as it is asked for.
        repository: on the Hugging Face hub.
        config: the part of the repository, if it has parts that are named so.
        split: never the one that calibration texts come from.
        file: the only file of the repository that is read; None: all of the split.
        revision: where in the repository; None: its main branch.
        column: holds the documents.
        separator: stands between two documents.
        join_rule: the same in words, for a result.
        first: only that many documents from the beginning; None: all.
        published: how many documents the text has if the copy is whole.
        windows: the text is cut after that many whole windows; None: it is not cut.
        lines: how the lines of the original plain text become documents: with their line ends ("keep"),
            or without white space around them ("strip"). None: there is no such original.
    """

    name: str
    repository: str
    config: str | None
    split: str
    file: str | None
    revision: str | None
    column: str
    separator: str
    join_rule: str
    first: int | None
    published: int
    windows: int | None
    lines: Literal["keep", "strip"] | None


PAPER_TEXTS = MappingProxyType(
    {
        "wikitext2": TextSpec(
            name="wikitext2",
            repository="Salesforce/wikitext",
            config="wikitext-2-raw-v1",
            split="test",
            file=None,
            revision=None,
            column="text",
            separator="\n\n",
            join_rule="all documents, two line feeds between them",
            first=None,
            published=4358,
            windows=None,
            lines="keep",
        ),
        "ptb": TextSpec(
            name="ptb",
            repository="ptb-text-only/ptb_text_only",
            config="penn_treebank",
            split="test",
            file=None,
            # The main branch holds a loading script, which `datasets` 4 does not run any more.
            revision="refs/convert/parquet",
            column="sentence",
            separator=" ",
            join_rule="all documents, one space between them",
            first=None,
            published=3761,
            windows=None,
            lines="strip",
        ),
        "c4": TextSpec(
            name="c4",
            repository="allenai/c4",
            config=None,
            split="validation",
            file="en/c4-validation.00000-of-00008.json.gz",
            revision=None,
            column="text",
            separator=" ",
            join_rule="first 1100 documents, one space between them, cut after 256 windows",
            first=1100,
            published=1100,
            windows=256,
            lines=None,
        ),
    }
)
"""By the name that `secprune evaluate --dataset` takes."""


@dataclass(frozen=True, slots=True)
class PaperText:
    """A text, and where it came from.

    Attributes:
        spec: its definition.
        text: the joined documents, not yet cut to windows: that takes a tokenizer.
        documents: how many were joined; another number than `spec.published` means another text.
        revision: commit of the repository on the hub, if it is known.
        fingerprint: what `datasets` calls this state of the data, if it keeps one.
    """

    spec: TextSpec
    text: str
    documents: int
    revision: str | None = None
    fingerprint: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the text in UTF-8, before it is cut: no tokenizer takes part in it."""
        return sha256(self.text.encode())


def load_paper_text(name: str, path: Path | None = None) -> PaperText:
    """Get one of the papers' texts.

    Args:
        name: a key of `PAPER_TEXTS`.
        path: a copy on this machine: a directory that `save_to_disk` wrote, a clone of the repository, or a
            parquet, JSON or text file. Default: the hub, or what `datasets` has of it in its cache.

    Returns:
        The text; whether it is whole is for the caller to see (`documents`, `spec.published`).

    Raises:
        LocalMisuseError: no such text, or the copy is not one of it.
        LocalEnvironmentError: `datasets` is not installed, or the data cannot be had.
    """
    spec = PAPER_TEXTS.get(name)
    if spec is None:
        raise LocalMisuseError(
            f"{name} is not a text of the papers", hint=f"choose one of {', '.join(PAPER_TEXTS)}"
        )
    return _from_hub(spec) if path is None else _from_copy(spec, path)


def _from_hub(spec: TextSpec) -> PaperText:
    datasets = _datasets()
    options: dict[str, Any] = {"revision": spec.revision}
    if spec.file is not None:
        # The sizes that the repository states are those of all its files.
        options |= {"data_files": {spec.split: spec.file}, "verification_mode": "no_checks"}
    try:
        rows = datasets.load_dataset(spec.repository, spec.config, split=spec.split, **options)
    except Exception as error:  # whatever network, hub, cache and format come up with
        raise LocalEnvironmentError(
            f"datasets {datasets.__version__} cannot get {spec.repository}: {_reason(error)}",
            hint=f"allow access to the Hugging Face hub, or {_GIVE_A_COPY}",
        ) from error
    return _joined(spec, rows, spec.repository, revision=_commit(rows))


def _from_copy(spec: TextSpec, path: Path) -> PaperText:
    if not path.exists():
        raise LocalMisuseError(f"there is no copy of {spec.name} at {path}", hint=_GIVE_A_COPY)
    with environment_errors(f"read {path}"):
        saved = path.is_dir() and any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))
        files, reader = ([], "") if saved else _files_of_split(spec, path)
        if reader == "lines":
            return _joined(spec, {spec.column: _documents_of_lines(spec, files)}, str(path))
    datasets = _datasets()
    try:
        if saved:
            rows = datasets.load_from_disk(str(path))
            if isinstance(rows, datasets.DatasetDict):
                rows = rows[spec.split]
        else:
            # Streaming: no second copy in the cache, and no more is read than is needed.
            names = [str(file) for file in files]
            stream = datasets.load_dataset(reader, data_files=names, split="train", streaming=True)
            rows = _columns(itertools.islice(stream, spec.first))
    except Exception as error:  # as above
        raise LocalMisuseError(
            f"datasets {datasets.__version__} cannot read {path} as {spec.name}, split {spec.split} "
            f"({type(error).__name__})",
            hint=_GIVE_A_COPY,
        ) from error
    return _joined(spec, rows, str(path))


def _joined(spec: TextSpec, rows: Any, where: str, *, revision: str | None = None) -> PaperText:
    """Join the documents of `rows`, which has columns by name, as the papers do."""
    names = getattr(rows, "column_names", None) or list(rows)
    column = spec.column if spec.column in names else "text"
    documents = list(rows[column][: spec.first]) if column in names else []
    if not documents or not all(isinstance(document, str) for document in documents):
        raise LocalMisuseError(
            f"{where} has no documents in a column {spec.column}, so it is not {spec.name}",
            hint=_GIVE_A_COPY,
        )
    return PaperText(
        spec,
        spec.separator.join(documents),
        len(documents),
        revision=revision,
        fingerprint=getattr(rows, "_fingerprint", None),
    )


def _columns(records: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            columns.setdefault(name, []).append(value)
    return columns


def _files_of_split(spec: TextSpec, path: Path) -> tuple[list[Path], str]:
    """The files that hold the split, in the order of their names, and what reads them."""
    if path.is_file():
        files = [path]
    else:
        # Hidden directories hold the hub's bookkeeping.
        found = [file for file in sorted(path.rglob("*")) if file.is_file() and _suffix(file)]
        inner = {file: file.relative_to(path) for file in found}
        found = [file for file in found if not any(part.startswith(".") for part in inner[file].parts)]
        files = [file for file in found if spec.split in inner[file].as_posix()]
        files = [file for file in files if spec.config in inner[file].parts] or files
        if spec.file is not None:
            files = [file for file in files if spec.file.endswith(file.name)] or files
    readers = {_READERS.get(_suffix(file), "") for file in files}
    if len(readers) != 1 or readers == {""}:
        raise LocalMisuseError(
            f"{path} holds no file of the split {spec.split}, or files of several kinds"
            if path.is_dir()
            else f"{path} is neither parquet nor JSON nor text",
            hint=f"name it or its directory after the split; {_GIVE_A_COPY}",
        )
    return files, readers.pop()


def _suffix(file: Path) -> str:
    """The longest known ending of a file's name; empty if there is none."""
    return max((ending for ending in _READERS if file.name.endswith(ending)), key=len, default="")


def _documents_of_lines(spec: TextSpec, files: list[Path]) -> list[str]:
    """Lines of the original plain text as the data set's own script makes documents of them."""
    if spec.lines is None:
        raise LocalMisuseError(
            f"documents of {spec.name} cannot be told apart in a text file", hint=_GIVE_A_COPY
        )
    documents: list[str] = []
    for file in files:
        text, unreadable = "", False
        try:
            text = file.read_bytes().decode()
        except UnicodeDecodeError:
            unreadable = True
        if unreadable:
            raise LocalMisuseError(f"{file} is not UTF-8 text", hint=_GIVE_A_COPY)
        # Not str.splitlines: it would also cut at U+2028 and other separators.
        lines = re.findall(r"[^\n]*\n|[^\n]+", text.replace("\r\n", "\n"))
        if spec.lines == "strip":
            documents += [line.strip() for line in lines]
        else:
            documents += [line if line.strip() else "" for line in lines]
    return documents


def _commit(rows: Any) -> str | None:
    """The commit that `datasets` notes in the addresses of the files it got from the hub."""
    sources = " ".join(getattr(getattr(rows, "info", None), "download_checksums", None) or ())
    found = re.search(r"@([0-9a-f]{40})/", sources)
    return found[1] if found else None


def _datasets() -> Any:
    try:
        import datasets  # noqa: PLC0415 - an extra: only who measures on the papers' texts needs it
    except ModuleNotFoundError as error:
        raise LocalEnvironmentError(
            "the papers' texts are read with the package datasets, which is not installed",
            hint="run: pip install 'secprune[evaluate]' (or datasets alone)",
        ) from error
    datasets.disable_progress_bars()  # the command line draws bars of its own
    return datasets


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
