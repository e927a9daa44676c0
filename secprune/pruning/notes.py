"""Reading a client's notes from disk, without ever repeating a word of them.

Rules of this module:

1. A note is text about a patient. It goes to the caller and nowhere else: not into an error message,
   not into an exception's context (which a traceback or a crash reporter would print), not into a log.
2. Reading is strict. A file that is not what its suffix says is refused with its name and line number,
   because notes that were silently skipped would bias a pruning mask without anyone noticing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secprune.task.privacy import Unit

NOTE_SUFFIXES = (".jsonl", ".txt")
"""What a directory of notes may hold; other files in it (a README, say) are not notes."""

HELD_OUT_DENOMINATOR = 5
"""One note in five is kept out of calibration, to measure perplexity on text the mask has not seen."""

_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")


class Note(Struct, frozen=True):
    """One note, and whom it is about: the field `patient` of a `.jsonl`, or nothing; or why that cannot be told."""

    text: str
    patient: str = ""
    fault: str = ""

    def __repr__(self) -> str:
        return "Note(<private>)"


class Patient(Struct, frozen=True):
    """All notes of one patient, or one document where these stand for patients; `id` never leaves this machine."""

    id: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return "Patient(<private>)"


def read_notes(path: Path) -> list[str]:
    """The text of every note, as `read_records` finds them."""
    return [note.text for note in read_records(path)]


def read_patients(path: Path, unit: Unit) -> list[Patient]:
    """The notes of a file or directory by patient, so that each patient is one unit, however many notes it has.

    Args:
        path: as for `read_records`.
        unit: "patient", by the field `patient` of `.jsonl` files; or "document", each text by itself, equal texts
            being one.

    Returns:
        Patients in the order of their first notes.

    Raises:
        LocalMisuseError: as `read_records`; or a note that does not say whom it is about.
    """
    found: dict[str, list[str]] = {}
    for note in read_records(path):
        if unit == "document":
            found.setdefault(sha256(note.text.encode()), [note.text])
        elif note.fault:
            raise LocalMisuseError(
                note.fault,
                hint="a note belongs to one patient, named by a string or a whole number: two patients in one text cannot be "
                "protected apart; split it, or leave it out",
            )
        elif note.patient:
            found.setdefault(note.patient, []).append(note.text)
        else:
            raise LocalMisuseError(
                f"a note in {path} does not say which patient it is about, and the task protects patients",
                hint="give .jsonl files whose lines have the field 'patient' beside 'text', or ask the coordinator for a "
                'task whose unit is "document"',
            )
    return [Patient(name, tuple(notes)) for name, notes in found.items()]


def read_records(path: Path) -> list[Note]:
    """Every note of a file, or of all note files of a directory, in a fixed order.

    Args:
        path: a `.txt` file (notes separated by blank lines), a `.jsonl` file (one JSON object a line,
            the note in its field `text`, and in `patient`, if it has one, whom it is about), or a directory that holds
            such files; a directory is read in the order of the file names, so that two runs see the same notes in the
            same order.

    Returns:
        Notes that hold more than white space, stripped of white space at both ends.

    Raises:
        LocalMisuseError: no such path, another suffix, malformed content, or no note at all.
        LocalEnvironmentError: the file exists but cannot be read.
    """
    if path.is_dir():
        files = sorted(item for item in path.iterdir() if item.suffix in NOTE_SUFFIXES and item.is_file())
    elif not path.exists():
        raise LocalMisuseError(
            f"no notes at {path}", hint="give a .txt or .jsonl file, or a directory of them"
        )
    elif path.suffix not in NOTE_SUFFIXES:
        raise LocalMisuseError(
            f"{path} is neither a .txt nor a .jsonl file",
            hint="save the notes as plain text with a blank line between two notes, or as JSON lines",
        )
    else:
        files = [path]
    notes = [note for file in files for note in _read_file(file)]
    if not notes:
        raise LocalMisuseError(
            f"{path} holds no note",
            hint="give .txt files with a blank line between two notes, or .jsonl files with a field 'text'",
        )
    return notes


def split_held_out(notes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Keep the last fifth of the notes out of calibration.

    The last ones rather than random ones: a hospital's export is usually ordered by time, and text that
    is later than the calibration notes is the fairer test. The order of the notes decides, nothing else.

    Args:
        notes: at least two.

    Returns:
        Calibration notes and held-out notes; ceil(n / 5) of them are held out.

    Raises:
        LocalMisuseError: fewer than two notes.
    """
    if len(notes) < 2:
        raise LocalMisuseError(
            f"{len(notes)} note is too few to hold any out"
            if notes
            else "there are no notes to hold any out of",
            hint="give at least two; a note ends at a blank line (.txt) or at the end of a line (.jsonl)",
        )
    held_out = -(-len(notes) // HELD_OUT_DENOMINATOR)
    return list(notes[:-held_out]), list(notes[-held_out:])


def _read_file(file: Path) -> list[Note]:
    # Errors are raised outside the `except` blocks on purpose: inside, Python would keep the decoder's
    # exception as context, and UnicodeDecodeError and JSONDecodeError both carry the text they failed on.
    text, unreadable = "", None
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        unreadable = f"{file} is not UTF-8 text (byte {error.start})"
    except OSError as error:
        raise LocalEnvironmentError(
            f"cannot read {file}: {error.strerror}", hint="check the file's owner and permissions"
        ) from error
    if unreadable is not None:
        raise LocalMisuseError(unreadable, hint="export the notes again as UTF-8")
    text = text.replace("\r\n", "\n")
    if file.suffix == ".jsonl":
        notes = _json_lines(file, text)
    else:
        notes = [Note(piece) for piece in _BLANK_LINES.split(text)]
    return [replace(note, text=stripped) for note in notes if (stripped := note.text.strip())]


def _json_lines(file: Path, text: str) -> list[Note]:
    # Not str.splitlines: it would also cut at U+2028 and other separators that JSON allows in a string.
    lines = text.removesuffix("\n").split("\n") if text else []
    notes: list[Note] = []
    for number, line in enumerate(lines, start=1):
        note = _note_of(line)
        if note is None:
            raise LocalMisuseError(
                f"{file}, line {number}: not a JSON object with a string field 'text'",
                hint="write one JSON object a line, the note in its field 'text'",
            )
        if note.fault:
            note = Note(note.text, fault=f"{file}, line {number}: the field 'patient' is {note.fault}")
        notes.append(note)
    return notes


def _note_of(line: str) -> Note | None:
    try:
        record = json.loads(line)
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            return None
        text.encode()  # a lone surrogate ("\ud800") is valid JSON but no text a tokenizer could read
        patient = record.get("patient")
        if patient is None:
            return Note(text)
        if isinstance(patient, list):
            return Note(text, fault="a list, as if the note were about several patients")
        if isinstance(patient, bool) or not isinstance(patient, str | int):
            return Note(text, fault="neither a string nor a whole number")
        str(patient).encode()
        return Note(text, str(patient))
    except (ValueError, RecursionError):
        return None
