"""Writes the tokenizer of a Hugging Face folder as a GGUF file without tensors, as llama.cpp's converter writes it.

    python scripts/verify/tokenizer_gguf.py FOLDER OUT.gguf [--pre llama-bpe]

FOLDER needs tokenizer.json alone. --pre names what splits text in a byte-level tokenizer, whatever the folder's own does,
so that all names can be compared with llama.cpp on one vocabulary (npm run verify:tokenizer, --llama). Needs gguf.
"""

import argparse
import json
import os

import gguf

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def kind_of(token, added, is_byte_level):
    if token in added:
        if token == "<unk>":
            return UNKNOWN
        return CONTROL if added[token]["special"] else USER_DEFINED
    return BYTE if not is_byte_level and len(token) == 6 and token.startswith("<0x") else NORMAL


def bos_of(described):
    """The id that tokenizer.json puts before a text, where it does."""
    processor = described["post_processor"] or {}
    for step in processor.get("processors", [processor]):
        first = step.get("single", [{}])[0]
        if "SpecialToken" in first:
            return step["special_tokens"][first["SpecialToken"]["id"]]["ids"][0]
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.add_argument("--pre", default="default")
    options = parser.parse_args()
    with open(os.path.join(options.folder, "tokenizer.json"), encoding="utf-8") as file:
        described = json.load(file)
    model = described["model"]
    is_byte_level = not model.get("byte_fallback")
    added = {token["content"]: token for token in described["added_tokens"]}
    ids = {**model["vocab"], **{content: token["id"] for content, token in added.items()}}
    spelled = {index: token for token, index in ids.items()}
    tokens = [spelled.get(index, f"[PAD{index}]") for index in range(max(spelled) + 1)]
    kinds = [kind_of(token, added, is_byte_level) if index in spelled else UNUSED for index, token in enumerate(tokens)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]

    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_tokenizer_pre(options.pre)
    if is_byte_level:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_merges(merges)
    else:
        writer.add_tokenizer_model("llama")
        made = {}
        for rank, merge in enumerate(merges):
            made.setdefault(merge.replace(" ", ""), -float(rank))
        writer.add_token_scores([made.get(token, -1e9) for token in tokens])
        tokens = [token.replace("▁", " ") if kind == USER_DEFINED else token for token, kind in zip(tokens, kinds)]
        writer.add_add_space_prefix("Prepend" in json.dumps(described["normalizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    bos = bos_of(described)
    writer.add_add_bos_token(bos is not None)
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    print(f"{len(tokens)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
