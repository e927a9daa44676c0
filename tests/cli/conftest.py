"""A tiny model and the notes of four hospitals, for the tests of experiments."""

from __future__ import annotations

import pytest
from tiny_models import NOTES, make_checkpoint

from secprune_cli.demo.material import read_hospitals


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model") / "tiny", "llama", seed=3)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Four hospitals of ten notes."""
    directory = tmp_path_factory.mktemp("notes")
    for index in range(4):
        (directory / f"clinic-{index}.txt").write_text("\n\n".join(NOTES[10 * index : 10 * index + 10]))
    return directory


@pytest.fixture
def hospitals(notes):
    return read_hospitals(data=notes, clients=None)
