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

from secprune.errors import LocalEnvironmentError, LocalMisuseError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOTE_SUFFIXES = (".jsonl", ".txt")
"""What a directory of notes may hold; other files in it (a README, say) are not notes."""

HELD_OUT_DENOMINATOR = 5
"""One note in five is kept out of calibration, to measure perplexity on text the mask has not seen."""

_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")


def read_notes(path: Path) -> list[str]:
    """Every note of a file, or of all note files of a directory, in a fixed order.

    Args:
        path: a `.txt` file (notes separated by blank lines), a `.jsonl` file (one JSON object a line,
            the note in its field `text`), or a directory that holds such files; a directory is read in
            the order of the file names, so that two runs see the same notes in the same order.

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


def _read_file(file: Path) -> list[str]:
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
    notes = _json_lines(file, text) if file.suffix == ".jsonl" else _BLANK_LINES.split(text)
    return [stripped for note in notes if (stripped := note.strip())]


def _json_lines(file: Path, text: str) -> list[str]:
    # Not str.splitlines: it would also cut at U+2028 and other separators that JSON allows in a string.
    lines = text.removesuffix("\n").split("\n") if text else []
    notes: list[str] = []
    for number, line in enumerate(lines, start=1):
        note = _text_of(line)
        if note is None:
            raise LocalMisuseError(
                f"{file}, line {number}: not a JSON object with a string field 'text'",
                hint="write one JSON object a line, the note in its field 'text'",
            )
        notes.append(note)
    return notes


def _text_of(line: str) -> str | None:
    try:
        record = json.loads(line)
        text = record.get("text") if isinstance(record, dict) else None
        if isinstance(text, str):
            text.encode()  # a lone surrogate ("\ud800") is valid JSON but no text a tokenizer could read
            return text
    except (ValueError, RecursionError):
        pass
    return None
