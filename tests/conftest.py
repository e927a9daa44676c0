"""Says above every run what it ran with: `make test` runs with two releases of transformers."""

from __future__ import annotations

import os
import platform
from importlib import metadata

# Matrices are small here, and tests run side by side: numpy's threads would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


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
