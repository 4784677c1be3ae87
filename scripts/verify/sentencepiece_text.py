"""Trains a small SentencePiece BPE vocabulary on generated text, and writes it as GGUF stores it, with the ids that
sentencepiece itself gives for some hundred lines.

    python scripts/verify/sentencepiece_text.py OUT.json.gz [--lines 700] [--seed 1]

The settings are Llama 2's (byte fallback, identity normalisation, a blank in front, blanks kept, digits split).
Needs sentencepiece.
"""

import argparse
import gzip
import io
import json
import os
import random

import sentencepiece

from tokenizer_text import make

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def kind_of(model, index):
    if model.is_unknown(index):
        return UNKNOWN
    if model.is_control(index):
        return CONTROL
    return BYTE if model.is_byte(index) else NORMAL


def plain(rng):
    """A text without the spellings of special tokens: sentencepiece does not look for them."""
    while True:
        text = make(rng)
        if not any(mark in text for mark in ("<s>", "</s>", "<unk>", "\0", "\u2581")):
            return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--lines", type=int, default=700)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    learned = [line for _ in range(4000) for line in plain(rng).splitlines() if line.strip()]
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(learned), model_writer=trained, model_type="bpe", vocab_size=2000,
        character_coverage=0.98, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    count = model.get_piece_size()
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in range(count)],
        "tokenizer.ggml.scores": [model.get_score(i) for i in range(count)],
        "tokenizer.ggml.token_type": [kind_of(model, i) for i in range(count)],
        "tokenizer.ggml.bos_token_id": model.bos_id(),
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.unknown_token_id": model.unk_id(),
    }
    texts = ["", " ", "  ", " a", "a ", "  a  b", "\n", "▁a", "<0x0A>", "aaaaaaaaaaaa"] + [plain(rng) for _ in range(options.lines)]
    lines = [{"text": text, "ids": model.encode(text)} for text in texts]
    for line in lines:
        decoded = model.decode(line["ids"])
        if decoded != line["text"]:
            line["decoded"] = decoded
    made_by = {"script": "scripts/verify/sentencepiece_text.py", "seed": options.seed, "sentencepiece": sentencepiece.__version__}
    data = json.dumps({"made_by": made_by, "metadata": metadata, "lines": lines}, ensure_ascii=False, separators=(",", ":"))
    with open(options.out, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(data.encode())
    print(f"{count} pieces, {len(lines)} texts, {sum(len(line['ids']) for line in lines)} ids, {os.path.getsize(options.out)} bytes")


if __name__ == "__main__":
    main()
