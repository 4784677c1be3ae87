"""Trains a small vocabulary on generated text, for a tokenizer of the layout that Gemma 4 or LFM 2 has, and writes it as tokenizer.json
and as llama.cpp's converter puts it into a GGUF file, with the ids that tokenizers itself gives for some hundred lines.

    python scripts/verify/bpe_text.py gemma4|lfm2 OUT.json.gz [--lines 300] [--seed 1] [--folder FOLDER]

OUT.json.gz has all three. --folder writes tokenizer.json, tokenizer_config.json and tokenizer.gguf, for scripts/verify/tokenizer_text.py
and npm run verify:tokenizer. Needs tokenizers and, for a folder, gguf.
"""

import argparse
import gzip
import json
import os
import pathlib
import random

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tokenizer_text import EDGES, make, make_with, layout

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
GEMMA4_CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|turn>", "<turn|>", "<|think|>"]
# the converter makes them visible
GEMMA4_VISIBLE = ["<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>']
LFM2_CONTROL = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tool_list_start|>"]
LFM2_CONTROL += ["<|tool_list_end|>", "<|tool_call_start|>", "<|tool_call_end|>"]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def added(index, content, special):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": index, "content": content, **flags, "special": special}


def train(texts, normalizer, pre_tokenizer, alphabet, size):
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    learned = Tokenizer(models.BPE())
    learned.normalizer, learned.pre_tokenizer = normalizer, pre_tokenizer
    learned.train_from_iterator(texts, trainer)
    model = json.loads(learned.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [tuple(merge) for merge in model["merges"]]


def with_bos(bos, index):
    token = {"id": bos, "ids": [index], "tokens": [bos]}
    parts = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = parts + [{"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": parts, "pair": pair, "special_tokens": {bos: token}}


def gemma4(texts):
    # words do not merge with each other, runs of blanks do, first of all
    blank = normalizers.Replace(" ", "\u2581")
    learned, merges = train(texts, blank, pre_tokenizers.Split("\u2581", "merged_with_next"), [], 2200)
    runs = ["\u2581" * length for length in range(2, 32)]
    merges = [(run[:cut], run[cut:]) for run in reversed(runs) for cut in range(len(run) - 1, 0, -1)] + merges
    lines = ["\n" * length for length in range(1, 32)]
    control = GEMMA4_CONTROL + GEMMA4_VISIBLE
    tokens = control + [f"<0x{byte:02X}>" for byte in range(256)] + lines + runs
    known = set(tokens)
    kinds = [CONTROL] * len(GEMMA4_CONTROL) + [USER_DEFINED] * len(GEMMA4_VISIBLE) + [BYTE] * 256
    kinds += [USER_DEFINED] * (len(lines) + len(runs))
    further = [token for token in learned if token not in known]
    tokens, kinds = tokens + further, kinds + [NORMAL] * len(further)
    ids = {token: index for index, token in enumerate(tokens)}
    extra = [added(ids[one], one, True) for one in control] + [added(ids[one], one, False) for one in lines + runs]
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": extra,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": with_bos("<bos>", ids["<bos>"]),
        "decoder": json.loads(decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]).__getstate__()),
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
        | {"continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": False, "vocab": ids, "merges": merges},
    }
    named = {"bos": "<bos>", "eos": "<eos>", "unknown": "<unk>", "padding": "<pad>"}
    return definition, kinds, named, {"tokenizer.ggml.model": "gemma4", "tokenizer.ggml.add_space_prefix": False}


def lfm2(texts):
    split = pre_tokenizers.Split(tokenizers.Regex(LLAMA3_SPLIT), "isolated")
    steps = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    learned, merges = train(texts, None, steps, pre_tokenizers.ByteLevel.alphabet(), 2200)
    tokens = LFM2_CONTROL + learned
    ids = {token: index for index, token in enumerate(tokens)}
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(ids[one], one, True) for one in LFM2_CONTROL],
        "normalizer": None,
        "pre_tokenizer": json.loads(steps.__getstate__()),
        "post_processor": with_bos("<|startoftext|>", ids["<|startoftext|>"]),
        "decoder": json.loads(decoders.ByteLevel().__getstate__()),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False}
        | {"continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": True, "vocab": ids, "merges": merges},
    }
    named = {"bos": "<|startoftext|>", "eos": "<|im_end|>", "padding": "<|pad|>"}
    kinds = [CONTROL] * len(LFM2_CONTROL) + [NORMAL] * len(learned)
    return definition, kinds, named, {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "lfm2"}


def write_folder(folder, definition, config, metadata):
    import gguf

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(definition, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    writer = gguf.GGUFWriter(folder / "tokenizer.gguf", "gemma4")
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["gemma4", "lfm2"])
    parser.add_argument("out")
    parser.add_argument("--lines", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    learned = [make(rng) for _ in range(4000)]
    definition, kinds, named, more = {"gemma4": gemma4, "lfm2": lfm2}[options.kind](learned)
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    model = definition["model"]
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": named["bos"], "eos_token": named["eos"]}
    metadata = {
        **more,
        "tokenizer.ggml.tokens": list(model["vocab"]),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        **{f"tokenizer.ggml.{name}_token_id": model["vocab"][token] for name, token in named.items()},
    }
    contents = [one["content"] for one in definition["added_tokens"] if "\u2581" not in one["content"]]
    texts = EDGES + [rng.choice([make, layout])(rng) if rng.random() < 0.8 else make_with(rng, contents) for _ in range(options.lines)]
    lines = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        lines.append({"text": text, "ids": ids, **({} if decoded == text else {"decoded": decoded})})
    made_by = {"script": "scripts/verify/bpe_text.py", "seed": options.seed, "tokenizers": tokenizers.__version__}
    data = {"made_by": made_by, "metadata": metadata, "tokenizer": definition, "config": config, "lines": lines}
    with open(options.out, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    if options.folder is not None:
        write_folder(options.folder, definition, config, metadata)
    print(f"{len(kinds)} tokens, {len(lines)} texts, {os.path.getsize(options.out)} bytes")


main()
