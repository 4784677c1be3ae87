"""PEFT as the other side of mos export and mos import.
usage, from this repository: python scripts/verify/exchange.py FOLDER [BASE ...]    (needs: pip install torch transformers peft)

For each base, a Hugging Face folder (a tiny random Llama, made in FOLDER, and assets/tiny-english unless others are
given): an adapter of every method with random numbers is exported, and PEFT's logits with it are compared with this
engine's with the adapter itself; and LoRAs of PEFT with unlike ranks, scales, layers and targets are imported, and this
engine's logits compared with PEFT's. All logits must agree within 1e-4, and differ from the bare base's by 1e-2.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

NODE = ["node", "--conditions=source", "--import", "tsx"]
QKV = ["q_proj", "k_proj", "v_proj"]
LAYER = r".*\.layers\.\d+\."

# what is special about each LoRA that PEFT makes
IMPORTS = {
    "plain": dict(r=3, lora_alpha=12, target_modules=QKV + ["down_proj"]),
    "patterns": dict(
        r=4,
        lora_alpha=12,
        target_modules="all-linear",
        rank_pattern={"q_proj": 2, "layers.1.mlp.up_proj": 7, r"layers\.0\.self_attn\.(k|v)_proj": 1},
        alpha_pattern={r"^model\.layers\.2\.self_attn\.v_proj": 20, "v_proj": 5, "model.layers.0.mlp.gate_proj": 30},
    ),
    "rslora": dict(r=5, lora_alpha=7, use_rslora=True, target_modules=["o_proj", "gate_proj"]),
    "rslora-patterns": dict(
        r=5,
        lora_alpha=7,
        use_rslora=True,
        target_modules=QKV,
        rank_pattern={"k_proj": 3},
        alpha_pattern={"v_proj": 9},
    ),
    "layers": dict(  # a whole path is meant whatever the layers
        r=3,
        lora_alpha=6,
        target_modules=[*QKV, "model.layers.0.mlp.up_proj"],
        layers_to_transform=[1],
        layers_pattern="layers",
    ),
    "one-layer": dict(r=3, lora_alpha=6, target_modules=["up_proj"], layers_to_transform=0),
    "pattern": dict(r=2, lora_alpha=8, target_modules=LAYER + r"self_attn\.[qo]_proj"),
    "excluded": dict(r=2, lora_alpha=8, target_modules="all-linear", exclude_modules=["layers.0.mlp.up_proj"]),
    "bfloat16": dict(r=3, lora_alpha=12, target_modules=QKV),
    "float16": dict(r=3, lora_alpha=12, target_modules=QKV),
}


def node(*arguments):
    run = subprocess.run([*NODE, *map(str, arguments)], check=True, capture_output=True, text=True)
    return run.stdout


def load(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.flatten(0, 1)


def tiny_llama(folder):
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def differences(one, other, bare):
    """The largest difference of two sides' logits, and how far they are from the base's."""
    return (one - other).abs().max().item(), (other - bare).abs().max().item()


def exports(base, folder, tokens):
    names = node("scripts/verify/random-adapters.ts", base, folder).split()
    node("scripts/verify/logits.ts", "adapters", base, folder, *names)
    for name in names:
        out = folder / f"{name}-peft"
        options = ["--model", base, "--format", "peft", "--out", out, "--overwrite"]
        node("packages/mos/src/cli/main.ts", "export", folder / name, *options)
        peft = logits(PeftModel.from_pretrained(load(base), out), tokens)
        yield f"export {name}", load_file(folder / f"{name}.safetensors")["logits"], peft


def made_by_peft(base, folder, name):
    """Saves a LoRA with random numbers, in another precision for those named after one."""
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **IMPORTS[name]))
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    dtype = getattr(torch, name, None)
    if isinstance(dtype, torch.dtype):
        file = folder / "adapter_model.safetensors"
        save_file({key: value.to(dtype) for key, value in load_file(file).items()}, file, {"format": "pt"})


def imports(base, folder, tokens):
    expected = {}
    for name in IMPORTS:
        made_by_peft(base, folder / f"{name}-peft", name)
        expected[name] = logits(PeftModel.from_pretrained(load(base), folder / f"{name}-peft"), tokens)
        options = ["--model", base, "--out", folder / name, "--overwrite"]
        node("packages/mos/src/cli/main.ts", "import", folder / f"{name}-peft", *options)
    node("scripts/verify/logits.ts", "adapters", base, folder, *IMPORTS)
    for name, peft in expected.items():
        yield f"import {name}", load_file(folder / f"{name}.safetensors")["logits"], peft


def check(base, folder):
    """Prints every comparison; returns how many there were, and the largest difference."""
    tokens = torch.randint(0, load(base).config.vocab_size, (2, 24))
    bare = logits(load(base), tokens)
    results = []
    for part in (exports, imports):
        place = folder / part.__name__
        place.mkdir(parents=True, exist_ok=True)
        (place / "tokens.json").write_text(json.dumps(tokens.tolist()))
        for name, engine, peft in part(base, place, tokens):
            error, moved = differences(engine, peft, bare)
            passed = error < 1e-4 and moved > 1e-2
            print(f"{'ok  ' if passed else 'FAIL'} {name:28} differs by {error:.1e}, moves logits by {moved:.3f}")
            results.append((passed, error))
    return results


def main(folder, *bases):
    warnings.simplefilter("ignore", FutureWarning)
    logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = Path(folder)
    results = []
    for base in bases or (tiny_llama(folder / "tiny-llama"), "assets/tiny-english"):
        print(base)
        results += check(base, folder / f"of-{Path(base).name}")
    worst = max(error for _, error in results)
    print(f"{sum(passed for passed, _ in results)} of {len(results)} agree; the largest difference is {worst:.1e}")
    return 0 if all(passed for passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
