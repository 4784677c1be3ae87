"""Trains a LoRA on conversations by TRL's SFTTrainer, and saves it for PEFT. Prints one JSON line.

Rank, alpha, dropout, layers and rate are those of TRL's page about PEFT, the rest its defaults; the loss counts answers.
"""

import argparse
import json
import time

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from model import folder_and_name, load_model

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gguf")
parser.add_argument("data", help="JSON Lines with messages, of which the last is the answer")
parser.add_argument("out", help="folder of the adapter")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()

started = time.perf_counter()
model = load_model(args.gguf, args.threads)
folder, name = folder_and_name(args.gguf)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
with open(args.data, encoding="utf-8") as lines:
    conversations = [json.loads(line)["messages"] for line in lines]
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir=args.out,
        num_train_epochs=args.epochs,
        learning_rate=2e-4,
        seed=args.seed,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    ),
    train_dataset=Dataset.from_list([{"prompt": turns[:-1], "completion": turns[-1:]} for turns in conversations]),
    processing_class=tokenizer,
    peft_config=LoraConfig(r=32, lora_alpha=16, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"),
)
result = trainer.train()
trainer.save_model(args.out)
print(json.dumps({"steps": result.global_step, "seconds": round(time.perf_counter() - started)}))
