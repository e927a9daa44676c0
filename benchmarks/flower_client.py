"""Run by `benchmarks.flower` with the interpreter of Flower's own environment; needs flwr and numpy only.

Reads one JSON request a line, writes one JSON answer a line. Calls the very functions of Flower's client mod:

    before   _setup and _share_keys of every client, so that keys, shares and ciphertexts are real
    timed    _collect_masked_vectors of one client: its step between two messages of the server
"""

from __future__ import annotations

import json
import random
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from flwr.client.mod.secure_aggregation.secaggplus_mod import (
    SecAggPlusState,
    _collect_masked_vectors,
    _setup,
    _share_keys,
)
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.server.workflow import SecAggWorkflow


class Round:
    """A round of clients that are all neighbours of each other (Flower's `SecAggWorkflow`), up to the masked vectors.

    Args:
        clients: how many.
    """

    def __init__(self, clients: int) -> None:
        self._threshold = 2 * clients // 3 + 1
        setup = {Key.SAMPLE_NUMBER: clients, Key.SHARE_NUMBER: clients, **self._options({})}
        ids = random.sample(range(1, 2**63), clients)
        states, keys = {}, {}
        for node in ids:
            states[node] = SecAggPlusState()
            states[node].nid = node
            public = _setup(states[node], setup)
            keys[str(node)] = [public[Key.PUBLIC_KEY_1], public[Key.PUBLIC_KEY_2]]
        me = sorted(ids)[clients // 2]
        self._inbox: dict[str, list[Any]] = {Key.CIPHERTEXT_LIST: [], Key.SOURCE_LIST: []}
        for node in ids:
            dealt = _share_keys(states[node], keys)
            for receiver, sealed in zip(dealt[Key.DESTINATION_LIST], dealt[Key.CIPHERTEXT_LIST], strict=True):
                if receiver == me:
                    self._inbox[Key.CIPHERTEXT_LIST].append(sealed)
                    self._inbox[Key.SOURCE_LIST].append(node)
        self._state = states[me]

    def mask(self, rows: int, columns: int, options: dict[str, Any]) -> dict[str, Any]:
        """Seconds of the client's step on one random pruning mask, and bytes of what it sends.

        Args:
            rows: of the pruning mask.
            columns: of the pruning mask.
            options: of the workflow; those that are not given have its defaults.
        """
        for name, value in self._options(options).items():
            setattr(self._state, name, value)
        mask = np.random.default_rng(1).integers(0, 2, (rows, columns)).astype(np.float32)
        parameters = ndarrays_to_parameters([mask])
        # All clients weigh the same, so that values are multiplied by one.
        examples = int(self._state.max_weight)
        start = time.perf_counter()
        sent = _collect_masked_vectors(self._state, self._inbox, examples, parameters)
        seconds = time.perf_counter() - start
        vectors = sent[Key.MASKED_PARAMETERS]
        arrays = [bytes_to_ndarray(vector) for vector in vectors]
        if arrays[1].shape != mask.shape:  # the first one is the factor
            raise AssertionError("not all weights were masked")
        return {"seconds": seconds, "bytes": sum(map(len, vectors)), "dtype": arrays[1].dtype.name}

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        workflow = SecAggWorkflow(self._threshold, **options)
        return {
            Key.THRESHOLD: self._threshold,
            Key.CLIPPING_RANGE: workflow.clipping_range,
            Key.TARGET_RANGE: workflow.quantization_range,
            Key.MOD_RANGE: workflow.modulus_range,
            Key.MAX_WEIGHT: workflow.max_weight,
        }


def main() -> None:
    """Serve until the input ends."""
    packages = {name: version(name) for name in ("flwr", "numpy", "cryptography")}
    print(json.dumps({**packages, "python": sys.version.split()[0]}), flush=True)
    rounds: dict[int, Round] = {}
    for line in sys.stdin:
        request = json.loads(line)
        clients = request["clients"]
        if clients not in rounds:
            rounds[clients] = Round(clients)
        answer = rounds[clients].mask(request["rows"], request["columns"], request["options"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
