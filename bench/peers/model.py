"""What both scripts of PEFT begin with: a model read from a GGUF file into float32, and an adapter's settings."""

import os

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedModel

TARGET_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def folder_and_name(path: str) -> tuple[str, str]:
    return os.path.split(os.path.abspath(path))


def load_model(path: str, threads: int) -> PreTrainedModel:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    folder, name = folder_and_name(path)
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)


def lora_config(rank: int, **more) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=16, lora_dropout=0.0, target_modules=TARGET_MODULES, task_type="CAUSAL_LM", **more)
