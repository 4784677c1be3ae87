"""Samples groups of answers as TRL's GRPOTrainer does without vLLM, with a LoRA. Prints one JSON line."""

import argparse
import json
import resource
import statistics
import tempfile
import time

from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from model import folder_and_name, load_model, lora_config

THINGS = ["a volcano", "the moon", "a library", "bread", "a bicycle", "the ocean", "a violin", "rain"]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("gguf")
parser.add_argument("--prompts", type=int, default=4)
parser.add_argument("--group", type=int, default=8)
parser.add_argument("--new", type=int, default=48)
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()

model = load_model(args.gguf, args.threads)
folder, name = folder_and_name(args.gguf)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
prompts = [[{"role": "user", "content": f"What is {thing}?"}] for thing in THINGS[: args.prompts]]
with tempfile.TemporaryDirectory() as out:
    trainer = GRPOTrainer(
        model=model,
        args=GRPOConfig(
            output_dir=out,
            per_device_train_batch_size=args.prompts * args.group,
            num_generations=args.group,
            max_completion_length=args.new,
            use_cpu=True,
            bf16=False,
            report_to="none",
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        reward_funcs=lambda completions, **_: [0.0 for _ in completions],
        processing_class=tokenizer,
        peft_config=lora_config(args.rank),
    )
    ids, *_ = trainer._tokenize_prompts([prompt for prompt in prompts for _ in range(args.group)])

    def sample() -> dict[str, float]:
        cpu, start = time.process_time(), time.perf_counter()
        completions, *_ = trainer._generate_single_turn(ids, None, {}, args.group)
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
        return {
            "completions_per_cpu_s": len(completions) / cpu,
            "completions_per_s": len(completions) / seconds,
            "tokens_per_completion": sum(map(len, completions)) / len(completions),
        }

    sample()  # the first is slower
    rounds = [sample() for _ in range(2)]
print()
print(
    json.dumps(
        {
            "peer": "trl",
            **{name: round(statistics.median(one[name] for one in rounds), 3) for name in rounds[0]},
            "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    )
)
