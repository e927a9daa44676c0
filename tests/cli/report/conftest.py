"""The three reports, made once: their plots take a second or two."""

from __future__ import annotations

import audited_study
import pytest

from secprune_cli.report import render


@pytest.fixture(scope="session")
def texts():
    return {
        name: render(getattr(audited_study, name)(), audited_study.ABOUT)
        for name in ("sound", "open_questions", "refuted")
    }
