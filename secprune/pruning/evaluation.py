"""What every evaluation of a checkpoint has in common: number type, device, and the papers' token stream."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from secprune.errors import LocalMisuseError
from secprune.pruning.devices import choose_device
from secprune.pruning.models import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from secprune.pruning.calibration import Tokenizer
    from secprune.pruning.paper_texts import TextSpec

DTYPES = MappingProxyType(
    {"stored": None, "bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
)
"""By the name that `secprune evaluate --dtype` takes; None: what most of the weights are stored in."""

PAPERS_SEQUENCE_LENGTH = 2048
"""Tokens in a window, as the papers state it."""


def load_for_evaluation(path: Path, *, dtype: str = "stored", device: str = "auto") -> PreTrainedModel:
    """The checkpoint's model on the device and in the number type that it is to be measured in.

    Args:
        path: directory with config.json and safetensors files.
        dtype: a key of `DTYPES`.
        device: as `choose_device` takes it.

    Raises:
        LocalMisuseError: no such directory, number type or kind of device.
        LocalEnvironmentError: no such device on this machine.
        ConfigurationError: transformers cannot load it.
    """
    if dtype not in DTYPES:
        raise LocalMisuseError(f"{dtype} is not a number type", hint=f"choose one of {', '.join(DTYPES)}")
    where = choose_device(device)  # before the work of loading
    model = load_model(path, dtype=DTYPES[dtype])
    model.to(where)
    return model


def paper_tokens(spec: TextSpec, text: str, tokenizer: Tokenizer, *, sequence_length: int) -> Tensor:
    """The tokens of one of the papers' texts, as the papers tokenise it.

    The whole text goes through the tokenizer at once and as it is set up: one that puts a begin-of-text
    token before every text puts one before the first window, and no other window gets any.

    Args:
        spec: says after how many windows the text is cut, if at all.
        text: all documents, joined.
        tokenizer: the model's own.
        sequence_length: tokens in a window.

    Returns:
        (tokens,) int64.
    """
    ids = tokenizer([text], add_special_tokens=True, verbose=False)["input_ids"][0]
    stream = torch.tensor(ids, dtype=torch.int64)
    return stream if spec.windows is None else stream[: spec.windows * sequence_length]


def papers_sequence_length(config: object) -> int:
    """The papers' window, or the longest that the model has positions for.

    Args:
        config: the model's, from transformers.
    """
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)  # type: ignore[attr-defined]
    return min(PAPERS_SEQUENCE_LENGTH, longest or PAPERS_SEQUENCE_LENGTH)
