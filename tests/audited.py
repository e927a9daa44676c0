"""Finished studies to audit, of all protocols, and what threat models declare of their flows."""

from __future__ import annotations

import itertools

import ledger_study
import numpy as np
import tomli_w
from small_study import SQUARE_SUMS, make_study

from secprune.audit.check import run
from secprune.audit.draws import Draws
from secprune.parties.auditor.study import open_study, records_of
from secprune_threat_models import load_system

MATRICES = (("block.0.a.weight", 90, 64), ("block.0.b.weight", 8, 33), ("block.1.a.weight", 40, 16))
KINDS = {
    "additive": {},
    "square-sums": {"privacy": SQUARE_SUMS},
    "cleartext": {"protocol": "cleartext", "min_clients": 3},
    "pairwise": {"protocol": "pairwise", "aggregators": 1},
    "bfv-simple": {"protocol": "bfv", "aggregators": 1, "key_holders": 1, "key_holder": "simple"},
    "bfv-blind": {"protocol": "bfv", "aggregators": 1, "key_holders": 2},
}
TO_EVERYBODY = {
    "client": (
        "reports keys bundles masked-reports consents reveals encrypted-reports linear-hashes ledger-heads"
    ),
    "aggregator": (
        "checks votes cohorts shares key-lists bundle-lists survivors ciphertext-sums openings abandoned ledger-heads"
    ),
    "key-holder": (
        "key-commitments key-shares hash-seeds partial-decryptions votes cohorts shares abandoned ledger-heads"
    ),
    "coordinator": "close outcomes tasks ledger-heads",
}
CHUNKS = {
    ("client", "aggregator", "reports chunks"),
    ("client", "aggregator", "masked-reports chunks"),
    ("client", "aggregator", "encrypted-reports chunks"),
    ("client", "client", "bundles chunks"),
    ("aggregator", "aggregator", "checks chunks"),
    ("aggregator", "coordinator", "shares chunks"),
    ("aggregator", "key-holder", "ciphertext-sums chunks"),
    ("key-holder", "everybody", "key-shares chunks"),
    ("key-holder", "aggregator", "partial-decryptions chunks"),
    ("key-holder", "coordinator", "shares chunks"),
    ("coordinator", "everybody", "outcomes chunks"),
}
DECLARED = CHUNKS | {
    (role, "everybody", phase) for role, phases in TO_EVERYBODY.items() for phase in phases.split()
}


class Declared:
    """Files as `system.toml` has them, flows as they are above."""

    def __init__(self, task=None):
        self.task = task
        self.artefact_at = load_system().artefact_at

    def declares(self, sender_role, receiver_role, artefact):
        return (sender_role, receiver_role, artefact) in DECLARED


def notes_of(name):
    """Forty lines that are no other client's."""
    rng = np.random.default_rng(list(name.encode()))
    words = ["fever", "cough", "seen by", "discharged", "mg daily", "oedema", "stable", "left lung"]
    return "\n\n".join(" ".join(rng.choice(words, 30)) + f" {rng.integers(10**9)}" for _ in range(40))


def finished(root, kind, *, without=()):
    """A study that has ended; every client has notes beside its masks."""
    study = make_study(root, matrices=MATRICES, **KINDS[kind])
    for seed, name in enumerate(study.clients):
        (root / name / "notes.txt").write_text(notes_of(name))
        content = {"task": "../task.toml", "exchange": "../exchange", "notes": "notes.txt"}
        policy = {"min_clients": 3, "protocols": [study.task.protocol.name]}
        policy["payloads"] = ["counts", "square-sums-without-noise"]
        (root / name / "party.toml").write_text(tomli_w.dumps(content | {"policy": policy}))
        if kind == "square-sums":
            study.make_statistics(name, seed)
    there = [name for name in study.clients if name not in without]
    close = {"close_after_s": 1} if without else {}
    if kind in {"additive", "square-sums", "cleartext"}:
        outcomes = ledger_study.run_additive(study)
    elif kind == "pairwise":
        outcomes = study.run_pairwise(*there, **close)
    else:
        outcomes = study.run_bfv(*there, **close)
    assert not [error for error in outcomes.values() if isinstance(error, Exception)]
    return study


def opened(study, **options):
    return open_study(study.root, Declared, **options)


def results(study):
    """What the checks of kind record say, by id."""
    return {
        check.id: run(check, subject, draws, seed=1, clock=itertools.count().__next__)
        for check, subject in records_of(study)
        if not isinstance(subject, str)
    }


def draws(purpose):
    return Draws(1, purpose)


def subject_of(study, check_id):
    return next((check, subject) for check, subject in records_of(study) if check.id == check_id)


def measured(study, check_id):
    check, subject = subject_of(study, check_id)
    return check.measure(subject, draws(check_id))


def snapshot(root):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(root.rglob("*"))}
