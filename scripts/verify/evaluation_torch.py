"""PyTorch answers the questions that mos eval has logged: the other side of MMLU's choices, and of GSM8K's speed.
usage: evaluation_torch.py choices LOG.jsonl --model FILE.gguf [--questions 200]
       evaluation_torch.py speed   LOG.jsonl --model FILE.gguf [--questions 24] [--batch 8] [--tokens 512]
needs: pip install torch transformers gguf

LOG is a file of RESULT.answers of a run in float32: base.mmlu.jsonl or base.gsm8k.jsonl.

choices: a pass of every prompt without mos; the likeliest of " A" to " D" after it has to be the one in the log, and
log-probabilities are compared. A question that is answered otherwise ends this with 1.
speed: greedy answers by transformers' generate, so many prompts at a time, padded on the left, the longest answer of
a batch ending it. Printed: samples a minute, and how many answers begin as those in the log do.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def samples_of(path, count):
    with open(path, encoding="utf-8") as lines:
        entries = [json.loads(line) for line in lines]
    samples = [entry for entry in entries if entry["type"] == "sample" and not entry.get("tooLong")]
    return sorted(samples, key=lambda sample: sample["id"])[:count]


def load(path):
    files = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**files)
    return tokenizer, AutoModelForCausalLM.from_pretrained(**files, dtype=torch.float32).eval()


def ids_of(tokenizer, sample):
    ids = tokenizer(sample["prompt"], add_special_tokens=False)["input_ids"]
    if len(ids) != sample["promptTokens"]:
        sys.exit(f"{sample['id']}: {len(ids)} tokens here, {sample['promptTokens']} in the log")
    return ids


def choices(samples, tokenizer, model):
    candidates = [tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1] for letter in "ABCD"]
    different, largest = [], 0.0
    for number, sample in enumerate(samples):
        logits = model(input_ids=torch.tensor([ids_of(tokenizer, sample)])).logits[0, -1]
        ours = [float(logits.log_softmax(-1)[token]) for token in candidates]
        largest = max(largest, *(abs(one - other) for one, other in zip(ours, sample["logprobs"])))
        chosen = "ABCD"[max(range(4), key=ours.__getitem__)]
        if chosen != sample["answers"][0]:
            different.append(sample["id"])
            print("answered otherwise:", sample["id"], ours, sample["logprobs"])
        if number % 20 == 19:
            print(f"{number + 1} of {len(samples)}", file=sys.stderr)
    return {
        "questions": len(samples),
        "same_answers": len(samples) - len(different),
        "largest_difference": largest,
    }


def speed(samples, tokenizer, model, options):
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    alike = tokens = 0
    started = time.time()
    for begin in range(0, len(samples), options.batch):
        batch = samples[begin : begin + options.batch]
        texts = [sample["prompt"] for sample in batch]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        written = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=options.tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, inputs["input_ids"].shape[1] :]
        for sample, answer in zip(batch, written):
            text = tokenizer.decode(answer, skip_special_tokens=True)
            alike += text[:40] == sample["answers"][0][:40]
            tokens += int((answer != tokenizer.pad_token_id).sum())
        print(f"{begin + len(batch)} of {len(samples)}", file=sys.stderr)
    seconds = time.time() - started
    return {
        "samples": len(samples),
        "samples_per_minute": round(60 * len(samples) / seconds, 2),
        "new_tokens": tokens,
        "alike": alike,
        "seconds": round(seconds, 1),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["choices", "speed"])
    parser.add_argument("log")
    parser.add_argument("--model", required=True, help="the GGUF file that the log was made with")
    parser.add_argument("--questions", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count = options.questions or (200 if options.what == "choices" else 24)
    samples = samples_of(options.log, count)
    tokenizer, model = load(Path(options.model).resolve())
    with torch.inference_mode():
        if options.what == "choices":
            result = choices(samples, tokenizer, model)
        else:
            result = speed(samples, tokenizer, model, options)
    print(json.dumps(result))
    if options.what == "choices" and result["same_answers"] < result["questions"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
