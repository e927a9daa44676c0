"""A client's calibration: what statistics and sequential pruning cost beside a plain forward pass, on one core.

The model is shaped like Llama and randomly initialised in memory; what it says does not matter here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.figures import Figure, interleaved, timed
from secprune.pruning.activations import BlockRunner, SquareSum
from secprune.pruning.local import local_pruning_masks
from secprune.task import PruningSpec

if TYPE_CHECKING:
    from pathlib import Path

SECTION = "calibration"
HIDDEN, INTERMEDIATE, BLOCKS, HEADS = 1024, 2816, 6, 8
VOCABULARY = 4096
WINDOWS, SEQUENCE_LENGTH = 4, 256
MAX_REPEATS = 3


def random_llama(
    *,
    hidden: int,
    intermediate: int,
    blocks: int,
    heads: int,
    vocabulary: int = VOCABULARY,
    positions: int = SEQUENCE_LENGTH,
) -> Any:
    """A Llama-shaped causal LM in float32 and eval mode, randomly initialised from a fixed seed."""
    torch.manual_seed(7)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        tie_word_embeddings=False,
        use_cache=False,
    )
    return LlamaForCausalLM(config).eval()


def random_windows(windows: int, vocabulary: int = VOCABULARY) -> torch.Tensor:
    """Calibration windows of random tokens: (windows, SEQUENCE_LENGTH) int64."""
    generator = torch.Generator().manual_seed(8)
    return torch.randint(vocabulary, (windows, SEQUENCE_LENGTH), generator=generator)


def pruning_spec() -> PruningSpec:
    """Wanda at half the weights with sequential activations, the default."""
    return PruningSpec(sparsity="1/2", sequence_length=SEQUENCE_LENGTH, max_windows=WINDOWS)


def run(root: Path, repeats: int) -> list[Figure]:  # noqa: ARG001 - the interface of every benchmark
    """Seconds of a plain forward, of the statistics pass, and of sequential pruning."""
    model = random_llama(hidden=HIDDEN, intermediate=INTERMEDIATE, blocks=BLOCKS, heads=HEADS)
    windows = random_windows(WINDOWS)
    dense = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def forward() -> None:
        with torch.inference_mode():
            model.model(input_ids=windows, use_cache=False)  # without the output head

    def statistics() -> None:
        runner = BlockRunner(model, windows)
        for index in range(runner.blocks):
            runner.collect(index, SquareSum, advance=True)

    def prune() -> float:
        seconds = timed(lambda: list(local_pruning_masks(model, windows, pruning=pruning_spec())))
        model.load_state_dict(dense)  # zeros would all be tied the next time
        return seconds

    seconds = interleaved(
        {"forward": lambda: timed(forward), "statistics": lambda: timed(statistics), "prune": prune},
        min(repeats, MAX_REPEATS),
    )
    return [
        Figure(
            section=SECTION,
            what=f"plain forward of {WINDOWS} x {SEQUENCE_LENGTH} tokens",
            value=seconds["forward"],
            unit="s",
            better="lower",
            note=f"Llama shape, {BLOCKS} blocks of width {HIDDEN}, float32, without the output head",
        ),
        Figure(
            section=SECTION,
            what="dense activations: statistics, beyond the forward",
            value=100 * (seconds["statistics"] / seconds["forward"] - 1),
            unit="%",
            better="lower",
            note=f"{seconds['statistics']:.2f} s: one forward and the square sums",
        ),
        Figure(
            section=SECTION,
            what="sequential: statistics, selection and advance",
            value=seconds["prune"] / seconds["forward"],
            unit="forwards",
            better="lower",
            note=f"{seconds['prune']:.2f} s; the forwards alone are {2 - 1 / BLOCKS:.2f}",
        ),
    ]
