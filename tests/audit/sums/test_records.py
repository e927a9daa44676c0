"""Sources of randomness, sealed keys and pinned models: what is found, and what is let pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from audit_draws import draws
from sum_subjects import model

from secprune.audit.sums.models import MODEL_PINNED
from secprune.audit.sums.randomness import DECLARED, RANDOMNESS, Sources, ambient
from secprune.audit.sums.sealing import OVERHEAD, SEALING, Sealing
from secprune.crypto.identity import OpeningKey
from secprune.crypto.seal import Context, seal_secret
from secprune.parties.auditor.sums import own_sources


@pytest.mark.parametrize(
    "text",
    [
        "import random\nrandom.random()",
        "import random as r\nr.choice([1])",
        "from random import choice\nchoice([1])",
        "def late():\n    import secrets\n    return secrets.token_bytes(3)",
        "import os\nos.urandom(3)",
        "from os import urandom as u\nu(3)",
        "import numpy as np\nnp.random.default_rng(1)",
        "import numpy\nnumpy.random.seed(1)",
        "from numpy import random\nrandom.rand()",
        "from numpy.random import MT19937\nMT19937(1)",
        "import numpy.random\nnumpy.random.rand()",
        "from numpy.random import *",
        "import torch\ntorch.randn(3)",
        "import torch\ntorch.empty(3).normal_()",
        "import torch\nx = torch.Generator()",
        "import uuid\nuuid.uuid4()",
        "from cryptography.hazmat.primitives.ciphers.aead import AESGCM\nAESGCM.generate_key(256)",
        "from cryptography.hazmat.primitives.asymmetric import x25519\nx25519.X25519PrivateKey.generate()",
        "import random\nf = getattr(random, 'random')",
    ],
)
def test_a_source_is_found(text):
    assert list(ambient(text))


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.path.join('a')",
        "import numpy as np\ndef f(rng: np.random.Generator): return rng.normal()",
        "from secprune.crypto.entropy import random_bytes\nrandom_bytes(3)",
        "random = 3\nprint(random)",
        "import uuid\nuuid.UUID(int=0)",
        "'import random'",
        "from secprune.crypto.identity import Identity\nIdentity.generate(None)",
        "import torch\ntorch.zeros(3)",
    ],
)
def test_what_is_no_source_is_let_pass(text):
    assert not list(ambient(text))


def test_all_that_is_declared_is_there():
    """An exception that is not needed any more goes from the list."""
    used = {(module, what) for module, text in own_sources().items() for _, what in ambient(text)}
    assert used == set(DECLARED)


def test_an_exception_is_for_one_source_of_one_module():
    text = "import secrets\nimport random\nsecrets.token_hex(4)\nrandom.random()"
    modules = {**own_sources(), "secprune.pruning.checkpoint": text}
    found = RANDOMNESS.measure(Sources(modules, DECLARED), draws("source"))
    assert found.refuted
    assert "secprune.pruning.checkpoint, line 4: random.random" in found.says


def test_secrets_that_come_from_nowhere_are_noticed():
    modules = {**own_sources(), "secprune.crypto.entropy": "def random_bytes(n):\n    return bytes(n)"}
    assert RANDOMNESS.measure(Sources(modules, DECLARED), draws("source")).refuted


def test_keys_of_the_study_are_looked_at():
    key = OpeningKey(draws("key").entropy(96)).sealing_key
    sealed = seal_secret(bytes(32), key, Context("", 0, "", "", "", ""))
    assert len(sealed) == OVERHEAD + 32
    assert not SEALING.measure(Sealing(sealed=(sealed,)), draws("sealing")).refuted
    assert SEALING.measure(Sealing(sealed=(sealed, sealed[:80])), draws("sealing")).refuted


def test_sealing_that_ignores_one_half_is_found_though_its_length_is_right():
    classical = SEALING.mutations["classical-sealing"](Sealing())
    padding = bytes(1088)
    padded = replace(
        classical,
        seal=lambda *args: padding + classical.seal(*args),
        open=lambda sealed, *args: classical.open(sealed[1088:], *args),
    )
    found = SEALING.measure(padded, draws("sealing"))
    assert found.refuted
    assert "opens without the receiver's ML-KEM-768 key" in found.says


def test_a_site_that_refuses_everything_does_not_conform():
    assert MODEL_PINNED.measure(replace(model(), accepts=lambda _: False), draws("model")).refuted


def test_a_crafted_weight_is_refused():
    pinned = model()
    assert pinned.accepts(pinned.weights)
    assert not pinned.accepts(pinned.weights[:-4] + pinned.crafted)
    assert pinned.accepts(pinned.weights)
