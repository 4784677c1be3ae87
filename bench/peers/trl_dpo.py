"""Trains a LoRA on pairs by TRL's DPOTrainer, as bench/trl.ts trains one with ours. Prints one JSON line.

The reference's log-probabilities are computed beforehand, as ours are. Counted are the updates of one pass but for the first.
"""

import argparse
import json
import resource
import tempfile
import time

from datasets import load_dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

from model import folder_and_name, load_model, lora_config

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gguf")
parser.add_argument("pairs", help="JSON Lines with prompt, chosen and rejected, each a list of messages")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--checkpointing", action="store_true", help="recompute activations, TRL's own default")
args = parser.parse_args()


class Clock(TrainerCallback):
    """CPU time and time when each update has ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, *_, **__) -> None:
        self.ends.append((time.process_time(), time.perf_counter()))


model = load_model(args.gguf, args.threads)
folder, name = folder_and_name(args.gguf)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
pairs = load_dataset("json", data_files=args.pairs, split="train")
clock = Clock()
with tempfile.TemporaryDirectory() as out:
    trainer = DPOTrainer(
        model=model,
        args=DPOConfig(
            output_dir=out,
            per_device_train_batch_size=args.batch,
            num_train_epochs=1,
            learning_rate=1e-4,
            # TRL's equivalent of a weight of plain training of 1
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, 1.0],
            precompute_ref_log_probs=True,
            gradient_checkpointing=args.checkpointing,
            max_length=None,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=lora_config(args.rank),
        callbacks=[clock],
    )
    trainer.train()
counted = len(pairs) - args.batch
cpu, seconds = (end - start for start, end in zip(clock.ends[0], clock.ends[-1]))
print()
print(
    json.dumps(
        {
            "peer": "trl",
            "examples_per_cpu_s": round(counted / cpu, 4),
            "examples_per_s": round(counted / seconds, 4),
            "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        }
    )
)
