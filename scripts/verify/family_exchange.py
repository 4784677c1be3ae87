"""PEFT and transformers as the other side of mos export, import and merge, for every family that is not Llama.
usage, from this repository: python scripts/verify/family_exchange.py FOLDER [FAMILY...]
needs: pip install torch transformers peft; with gguf, bases in GGUF are merged, too

Makes a tiny random model of each family; "gemma3" and "qwen3_5" are parts of models that also see. family-exchange.ts gives it adapters, exports and merges them, imports a LoRA that
PEFT made on all linear layers, and computes logits. PEFT's logits with an exported adapter, and transformers' with a merged
folder, must be this engine's with the adapter, and those of an imported LoRA PEFT's: within 1e-4, and 1e-2 away from the
bare base's. A merged folder has the base's tensors; those that no adapter touches have the same bits.
"""

import importlib.util
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import transformers
from families.models import FAMILIES, FOLDERS, random_model
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging

NODE = ["node", "--conditions=source", "--import", "tsx", "scripts/verify/family-exchange.ts"]
ADAPTERS = ["mos", "lora", "some"]  # family-exchange.ts knows what they are
HAS_GGUF = importlib.util.find_spec("gguf") is not None


VISION = dict(hidden_size=16, intermediate_size=16, patch_size=8)
PATCHES = dict(**VISION, num_hidden_layers=1, num_attention_heads=2, image_size=16)
GRID = dict(**VISION, depth=1, num_heads=2, num_position_embeddings=16, out_hidden_size=24)
IMAGE = dict(mm_tokens_per_image=4, boi_token_index=4, eoi_token_index=5, image_token_index=6)
# the language model, the class around it and its settings
NESTED = {
    "gemma3": ("gemma3_text", "Gemma3", dict(vision_config=PATCHES, **IMAGE)),
    "qwen3_5": ("qwen3_5", "Qwen3_5", dict(vision_config=GRID)),
}


def load(folder):
    sees = json.loads((folder / "config.json").read_text())["model_type"] in NESTED
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def with_vision(name, text):
    """A language model beside one that sees."""
    _, kind, settings = NESTED[name]
    config = getattr(transformers, f"{kind}Config")(
        text_config=text.config.to_dict(), tie_word_embeddings=text.config.tie_word_embeddings, **settings
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")._from_config(config, attn_implementation="eager")
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    return model.eval()


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.flatten(0, 1)


def write(folder, name):
    """The base, a LoRA of PEFT for it, and tokens."""
    family = NESTED[name][0] if name in NESTED else name
    vocabulary = 96
    has_gguf = HAS_GGUF and family in FAMILIES
    if has_gguf:
        from families.tokenizers import Tokenizer

        tokenizer = Tokenizer(FAMILIES[family].tokenizer)
        vocabulary = len(tokenizer.tokens)
    text = random_model(family, vocabulary)
    model = with_vision(name, text) if name in NESTED else text
    model.save_pretrained(folder / "base")
    if has_gguf:
        from families.layout import write_model

        write_model(folder / "base.gguf", FAMILIES[family], text, tokenizer)
    tokens = torch.randint(7, vocabulary, (2, 24))
    (folder / "tokens.json").write_text(json.dumps(tokens.tolist()))
    outside = [key for key, _ in model.named_modules() if key.endswith("per_layer_model_projection")] or None
    everywhere = dict(target_modules="all-linear", exclude_modules=outside)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=7, **everywhere))
    for key, parameter in tuned.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    tuned.save_pretrained(folder / "peft")


def same_tensors(folder, adapter):
    """The first tensor of the language model that a merged folder has otherwise, though the adapter does not touch it."""
    one, other = (load_file(folder / name / "model.safetensors") for name in ("base", f"{adapter}-merged"))
    text = [key for key in one if not re.search("vis(ion|ual)|multi_modal", key)]
    one = {re.sub(r"^language_model\.|(?<=^model\.)language_model\.", "", key): one[key] for key in text}
    if {key: value.shape for key, value in one.items()} != {key: value.shape for key, value in other.items()}:
        return "their names"
    factors = " ".join(load_file(folder / f"{adapter}-peft" / "adapter_model.safetensors"))
    touched = lambda key: f".{key.removeprefix('model.').removesuffix('.weight')}.lora_A." in factors
    return next((key for key in one if not touched(key) and not torch.equal(one[key], other[key])), None)


def one_scale(exported):
    """Whether a server that reads neither rank_pattern nor alpha_pattern has room for every module, and its scale."""
    config = json.loads((exported / "adapter_config.json").read_text())
    ranks, alphas = config.get("rank_pattern", {}), config.get("alpha_pattern", {})
    scale = config["lora_alpha"] / config["r"]
    same = all(abs(alphas[name] / rank - scale) < 1e-9 for name, rank in ranks.items())
    return same and ranks.keys() == alphas.keys() and all(rank < config["r"] for rank in ranks.values())


def check(folder, name):
    """Prints the comparisons of a family; returns whether all passed."""
    tokens = torch.tensor(json.loads((folder / "tokens.json").read_text()))
    bare = logits(load(folder / "base"), tokens)
    ours = {key: load_file(folder / f"{key}.safetensors")["logits"] for key in [*ADAPTERS, "imported"]}
    theirs = {"import": ("imported", logits(PeftModel.from_pretrained(load(folder / "base"), folder / "peft"), tokens))}
    passed = True
    for adapter in ADAPTERS:
        exported = PeftModel.from_pretrained(load(folder / "base"), folder / f"{adapter}-peft")
        theirs[f"export {adapter}"] = (adapter, logits(exported, tokens))
        theirs[f"merge {adapter}"] = (adapter, logits(load(folder / f"{adapter}-merged"), tokens))
        other = same_tensors(folder, adapter)
        if other is not None:
            print(f"FAIL {name}, merge {adapter}: {other} changed")
        if not one_scale(folder / f"{adapter}-peft"):
            print(f"FAIL {name}, export {adapter}: servers without patterns have another scale")
        passed = passed and other is None and one_scale(folder / f"{adapter}-peft")
        if name in NESTED and any("vision" in key for key, _ in exported.named_parameters() if "lora_" in key):
            print(f"FAIL {name}, export {adapter}: PEFT adapts what sees, too")
            passed = False
    if (folder / "mos-merged-gguf").exists():
        theirs["merge from GGUF"] = ("mos", logits(load(folder / "mos-merged-gguf"), tokens))
    for what, (key, there) in theirs.items():
        error, moved = (there - ours[key]).abs().max().item(), (there - bare).abs().max().item()
        ok = error < 1e-4 and moved > 1e-2
        print(f"{'ok  ' if ok else 'FAIL'} {name + ', ' + what:28} differs by {error:.1e}, moves logits by {moved:.3f}")
        passed = passed and ok
    return passed


def main(folder, *names):
    warnings.simplefilter("ignore", FutureWarning)
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    names = names or list(dict.fromkeys([*FAMILIES, *FOLDERS, *NESTED]))
    for name in names:
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        write(Path(folder) / name, name)
    subprocess.run([*NODE, folder, *names], check=True)
    failed = [name for name in names if not check(Path(folder) / name, name)]
    print(f"FAILED: {', '.join(failed)}" if failed else f"{len(names)} families passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
