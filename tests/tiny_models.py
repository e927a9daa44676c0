"""Tiny checkpoints with a tokenizer, made from a seed; loadable by stock transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

if TYPE_CHECKING:
    from pathlib import Path

Arch = Literal["llama", "qwen2", "opt", "gpt2"]

VOCABULARY = 400
END_OF_TEXT = "<|endoftext|>"

NOTES = [
    "Admitted with community-acquired pneumonia of the right lower lobe. CURB-65 score 2.",
    "Started on amoxicillin and clarithromycin; fever settled on the third day.",
    "Known type 2 diabetes, HbA1c 68 mmol/mol. Metformin 1 g twice daily continued.",
    "Chest pain since this morning, radiating to the left arm. ECG: ST elevation in II, III, aVF.",
    "Transferred to the catheter laboratory; drug-eluting stent to the right coronary artery.",
    "No known drug allergies. Lives with her husband, independent in all activities.",
    "Fall at home from standing height. Painful left hip, leg shortened and externally rotated.",
    "Hemiarthroplasty under spinal anaesthesia without complications. Mobilised the next day.",
    "Follow-up in six weeks. Wound clean and dry, sutures removed.",
    "Migraine with aura, four attacks a month. Propranolol 40 mg twice daily started.",
    "Blood pressure 182/104 on arrival, 146/88 after rest. Ambulatory monitoring requested.",
    "Chronic kidney disease stage 3b, eGFR 38. NSAIDs stopped, diuretic halved.",
    "Shortness of breath on climbing one flight of stairs; bilateral ankle oedema.",
    "Echocardiogram: ejection fraction 35 percent, moderate mitral regurgitation.",
    "Furosemide 40 mg intravenously, weight down by 2.4 kg in two days.",
    "Seven-year-old with wheeze and dry cough at night. Salbutamol by spacer with good effect.",
    "Peak flow 62 percent of predicted, 88 percent after bronchodilator.",
    "Painless jaundice, dark urine, itching for two weeks. Bilirubin 148 micromol/l.",
    "CT: mass in the head of the pancreas, dilated common bile duct, no distant spread.",
    "Discussed at the multidisciplinary meeting; staging laparoscopy recommended.",
    "Sudden weakness of the right arm and slurred speech, onset forty minutes ago. NIHSS 9.",
    "Thrombolysis given after CT excluded haemorrhage. NIHSS 3 on the following morning.",
    "Atrial fibrillation, rate 124. Apixaban 5 mg twice daily, bisoprolol 2.5 mg.",
    "Colonoscopy: three polyps removed, the largest 11 mm. Surveillance in three years.",
    "Two weeks of productive cough, night sweats, loss of 6 kg. Sputum sent for acid-fast bacilli.",
    "Low mood for three months, poor sleep, no thoughts of self-harm. PHQ-9 score 14.",
    "Sertraline 50 mg started; review in two weeks, crisis numbers given.",
    "Pregnancy at 31 weeks, blood pressure 152/96, protein in the urine. Admitted for observation.",
    "Caesarean section at 34 weeks. Mother and child well.",
    "Burn of the left forearm, partial thickness, 3 percent of the body surface.",
    "Itchy rash on both elbows and the scalp. Psoriasis; topical calcipotriol with betamethasone.",
    "Hearing loss on the left, Weber to the right. Audiogram: sensorineural loss of 45 dB.",
    "Knee swollen and hot since yesterday. Aspirate turbid, urate crystals seen, no organisms.",
    "Colchicine 500 micrograms twice daily; allopurinol to be started later.",
    "Haemoglobin 84 g/l, ferritin 6. Iron infusion given; gastroscopy arranged.",
    "Hypothyroidism, TSH 11.2. Levothyroxine raised from 75 to 100 micrograms.",
    "Seizure lasting two minutes, first ever. MRI and EEG normal. Advised not to drive.",
    "Appendicitis confirmed on ultrasound. Laparoscopic appendicectomy, discharged on day two.",
    "Immunisations up to date. Growth along the 50th centile. No concerns.",
    "Telephone call: patient feels well, no further fever, will come back if anything changes.",
]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `NOTES`: any text can be encoded with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(NOTES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT)


def make_model(
    arch: Arch,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    hidden_size: int = 32,
    intermediate_size: int = 48,
    layers: int = 2,
    heads: int = 4,
    key_value_heads: int = 2,
    max_positions: int = 128,
) -> Any:
    """A causal LM with random weights; biases and norms are random too, so that none can be overlooked."""
    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": max_positions,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    grouped = {"intermediate_size": intermediate_size, "num_key_value_heads": key_value_heads}
    if arch == "llama":
        config: Any = LlamaConfig(**common, **grouped)
    elif arch == "qwen2":
        config = Qwen2Config(**common, **grouped, tie_word_embeddings=True)
    elif arch == "gpt2":
        # Weights of the attention's output are square: only the code can tell how they are stored.
        config = GPT2Config(**common, n_inner=intermediate_size)
    else:
        config = OPTConfig(
            **common, ffn_dim=intermediate_size, word_embed_proj_dim=hidden_size, dropout=0.0, layerdrop=0.0
        )
    return randomized(config, seed=seed, dtype=dtype)


def randomized(config: Any, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A causal LM of any configuration, with the random weights of `make_model`."""
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            is_norm = parameter.dim() == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if is_norm else 0.25 * noise)
    model.tie_weights()
    return model.to(dtype).eval()


def make_checkpoint(
    directory: Path,
    arch: Arch = "llama",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "5GB",
    **sizes: int,
) -> Path:
    """Write a loadable checkpoint: config, safetensors (sharded if `max_shard_size` is small), tokenizer.

    `sizes` are those of `make_model`: hidden_size, intermediate_size, layers, heads, key_value_heads,
    max_positions.
    """
    return save_checkpoint(make_model(arch, seed=seed, dtype=dtype, **sizes), directory, max_shard_size)


def save_checkpoint(model: Any, directory: Path, max_shard_size: str = "5GB") -> Path:
    """Write a model with the tokenizer; `max_shard_size` as in `save_pretrained`."""
    model.save_pretrained(directory, max_shard_size=max_shard_size, safe_serialization=True)
    make_tokenizer().save_pretrained(directory)
    return directory
