"""Greedy continuations by transformers, float32, of the model in a GGUF file: the other side of packages/core/test/smollm2.test.ts
and packages/core/test/gemma3.test.ts.
usage: greedy.py FILE.gguf OUT.json   (needs: pip install torch transformers gguf)
"""
import json, os, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

path, out = sys.argv[1], sys.argv[2]
folder, name = os.path.split(os.path.abspath(path))
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    "Water boils at 100 degrees because",
    "<|im_start|>user\nWhat is 12 times 7?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nName three colours.<|im_end|>\n<|im_start|>assistant\n",
    "Der schnelle braune Fuchs springt",
    "1, 1, 2, 3, 5, 8,",
    "Dear Sir or Madam,\n\nI am writing to",
    "The mitochondria is the powerhouse of the cell. In more detail,",
]
cases = []
with torch.inference_mode():
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        tokens, gaps, cache, feed = [], [], None, ids
        for _ in range(40):
            step = model(input_ids=torch.tensor([feed]), past_key_values=cache, use_cache=True)
            cache = step.past_key_values
            top = step.logits[0, -1].topk(2)
            tokens.append(int(top.indices[0]))
            gaps.append(round(float(top.values[0] - top.values[1]), 5))
            feed = [tokens[-1]]
        cases.append({"prompt": prompt, "ids": ids, "tokens": tokens, "gaps": gaps})
    first = model(input_ids=torch.tensor([cases[0]["ids"]])).logits[0, -1]
json.dump({"cases": cases, "logits": [round(float(x), 5) for x in first[:64]]}, open(out, "w"))
