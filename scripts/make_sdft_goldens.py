"""Adds the cases of self-distillation to test/goldens-preference: losses and gradients by TRL's SDFTTrainer, on a tiny Llama with LoRA.

usage: python scripts/make_sdft_goldens.py test/goldens-preference    (torch, transformers, trl 1.16)
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from trl.experimental.sdft.sdft_trainer import DistillationLogits, SDFTTrainer

FOLDER = Path(sys.argv[1])
BASE, RANK, ALPHA = "tiny-llama", 2, 16.0
TRAIN = {"steps": 6, "learning_rate": 0.001, "warmup_steps": 2, "schedule": "linear", "max_grad_norm": 0.3}
FULL, TOPK = {"distillation_mode": "full_logits"}, {"distillation_mode": "topk_logits", "distillation_topk": 7}
CASES = {
    "forward": {**FULL, "distillation_alpha": 0.0, "teacher_model_kind": "base"},
    "reverse": {**FULL, "distillation_alpha": 1.0, "teacher_model_kind": "base"},
    "jsd": {**FULL, "distillation_alpha": 0.3, "teacher_model_kind": "base"},
    "live": {**FULL, "distillation_alpha": 0.5, "teacher_model_kind": "live"},
    "topk": {**TOPK, "distillation_alpha": 0.5, "teacher_model_kind": "base"},
    "topk-tail": {**TOPK, "distillation_alpha": 1.0, "distillation_add_tail": True, "teacher_model_kind": "base"},
}


def pad(rows, left=False):
    """Rows of token ids as a matrix, and where it has them."""
    width = max(map(len, rows))
    blanks = [[0] * (width - len(row)) for row in rows]
    ids = [blank + row if left else row + blank for row, blank in zip(rows, blanks)]
    masks = [[0] * len(b) + [1] * len(row) if left else [1] * len(row) + [0] * len(b) for row, b in zip(rows, blanks)]
    return torch.tensor(ids, dtype=torch.int32), torch.tensor(masks, dtype=torch.int32)


def examples():
    """Prompts, hints that stand behind them, and answers, all of different lengths."""
    generator = torch.Generator().manual_seed(5)
    draw = lambda n: torch.randint(3, 128, (n,), generator=generator).tolist()
    return [(draw(p), draw(h), draw(a)) for p, h, a in [(3, 9, 8), (6, 4, 3), (4, 12, 6), (5, 1, 5)]]


class Adapted:
    """The base, and LoRA on all of its linear layers, which can be turned off."""

    def __init__(self):
        self.model = AutoModelForCausalLM.from_pretrained(FOLDER / BASE, dtype=torch.float32)
        self.model.requires_grad_(False)
        self.training, self.isOn = True, True
        generator = torch.Generator().manual_seed(6)
        self.params = {}
        for i, layer in enumerate(self.model.model.layers):
            for name, linear in layer.named_modules():
                if isinstance(linear, torch.nn.Linear):
                    self.adapt(linear, f"{name.split('.')[-1]}.{i}", generator)

    def adapt(self, linear, name, generator):
        a, b = (
            torch.nn.Parameter(0.1 * torch.randn(shape, generator=generator))
            for shape in [(RANK, linear.in_features), (linear.out_features, RANK)]
        )
        self.params |= {f"{name}.A": a, f"{name}.B": b}
        linear.register_forward_hook(
            lambda _, inputs, y: y + ALPHA / RANK * (inputs[0] @ a.T) @ b.T if self.isOn else y
        )

    def logits(self, prompts, answers, isOn=True):
        """Logits that predict each token of the answers, padded."""
        self.isOn = isOn
        found = torch.zeros(len(answers), max(map(len, answers)), 128)
        for i, (prompt, answer) in enumerate(zip(prompts, answers)):
            logits = self.model(torch.tensor([prompt + answer])).logits[0]
            found[i, : len(answer)] = logits[len(prompt) - 1 : -1]
        return found


def measure(adapted, case):
    """The loss as TRL's trainer computes it, and the log-probabilities of the answers."""
    prompts, hints, answers = zip(*examples())
    student = adapted.logits(prompts, answers)
    with torch.no_grad():
        taught = [p + h for p, h in zip(prompts, hints)]
        teacher = adapted.logits(taught, answers, isOn=case["teacher_model_kind"] == "live")
    ids, mask = pad(answers)
    args = SimpleNamespace(**{"distillation_topk": None, "distillation_add_tail": False, "distillation_is_clip": None, **case})
    trainer = SimpleNamespace(
        args=args,
        accelerator=SimpleNamespace(gather=lambda x: x),
        _log_self_distillation_metric=lambda mode, value: None,
    )
    given = DistillationLogits(ids.long(), mask, student, teacher)
    loss = SDFTTrainer._compute_self_distillation_loss(trainer, adapted, {}, given)
    logps = student.log_softmax(-1).gather(-1, ids.long().unsqueeze(-1)).squeeze(-1) * mask
    return loss, logps.detach(), {"nll_loss": (-logps.sum() / mask.sum()).item()}


def case_files(name, case):
    adapted = Adapted()
    params = adapted.params
    optimizer = torch.optim.AdamW(params.values(), lr=TRAIN["learning_rate"], weight_decay=0.0)
    prompts, hints, answers = zip(*examples())
    tensors = {f"param.{k}": v.detach().clone() for k, v in params.items()}
    for key, rows, left in [
        ("prompt", prompts, True),
        ("completion", answers, False),
        ("hinted_prompt", [p + h for p, h in zip(prompts, hints)], True),
    ]:
        tensors[f"{key}_ids"], tensors[f"{key}_mask"] = pad(rows, left)
    train = {**TRAIN, "losses": [], "grad_norms": [], "metrics": []}
    for step in range(TRAIN["steps"]):
        loss, logps, metrics = measure(adapted, case)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {"loss": loss.detach().reshape(1), "logps": logps}
            tensors |= {f"grad.{k}": v.grad.clone() for k, v in params.items()}
        norm = torch.nn.utils.clip_grad_norm_(params.values(), TRAIN["max_grad_norm"])
        train["losses"].append(loss.item())
        train["grad_norms"].append(norm.item())
        train["metrics"].append(metrics)
        optimizer.param_groups[0]["lr"] = TRAIN["learning_rate"] * (step / 2 if step < 2 else (6 - step) / 4)
        optimizer.step()
    file = f"{BASE}.lora.sdft-{name}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, FOLDER / file)
    return {
        "file": file,
        "base": BASE,
        "inputs": file,
        "method": "lora",
        "config": {"alpha": ALPHA, "r": RANK},
        "objective": {"name": f"sdft-{name}", "trainer": "sdft", **case},
        "loss": train["losses"][0],
        "metrics": train["metrics"][0],
        "train": train,
    }


index = FOLDER / "index.json"
entries = [one for one in json.loads(index.read_text()) if one["objective"]["trainer"] != "sdft"]
entries += [case_files(name, case) for name, case in CASES.items()]
index.write_text(json.dumps(entries, indent=1))
for entry in entries[-len(CASES) :]:
    print(entry["file"], entry["train"]["losses"])
