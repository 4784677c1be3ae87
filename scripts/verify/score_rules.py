"""The rules of `mos score` once more, as a second reading in Python's own terms. Needs only the standard library.

    python scripts/verify/score_rules.py make --task gsm8k --count 2000 --seed 1 > cases.jsonl
    python scripts/verify/score_rules.py score --task gsm8k --rules lm-eval cases.jsonl > expected.jsonl
    mos score --task gsm8k --rules lm-eval --file cases.jsonl | diff expected.jsonl -

Tasks: bbh, gsm8k, tydiqa. The text of answers has traps: other scripts' digits, marks, blanks and line ends.
"""

import argparse
import collections
import json
import random
import re
import string
import sys

PUNCTUATION = str.maketrans("", "", string.punctuation)
INVALID = "[invalid]"


def same(answer, references, form):
    """NumPy, in which the originals compare, drops NULs at the end, before and after."""

    def whole(text):
        return form(text.rstrip("\0")).rstrip("\0")

    return int(any(whole(answer) == whole(reference) for reference in references))


def fold(text):
    return text.lower().translate(PUNCTUATION)


def bbh_open_instruct(text, references):
    match = re.search(r"[t|T]he answer is (.*?)\.", text)
    extracted = match.group(1).strip() if match else text.strip()
    return extracted, {"exact_match": same(extracted, references, fold)}


def gold(answer):
    """The number of a worked answer of the data set; any other text as it is."""
    return re.sub(r"(\d),(\d)", r"\1\2", answer.split("####")[1].strip()) if "####" in answer else answer


def gsm8k_open_instruct(text, references):
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    numbers = re.findall(r"[-+]?\d*\.\d+|\d+", text)
    extracted = numbers[-1] if numbers else text
    return extracted, {"exact_match": same(extracted, [gold(one) for one in references], fold)}


def found(pattern, text, which):
    """A regex filter of lm-evaluation-harness."""
    matches = re.compile(pattern).findall(text)
    if not matches:
        return INVALID
    match = matches[which]
    if isinstance(match, tuple):
        match = next((group for group in match if group), INVALID)
    return match.strip()


def bbh_lm_eval(text, references):
    extracted = found(r"(?<=the answer is )(.*)(?=.)", text, 0)
    return extracted, {"exact_match": same(extracted, references, lambda one: one)}


def without_ignored(text):
    for pattern in (",", r"\$", r"(?s).*#### ", r"\.$"):
        text = re.sub(pattern, "", text).rstrip("\0")
    return text.lower()


def gsm8k_lm_eval(text, references):
    references = [one.split("####")[-1].strip() if "####" in one else one for one in references]
    strict = found(r"The answer is (\-?[0-9\.\,]+).", text, 0)
    flexible = found(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text, -1)
    return strict, {
        "strict-match": same(strict, references, without_ignored),
        "flexible-extract": same(flexible, references, without_ignored),
    }


def normalised(text):
    text = text.lower()
    text = "".join(character for character in text if character not in set(string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def f1(answer, reference):
    answer, reference = normalised(answer).split(), normalised(reference).split()
    common = sum((collections.Counter(answer) & collections.Counter(reference)).values())
    if common == 0:
        return 0
    precision, recall = common / len(answer), common / len(reference)
    return (2 * precision * recall) / (precision + recall)


def squad(text, references):
    exact = any(normalised(text) == normalised(reference) for reference in references)
    return text.strip(), {
        "f1": 100 * max(f1(text, reference) for reference in references),
        "exact_match": 100 * int(exact),
    }


SCORERS = {
    ("bbh", "open-instruct"): bbh_open_instruct,
    ("bbh", "lm-eval"): bbh_lm_eval,
    ("gsm8k", "open-instruct"): gsm8k_open_instruct,
    ("gsm8k", "lm-eval"): gsm8k_lm_eval,
    ("tydiqa", "open-instruct"): squad,
    ("tydiqa", "lm-eval"): squad,
}


def number(value):
    return int(value) if value == int(value) else value


def score(task, rules, path):
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            case = json.loads(line)
            references = case["references"]
            references = [references] if isinstance(references, str) else references
            extracted, metrics = SCORERS[task, rules](case["prediction"], references)
            metrics = {name: number(value) for name, value in metrics.items()}
            row = {"extracted": extracted, "score": next(iter(metrics.values()))}
            if len(metrics) > 1:
                row.update(metrics)
            print(json.dumps(row, ensure_ascii=False, separators=(",", ":")))


PIECES = {
    "bbh": ["the answer is ", "The answer is ", "|he answer is ", "So the answer is", "(A)", "(B)", "Yes", "no", "valid"],
    "gsm8k": ["The answer is ", "the answer is ", "#### ", "####", "$", "-", "+", "18", "1,000", "18.00", "12,34,5", ".5"],
    "tydiqa": ["a", "an", "the", "The", "A", "ancient", "theatre", "tha", "42", "Helsinki", "Москва", "서울", "القاهرة"],
}
TRAPS = (
    [" ", "  ", "\n", "\r", "\t", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u3000", "\ufeff", "\u200b"]
    + list(".,.,;:!?()[]{}<>-'\"_$#%|`~^")
    + ["\u0301", "\u200d", "ª", "²", "½", "Ⅳ", "Ⓐ", "１", "８", "٣", "৪", "😀", "İ", "Σ", "ΑΣ", "ß", "é", "。", "’", "_", "x", "7", "0"]
)


def text_of(draw, task):
    pieces = [draw.choice(PIECES[task] if draw.random() < 0.5 else TRAPS) for _ in range(draw.randrange(12))]
    return draw.choice(["", "", " "]).join(pieces)


def make(task, count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        prediction = text_of(draw, task)
        references = [text_of(draw, task) for _ in range(draw.randrange(1, 4))]
        if draw.random() < 0.6:  # else hardly any would be right
            rules = draw.choice(["open-instruct", "lm-eval"])
            extracted, _ = SCORERS[task, rules](prediction, references)
            references[0] = draw.choice([extracted, fold(extracted), extracted + draw.choice(TRAPS), extracted.upper()])
        case = {"prediction": prediction, "references": references}
        print(json.dumps(case, ensure_ascii=draw.random() < 0.5))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    tasks = sorted({task for task, _ in SCORERS})
    maker = commands.add_parser("make")
    maker.add_argument("--task", choices=tasks, required=True)
    maker.add_argument("--count", type=int, default=1000)
    maker.add_argument("--seed", type=int, default=0)
    scorer = commands.add_parser("score")
    scorer.add_argument("--task", choices=tasks, required=True)
    scorer.add_argument("--rules", choices=["open-instruct", "lm-eval"], default="open-instruct")
    scorer.add_argument("file")
    given = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    if given.command == "make":
        make(given.task, given.count, given.seed)
    else:
        score(given.task, given.rules, given.file)


if __name__ == "__main__":
    main()
