"""One party as a process of its own, which prints its peak memory: `python -m benchmarks.party ROLE DIRECTORY`."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from secprune.parties import client
from secprune.parties.aggregator import Aggregator
from secprune.parties.coordinator import Coordinator
from secprune.parties.progress import peak_memory_mib
from secprune.parties.session import Patience, open_session

_PROC = Path("/proc/self/status")
_INTERVAL_S = 0.005


class Memory:
    """Peak resident set of this process, and the peaks of its two parts, in MiB.

    `own` is what the process allocated; `mapped` are pages of files, which the kernel takes back when it
    needs them. The parts are sampled.
    """

    def __init__(self) -> None:
        self._own = self._mapped = 0.0
        threading.Thread(target=self._sample, daemon=True).start()

    def peaks(self) -> dict[str, float]:
        """All three so far."""
        return {"peak": float(peak_memory_mib()), "own": self._own, "mapped": self._mapped}

    def _sample(self) -> None:
        while _PROC.exists():
            now = _status()
            self._own, self._mapped = max(self._own, now["RssAnon"]), max(self._mapped, now["RssFile"])
            time.sleep(_INTERVAL_S)


def _status() -> dict[str, float]:
    fields = (line.split(":", 1) for line in _PROC.read_text().splitlines())
    return {key: int(value.split()[0]) / 1024 for key, value in fields if value.endswith(" kB")}


def _prune(checkpoint: Path) -> None:
    """As `secprune client prune` does it, with random windows and without writing the masks."""
    import torch  # here, because no other party needs it

    from benchmarks.calibration import pruning_spec, random_windows
    from secprune.pruning.local import local_pruning_masks
    from secprune.pruning.offload import open_blocks

    torch.set_num_threads(1)
    for _ in local_pruning_masks(open_blocks(checkpoint), random_windows(8), pruning=pruning_spec()):
        pass  # the next one is not made before this one is done with


def main(role: str, directory: Path) -> None:
    """Do the party's whole work in one round; with "prune", a client's local pruning of a checkpoint."""
    patience, memory = Patience(timeout_s=300, poll_s=0.05), Memory()
    if role == "client":
        with open_session(directory, "client") as session:
            client.submit(session)
    elif role == "prune":
        _prune(directory)
    elif role == "aggregator":
        with open_session(directory, "aggregator") as session:
            Aggregator(session).run(patience)
    else:
        with open_session(directory, "coordinator") as session:
            Coordinator(session).run(patience)
    print(json.dumps(memory.peaks()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
