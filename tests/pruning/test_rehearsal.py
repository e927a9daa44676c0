"""A rehearsal's first blocks are those of the whole model."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import NOTES, make_checkpoint

from secprune.errors import LocalMisuseError
from secprune.pruning.from_statistics import masks_of_statistics
from secprune.pruning.models import load_model, load_tokenizer
from secprune.pruning.notes import Patient
from secprune.pruning.patients import batches_of_patients, distinct_inputs, mean_squares
from secprune.pruning.rehearsal import Pruner, rehearse
from secprune.task import PruningSpec

PRUNING = PruningSpec(sparsity="1/2", sequence_length=16, max_windows=1, activations="dense")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("model"), "llama")


@pytest.fixture(scope="module")
def rehearsed(model):
    return rehearse(model, NOTES[:3], NOTES[3:8], blocks=1, sequence_length=16, device="cpu")


def test_statistics_are_those_that_a_client_takes(model, rehearsed):
    units = [Patient(id=str(n), notes=(text,)) for n, text in enumerate(NOTES[:3])]
    batches = batches_of_patients(units, load_tokenizer(model), sequence_length=16, max_windows=1)
    whole = load_model(model)
    inputs = distinct_inputs(whole, batches[0][0])
    assert rehearsed.inputs == inputs[: len(rehearsed.inputs)]
    assert {name.split(".layers.")[1][0] for group in rehearsed.inputs for name in group} == {"0"}
    for one, client in zip(rehearsed.documents, mean_squares(whole, batches, inputs), strict=False):
        for name, values in one.items():
            np.testing.assert_allclose(values, client[name], rtol=1e-4)
    assert len(rehearsed.documents) == 8


def test_masks_are_those_that_a_client_makes(model, rehearsed):
    whole = load_model(model)
    probe = batches_of_patients(
        [Patient(id="0", notes=(NOTES[0],))], load_tokenizer(model), sequence_length=16, max_windows=1
    )[0][0]
    inputs = distinct_inputs(whole, probe)
    features = {
        group[0]: np.ones(whole.get_parameter(group[0]).shape[1]) for group in inputs
    } | rehearsed.documents[0]
    due = dict(masks_of_statistics(whole, features, inputs, pruning=PRUNING))
    pruner = Pruner(list(rehearsed.weights.values()), PRUNING)
    found = pruner([rehearsed.documents[0][group[0]] for group in rehearsed.inputs])
    for group, mask in zip(rehearsed.inputs, found, strict=True):
        np.testing.assert_array_equal(mask, np.concatenate([due[name] for name in group]))


def test_a_text_without_a_token_is_refused(model):
    with pytest.raises(LocalMisuseError, match="no token"):
        rehearse(model, ["", NOTES[0]], NOTES[3:8], blocks=1, sequence_length=16, device="cpu")
