"""The command line as a user runs it: in a process of its own, or in this one, where it need not load everything again."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

from secprune_cli.main import main


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


def called(*arguments, check=True, cwd="."):
    """As `secprune`, in this process; an error that is not deliberate is raised."""
    said, complained, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.object(sys, "argv", ["secprune", *map(str, arguments)]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
        contextlib.chdir(cwd),
    ):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    done = SimpleNamespace(returncode=code, stdout=said.getvalue(), stderr=complained.getvalue())
    assert not check or done.returncode == 0, done.stderr
    return done
