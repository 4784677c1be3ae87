"""Compares the tuner with our numbers: equal pools and index tables, then logits, loss, gradients and six updates.

usage: python docs/results/peft/test_mos.py test/goldens        needs peft 0.21, torch, transformers, safetensors
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model
from peft.utils import PeftType
from safetensors.torch import load_file
from transformers import LlamaForCausalLM, Trainer, TrainingArguments

if not hasattr(PeftType, "MOS"):  # in PEFT itself this is a line of the enum
    member = str.__new__(PeftType, "MOS")
    member._name_, member._value_ = "MOS", "MOS"
    type.__setattr__(PeftType, "MOS", member)
    PeftType._member_map_["MOS"] = PeftType._value2member_map_["MOS"] = member
    PeftType._member_names_.append("MOS")
sys.path.insert(0, str(Path(__file__).parent))
from mos import MosConfig  # noqa: E402

GOLDENS = Path(sys.argv[1])
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def close(name, found, expected, tolerance):
    distance = (found - expected).abs().max().item() / max(expected.abs().max().item(), 1e-9)
    print(f"  {name}: {distance:.1e}")
    assert distance < tolerance, name


def layers_of(model, kind):
    return [m for n, m in model.named_modules() if n.endswith(kind) and hasattr(m, "mos_indices_A")]


def start(entry):
    config = entry["config"]
    base = LlamaForCausalLM.from_pretrained(GOLDENS / entry["base"], dtype=torch.float32).eval()
    settings = MosConfig(r=config["r"], equivalent_rank=config["e"], shards_per_vector=config["l"],
                         private_rank=config["p"], mos_alpha=config["alpha"], target_modules=LINEARS,
                         pair_dissociation=entry["method"] != "mos-pd", task_type="CAUSAL_LM")
    model = get_peft_model(base, settings).eval()
    golden = load_file(GOLDENS / entry["file"])
    with torch.no_grad():
        for kind in LINEARS:
            for side in "AB":
                getattr(model.base_model, f"mos_pool_{side}_{kind}")["default"].copy_(golden[f"param.{kind}.{side}_pool"])
            for k, layer in enumerate(layers_of(model, kind)):
                layer.mos_indices_A["default"] = golden[f"frozen.{kind}.I_a"][k].long()
                layer.mos_indices_B["default"] = golden[f"frozen.{kind}.I_b"][k].long()
    return model, golden


def check(entry):
    print(entry["file"])
    model, golden = start(entry)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == entry["trainable"]
    read = load_file(GOLDENS / entry["inputs"])
    inputs = {"input_ids": read["input_ids"].long(), "labels": read["labels"].long()}
    result = model(**inputs)
    result.loss.backward()
    close("logits", result.logits, golden["logits"], 1e-4)
    close("loss", result.loss, golden["loss"], 1e-5)
    for kind in LINEARS:
        for side in "AB":
            pool = getattr(model.base_model, f"mos_pool_{side}_{kind}")["default"]
            close(f"gradient of {kind}.{side}", pool.grad, golden[f"grad.{kind}.{side}_pool"], 1e-3)
    # the same updates as ours, by the Trainer
    model, golden = start(entry)
    train = entry["train"]
    rows = [{key: value[i] for key, value in inputs.items()} for i in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=train["steps"], per_device_train_batch_size=2, learning_rate=train["learning_rate"],
            lr_scheduler_type="linear", warmup_steps=train["warmup_steps"], max_grad_norm=train["max_grad_norm"],
            weight_decay=0.0, logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, optim="adamw_torch",
            dataloader_pin_memory=False)
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.train()
        losses = torch.tensor([line["loss"] for line in trainer.state.log_history if "loss" in line])
        close("six losses", losses, torch.tensor(train["losses"]), 1e-3)
        model.eval()
        expected = model(**inputs).logits.detach()
        model.save_pretrained(folder)
        base = LlamaForCausalLM.from_pretrained(GOLDENS / entry["base"], dtype=torch.float32).eval()
        loaded = PeftModel.from_pretrained(base, folder).eval()
        close("logits after saving and loading", loaded(**inputs).logits, expected, 1e-6)
        close("logits after merging", loaded.merge_and_unload()(**inputs).logits, expected, 1e-4)


for entry in json.loads((GOLDENS / "index.json").read_text()):
    if entry["method"].split("-")[0] == "mos":
        check(entry)
print("all pass")
