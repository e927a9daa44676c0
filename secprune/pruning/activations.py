"""Run a decoder block by block and sum the squares of what enters each linear module.

Decoder blocks want more than hidden states: masks, position embeddings, and other things that change from
one release of transformers to the next. None of them is rebuilt here. A first pass through the model's
own forward, with every block replaced by one that only records, captures all arguments of every block
(of every block, because models with alternating local and global attention give them different ones);
afterwards a block is called with exactly its own arguments and only the hidden states replaced.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from secprune.errors import ConfigurationError
from secprune.pruning.decoder import matrix_view
from secprune.pruning.offload import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_log = logging.getLogger(__name__)

MAX_BATCH_TOKENS = 2048
"""Tokens in one forward: bounds the memory of activations whatever the number of windows is."""


MIN_MODULE_TOKENS = 128
"""Below this, a norm over tokens is off by about a tenth: more than what separates neighbouring scores."""


@dataclass(slots=True, eq=False)
class SquareSum:
    """The additive statistic behind Wanda: sums over tokens of the squares of each input feature.

    Attributes:
        square_sum: (columns,) float64, sum over tokens of x_j^2.
        tokens: how many tokens were summed; 0 for a module that the forward never reached.
    """

    square_sum: Tensor
    tokens: int = 0

    @classmethod
    def zeros(cls, weight: Tensor, device: torch.device) -> Self:
        """Nothing summed yet, for the inputs of that (rows, columns) weight."""
        return cls(torch.zeros(weight.shape[1], dtype=torch.float64, device=device))

    @staticmethod
    def of(inputs: Tensor) -> Tensor:
        """What one batch of inputs (..., columns) contributes: (columns,) float64."""
        return _square_sum(inputs)

    def add(self, contribution: Tensor, tokens: int) -> None:
        """Add what `of` made of a batch of so many tokens."""
        self.square_sum += contribution
        self.tokens += tokens


@dataclass(slots=True, eq=False)
class SecondMoment:
    """The statistic behind SparseGPT: the mean over tokens of x x^T, half its Hessian up to a factor.

    Attributes:
        mean: (columns, columns), float32 or float64 as the weight is; a running mean, so that its entries
            do not grow with the number of notes.
        tokens: how many tokens it is the mean of; 0 for a module that the forward never reached.

    Source: SparseGPT (arXiv 2301.00774), sec. 3.1.
    """

    mean: Tensor
    tokens: int = 0

    @classmethod
    def zeros(cls, weight: Tensor, device: torch.device) -> Self:
        """Nothing averaged yet, for the inputs of that (rows, columns) weight."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return cls(torch.zeros(weight.shape[1], weight.shape[1], dtype=dtype, device=device))

    @staticmethod
    def of(inputs: Tensor) -> Tensor:
        """What one batch of inputs (..., columns) contributes: the sum of x x^T, float32 or better."""
        wide = inputs.reshape(-1, inputs.shape[-1]).to(torch.promote_types(inputs.dtype, torch.float32))
        return wide.T @ wide  # (columns, columns)

    def add(self, contribution: Tensor, tokens: int) -> None:
        """Take in what `of` made of a batch of so many tokens."""
        if tokens:
            self.tokens += tokens
            self.mean.mul_(1 - tokens / self.tokens).add_(contribution, alpha=1 / self.tokens)


class Statistic(Protocol):
    """What a local pruner may know about the inputs of a linear module: `SquareSum` or `SecondMoment`."""

    tokens: int

    @classmethod
    def zeros(cls, weight: Tensor, device: torch.device) -> Self:
        """Of no token yet, for the inputs of that (rows, columns) weight."""

    @staticmethod
    def of(inputs: Tensor) -> Tensor:
        """What one batch of inputs (..., columns) contributes."""

    def add(self, contribution: Tensor, tokens: int) -> None:
        """Take in what `of` made of a batch of so many tokens."""


_Statistic = TypeVar("_Statistic", bound=Statistic)


@dataclass(frozen=True, slots=True)
class ThinModule:
    """A linear module, mostly of a rarely chosen expert, that saw too few tokens to be judged by them.

    Attributes:
        name: of its weight in the checkpoint.
        tokens: how many it saw.
    """

    name: str
    tokens: int


