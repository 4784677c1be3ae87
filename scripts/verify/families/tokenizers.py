"""Small tokenizers: as tokenizer.json, and as the metadata of a GGUF. Ids 0 to 2 are the special tokens. The kinds "spm" and
"gemma4" have the same text: a GGUF has the merges of the second, and llama.cpp finds those of the first by their scores."""

import json

from gguf import TokenType
from transformers.convert_slow_tokenizer import bytes_to_unicode

SPECIAL = ["<unk>", "<s>", "</s>"]
# merged left to right; the last ones need the first
PAIRS = ["t h", "i n", "e r", "th e", "_ th", "_th e"]


def added(tokens):
    return [
        dict(id=i, content=text, special=True, normalized=False, lstrip=False, rstrip=False, single_word=False)
        for i, text in enumerate(tokens)
    ]


class Tokenizer:
    """The vocabulary of one kind: byte-level, or SentencePiece with byte tokens."""

    def __init__(self, kind):
        self.kind = kind
        self.has_bytes = kind in ("spm", "gemma4")
        blank = "▁" if self.has_bytes else "Ġ"
        self.merges = [pair.replace("_", blank) for pair in PAIRS]
        merged = [pair.replace(" ", "") for pair in self.merges]
        if self.has_bytes:
            letters = [blank, *"abcdefghijklmnopqrstuvwxyz"]
            units = [f"<0x{byte:02X}>" for byte in range(256)]
            self.tokens = [*SPECIAL, *units, *merged, *letters]
        else:
            self.tokens = [*SPECIAL, *bytes_to_unicode().values(), *merged]

    def save(self, folder):
        vocabulary = {text: i for i, text in enumerate(self.tokens)}
        model = dict(type="BPE", vocab=vocabulary, merges=self.merges)
        if self.has_bytes:
            model |= dict(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
            normalizer = dict(type="Replace", pattern=dict(String=" "), content="▁")
            blank = dict(type="Replace", pattern=dict(String="▁"), content=" ")
            decoders = [blank, dict(type="ByteFallback"), dict(type="Fuse")]
            decoder = dict(type="Sequence", decoders=decoders)
            steps = dict(normalizer=normalizer, pre_tokenizer=None, decoder=decoder)
        else:
            level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
            steps = dict(normalizer=None, pre_tokenizer=level, decoder=level)
        rest = dict(version="1.0", truncation=None, padding=None, post_processor=None)
        whole = dict(**rest, added_tokens=added(SPECIAL), **steps, model=model)
        (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False))
        names = dict(unk_token="<unk>", bos_token="<s>", eos_token="</s>", tokenizer_class="PreTrainedTokenizerFast")
        (folder / "tokenizer_config.json").write_text(json.dumps(names))

    def write(self, writer):
        types = [TokenType.UNKNOWN if self.has_bytes else TokenType.CONTROL, TokenType.CONTROL, TokenType.CONTROL]
        bytes_are = TokenType.BYTE if self.has_bytes else TokenType.NORMAL
        types += [bytes_are] * 256
        types += [TokenType.NORMAL] * (len(self.tokens) - len(types))
        writer.add_tokenizer_model({"spm": "llama", "gemma4": "gemma4"}.get(self.kind, "gpt2"))
        if self.kind != "gemma4":
            writer.add_tokenizer_pre("default" if self.kind == "spm" else self.kind)
        writer.add_token_list(self.tokens)
        writer.add_token_types(types)
        if self.has_bytes:
            writer.add_add_space_prefix(False)
            writer.add_token_scores([-float(max(0, i - len(SPECIAL) - 255)) for i in range(len(self.tokens))])
        if self.kind != "spm":
            writer.add_token_merges(self.merges)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_pad_token_id(0)
        writer.add_add_bos_token(False)
