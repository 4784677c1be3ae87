"""What mos serve --peft-folder writes, as vLLM's filesystem resolver and PEFT read it.
usage: peft_folder.py
needs: pip install openai torch transformers peft, and npm run build

A job is trained through the API. Its model has to be found by the resolver's rules, for the base's name only, and PEFT's
logits with it have to be this engine's within 1e-4. When the model is deleted, the resolver finds nothing.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import openai
import torch
from mos_server import ROOT, serving
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

BASE = ROOT / "assets/tiny-english"
BASE_NAME = "org/tiny-english"
SETTINGS = {"mos": {"rank": 6, "steps": 4, "save_every": 2, "max_length": 128, "learning_rate": 0.01}}
ENGINE = ["node", "--conditions=source", "--import", "tsx", "scripts/verify/logits.ts", "adapters"]


def resolved(folder, base_model, name):
    """The path that vLLM's FilesystemResolver and its checks of a LoRA's config give; None where it finds nothing."""
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, name))
    if os.path.isabs(name) or os.path.commonpath([root, path]) != root:
        return None
    file = os.path.join(path, "adapter_config.json")
    if not os.path.exists(file):
        return None
    config = json.loads(Path(file).read_text())
    if config["peft_type"] != "LORA" or config["base_model_name_or_path"] != base_model:
        return None
    # vllm/lora/peft_helper.py, with the default of --max-lora-rank
    assert config["r"] <= 16 and config["bias"] == "none" and not config["modules_to_save"], config
    assert not config.get("use_dora") and {"lora_alpha", "target_modules"} <= config.keys(), config
    return path


def eventually(what):
    """What a function gives when it is something."""
    for _ in range(300):
        found = what()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit("waited in vain")


def trained(client):
    with open(ROOT / "assets/quickstart/train.jsonl", "rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, suffix="ä b/c", seed=3, extra_body=SETTINGS
    )
    return eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model)


def load():
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)


def logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.flatten(0, 1)


def compare(folder, path):
    """The largest differences of PEFT's logits from this engine's, and from those of the bare base."""
    bare = load()
    tokens = torch.randint(0, bare.config.vocab_size, (2, 24))
    (folder / "tokens.json").write_text(json.dumps(tokens.tolist()))
    subprocess.run([*ENGINE, str(BASE), str(folder), "adapter"], check=True, cwd=ROOT)
    engine = load_file(folder / "adapter.safetensors")["logits"]
    base = logits(bare, tokens)
    peft = logits(PeftModel.from_pretrained(load(), path), tokens)
    return (peft - engine).abs().max().item(), (peft - base).abs().max().item()


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = folder / "peft"
        options = ["--state", folder / "state", "--peft-folder", tree, "--peft-base-name", BASE_NAME]
        with serving(BASE, "--model-name", "tiny", *options) as (address, _):
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
            model = trained(client)
            plain = model.replace(":", "--")  # what vLLM calls it
            path = eventually(lambda: resolved(tree, BASE_NAME, plain))
            assert resolved(tree, "org/other", plain) is None
            shutil.copytree(folder / "state/storage/adapters" / model.replace(":", "%3A"), folder / "adapter")
            error, moved = compare(folder, path)
            print(f"{model}: PEFT to this engine {error:.1e}; moves the logits by {moved:.3f}")
            names = sorted(entry.name for entry in tree.iterdir() if not entry.name.startswith("."))
            assert names in ([plain], [plain, "manifest.json"]), names  # no checkpoints
            client.models.delete(model)
            assert resolved(tree, BASE_NAME, plain) is None
    return 0 if error < 1e-4 and moved > 1e-2 else 1


if __name__ == "__main__":
    sys.exit(main())
