"""Decodes greedily with Hugging Face PEFT, the rows of one batch with several random LoRAs. Prints one JSON line.

The time of the prompts, which are random too, is part of it.
"""

import argparse
import json
import time

import torch
from peft import get_peft_model

from model import load_model, lora_config

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gguf")
parser.add_argument("--rows", type=int, default=8)
parser.add_argument("--adapters", type=int, default=8)
parser.add_argument("--prompt", type=int, default=32)
parser.add_argument("--new", type=int, default=64)
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

config = lora_config(args.rank, init_lora_weights=False)
names = [f"tenant-{index}" for index in range(args.adapters)]
model = get_peft_model(load_model(args.gguf, args.threads), config, adapter_name=names[0])
for name in names[1:]:
    model.add_adapter(name, config)
model.eval()

prompts = torch.randint(3, model.config.vocab_size, (args.rows, args.prompt))
mixed = {"adapter_names": [names[row % len(names)] for row in range(args.rows)]} if len(names) > 1 else {}


def generate(tokens: int) -> float:
    start = time.perf_counter()
    model.generate(
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        pad_token_id=2,
        **mixed,
    )
    return time.perf_counter() - start


with torch.inference_mode():
    generate(4)  # the first call is slower
    seconds = generate(args.new)
print(
    json.dumps(
        {
            "peer": "peft",
            "rows": args.rows,
            "adapters": args.adapters,
            "seconds": round(seconds, 2),
            "new_tokens_per_s": round(args.rows * args.new / seconds, 1),
        }
    )
)
