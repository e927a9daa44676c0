"""Tasks of every payload and mechanism, over the matrices of the small study."""

from __future__ import annotations

from fractions import Fraction

from msgspec import UNSET, structs
from pairwise_round import card

from secprune.privacy.accounting import noise_multiplier_for
from secprune.task import (
    CountNoiseSpec,
    MatrixSpec,
    ModelSpec,
    PatientNoiseSpec,
    PrivacySpec,
    ProtocolSpec,
    PruningSpec,
    ResponseSpec,
    StatisticsSpec,
    Task,
    check_task,
)

NO_DIGEST = "sha256:" + "0" * 64
MATRICES = (("block.0.a.weight", 23, 16), ("block.0.b.weight", 8, 33), ("block.1.a.weight", 40, 16))
PRUNING = PruningSpec(sparsity="1/2", sequence_length=8, max_windows=4, activations="dense")


def statistics(names=tuple(name for name, _, _ in MATRICES)):
    return StatisticsSpec(inputs=tuple((name,) for name in names), reference=NO_DIGEST)


def private(payload="counts", *, epsilon="1", delta="0.000001", z=None, unit="patient", **options):
    """Differential privacy of statistics; noise that is just enough, unless `z` says otherwise."""
    patients = PatientNoiseSpec(
        unit=unit,
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=z or noise_multiplier_for(Fraction(epsilon), Fraction(delta)),
        clip="12.5",
        **options,
    )
    return PrivacySpec(payload=payload, mechanism="dp-statistics", statistics=statistics(), patients=patients)


def noisy_counts(sigma="8", colluders=0):
    return PrivacySpec(mechanism="count-noise", count_noise=CountNoiseSpec(sigma=sigma, colluders=colluders))


def turned_round(flip="0.25"):
    return PrivacySpec(mechanism="randomised-response", response=ResponseSpec(flip=flip))


def bare_sums():
    return PrivacySpec(payload="square-sums", statistics=statistics())


def with_privacy(task, privacy):
    """The same task with another promise, checked."""
    changed = structs.replace(task, privacy=privacy, pruning=PRUNING)
    check_task(changed)
    return changed


def make_task(privacy, *, clients=5, min_clients=4, protocol="additive", key_holders=0, key_holder="blind"):
    roles = [("coordinator", "hq")]
    roles += [("aggregator", f"adder-{i}") for i in range(2 if protocol in {"additive", "cleartext"} else 1)]
    roles += [("key-holder", f"holder-{i}") for i in range(key_holders)]
    roles += [("client", f"clinic-{i}") for i in range(clients)]
    task = Task(
        study="test",
        nonce="0" * 32,
        protocol=ProtocolSpec(name=protocol, min_clients=min_clients, key_holder=key_holder),
        pruning=PRUNING,
        privacy=privacy,
        model=ModelSpec(
            name="m",
            weights_digest=NO_DIGEST,
            tokenizer_digest=NO_DIGEST,
            matrices=tuple(MatrixSpec(name=n, rows=r, columns=c) for n, r, c in MATRICES),
        ),
        parties=tuple(card(role, name) for role, name in roles),
    )
    check_task(task)
    return task


def claiming(privacy, epsilon):
    """The same noise under another claim."""
    assert privacy.patients is not UNSET
    return structs.replace(privacy, patients=structs.replace(privacy.patients, epsilon=epsilon))
