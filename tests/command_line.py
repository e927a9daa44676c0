"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys


def secprune(*arguments, check=True, cwd=None, **environment):
    """Run a command on one thread; it must succeed, unless not checked."""
    done = subprocess.run(
        [sys.executable, "-m", "secprune_cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert not check or done.returncode == 0, done.stderr
    return done
