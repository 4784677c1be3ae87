"""Trains a LoRA with Hugging Face PEFT, as bench/train.ts trains an adapter with ours. Prints one JSON line.

With --data: the first examples of a question/answer file in its order, as ChatML, padded to the longest of a batch, the
loss on the answers. Without: random ids of one shape. A step is forward, backward and AdamW; the first is not counted.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Iterator

import torch
from peft import get_peft_model
from transformers import AutoTokenizer

from model import DTYPES, folder_and_name, load_model, lora_config

NOT_COUNTED = -100
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def random_batches(vocabulary: int) -> Iterator[Batch]:
    ids = torch.randint(0, vocabulary, (args.batch, args.seq))
    labels = ids.clone()
    labels[:, : int(args.seq * (1 - args.labelled))] = NOT_COUNTED
    for _ in range(args.steps):
        yield ids, labels, torch.ones_like(ids)


def example_batches() -> Iterator[Batch]:
    folder, name = folder_and_name(args.gguf)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)

    def tokens(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    examples = []
    with open(args.data, encoding="utf-8") as lines:
        for line, _ in zip(lines, range(args.max_examples)):
            row = json.loads(line)
            prompt = tokens(f"<|im_start|>user\n{row['question']}<|im_end|>\n<|im_start|>assistant\n")
            answer = tokens(f"{row['answer']}<|im_end|>\n")
            examples.append((prompt + answer, [NOT_COUNTED] * len(prompt) + answer))
    for begin in range(0, len(examples), args.batch):
        part = examples[begin : begin + args.batch]
        longest = max(len(ids) for ids, _ in part)

        def padded(rows: list[list[int]], value: int) -> torch.Tensor:
            return torch.tensor([row + [value] * (longest - len(row)) for row in rows])

        ids = [ids for ids, _ in part]
        labels = [labels for _, labels in part]
        yield padded(ids, 2), padded(labels, NOT_COUNTED), padded([[1] * len(row) for row in ids], 0)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gguf", help="a GGUF file, a folder, or a preset such as llama3.2-1b, whose weights are random then")
parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the base; PEFT keeps adapters in float32")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq", type=int, default=256)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--labelled", type=float, default=1.0, help="share of each row that the loss counts")
parser.add_argument("--data", help="a JSON Lines file with question and answer")
parser.add_argument("--max-examples", type=int, default=128)
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

model = get_peft_model(load_model(args.gguf, args.threads, args.dtype), lora_config(args.rank)).train()
optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)

seconds, tokens_seen, examples_seen = [], [], []
for ids, labels, mask in example_batches() if args.data else random_batches(model.config.vocab_size):
    start = time.perf_counter()
    model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - start)
    tokens_seen.append(int(mask.sum()))
    examples_seen.append(len(ids))

total, median = sum(seconds[1:]), statistics.median(seconds[1:])
print(
    json.dumps(
        {
            "peer": "peft",
            "dtype": args.dtype,
            "batch": args.batch,
            **({"data": os.path.basename(args.data)} if args.data else {"seq": args.seq, "labelled": args.labelled}),
            "median_step_s": round(median, 3),
            "tokens_per_s": round(sum(tokens_seen[1:]) / total if args.data else args.batch * args.seq / median, 1),
            "examples_per_s": round(sum(examples_seen[1:]) / total, 3),
            "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    )
)
