"""Checks that PEFT and this package read each other's LoRA folders without loss.

    python scripts/verify/peft_loads_lora.py BASE FOLDER

Run from the root of the repository. BASE is a Hugging Face Llama folder. PEFT saves a LoRA as FOLDER/peft, this
package loads it and saves it as FOLDER/ours, PEFT loads both; the logits have to be equal.
"""

import subprocess
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

RESAVE = """
import { loadAdapter, saveAdapter } from "#adapters";
import { loadModel } from "#models";
import { geometryOf } from "#recipes";
const [base, folder] = process.argv.slice(1);
const { config, fingerprint } = await loadModel(base);
const adapter = await loadAdapter(folder + "/peft", { geometry: geometryOf(config), fingerprint });
await saveAdapter(folder + "/ours", adapter, { base: { name: base, fingerprint } });
console.log(`resaved ${adapter.tensors.size} tensors, rank ${adapter.config.rank}, alpha ${adapter.config.alpha}`);
"""


def load(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def logits(model):
    tokens = torch.arange(24).reshape(2, 12) % model.config.vocab_size
    with torch.no_grad():
        return model.eval()(tokens).logits


def main(base, folder):
    torch.manual_seed(0)
    model = load(base)
    before = logits(model)
    config = LoraConfig(r=3, lora_alpha=12, target_modules=TARGETS, lora_dropout=0.1, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder / "peft")
    trained = logits(model)
    print(f"the adapter moves the logits by {(trained - before).abs().max():.3f}")
    node = ["node", "--conditions=source", "--import", "tsx", "--input-type=module", "-e", RESAVE]
    subprocess.run([*node, base, str(folder)], check=True)
    error = max((logits(PeftModel.from_pretrained(load(base), folder / name)) - trained).abs().max().item() for name in ("peft", "ours"))
    print(f"largest difference of logits: {error:.1e}")
    return 0 if error == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
