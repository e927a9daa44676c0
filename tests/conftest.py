"""Says above every run what it ran with: `make test` runs with two releases of transformers.

Tests open the same few tasks and messages thousands of times, as parties that are started again do; what only depends
on bytes is worked out once for each.
"""

from __future__ import annotations

import functools
import os
import platform
from importlib import metadata

import pytest

# Matrices are small here, and tests run side by side: threads of numpy and torch would only wait for each other.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_report_header():
    versions = (
        f"{package} {_version(package)}" for package in ("transformers", "tokenizers", "torch", "numpy")
    )
    return f"tested with: {', '.join(versions)}, Python {platform.python_version()}"


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


@pytest.fixture(autouse=True, scope="session")
def _each_text_once():
    """Remember what a task file says and which signatures are valid: a third of the time of small rounds."""
    from secprune import task
    from secprune.crypto import envelope

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "load_toml", functools.lru_cache(maxsize=64)(task.load_toml))
        is_valid = functools.lru_cache(maxsize=4096)(envelope.signature_is_valid)
        patch.setattr(envelope, "signature_is_valid", is_valid)
        yield
