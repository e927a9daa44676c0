"""The frozen vectors: regenerated = committed, and each is what the code accepts or refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scripts.bfv_vectors import planes_of_vector
from secprune.crypto.bfv import wire
from secprune.crypto.bfv.parameters import choose_parameters
from secprune.crypto.envelope import open_envelope
from secprune.crypto.expand import expand, expansion_key
from secprune.crypto.seal import ChunkCipher, Context, open_secret
from secprune.errors import RemoteMisbehaviourError
from secprune.messages import types
from secprune.messages.codec import encode
from secprune.packing import pack, row_sums, unpack
from secprune.task import parse_task
from secprune.task.sampling import sample_blocks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def vectors(name):
    return json.loads((HERE / f"{name}.json").read_text())


def named(name):
    return [pytest.param(v, id=v["name"]) for v in vectors(name)]


def test_regenerated_vectors_equal_the_committed_ones(tmp_path):
    subprocess.run([sys.executable, "-m", "scripts.make_vectors", "--out", tmp_path], check=True, cwd=ROOT)
    made = sorted(tmp_path.iterdir())
    assert [p.name for p in made] == [
        "bfv.json",
        "chunks.json",
        "envelopes.json",
        "expansion.json",
        "layer_sampling.json",
        "packing.json",
        "pairwise_graph.json",
        "shamir.json",
        "task.json",
    ]
    for path in made:
        assert path.read_bytes() == (HERE / path.name).read_bytes(), path.name


@pytest.mark.parametrize("vector", vectors("packing"), ids=lambda v: f"n={v['n_max']}")
def test_packing(vector):
    """Against the formula written out with Python integers."""
    bits, base, digits = np.array(vector["bits"], np.uint8), vector["n_max"] + 1, vector["digits"]
    words = pack(bits, base=base, digits=digits)
    for g, row in enumerate(vector["words"]):
        for c, word in enumerate(row):
            rows = bits[g * digits : (g + 1) * digits, c]
            assert (
                int(words[g, c]) == int(word, 16) == sum(int(b) * base**p for p, b in enumerate(rows)) % 2**64
            )
    assert [f"{w:016x}" for w in row_sums(words).tolist()] == vector["row_sums"]
    np.testing.assert_array_equal(unpack(words, base=base, digits=digits, rows=len(bits)), bits)


@pytest.mark.parametrize("vector", vectors("expansion"), ids=lambda v: f"word {v['first_word']}")
def test_expansion(vector):
    key = expansion_key(bytes.fromhex(vector["seed"]), vector["context"].encode())
    assert key.hex() == vector["key"]
    words = expand(key, first_word=vector["first_word"], words=len(vector["words"]))
    assert [f"{w:016x}" for w in words.tolist()] == vector["words"]


@pytest.mark.parametrize("vector", named("chunks"))
def test_chunks(vector):
    cipher = ChunkCipher(
        bytes.fromhex(vector["key"]), Context(*json.loads(vector["context"])), count=vector["count"]
    )
    sealed = bytes.fromhex(vector["sealed"])
    if vector["plain"] is None:
        with pytest.raises(RemoteMisbehaviourError):
            cipher.open(vector["index"], sealed)
    else:
        assert cipher.open(vector["index"], sealed).hex() == vector["plain"]
        assert cipher.seal(vector["index"], bytes.fromhex(vector["plain"])).hex() == vector["sealed"]


@pytest.mark.parametrize("vector", named("envelopes"))
def test_envelopes(vector):
    keys = {vector["signer"]: bytes.fromhex(vector["signing_key"])}
    kind = getattr(types, vector["kind"])
    if vector["message"] is None:
        with pytest.raises(RemoteMisbehaviourError):
            open_envelope(vector["envelope"].encode(), kind, signing_keys=keys)
    else:
        signer, message = open_envelope(vector["envelope"].encode(), kind, signing_keys=keys)
        assert signer == vector["signer"]
        assert encode(message).decode() == vector["message"]


@pytest.mark.parametrize("vector", vectors("layer_sampling"), ids=lambda v: f"{v['blocks']} blocks")
def test_layer_sampling(vector):
    """Against docs/wire-format.md, with nothing but SHA-256: who comes first, and takes which of the least covered blocks."""

    def drawn(*words):
        return hashlib.sha256(
            "\0".join(("secprune/layer-sampling/v1", vector["nonce"], *words)).encode()
        ).digest()

    covered = [0] * vector["blocks"]
    for client in sorted(vector["capacities"], key=drawn):
        taken = []
        while len(taken) < min(vector["capacities"][client], vector["blocks"]):
            left = [block for block in range(vector["blocks"]) if block not in taken]
            taken.append(min(left, key=lambda block: (covered[block], drawn(client, str(block)))))
        for block in taken:
            covered[block] += 1
        assert sorted(taken) == vector["assigned"][client]
    found = sample_blocks(vector["capacities"], vector["blocks"], nonce=vector["nonce"], min_clients=3)
    assert {name: list(positions) for name, positions in found.items()} == vector["assigned"]


def test_task():
    (vector,) = vectors("task")
    task = parse_task(vector["toml"])
    assert task.canonical.decode() == vector["canonical"]
    assert task.task_id == vector["task_id"]
    assert {p.name: p.fingerprint for p in task.parties} == vector["fingerprints"]
    assert (
        (task.pruning.row_k(100), task.pruning.layer_k(6, 100))
        == (vector["row_k"], vector["layer_k"])
        == (29, 174)
    )
    # Any change of content is another task; a change of layout is not.
    assert parse_task("\n# a comment\n" + vector["toml"]).task_id == vector["task_id"]
    assert parse_task(vector["toml"].replace("29/100", "3/10")).task_id != vector["task_id"]
    assert msgspec.json.decode(vector["canonical"])["study"] == "vectors"


def test_a_sealed_key_of_the_past_still_opens():
    """HPKE draws randomness, so this one was sealed once and kept: a change of suite or info breaks it."""
    vector = json.loads((HERE / "frozen" / "sealed_key.json").read_text())
    from scripts.make_vectors import identity

    secret = open_secret(
        bytes.fromhex(vector["sealed"]),
        identity(vector["identity"]).opening,
        Context(*json.loads(vector["context"])),
    )
    assert secret.hex() == vector["secret"]


@pytest.mark.parametrize(
    "vector", vectors("bfv"), ids=lambda v: f"n={v['clients']}-{v['key_holders']}-{v['blind']}"
)
def test_bfv_wire(vector):
    """The bytes parse to what they were made of; every listed change is refused, and blames the sender."""
    parameters = choose_parameters(**{k: vector[k] for k in ("clients", "key_holders", "blind", "weights")})
    assert parameters.id == vector["id"]
    planes = planes_of_vector("ciphertexts", parameters)
    data = wire.serialise(planes, "ciphertexts", parameters)
    assert (len(data), data[:64].hex()) == (vector["wire"]["bytes"], vector["wire"]["start"])
    parsed = wire.parse(data, "ciphertexts", parameters, count=2, sender="clinic")
    assert all(np.array_equal(a, b) for a, b in zip(planes, parsed, strict=True))
    for change in vector["refused"]:
        at = change["at"]
        altered = (
            data[:at]
            if change["put"] is None
            else data[:at] + bytes.fromhex(change["put"]) + data[at + len(change["put"]) // 2 :]
        )
        assert altered != data, change["name"]
        with pytest.raises(RemoteMisbehaviourError) as caught:
            wire.parse(altered, "ciphertexts", parameters, count=2, sender="clinic")
        assert caught.value.party == "clinic", change["name"]
