"""Makes the text for the tokenizer comparison from a seed, and the ids that the model's own tokenizer gives for it.

    python scripts/verify/tokenizer_text.py FILE.gguf|FOLDER OUT.jsonl.gz [--lines 2600] [--added 400] [--seed 0]

FOLDER has the model's tokenizer.json, which is followed to the letter. A GGUF file is read by transformers, which takes
GPT-2's split for SmolLM; the digits that SmolLM's tokenizer.json splits off first are put back here. For Gemma it needs
the folder, since transformers merges the runs of blanks of a GGUF file in another order than Gemma's tokenizer.json.
--added is how many further texts hold the model's own added tokens (special ones, HTML tags, runs of blanks, ...).
Texts with a byte for which the vocabulary has no token are left out: tokenizers drops such bytes before it merges, so
that their neighbours may merge; llama.cpp and this package drop them afterwards. npm run verify:tokenizer compares the
ids with this project's and, with --llama, with llama.cpp's. Each line of the output is {"text": ..., "ids": [...]}, with
"decoded" added where transformers' decode of the ids differs from the text, and "plain" where leaving out the special
tokens changes it. The first line says what
made it. Needs transformers and gguf.
"""

import argparse
import gzip
import json
import os
import random
import unicodedata

WORDS = {
    "latin": "the quick brown fox naïve café Über straße façade Łódź İstanbul ığdır Việt Nam Øresund smörgåsbord "
    "don't I'll we've they're it's you'd I'm DON'T can't l'été aujourd'hui ﬁne Ⅳ ½ ² ªº crème brûlée",
    "greek": "Ελλάδα καλημέρα κόσμε ἄνθρωπος φιλοσοφία ψυχή Σίσυφος",
    "cyrillic": "Привет мир Россия Україна їжак Ђорђе ёлка объект щука Москва",
    "arabic": "مرحبا بالعالم العربية القرآن مُحَمَّد ١٢٣٤ فارسی پژوهش لا إله",
    "hebrew": "שלום עולם עִבְרִית ירושלים מחשב",
    "devanagari": "नमस्ते दुनिया हिन्दी क्षेत्र ज्ञान १२३ विद्यार्थी कृपया",
    "bengali": "ওহে বিশ্ব বাংলা বিজ্ঞান ক্ষমতা ১২৩ আন্তর্জাতিক",
    "telugu": "నమస్కారం ప్రపంచం తెలుగు విజ్ఞానం క్షేత్రం",
    "tamil": "வணக்கம் உலகம் தமிழ் கணினி",
    "thai": "สวัสดีชาวโลก ภาษาไทย น้ำใจ ๑๒๓ กรุงเทพมหานคร",
    "chinese": "你好世界 中文分词 机器学习 漢字 語言模型 ，。！？ 《书》 龘 𠮷 𪚥",
    "japanese": "こんにちは世界 日本語 カタカナ ﾊﾝｶｸ ひらがな がぎぐ ー々〆 ㌔",
    "korean": "안녕하세요 세계 한국어 컴퓨터 ㄱㄴㄷ 뷁",
    "other": "ქართული Հայերեն አማርኛ ខ្មែរ မြန်မာ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ བོད་ 𐌰𐌱 𝒳𝓎 𝟙𝟚",
    "emoji": "😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ ☕ 🧑🏿‍🚀 🤷‍♀️ 1️⃣ ©️ 🫠 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "signs": "-> => != <= :: /* */ // ## ``` ~~ ^^ $100 €5 50% (a) [b] {c} <d> ... … — – “q” ‘s’ ’s ¿qué? «oui» \\n \\t",
    "numbers": "0 7 42 123 1234 1,234.56 3.14159 -17 1e-9 0xFF 0b1010 2024-05-17 10:45 ½ ²³ ١٢ Ⅷ 一二 1234567890123 v1.2.3",
}
SPACES = [" "] * 12 + ["  ", "   ", "    ", "\t", "\t\t", "\u00a0", "\u2009", "\u3000", "\u200b", "\u200d", "\ufeff"]
SPACES += ["\u2028", "\u0085", "\u1680", "\u202f", "\u205f", "\u180e", "\u2060", " \t ", " \u00a0", "\x1c", "\x0b", "\x0c"]
BREAKS = ["\n", "\n\n", "\r\n", "\r", "\n ", " \n", "\n\n\n", "\r\n\r\n", "\n\t", "\n    ", "\n   1"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<file_sep>", "<empty_output>"]
NEARLY = ["<|im_start|", "|im_end|>", "< |im_start|>", "<|IM_END|>", "<|im_start|>user", "<s>", "</s>", "<unk>", "<0x0A>", "<|user|>"]
CODE = [
    "def f(x: int) -> str:\n    return f\"{x!r:>10}\"  # comment\n",
    "for (let i = 0; i < n; i++) {\n\tconsole.log(`${i}`);\n}\n",
    "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 1<<3); return 0; }\n",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE x >= 10 GROUP BY 1;",
    "fn main() -> Result<(), Box<dyn Error>> { let v: Vec<u8> = vec![0; 16]; Ok(()) }",
    "<div class=\"a b\">\n  <p>Hi &amp; bye</p>\n</div>",
    "{\"key\": [1, 2.5, null, true], \"s\": \"\\u00e9\"}",
    "\\begin{align} E &= mc^2 \\\\ \\int_0^\\infty e^{-x} dx \\end{align}",
    "#!/bin/bash\nset -euo pipefail\nls -la | grep '^d' > out.txt 2>&1\n",
    "public static void main(String[] args) {\r\n        System.out.println(\"ok\");\r\n}\r\n",
    "x = [\n    [1,   2,   3],\n    [10,  20,  30],\n]",
    "| a | b  |\n|---|----|\n| 1 |  2 |\n",
]
EDGES = ["", " ", "  ", "\n", "\t", "\r\n", "\ufeff", "\u0085", "a", " a", "a ", "  a  ", "'s", "'S", "1 2  3   4", "\x00", "\x7f\x80"]

LATIN = WORDS["latin"].split(" ")
ALL_WORDS = [word for words in WORDS.values() for word in words.split(" ")]
MARKS = ["{0}.", "{0})", "-", "*", "+", "({0})", "- [ ]", "{0}.{0}"]
RUNS = [" "] * 6 + ["\t", "\n", "▁", "▁ ", " ▁", " \n", "\n ", "\r\n", "\u00a0", "=", "-", "_", "1", "0", "a", "é", "世", "<", "'"]
RUNS += ["\u3000", "\x00", "\x1b", ".", " 1"]
CONTROLS = [chr(point) for point in range(1, 32)] + ["\x7f", "\x80", "\x9f", "\u200b", "\u200e", "\u2066", "\ufeff", "\ufffd"]
CONTROLS += ["\ufffe", "\ue000", "\u0300", "\u0301", "\u20e3", "\ufe0f", "\u200d"]


def number(rng):
    whole = str(rng.randint(0, 10 ** rng.randint(1, 9)))
    decimal = f"{rng.random() * 10 ** rng.randint(0, 5):.{rng.randint(0, 4)}f}"
    return rng.choice([whole, decimal, f"{rng.randint(0, 999)},{rng.randint(0, 999):03d}", *"½²Ⅷ", "١٢", "十二"])


def some(rng, most=6):
    return " ".join(rng.choice(ALL_WORDS) for _ in range(rng.randint(1, most)))


def listing(rng):
    indent = rng.choice([0, 0, 1, 2, 3, 4, 8])
    lines = [rng.choice(["", "\n", "List:\n"])]
    for i in range(rng.randint(1, 13), rng.randint(13, 16)):
        mark = " " * (indent * rng.randint(0, 3)) + rng.choice(MARKS).format(i) + " " * rng.randint(0, 4)
        lines.append(mark + some(rng) + rng.choice(["\n", "\n", "\n\n", " \n", "\r\n"]))
    return "".join(lines)


def table(rng):
    columns, width, side = rng.randint(1, 5), rng.randint(1, 12), rng.choice("<>^")

    def row():
        cells = [number(rng) if rng.random() < 0.7 else rng.choice(ALL_WORDS) for _ in range(columns)]
        return "|" + "|".join(f" {cell:{side}{width}} " for cell in cells) + "|"

    rows = [row() for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.6:
        rows.insert(1, "|" + "|".join(rng.choice(":-") + "-" * width + rng.choice(":-") for _ in range(columns)) + "|")
    text = "\n".join(rows)
    return text if rng.random() < 0.7 else text.replace("|", rng.choice(["\t", "  ", ",", " "]))


def assignments(rng):
    def line():
        left = rng.choice(LATIN) + " " * rng.randint(0, 9) + rng.choice(["=", ":", "==", "+=", "->"])
        return left + " " * rng.randint(0, 12) + number(rng) + rng.choice(["", ";", ","])

    return "\n".join(line() for _ in range(rng.randint(1, 6)))


def runs(rng):
    parts = []
    for _ in range(rng.randint(1, 4)):
        parts.append(rng.choice(["", some(rng, 2), number(rng)]))
        length = rng.choice([rng.randint(1, 5), rng.randint(1, 100), rng.randint(28, 36), rng.randint(60, 66)])
        parts.append(rng.choice(RUNS) * length)
    return "".join(parts) + rng.choice(["", some(rng, 2), number(rng)])


def code(rng):
    lines = [line.strip() for text in CODE for line in text.split("\n")]

    def line():
        return rng.choice([" ", "\t", "  "]) * rng.randint(0, 9) + rng.choice(lines) + rng.choice(["", "", " # " + some(rng, 4)])

    return "\n".join(line() for _ in range(rng.randint(1, 9)))


def controls(rng):
    kinds = [lambda: rng.choice(CONTROLS), lambda: rng.choice(ALL_WORDS), lambda: " ", lambda: number(rng)]
    return "".join(rng.choice(kinds)() for _ in range(rng.randint(1, 12)))


def low_lines(rng):
    """The sign that SentencePiece has for a blank, as text."""
    kinds = ["▁", "▁▁", " ", "  ", "1", "\n", rng.choice(ALL_WORDS), rng.choice(ALL_WORDS), "▁" + rng.choice(LATIN)]
    return "".join(rng.choice(kinds) for _ in range(rng.randint(1, 9)))


def layout(rng):
    """Texts whose white space, digits and control characters matter."""
    return rng.choice([listing, table, assignments, runs, runs, code, controls, low_lines])(rng)


def points(rng):
    """Letters at random from the whole of Unicode that has been assigned for long (up to version 13)."""
    ranges = [(0x20, 0x24F), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0xAC00, 0xD7A3)]
    ranges += [(0xF900, 0xFFFD), (0x10000, 0x1F9FF), (0x20000, 0x2A6DD)]
    result = []
    while len(result) < rng.randint(1, 12):
        c = chr(rng.randint(*rng.choice(ranges)))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            result.append(c)
    return "".join(result)


def phrase(rng, words):
    parts = []
    for _ in range(rng.randint(1, 9)):
        parts.append(rng.choice(words))
        parts.append(rng.choice(SPACES))
    return "".join(parts if rng.random() < 0.3 else parts[:-1])


def make(rng):
    scripts = {name: text.split(" ") for name, text in WORDS.items()}
    kind = rng.random()
    if kind < 0.45:
        text = phrase(rng, scripts[rng.choice(list(scripts))])
    elif kind < 0.62:
        text = phrase(rng, [rng.choice(words) for words in scripts.values()])
    elif kind < 0.70:
        text = rng.choice(CODE)
    elif kind < 0.80:
        pieces = [phrase(rng, scripts[rng.choice(list(scripts))]) for _ in range(rng.randint(1, 3))]
        text = "".join(piece + rng.choice(SPECIAL + NEARLY) + rng.choice(["", "\n", " "]) for piece in pieces)
    elif kind < 0.88:
        text = points(rng)
    elif kind < 0.94:
        text = rng.choice(BREAKS).join(phrase(rng, scripts[rng.choice(list(scripts))]) for _ in range(rng.randint(2, 4)))
    else:
        text = "".join(rng.choice(SPACES + BREAKS + ["1", "a", ".", "é", "世"]) for _ in range(rng.randint(1, 14)))
    form = rng.random()
    if form < 0.08:
        text = unicodedata.normalize("NFD", text)
    elif form < 0.12:
        text = text.upper()
    return text


def make_with(rng, added):
    """Phrases between which the model's own added tokens stand."""
    scripts = [text.split(" ") for text in WORDS.values()]
    parts = [phrase(rng, rng.choice(scripts)) + rng.choice(added) + rng.choice(["", "", "\n", " "]) for _ in range(rng.randint(1, 4))]
    return "".join(parts) + rng.choice(["", rng.choice(added), phrase(rng, rng.choice(scripts))])


def read_tokenizer(path):
    import transformers

    if os.path.isdir(path):
        return transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    import gguf
    from tokenizers import pre_tokenizers

    if gguf.GGUFReader(path).fields["tokenizer.ggml.pre"].contents() == "smollm":
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def covered_by(tokenizer):
    """Whether the vocabulary has a token for every byte of a text."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = tokenizer.get_vocab()
    missing = {byte for byte, letter in bytes_to_unicode().items() if letter not in vocabulary}
    if "<0x00>" in vocabulary:
        missing = set()
    return lambda text: missing.isdisjoint(text.encode("utf-8"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--lines", type=int, default=2600)
    parser.add_argument("--added", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import transformers

    tokenizer = read_tokenizer(options.model)
    is_covered = covered_by(tokenizer)
    rng = random.Random(options.seed)

    def text_of(draw, *more):
        return next(text for text in iter(lambda: draw(rng, *more), None) if is_covered(text))

    plain_texts = (options.lines - len(EDGES)) // 3
    texts = [text for text in EDGES if is_covered(text)] + [text_of(make) for _ in range(plain_texts)]
    texts += [text_of(layout) for _ in range(options.lines - len(texts))]
    # GGUF files of text models lack these, or mark them otherwise
    left_out = ("unused", "_soft_token", "_of_image", "<mask>")
    contents = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items())]
    added = [content for content in contents if not any(part in content for part in left_out)]
    texts += [text_of(make_with, added) for _ in range(options.added)]
    lines = [{"made_by": "scripts/verify/tokenizer_text.py", "seed": options.seed, "transformers": transformers.__version__}]
    for text in texts:
        ids = tokenizer.encode(text)
        line = {"text": text, "ids": ids}
        decoded = tokenizer.decode(ids)
        plain = tokenizer.decode(ids, skip_special_tokens=True)
        if decoded != text:
            line["decoded"] = decoded
        if plain != decoded:
            line["plain"] = plain
        lines.append(line)
    data = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()
    with open(options.out, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(data)
    print(f"{len(texts)} texts, {sum(len(line.get('ids', ())) for line in lines)} ids, {os.path.getsize(options.out)} bytes")


if __name__ == "__main__":
    main()
