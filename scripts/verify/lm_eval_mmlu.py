"""lm-evaluation-harness scores MMLU through mos serve, and PyTorch scores the same prompts without it.
usage: lm_eval_mmlu.py --model FILE.gguf --data FOLDER [--questions 200] [--fewshot 0] [--url http://127.0.0.1:8080]
needs: pip install "lm-eval[api]" torch transformers gguf, and npm run build unless --url is given

FOLDER has test.jsonl, and dev.jsonl for --fewshot: lines of {"subject", "question", "choices", "answer"}. The first
question of every subject is asked, then the second of every one, and so on. lm-evaluation-harness is run as it is, by
its command, with local-completions and a task file made here; what it logged as asked is asked of transformers in
float32. Any question that is answered otherwise ends this with 1. OPENAI_API_KEY is the key of a server at --url.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

from mos_server import base_of, serving

TASK = """\
task: mmlu_local
dataset_path: json
dataset_kwargs:
  data_files:
    test: {questions}
test_split: test
output_type: multiple_choice
description: "The following are multiple choice questions (with answers) about {{{{subject.replace('_', ' ')}}}}.\\n\\n"
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def read(file):
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def by_subject(lines):
    subjects = {}
    for line in lines:
        subjects.setdefault(line["subject"], []).append(line)
    return subjects


def layout(line):
    choices = (f"{letter}. {choice}" for letter, choice in zip("ABCD", line["choices"]))
    return "\n".join([line["question"].strip(), *choices, "Answer:"])


def questions(folder, count, fewshot):
    """The questions by turns of the subjects, each with its prompt as MMLU lays it out."""
    subjects = by_subject(read(folder / "test.jsonl"))
    chosen = [line for turn in zip_longest(*subjects.values()) for line in turn if line is not None][:count]
    examples = by_subject(read(folder / "dev.jsonl")) if fewshot else {}
    for line in chosen:
        shots = examples.get(line["subject"], [])[:fewshot]
        shown = [f"{layout(shot)} {'ABCD'[shot['answer']]}" for shot in shots]
        yield {**line, "prompt": "\n\n".join([*shown, layout(line)])}


def harness(work, address, base, options):
    """Runs lm-evaluation-harness; gives its samples in order, and its accuracy."""
    chosen = questions(Path(options.data), options.questions, options.fewshot)
    (work / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in chosen))
    (work / "mmlu_local.yaml").write_text(TASK.format(questions=work / "questions.jsonl"))
    settings = {
        "model": base,
        "base_url": f"{address}/v1/completions",
        "tokenizer_backend": "huggingface",
        "tokenizer": work / "tokenizer",
        "num_concurrent": 1,
        "max_length": 4096,
        "timeout": 3600,
        "tokenized_requests": not options.text,
    }
    arguments = {
        "--model": "local-completions",
        "--model_args": ",".join(f"{name}={value}" for name, value in settings.items()),
        "--tasks": "mmlu_local",
        "--include_path": work,
        "--batch_size": 4,
        "--output_path": work / "results",
    }
    flat = [str(word) for pair in arguments.items() for word in pair]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache"), "OPENAI_API_KEY": "none"}
    command = [sys.executable, "-m", "lm_eval", *flat, "--log_samples"]
    subprocess.run(command, env={**offline, **os.environ}, stdout=sys.stderr, check=True)
    (results,) = (work / "results").rglob("results_*.json")
    (samples,) = (work / "results").rglob("samples_*.jsonl")
    accuracy = json.loads(results.read_text())["results"]["mmlu_local"]["acc,none"]
    return sorted(read(samples), key=lambda sample: sample["doc_id"]), accuracy


class Torch:
    """Log-likelihoods of continuations, each by a pass of the whole prompt."""

    def __init__(self, path, threads):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self.torch = torch
        self.files = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
        self.tokenizer = AutoTokenizer.from_pretrained(**self.files)
        self.load = lambda: AutoModelForCausalLM.from_pretrained(**self.files, dtype=torch.float32).eval()
        self.model = None
        self.last = ()

    def log_probabilities(self, ids):
        # choices of one token differ in what is scored, not in what is read
        if self.last[:1] != (ids,):
            with self.torch.inference_mode():
                logits = self.model(input_ids=self.torch.tensor([ids])).logits[0]
            self.last = (ids, logits.log_softmax(-1))
        return self.last[1]

    def score(self, context, continuation):
        self.model = self.model or self.load()
        whole = self.tokenizer(context + continuation, add_special_tokens=False)["input_ids"]
        start = len(self.tokenizer(context, add_special_tokens=False)["input_ids"])
        rows = self.log_probabilities(whole[:-1])
        return sum(float(rows[at - 1, whole[at]]) for at in range(start, len(whole)))


def compare(samples, model):
    """One line for each question: what both chose, and how far their log-likelihoods are apart."""
    for number, sample in enumerate(samples):
        asked = [(values["arg_0"], values["arg_1"]) for values in sample["arguments"].values()]
        theirs = [float(answer[0][0]) for answer in sample["resps"]]
        ours = [model.score(*arguments) for arguments in asked]
        best = [max(range(len(scores)), key=scores.__getitem__) for scores in (theirs, ours)]
        ranked = sorted(ours)
        yield {
            "question": number,
            "subject": sample["doc"]["subject"],
            "served": "ABCD"[best[0]],
            "pytorch": "ABCD"[best[1]],
            "right": "ABCD"[sample["doc"]["answer"]],
            "difference": max(abs(one - other) for one, other in zip(theirs, ours)),
            "margin": ranked[-1] - ranked[-2],
        }
        if number % 20 == 19:
            print(f"{number + 1} of {len(samples)} questions compared", file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a GGUF file, which transformers reads, too")
    parser.add_argument("--data", required=True)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--fewshot", type=int, default=0, help="examples before each question")
    parser.add_argument("--url", help="of a server that runs with this model; else one is started")
    parser.add_argument("--text", action="store_true", help="send texts, so that the server makes the tokens")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    return parser.parse_args()


def server_of(options):
    if options.url is None:
        return serving(options.model)
    base = base_of(options.url, os.environ.get("OPENAI_API_KEY", "none"))
    return contextlib.nullcontext((options.url, base))


def main():
    options = arguments()
    model = Torch(Path(options.model).resolve(), options.threads)
    with tempfile.TemporaryDirectory() as folder, server_of(options) as (address, base):
        model.tokenizer.save_pretrained(Path(folder) / "tokenizer")
        started = time.time()
        samples, accuracy = harness(Path(folder), address, base, options)
        served_seconds = time.time() - started
    started = time.time()
    results = list(compare(samples, model))
    different = [result for result in results if result["served"] != result["pytorch"]]
    for result in different:
        print("answered otherwise:", json.dumps(result))
    summary = {
        "questions": len(results),
        "same_answers": len(results) - len(different),
        "accuracy_lm_eval": round(accuracy, 4),
        "accuracy_pytorch": round(sum(one["pytorch"] == one["right"] for one in results) / len(results), 4),
        "largest_difference": max(one["difference"] for one in results),
        "least_margin": min(one["margin"] for one in results),
        "served_s": round(served_seconds, 1),
        "pytorch_s": round(time.time() - started, 1),
    }
    print(json.dumps(summary))
    return 1 if different or len(results) != options.questions else 0


if __name__ == "__main__":
    sys.exit(main())
