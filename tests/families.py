"""One tiny configuration of every architecture that is supported, for tests that go through all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import transformers
from transformers.models.mixtral import modeling_mixtral

COMMON = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
GROUPED = {"intermediate_size": 48, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "tie_word_embeddings": True}
LOCAL = {"sliding_window": 4, "query_pre_attn_scalar": 8}


@dataclass(frozen=True)
class Family:
    config: str
    linears: int  # in a block
    more: dict = field(default_factory=dict)
    tied: bool = False
    blocks: str = "model.layers"
    experts: tuple[str, str, str] | None = None  # gate, up and down of expert {} of a block, in the file

    def make_config(self, **more) -> Any:
        return getattr(transformers, self.config)(**{**COMMON, **self.more, **more})


FAMILIES = {
    "llama": Family("LlamaConfig", 7, {**GROUPED, "tie_word_embeddings": False}),
    "llama-tied": Family("LlamaConfig", 7, {**GROUPED, "tie_word_embeddings": True}, tied=True),
    "mistral": Family("MistralConfig", 7, {**GROUPED, "sliding_window": 4}),
    "qwen2": Family("Qwen2Config", 7, {**GROUPED, "tie_word_embeddings": True}, tied=True),
    "qwen3": Family("Qwen3Config", 7, {**GROUPED, "head_dim": 16, "tie_word_embeddings": True}, tied=True),
    "gemma": Family("GemmaConfig", 7, GEMMA, tied=True),
    "gemma2": Family("Gemma2Config", 7, {**GEMMA, **LOCAL}, tied=True),
    "gemma3": Family("Gemma3TextConfig", 7, {**GEMMA, **LOCAL, "sliding_window_pattern": 2}, tied=True),
    "phi": Family("PhiConfig", 6, {"intermediate_size": 48}),
    "phi3": Family("Phi3Config", 4, GROUPED),  # q, k and v in one matrix, and so gate and up
    "opt": Family(
        "OPTConfig",
        6,
        {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0, "layerdrop": 0.0},
        tied=True,
        blocks="model.decoder.layers",
    ),
    "gpt-neox": Family(
        "GPTNeoXConfig",
        4,
        {"intermediate_size": 48, "use_parallel_residual": True},
        blocks="gpt_neox.layers",
    ),
    "gpt-neox-sequential": Family(
        "GPTNeoXConfig",
        4,
        {"intermediate_size": 48, "use_parallel_residual": False},
        blocks="gpt_neox.layers",
    ),
    # Conv1D: stored as (inputs, outputs); the blocks of the first GPT return lists
    "gpt2": Family("GPT2Config", 4, {"n_inner": 48}, tied=True, blocks="transformer.h"),
    "gpt": Family("OpenAIGPTConfig", 4, tied=True, blocks="transformer.h"),
}

FUSED_EXPERTS = hasattr(modeling_mixtral, "MixtralExperts")
"""This transformers (5) keeps all experts of a block in one tensor, whatever the file has."""

ROUTERS = {"gate", "shared_expert_gate"}
"""Linear modules of mixtures that are never pruned, by the last part of their name."""

FAMILIES |= {
    "mixtral": Family(
        "MixtralConfig",
        4 + 5 * 3,
        {**GROUPED, "num_local_experts": 5, "num_experts_per_tok": 2},
        experts=tuple(f"block_sparse_moe.experts.{{}}.{name}" for name in ("w1", "w3", "w2")),
    ),
    "qwen2-moe": Family(  # one more expert sees every token
        "Qwen2MoeConfig",
        4 + 4 * 3 + 3,
        {
            **GROUPED,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 16,
        },
        experts=tuple(f"mlp.experts.{{}}.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
    ),
}
