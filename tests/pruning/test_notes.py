from __future__ import annotations

import json
import math
import traceback

import pytest

from secprune.errors import LocalMisuseError
from secprune.pruning.notes import Note, Patient, read_notes, read_patients, split_held_out

SECRET = "Zacharias Quillfeather"


def test_text_file_is_cut_at_blank_lines(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\n\n first line\r\nsecond line \r\n\r\n \t\r\n\r\nnext note\n\n\n")
    assert read_notes(file) == ["first line\nsecond line", "next note"]


def test_json_lines_keep_separators_that_only_look_like_line_ends(tmp_path):
    texts = ["one\u2028still one", "two\x0bstill two", "drei\n\nAbs\u00e4tze"]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text, "id": 1}, ensure_ascii=False) + "\n" for text in texts))
    assert read_notes(file) == texts


def test_directory_is_read_in_order_of_names_and_other_files_are_left(tmp_path):
    (tmp_path / "b.txt").write_text("from b")
    (tmp_path / "a.jsonl").write_text('{"text": "from a"}')
    (tmp_path / "c.txt").write_text("from c\n\nagain c")
    (tmp_path / "README.md").write_text("no note")
    assert read_notes(tmp_path) == ["from a", "from b", "from c", "again c"]


@pytest.mark.parametrize(
    "bad",
    [
        SECRET,
        f'{{"text": "{SECRET}"',
        f'{{"note": "{SECRET}"}}',
        f'["{SECRET}"]',
        f'{{"text": ["{SECRET}"]}}',
        f'{{"text": "{SECRET} \\ud800"}}',
        '{"text": ' + "[" * 100_000,
        "",
    ],
)
def test_bad_json_line_is_named_by_number_and_never_repeated(tmp_path, bad):
    file = tmp_path / "export.jsonl"
    file.write_text(f'{{"text": "fine"}}\n{bad}\n{{"text": "fine"}}\n')
    with pytest.raises(LocalMisuseError, match=r"export\.jsonl, line 2:") as caught:
        read_notes(file)
    _assert_silent(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_text_that_is_not_utf8_is_never_repeated(tmp_path, name):
    (tmp_path / name).write_bytes(f'{{"text": "{SECRET} '.encode() + b'\xff"}')
    with pytest.raises(LocalMisuseError, match="UTF-8") as caught:
        read_notes(tmp_path / name)
    _assert_silent(caught.value)


def _assert_silent(error):
    """Neither the error, nor anything chained to it, nor any attribute of those holds the note."""
    assert error.hint
    seen = error
    while seen is not None:
        assert SECRET not in repr(seen)
        assert SECRET not in repr(vars(seen))
        assert not hasattr(seen, "doc")
        assert not hasattr(seen, "object")
        seen = seen.__cause__ or seen.__context__
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("content", [None, "", "\n \n\n"])
def test_no_notes_at_all(tmp_path, content):
    if content is not None:
        (tmp_path / "a.txt").write_text(content)
        (tmp_path / "b.jsonl").write_text("" if not content else '{"text": " "}\n')
    with pytest.raises(LocalMisuseError, match="holds no note") as caught:
        read_notes(tmp_path)
    assert ".jsonl" in caught.value.hint


def test_missing_path_and_foreign_suffix(tmp_path):
    with pytest.raises(LocalMisuseError, match="no notes at"):
        read_notes(tmp_path / "nowhere.txt")
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(LocalMisuseError, match=r"neither a \.txt nor a \.jsonl"):
        read_notes(tmp_path / "a.csv")


@pytest.mark.parametrize("n", [2, 3, 5, 6, 10, 11, 40])
def test_last_fifth_is_held_out(n):
    notes = [str(i) for i in range(n)]
    calibration, held_out = split_held_out(notes)
    assert calibration + held_out == notes
    assert len(held_out) == math.ceil(n / 5)
    assert calibration


@pytest.mark.parametrize("notes", [[], ["only one"]])
def test_nothing_can_be_held_out_of_fewer_than_two(notes):
    with pytest.raises(LocalMisuseError) as caught:
        split_held_out(notes)
    assert "only one" not in str(caught.value)


def _write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_notes_are_bundled_by_patient_in_the_order_of_first_notes_across_files(tmp_path):
    _write(tmp_path / "a.jsonl", {"text": "x", "patient": "p2"}, {"text": "y", "patient": 7})
    _write(tmp_path / "b.jsonl", {"text": "z", "patient": "p2"})
    found = read_patients(tmp_path, "patient")
    assert found == [Patient("p2", ("x", "z")), Patient("7", ("y",))]


def test_a_document_is_a_unit_by_itself_and_the_same_text_twice_is_one(tmp_path):
    file = _write(
        tmp_path / "a.jsonl", {"text": "x", "patient": "p"}, {"text": "y", "patient": "p"}, {"text": "x"}
    )
    assert [unit.notes for unit in read_patients(file, "document")] == [("x",), ("y",)]


@pytest.mark.parametrize("patient", [["a", "b"], {"a": 1}, 1.5, True, None, "", "\ud800"])
def test_a_note_of_nobody_or_of_two_is_refused_where_patients_are_protected_and_only_there(tmp_path, patient):
    record = json.dumps({"text": "SECRET", "patient": patient})
    (tmp_path / "a.jsonl").write_text(f'{{"text": "fine", "patient": "p"}}\n{record}\n')
    with pytest.raises(LocalMisuseError) as caught:
        read_patients(tmp_path / "a.jsonl", "patient")
    assert "SECRET" not in f"{caught.value} {caught.value.hint} {caught.value.__context__!r}"
    if patient != "\ud800":  # which is no text that can be written again
        assert read_notes(tmp_path / "a.jsonl") == ["fine", "SECRET"]


def test_patients_and_notes_are_not_shown_by_accident():
    assert "SECRET" not in repr([Patient("SECRET", ("SECRET",)), Note("SECRET", "SECRET")])
