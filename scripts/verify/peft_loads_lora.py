"""Checks that PEFT and this package read each other's LoRA folders, and compute the same with them.

    python scripts/verify/peft_loads_lora.py BASE FOLDER

Run from the root of the repository. BASE is a Hugging Face Llama folder. PEFT makes a LoRA and saves it as FOLDER/peft;
this package loads it, saves it as FOLDER/ours, and makes one of its own as FOLDER/own. PEFT loads all three. Its logits
must not change on the way, and must be this engine's within 1e-4.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ENGINE = ["node", "--conditions=source", "--import", "tsx", "scripts/verify/logits.ts", "lora"]


def load(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.flatten(0, 1)


def save_with_peft(base, folder, tokens):
    """The logits of a random LoRA that PEFT saved."""
    config = LoraConfig(r=3, lora_alpha=12, target_modules=TARGETS, lora_dropout=0.1, task_type="CAUSAL_LM")
    model = get_peft_model(load(base), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder / "peft")
    return logits(model, tokens)


def main(base, folder):
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = torch.randint(0, load(base).config.vocab_size, (2, 12))
    (folder / "tokens.json").write_text(json.dumps(tokens.tolist()))
    bare = logits(load(base), tokens)
    made = save_with_peft(base, folder, tokens)
    subprocess.run([*ENGINE, base, str(folder)], check=True)
    passed = True
    for name, expected in (("peft", made), ("ours", made), ("own", None)):
        peft = logits(PeftModel.from_pretrained(load(base), folder / name), tokens)
        kept = 0.0 if expected is None else (peft - expected).abs().max().item()
        engine = load_file(folder / f"{'ours' if name == 'peft' else name}.safetensors")["logits"]
        error = (peft - engine).abs().max().item()
        moved = (peft - bare).abs().max().item()
        print(f"{name}: moves the logits by {moved:.3f}; PEFT to PEFT {kept:.1e}, PEFT to this engine {error:.1e}")
        passed = passed and kept == 0 and error < 1e-4 and moved > 1e-2
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
