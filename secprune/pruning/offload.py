"""Where the decoder blocks are while none of them is looked at: in memory, or on disk.

A client works on one block at a time, so no more than one has to be where the computing is done. A model
in memory lends its blocks to the accelerator one by one. A streamed model has no blocks in memory at all:
each is read from the checkpoint when its turn comes and forgotten afterwards, so that a model larger than
memory can be pruned. Either way each weight is read and moved once.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from secprune.errors import ConfigurationError
from secprune.pruning.decoder import Decoder
from secprune.pruning.models import (
    DTYPE_KEYWORD,
    load_model,
    prepared,
    read_tensor,
    stored_dtype,
    understood,
)
from secprune.pruning.tensorfile import CheckpointFiles

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

CPU = torch.device("cpu")


class Blocks(Protocol):
    """A model whose decoder blocks come to the computing device one at a time.

    Attributes:
        model: the causal LM; what is around its decoder blocks is on `home`, and can be run there.
        decoder: its blocks.
        device: where blocks are computed.
        home: where all else is.
    """

    model: Any
    decoder: Decoder
    device: torch.device
    home: torch.device

    def bring(self, index: int) -> nn.Module:
        """One block with its weights on `device`; the one that was there before leaves."""

    def release(self) -> None:
        """Let the block that is on `device` leave."""


class BlocksInMemory:
    """The blocks of a model that is in memory; see `Blocks`. Changes of their weights stay.

    Args:
        model: a causal LM in eval mode.
        device: default: where the model is.
    """

    def __init__(self, model: Any, device: torch.device | None = None) -> None:
        self.model, self.decoder = model, Decoder.of(model)
        self.home = next(model.parameters()).device
        self.device = self.home if device is None else device
        self._present: int | None = None

    def bring(self, index: int) -> nn.Module:
        """See `Blocks`."""
        if self._present != index:
            self.release()
            self._present = index
        return self.decoder.blocks[index].to(self.device)

    def release(self) -> None:
        """See `Blocks`."""
        if self._present is not None:
            self.decoder.blocks[self._present].to(self.home)
            self._present = None


class BlocksOnDisk:
    """The blocks of a checkpoint, read when they are needed; see `Blocks`. Changes of their weights are lost.

    Embeddings, norms and all else around the blocks are in memory; the output head is not, nobody runs it.

    Args:
        path: as for `models.load_model`.
        dtype: as for `models.load_model`.
        device: default: the CPU.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: transformers does not know the model, or it cannot be put together from the
            tensors of the checkpoint as they are; `models.load_model` may be able to.
    """

    def __init__(
        self, path: Path, *, dtype: torch.dtype | None = None, device: torch.device | None = None
    ) -> None:
        self._files, self._dtype = CheckpointFiles(path), dtype or stored_dtype(path)
        self.home, self.device = CPU, CPU if device is None else device
        self.model = understood(path, lambda: _unallocated(path, self._dtype))
        self.decoder = Decoder.of(self.model)
        self._present: int | None = None
        self._load_surroundings()

    def bring(self, index: int) -> nn.Module:
        """See `Blocks`."""
        if self._present != index:
            self.release()
            self._present = index
            with torch.inference_mode(mode=False):  # else nobody could change the weights later
                for parameter, name in self.decoder.parameters(index).items():
                    _assign(self.model, parameter, self._read(name).to(self.device))
                self.decoder.blocks[index].to(self.device)  # buffers
        return self.decoder.blocks[index]

    def release(self) -> None:
        """See `Blocks`."""
        if self._present is not None:
            for parameter in self.decoder.parameters(self._present):
                self._forget(parameter)
            self._present = None

    def _forget(self, parameter: str) -> None:
        _assign(self.model, parameter, self.model.get_parameter(parameter).to("meta"))

    def _read(self, name: str) -> Tensor:
        return read_tensor(self._files, name).to(self._dtype)

    def _load_surroundings(self) -> None:
        inside: dict[str, str] = {}
        for index in range(len(self.decoder.blocks)):
            inside |= self.decoder.parameters(index)
        head, embedding = self.model.get_output_embeddings(), self.model.get_input_embeddings()
        never_run = None if head is None or head.weight is embedding.weight else head.weight
        around = {
            name: self.decoder.stored.get(name, name)
            for name, parameter in self.model.named_parameters()
            if name not in inside and parameter is not never_run
        }
        missing = {*inside.values(), *around.values()} - set(self._files.names)
        if missing or self._is_completed_while_loading():
            raise ConfigurationError(
                f"{self._files.directory} cannot be read block by block: "
                + (f"it has no tensor {min(missing)}" if missing else "its loading takes more than reading"),
                hint="load it with transformers and write it again with save_pretrained",
            )
        for name in inside:  # norms begin as ones
            self._forget(name)
        for name, stored in around.items():
            _assign(self.model, name, self._read(stored))

    def _is_completed_while_loading(self) -> bool:
        """Whether transformers would compute buffers, or keep some modules in a type of their own."""
        wide = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
        return any(buffer.is_meta for buffer in self.model.buffers()) or any(
            getattr(self.model, name, None) for name in wide
        )


def blocks_of(model: Any) -> Blocks:
    """The blocks of a causal LM in memory; blocks are returned as they are."""
    return model if isinstance(model, BlocksInMemory | BlocksOnDisk) else BlocksInMemory(model)


def open_blocks(
    path: Path, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Blocks:
    """The decoder blocks of a checkpoint: on disk if they can be read one by one, else all in memory.

    Args:
        path: as for `models.load_model`.
        dtype: as for `models.load_model`.
        device: as for `BlocksOnDisk`.

    Raises:
        LocalMisuseError: no such directory, or no safetensors in it.
        ConfigurationError: transformers cannot load it.
    """
    try:
        return BlocksOnDisk(path, dtype=dtype, device=device)
    except ConfigurationError as error:
        _log.info("%s; loading it whole", error)
        return BlocksInMemory(load_model(path, dtype=dtype), device)


class _WithoutMemory(TorchFunctionMode):
    """What is made by torch.empty waits to be filled: parameters. It gets no memory until it is.

    All else, such as the frequencies of rotary embeddings, is computed and stays.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _unallocated(path: Path, dtype: torch.dtype) -> Any:
    config = transformers.AutoConfig.from_pretrained(
        os.fspath(path), local_files_only=True, trust_remote_code=False
    )
    with _WithoutMemory():
        model = transformers.AutoModelForCausalLM.from_config(
            config, trust_remote_code=False, **{DTYPE_KEYWORD: dtype}
        )
    return prepared(model)


def _assign(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(path), leaf, nn.Parameter(value, requires_grad=False))