def thin_modules(
    tokens: Mapping[str, int], *, calibration_tokens: int, minimum: int = MIN_MODULE_TOKENS
) -> tuple[ThinModule, ...]:
    """The modules whose statistics are mostly noise, those that saw nothing included.

    A module that saw every token of the calibration is none, however short that is: then the windows are
    too few for all modules alike.

    Args:
        tokens: by weight name, how many tokens each module saw.
        calibration_tokens: how many there were.
        minimum: fewer than that are too few.

    Returns:
        In the order of `tokens`.
    """
    least = min(minimum, calibration_tokens)
    return tuple(ThinModule(name, seen) for name, seen in tokens.items() if seen < least)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One block's arguments for one batch; the hidden states are left out, they change."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    positional: bool  # were the hidden states args[0], or the keyword hidden_states?


class _Interner:
    """Keeps equal tensors once: masks and positions are mostly the same for all batches and blocks."""

    def __init__(self) -> None:
        self.seen: dict[
            int, tuple[Tensor, Tensor]
        ] = {}  # in this batch, id of a tensor: itself, what is kept
        self._first: dict[tuple[object, ...], Tensor] = {}  # of the first batch, by place in the arguments

    def intern(self, tensor: Tensor, path: tuple[object, ...]) -> Tensor:
        if id(tensor) not in self.seen:
            first = self._first.setdefault(path, tensor)
            same = first.dtype == tensor.dtype and torch.equal(first, tensor)
            self.seen[id(tensor)] = (tensor, first if same else tensor)
        return self.seen[id(tensor)][1]


class _LeaveForwardError(Exception):
    """Leaves the model's own forward once all is known, before the costly output head."""


