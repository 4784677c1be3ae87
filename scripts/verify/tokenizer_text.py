"""Makes the text for the tokenizer comparison from a seed, and the ids that transformers gives for it.

    python scripts/verify/tokenizer_text.py FILE.gguf OUT.jsonl.gz [--lines 2600] [--added 400] [--seed 0]

--added is how many further texts hold the model's own added tokens (special ones, HTML tags, runs of blanks, ...).
npm run verify:tokenizer compares the ids with this project's. A folder with tokenizer.json does for FILE.gguf, too.
Each line of the output is {"text": ..., "ids": [...]}, with "decoded" added where transformers' decode of the
ids differs from the text, and "plain" where leaving out the special tokens changes it. The first line says what
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf")
    parser.add_argument("out")
    parser.add_argument("--lines", type=int, default=2600)
    parser.add_argument("--added", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import transformers

    folder, name = os.path.split(os.path.abspath(options.gguf))
    if os.path.isdir(options.gguf):
        tokenizer = transformers.AutoTokenizer.from_pretrained(options.gguf)
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    rng = random.Random(options.seed)
    texts = EDGES + [make(rng) for _ in range(options.lines - len(EDGES))]
    added = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if "unused" not in token.content]
    texts += [make_with(rng, added) for _ in range(options.added)]
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
