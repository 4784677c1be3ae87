"""Tiny models of all families, each as a Hugging Face folder and as a GGUF in llama.cpp's layout, for family-gguf.ts.
usage: python scripts/verify/family_gguf.py FOLDER [FAMILY...] [--fixtures]
(needs: pip install torch transformers peft gguf)

Writes for each family, into FOLDER:
    FAMILY/            the model as transformers saves it
    FAMILY.gguf        the same weights by the rules of convert_hf_to_gguf.py
    FAMILY.lora/       a random LoRA for it, as PEFT saves it
    FAMILY.lora.gguf   the same by the rules of convert_lora_to_gguf.py
    FAMILY.json        greedy continuations of prompts by transformers, with the LoRA and without it
and with --fixtures the files of test/fixtures/families: FAMILY.gguf, packed, and the continuations without a LoRA.
"""

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from families.layout import write_adapter, write_model
from families.models import FAMILIES, random_model
from families.tokenizers import Tokenizer
from peft import LoraConfig, get_peft_model

FIXTURES = Path(__file__).resolve().parents[2] / "test/fixtures/families"
TOKENS = 24
LENGTHS = [14, 17, 21, 28]
RANK, ALPHA = 3, 6.0


@dataclass(frozen=True)
class Lora:
    alpha: float
    factors: dict


def greedy(model, prompt):
    """Each step computes the whole row anew. `gaps` are between the two largest logits."""
    ids, gaps = list(prompt), []
    for _ in range(TOKENS):
        with torch.inference_mode():
            top = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        ids.append(int(top.indices[0]))
        gaps.append(round(float(top.values[0] - top.values[1]), 5))
    return {"tokens": ids[len(prompt) :], "gaps": gaps}


def add_lora(model):
    """The model with a LoRA on all linear layers but the head, and the numbers of it."""
    outside = [name for name, _ in model.named_modules() if name.endswith("per_layer_model_projection")] or None
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", exclude_modules=outside)
    model = get_peft_model(model, config)
    parts = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" not in name:
                continue
            parameter.copy_((64 * 0.2 * torch.randn(parameter.shape)).round() / 64)
            module, which = name.removeprefix("base_model.model.").split(".lora_")
            parts.setdefault(module, {})[which[0]] = parameter.detach().clone()
    return model.eval(), Lora(ALPHA, {module: (part["A"], part["B"]) for module, part in parts.items()})


def write(folder, name):
    family = FAMILIES[name]
    tokenizer = Tokenizer(family.tokenizer)
    vocabulary = len(tokenizer.tokens)
    model = random_model(name, vocabulary)
    model.save_pretrained(folder / name)
    tokenizer.save(folder / name)
    write_model(folder / f"{name}.gguf", family, model, tokenizer)
    prompts = [torch.randint(3, vocabulary, (length,)).tolist() for length in LENGTHS]
    bare = [greedy(model, prompt) for prompt in prompts]
    config = model.config
    adapted, lora = add_lora(model)
    adapted.save_pretrained(folder / f"{name}.lora")
    write_adapter(folder / f"{name}.lora.gguf", family, config, lora)
    cases = [{"prompt": prompt, **case, "lora": greedy(adapted, prompt)} for prompt, case in zip(prompts, bare)]
    (folder / f"{name}.json").write_text(json.dumps(cases))
    distinct = len({token for case in cases for token in case["tokens"]})
    print(f"{name}: {(folder / f'{name}.gguf').stat().st_size} bytes, {distinct} distinct tokens")


def write_fixtures(folder, names):
    FIXTURES.mkdir(parents=True, exist_ok=True)
    greedy_cases = {}
    for name in names:
        packed = gzip.compress((folder / f"{name}.gguf").read_bytes(), 9, mtime=0)
        (FIXTURES / f"{name}.gguf.gz").write_bytes(packed)
        cases = json.loads((folder / f"{name}.json").read_text())
        greedy_cases[name] = [{key: case[key] for key in ("prompt", "tokens", "gaps")} for case in cases]
    (FIXTURES / "greedy.json").write_text(json.dumps(greedy_cases, separators=(",", ":")) + "\n")


def main(folder, *arguments):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # there is nothing to share out
    names = [name for name in arguments if name != "--fixtures"] or list(FAMILIES)
    for name in names:
        write(folder, name)
    if "--fixtures" in arguments:
        write_fixtures(folder, names)


if __name__ == "__main__":
    main(*sys.argv[1:])