def split_batches(windows: Tensor) -> list[Tensor]:
    """Cut (windows, length) into batches of at most `MAX_BATCH_TOKENS` tokens, but at least one window."""
    step = max(1, MAX_BATCH_TOKENS // windows.shape[1])
    return [windows[start : start + step] for start in range(0, len(windows), step)]


class BlockRunner:
    """The decoder's blocks, one at a time, on a fixed set of windows.

    For block i: `statistics(i)`, then change its weights, then `advance(i)`; in order.
    Memory: the hidden states of all windows once, and the activations of one block for one batch.

    Args:
        model: a causal LM in eval mode, or the blocks of one, from `offload`.
        windows: (windows, sequence_length) int64, all of one length, nothing padded; or batches of such, each of a
            length of its own, that are never mixed.

    Attributes:
        thin: modules of the blocks seen so far that few tokens reached, see `thin_modules`.

    Raises:
        ConfigurationError: no decoder blocks found, or blocks of an unknown calling convention.
    """

    def __init__(self, model: Any, windows: Tensor | Sequence[Tensor]) -> None:
        self._blocks = blocks = blocks_of(model)
        self._modules = blocks.decoder.blocks
        self.thin: tuple[ThinModule, ...] = ()
        batches = split_batches(windows) if isinstance(windows, Tensor) else windows
        self._tokens = sum(batch.numel() for batch in batches)
        self._next = 0
        self._hidden: list[Tensor] = []  # of each batch: (b, L, hidden)
        self._calls: list[list[_Call]] = []  # of each batch: one call per block
        self._capture([batch.to(blocks.home) for batch in batches])

    @property
    def blocks(self) -> int:
        """Number of decoder blocks."""
        return len(self._modules)

    def statistics(self, index: int) -> dict[str, SquareSum]:
        """Square-sums of all linear modules of one block, from a forward of its present weights.

        Args:
            index: the block; all blocks before it have been advanced, it has not.

        Returns:
            For each weight name in model order, the sums over all tokens of all windows.

        Source: Wanda (arXiv 2306.11695), sec. 3; unlike its code, not divided by the number of sequences.
        """
        return self.collect(index, SquareSum)

    def collect(self, index: int, kind: type[_Statistic], *, advance: bool = False) -> dict[str, _Statistic]:
        """Statistics of any kind of all linear modules of one block, from a forward of its present weights.

        Args:
            index: the block; all blocks before it have been advanced, it has not.
            kind: `SquareSum` or `SecondMoment`.
            advance: also `advance` the block, by the same forward: later blocks see it unpruned.

        Returns:
            For each weight name in model order, the statistic of all tokens of all windows.
        """
        self._expect(index)
        with self._watched(index) as watch:
            sums = watch.begin(kind)
            for batch in range(len(self._hidden)):
                output = self._forward(index, batch)
                if advance:
                    self._hidden[batch] = output
                watch.forget_inputs()
        self._next += int(advance)
        self._note_thin({name: statistic.tokens for name, statistic in sums.items()})
        return sums

    def collect_apart(self, index: int, kind: type[_Statistic]) -> Iterator[dict[str, _Statistic]]:
        """As `collect` of dense activations, with `advance`, but of each batch apart.

        Args:
            index: the block; all blocks before it have been advanced, it has not.
            kind: as for `collect`.

        Yields:
            For each batch, what `collect` would return if there were no other.
        """
        self._expect(index)
        with self._watched(index) as watch:
            for batch in range(len(self._hidden)):
                sums = watch.begin(kind)
                self._hidden[batch] = self._forward(index, batch)
                watch.forget_inputs()
                yield sums
        self._next += 1

    def shared_inputs(self, index: int) -> list[tuple[str, ...]]:
        """Which linear modules of one block get the same tensor (q, k and v do), seen on the first batch.

        Args:
            index: the block; all blocks before it have been advanced, it has not.

        Returns:
            Weight names in model order, in groups; a module that is not reached is alone.
        """
        self._expect(index)
        with self._watched(index) as watch:
            names = list(watch.begin(SquareSum))
            self._forward(index, 0)
            groups: dict[object, list[str]] = {}
            for name in names:
                groups.setdefault(watch.input_of.get(name, name), []).append(name)
        return [tuple(group) for group in groups.values()]

    @contextmanager
    def _watched(self, index: int) -> Iterator[_Watch]:
        """Look at what enters the linear modules of one block."""
        self._blocks.bring(index)
        linears = self._blocks.decoder.linears(index)
        watch = _Watch({name: matrix_view(linear) for name, linear in linears.items()}, self._blocks.device)
        hooks = [
            linear.register_forward_pre_hook(watch.hook(name), with_kwargs=True)
            for name, linear in linears.items()
        ]
        try:
            yield watch
        finally:
            for hook in hooks:
                hook.remove()

    def advance(self, index: int) -> None:
        """Run one block with its present (now pruned) weights: its outputs are what the next one sees."""
        self._expect(index)
        for batch in range(len(self._hidden)):
            self._hidden[batch] = self._forward(index, batch)
        self._next += 1

    def _note_thin(self, tokens: Mapping[str, int]) -> None:
        thin = thin_modules(tokens, calibration_tokens=self._tokens)
        known = {module.name for module in self.thin}
        self.thin += tuple(module for module in thin if module.name not in known)
        few = [module for module in thin if module.tokens]  # if there are none at all, the pruner says so
        if few:
            least = min(few, key=lambda module: module.tokens)
            _log.warning(
                "few of the %d calibration tokens reached %d modules, least %s (%d); their masks are uncertain",
                self._tokens,
                len(few),
                least.name,
                least.tokens,
            )

    def _expect(self, index: int) -> None:
        if index != self._next:
            raise RuntimeError(f"block {index} asked for, but the hidden states are those of {self._next}")

    @torch.inference_mode()
    def _forward(self, index: int, batch: int) -> Tensor:
        output = self._call(index, self._calls[batch][index], self._hidden[batch])
        # transformers 4.x: a tuple (GPT-1: a list) that begins with the hidden states; 5.x: these alone.
        result: Tensor = output[0] if isinstance(output, tuple | list) else output
        return result

    def _call(self, index: int, call: _Call, hidden: Tensor) -> Any:
        block, device = self._blocks.bring(index), self._blocks.device
        hidden = hidden.to(device)
        kwargs = _map_tensors(lambda tensor, _: tensor.to(device), call.kwargs)
        args = _map_tensors(lambda tensor, _: tensor.to(device), call.args)
        if call.positional:
            return block(hidden, *args, **kwargs)
        return block(*args, hidden_states=hidden, **kwargs)

    @torch.inference_mode()
    def _capture(self, batches: Sequence[Tensor]) -> None:
        returns = self._returned_length(batches[0][:1, :2])
        interner = _Interner()
        for windows in batches:
            interner.seen.clear()
            calls = self._record(windows, self.blocks, returns, interner)
            if len(calls) != self.blocks:
                raise ConfigurationError(
                    f"the model ran {len(calls)} of its {self.blocks} decoder blocks",
                    hint="models that skip or repeat blocks cannot be pruned block by block",
                )
            self._calls.append(calls)

    def _returned_length(self, tokens: Tensor) -> int | None:
        """What the model expects its blocks to return: None for a tensor, else the length of the tuple."""
        calls = self._record(tokens, 1, None, _Interner())
        hidden = self._hidden.pop()
        output = self._call(0, calls[0], hidden)
        return len(output) if isinstance(output, tuple | list) else None

    def _record(self, tokens: Tensor, blocks: int, returns: int | None, interner: _Interner) -> list[_Call]:
        """Run the model on a batch (b, L), its first `blocks` blocks noting their arguments, no block for real."""
        calls: list[_Call] = []
        before = len(self._hidden)
        previous = [module.__dict__.get("forward") for module in self._modules]
        try:
            for index, module in enumerate(self._modules):
                # An instance attribute hides the class's forward, and hooks of others stay in place.
                module.forward = self._recorder(index, index + 1 == blocks, calls, returns, interner)
            with suppress(_LeaveForwardError):
                self._blocks.model(input_ids=tokens, use_cache=False)
        finally:
            for module, forward in zip(self._modules, previous, strict=True):
                del module.forward
                if forward is not None:
                    module.forward = forward
        if len(self._hidden) == before:
            self._unknown_convention(self._modules[0])
        return calls

    def _recorder(
        self, index: int, last: bool, calls: list[_Call], returns: int | None, interner: _Interner
    ) -> Callable[..., Any]:
        """Stands in for block `index`: notes its arguments and hands the hidden states through."""

        def record(*args: Any, **kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs.pop("hidden_states", None)
            if not isinstance(hidden, Tensor) or len(calls) != index:
                self._unknown_convention(self._modules[index])
            calls.append(
                _Call(
                    _map_tensors(interner.intern, args[1:], (index, "args")),
                    _map_tensors(interner.intern, kwargs, (index, "kwargs")),
                    positional=bool(args),
                )
            )
            if index == 0:
                self._hidden.append(hidden)
            if last:
                raise _LeaveForwardError
            return hidden if returns is None else (hidden,) + (None,) * (returns - 1)

        return record

    def _unknown_convention(self, block: nn.Module) -> NoReturn:
        raise ConfigurationError(
            f"{type(block).__name__} is not called as transformers calls its blocks",
            hint="choose another model, or report its architecture",
        )


class _Watch:
    """Adds what enters linear modules to statistics, which may be exchanged for new ones at any time.

    Args:
        weights: views (rows, columns) of the modules' weights, by name.
        device: where their inputs are.

    Attributes:
        input_of: by name, the id of the tensor that entered it since `forget_inputs`.
    """

    def __init__(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        self._weights, self._device = weights, device
        self._statistics: dict[str, Any] = {}
        # id of an input: the tensor itself, so that its id cannot be given to another one, and its contribution
        self._seen: dict[int, tuple[Tensor, Tensor]] = {}
        self.input_of: dict[str, int] = {}

    def begin(self, kind: type[_Statistic]) -> dict[str, _Statistic]:
        """New statistics of nothing, to which inputs are added from now on."""
        sums = {name: kind.zeros(weight, self._device) for name, weight in self._weights.items()}
        self._statistics = dict(sums)
        return sums

    def forget_inputs(self) -> None:
        """Let go of the inputs of a batch."""
        self._seen.clear()
        self.input_of.clear()

    def hook(self, name: str) -> Callable[..., None]:
        """A forward pre-hook of that module."""

        def add(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs, statistic = args[0] if args else kwargs["input"], self._statistics[name]
            if id(inputs) not in self._seen:
                self._seen[id(inputs)] = (inputs, statistic.of(inputs))  # one product for q, k and v
            self.input_of[name] = id(inputs)
            statistic.add(self._seen[id(inputs)][1], inputs.numel() // inputs.shape[-1])

        return add


def _square_sum(inputs: Tensor) -> Tensor:
    """Sum of squares over all but the last dimension: per window in float32 or better, then float64."""
    wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
    # An expert may be called with no token at all, and nothing can be divided into windows of none.
    windows = (
        wide.flatten(0, -3) if wide.dim() > 2 else wide.reshape(1, -1, wide.shape[-1])
    )  # (b, t, columns)
    return windows.square().sum(dim=1).double().sum(dim=0)  # (columns,)


def _map_tensors(
    function: Callable[[Tensor, tuple[object, ...]], Tensor], value: Any, path: tuple[object, ...] = ()
) -> Any:
    """Apply a function to every tensor in nested tuples, lists and dicts; leave all else as it is."""
    if isinstance(value, Tensor):
        return function(value, path)
    if type(value) in {tuple, list}:
        items = (_map_tensors(function, item, (*path, place)) for place, item in enumerate(value))
        return type(value)(items)
    if type(value) is dict:
        return {key: _map_tensors(function, item, (*path, key)) for key, item in value.items()}
    return value
