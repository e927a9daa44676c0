from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BLOCKED = ("torch", "transformers", "tokenizers")


@pytest.mark.parametrize("module", ["notes", "tensorfile", "selection", "checkpoint"])
def test_module_works_without_the_prune_extra(module):
    code = textwrap.dedent(f"""
        import sys
        sys.modules.update(dict.fromkeys({BLOCKED!r}))  # None: importing them fails as if not installed
        import secprune.pruning.{module}
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_block_above_blocks():
    code = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r})); import secprune.pruning.models"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ModuleNotFoundError" in done.stderr or "ImportError" in done.stderr
