"""Ciphertexts of `bfv`: uniform to the aggregator, and open to a client that works with it."""

from __future__ import annotations

import pytest

pytest.importorskip("tenseal.sealapi", reason="needs tenseal (pip install 'secprune[he]')")
from audit_draws import draws

from secprune.audit.check import Verdict, conclude
from secprune.audit.sums import malleability
from secprune.audit.sums.ciphertext_view import CIPHERTEXT_VIEW, Encryption, keys_of
from secprune.crypto.bfv.parameters import choose_parameters

FORMS = {"simple": (1, False), "blind": (1, True), "blind, two holders": (2, True)}


def parameters(form):
    holders, blind = FORMS[form]
    return choose_parameters(clients=5, key_holders=holders, blind=blind, weights=10**6)


@pytest.mark.parametrize("form", FORMS)
def test_ciphertexts_look_uniform(form):
    found = CIPHERTEXT_VIEW.measure(Encryption(parameters(form)), draws(form))
    assert not found.refuted, found.says


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mutation", CIPHERTEXT_VIEW.mutations)
def test_every_mutation_is_found(form, mutation):
    mutated = CIPHERTEXT_VIEW.mutations[mutation](Encryption(parameters(form)))
    found = CIPHERTEXT_VIEW.measure(mutated, draws(form))
    assert conclude(CIPHERTEXT_VIEW.kind, found, ()) == Verdict.REFUTED
    figures = {figure.name: figure.value for figure in found.figures}
    seen = (
        "words that are seen as they are"
        if mutation == "cleartext"
        else "words whose change from report to report is seen"
    )
    assert figures[seen] == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_client_with_the_aggregator_takes_the_others_out(form):
    p = parameters(form)
    found = malleability.MALLEABILITY.measure(malleability.Ciphertexts(p, keys_of(p)), draws(form))
    assert found.refuted, found.says


def test_without_the_others_ciphertexts_it_does_not(monkeypatch):
    """The control: a report that is something else than minus the others' spoils the sum."""
    p = parameters("blind")

    def doubled(ciphertexts, p):
        return malleability.added([ciphertexts, ciphertexts], p)

    monkeypatch.setattr(malleability, "negated", doubled)
    found = malleability.MALLEABILITY.measure(malleability.Ciphertexts(p, keys_of(p)), draws("control"))
    assert not found.refuted
