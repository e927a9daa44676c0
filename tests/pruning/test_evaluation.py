from __future__ import annotations

import pytest
import torch
import transformers
from tiny_models import make_checkpoint

from secprune.errors import LocalEnvironmentError, LocalMisuseError
from secprune.pruning.evaluation import (
    DTYPES,
    choose_device,
    load_for_evaluation,
    papers_sequence_length,
)


def test_auto_is_the_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_by_name(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "mps", "meta", "auto:1"])
def test_what_is_no_device_is_refused(name):
    with pytest.raises(LocalMisuseError, match="not a device"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:10"])
def test_a_gpu_that_is_not_there_is_this_machines_fault(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(LocalEnvironmentError, match="finds 2 GPUs"):
        choose_device(name)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_the_model_comes_in_the_number_type_that_is_asked_for(tmp_path, dtype):
    path = make_checkpoint(tmp_path, dtype=torch.bfloat16)
    model = load_for_evaluation(path, dtype=dtype, device="cpu")
    assert model.dtype == (DTYPES[dtype] or torch.bfloat16)
    assert model.device == torch.device("cpu")
    assert not model.training


def test_no_such_number_type(tmp_path):
    with pytest.raises(LocalMisuseError, match="int8"):
        load_for_evaluation(tmp_path, dtype="int8")


def test_the_papers_window_fits_the_model():
    for longest, expected in ((1024, 1024), (2048, 2048), (131072, 2048)):
        config = transformers.LlamaConfig(max_position_embeddings=longest)
        assert papers_sequence_length(config) == expected
    assert papers_sequence_length(transformers.BloomConfig()) == 2048  # has no longest window
