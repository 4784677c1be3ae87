"""Checks that transformers opens the folders that `mos merge` writes, and computes what this engine computes.

    python scripts/verify/merged_folder.py FOLDER [MODEL.gguf]

Run from the root of the repository. Makes three tiny random Llamas below FOLDER (an untied head, a tied one, Llama 3's
rotary scaling), merges an adapter of every method into the first and a MoS adapter into the others, and into MODEL.gguf
where one is given. The logits of the merged folder in transformers must be this engine's with base and adapter, within
1e-4 in float32. With a GGUF file the tokenizer and the chat template of the folder must also give the same.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

NODE = ["node", "--conditions=source", "--import", "tsx"]
SIZES = dict(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256,
)
LLAMA3 = dict(
    rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
BASES = {
    "untied": dict(tie_word_embeddings=False),
    "tied": dict(tie_word_embeddings=True),
    "llama3": dict(tie_word_embeddings=True, rope_theta=500000.0, rope_scaling=LLAMA3),
}
TEXTS = [
    "What is a lighthouse?",
    "A tower with a light: it warns ships.\n\nSome are 1,234 years old; others aren't.",
    "  blanks   and\ttabs, ümläuts, 漢字, emoji 🙂, <|im_end|> in the text",
]


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.flatten(0, 1)


def same_text(merged, folder):
    """How many texts get other ids, and whether the chat is laid out otherwise."""
    tokenizer = AutoTokenizer.from_pretrained(merged)
    ours = json.loads((folder / "ids.json").read_text())
    differ = sum(tokenizer(text)["input_ids"] != ids for text, ids in zip(TEXTS, ours))
    chat = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(TEXTS)]
    layout = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    same = layout == (folder / "chat.txt").read_text()
    print(f"  {len(TEXTS)} texts, {differ} with other ids; chat {'the same' if same else 'DIFFERS'}; "
          f"bos {tokenizer.bos_token}, eos {tokenizer.eos_token}, pad {tokenizer.pad_token}")
    return differ == 0 and same


def check(name, base, folder, only=None):
    """Merges adapters into a base, and compares."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        [*NODE, "scripts/verify/random-adapters.ts", str(base), str(folder / "adapters"), "0.1" if only is None else "0.02",
         *([only] if only else [])],
        check=True, capture_output=True, text=True,
    ).stdout.split()
    gguf = str(base).endswith(".gguf")
    vocabulary = 1000 if gguf else SIZES["vocab_size"]
    tokens = torch.randint(0, vocabulary, (2, 40), generator=torch.Generator().manual_seed(0))
    (folder / "tokens.json").write_text(json.dumps(tokens.tolist()))
    if gguf:
        (folder / "texts.json").write_text(json.dumps(TEXTS))
    subprocess.run([*NODE, "scripts/verify/logits.ts", "merged", str(base), str(folder), *made], check=True,
                   stdout=subprocess.DEVNULL)
    passed = True
    for adapter in made:
        merged = folder / "merged" / adapter
        there = logits(AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32), tokens)
        here = load_file(folder / f"{adapter}.safetensors")["logits"]
        error, size = (there - here).abs().max().item(), here.abs().max().item()
        note = ""
        if not gguf:
            bare = logits(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tokens)
            moved = (here - bare).abs().max().item()
            note = f", moved by {moved:.2f}"
            passed = passed and moved > 1e-3
        print(f"{name}, {adapter}: differ by {error:.1e} at most, logits up to {size:.2f}{note}")
        passed = passed and error < 1e-4
        if gguf:
            passed = same_text(merged, folder) and passed
    return passed


def main(folder, gguf):
    torch.manual_seed(0)
    passed = True
    for name, fields in BASES.items():
        base = folder / name / "base"
        model = LlamaForCausalLM(LlamaConfig(**SIZES, **fields))
        for parameter in model.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(base)
        passed = check(name, base, folder / name, None if name == "untied" else "mos") and passed
    if gguf:
        passed = check(Path(gguf).stem, gguf, folder / "gguf", "mos") and passed
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
