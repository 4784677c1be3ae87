"""Whether an export of a lower rank has the errors and the losses that are told, by PyTorch's decomposition and PEFT.
usage: lower_rank.py MODEL ADAPTER DATA.jsonl RANK...    (needs: pip install torch transformers peft)

MODEL is a Hugging Face folder. For each rank, the relative error of every layer has to be that of torch.linalg.svd within 1e-4,
and both losses those of transformers with PEFT within 1e-3. Prints a table.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

NODE = ["node", "--conditions=source", "--import", "tsx"]


def run(*command):
    return json.loads(subprocess.run([*NODE, *map(str, command)], check=True, capture_output=True).stdout)


def updates(folder):
    """scale · B A of every layer."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    names = [name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")]
    short = {name.removeprefix("base_model.model."): name for name in names}
    return {key: scale * tensors[f"{name}.lora_B.weight"].double() @ tensors[f"{name}.lora_A.weight"].double() for key, name in short.items()}


def main(model, adapter, data, *ranks):
    torch.set_num_threads(2)
    failures = 0
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        export = ["packages/mos/src/cli/main.ts", "export", adapter, "--model", model, "--format", "peft", "--json"]
        run(*export, "--out", folder / "whole")
        whole = updates(folder / "whole")
        singular = {key: torch.linalg.svdvals(update) for key, update in whole.items()}
        examples = run("scripts/verify/encoded-examples.ts", model, data)

        def loss(path):
            peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), path).eval()
            total = count = 0
            for example in examples:
                logits = peft(torch.tensor([example["ids"]])).logits[0, :-1]
                labels = torch.tensor(example["labels"][1:])
                total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
                count += (labels >= 0).sum().item()
            return total / count

        before = loss(folder / "whole")
        print("| rank | lost of the update | most, in a layer | loss before | after | PyTorch's | largest difference of an error |\n|---|---|---|---|---|---|---|")
        for rank in map(int, ranks):
            out = folder / f"r{rank}"
            told = run(*export, "--out", out, "--max-rank", rank, "--data", data)
            errors = {key: (values[rank:].norm() / values.norm()).item() for key, values in singular.items()}
            modules = told["lowered"]["modules"]
            apart = max(abs(modules[key] - error) for key, error in errors.items())
            # what the file holds is as near as it is said to be
            held = updates(out)
            apart = max(apart, max(abs(((held[key] - update).norm() / update.norm()).item() - errors[key]) for key, update in whole.items()))
            after = loss(out)
            losses = told["loss"]
            off = max(abs(losses["before"] - before), abs(losses["after"] - after))
            failures += apart > 1e-4 or off > 1e-3 or set(modules) != set(errors)
            print(f"| {rank} | {told['lowered']['error']:.1%} | {max(errors.values()):.1%} | {losses['before']:.4f} | {losses['after']:.4f} | {before:.4f}, {after:.4f} | {apart:.0e} |")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
