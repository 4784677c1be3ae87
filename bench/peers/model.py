"""What both scripts of PEFT begin with: a model read from files, or random in a preset's shape, and an adapter's settings."""

import os

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# of Qwen 3.5's linear attention, and of LFM2's convolutions, attention and MLP
TARGET_MODULES += ["in_proj_qkv", "in_proj_z", "out_proj", "in_proj", "w1", "w2", "w3"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def shape(hidden: int, inner: int, layers: int, heads: int, key_value_heads: int, vocabulary: int, tied: bool) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
    )


# packages/core/src/models/presets/earlier.ts has these too
PRESETS = {
    "llama3.2-1b": shape(2048, 8192, 16, 32, 8, 128256, True),
    "llama3.2-3b": shape(3072, 8192, 28, 24, 8, 128256, True),
    "llama2-7b": shape(4096, 11008, 32, 32, 32, 32000, False),
}


def folder_and_name(path: str) -> tuple[str, str]:
    return os.path.split(os.path.abspath(path))


def load_model(path: str, threads: int, dtype: str = "float32") -> PreTrainedModel:
    """`path` is a GGUF file, a folder, or a preset's name, of which the weights are random."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if path in PRESETS:
        return AutoModelForCausalLM.from_config(PRESETS[path], dtype=DTYPES[dtype])
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=DTYPES[dtype])
    folder, name = folder_and_name(path)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=DTYPES[dtype])
    # its weights are dequantised, but transformers' trainer goes by the file that they came from
    model.is_quantized = False
    return model


def lora_config(rank: int, **more) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.0, target_modules=TARGET_MODULES, task_type="CAUSAL_LM", **more)
