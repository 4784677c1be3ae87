"""Golden numbers of the families of 2026, computed in float64, and how exactly a folder of such numbers is determined.

usage: python scripts/make_2026_goldens.py test/goldens-2026         makes the folder
       python scripts/make_2026_goldens.py --check DIR [CASE...]     computes its cases anew in float32 and float64
(needs torch, transformers 5.24 and safetensors)

A case fits for a test only where float32 determines its numbers. AdamW divides each gradient by its size, so its first
updates have the signs of the gradients: one that is near 0 moves its parameter by the whole rate in a direction that rounding
chooses. Both modes move each parameter by half of float32's last place and compute anew in float64: what changes then is
no error of anybody's. Cases are drawn anew until that is a fraction of the tolerance.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parent / "verify"))
from families.models import random_model

logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore")
torch.set_num_threads(1)

# name of the model → tokens of a row; of linear attention more than a chunk
MODELS = {"qwen3_5-tiled": 70} | dict.fromkeys(
    ["gemma4", "gemma4-wide", "lfm2", "lfm3", "ministral3", "olmo3", "granitemoehybrid", "granite_swa"], 20
)
CONFIGS = {"lora": dict(alpha=8.0, r=2), "mos": dict(alpha=8.0, e=2, r=3, l=2, p=1)}
VOCABULARY, PREFILL, LAST_PLACE = 96, 11, 2.0**-24
LOGITS, TOLERANCE = 1e-4, 1e-3  # those of goldens.ts, absolute and as a share
FUSED = {"input_linear"}  # gate and up in one matrix: adapters here have one for each
FLOAT = torch.float32, torch.Tensor.float


def compute_in(dtype):
    """Models convert to float32 where float16 would not do; `dtype` takes its place."""
    torch.float32 = torch.float = dtype
    torch.Tensor.float = torch.Tensor.double if dtype == torch.float64 else FLOAT[1]


def in_dtype(folder, dtype):
    compute_in(FLOAT[0])  # the files are read as they are
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=FLOAT[0])
    compute_in(dtype)
    return model.to(dtype).eval().requires_grad_(False)


def find_modules(model):
    """The linear layers of decoder layers by the last part of their paths, with `conv_` before it in a convolution."""
    modules = {}
    for layer, block in enumerate(model.model.layers):
        for path, linear in block.named_modules():
            last = path.split(".")[-1]
            if not isinstance(linear, torch.nn.Linear) or last in FUSED:
                continue
            name = f"conv_{last}" if path.startswith("conv.") else last
            found = modules.setdefault(name, {"path": path, "layers": [], "widths": []})
            found["layers"].append(layer)
            found["widths"].append([linear.in_features, linear.out_features])
    return modules


def owners(modules):
    """(label of the pool, name, path, layers) of linear layers with the same name and widths."""
    for name, module in modules.items():
        pools = {}
        for layer, widths in zip(module["layers"], module["widths"]):
            pools.setdefault(tuple(widths), []).append(layer)
        for (inner, outer), layers in pools.items():
            label = name if len(pools) == 1 else f"{name}@{inner}x{outer}"
            yield label, name, module["path"], (inner, outer), layers


def random_adapter(modules, method, config):
    """The tensors of an adapter, as a file has them."""
    tensors = {}
    random = lambda *shape: (torch.randn(shape) * 0.1 * 256).round() / 256
    for label, name, _, (inner, outer), layers in owners(modules):
        if method == "lora":
            for layer in layers:
                tensors[f"param.{name}.{layer}.A"] = random(config["r"], inner)
                tensors[f"param.{name}.{layer}.B"] = random(outer, config["r"])
            continue
        e, r, l, p = (config[key] for key in "erlp")
        rows, public = len(layers) * e * l, len(layers) * (e - p) * l
        tensors[f"param.{label}.A_pool"], tensors[f"param.{label}.B_pool"] = random(rows, inner // l), random(rows, outer // l)
        for side in "ab":
            chosen = [
                torch.cat([torch.randperm(public)[: (r - p) * l], public + torch.arange(i * p * l, (i + 1) * p * l)])
                for i in range(len(layers))
            ]
            tensors[f"frozen.{label}.I_{side}"] = torch.stack(chosen).to(torch.int32)
    return tensors


def attach(model, modules, config, parameters, frozen):
    """Adds alpha/r · B A to each linear layer."""
    r = config["r"]
    for label, name, path, _, layers in owners(modules):
        for i, layer in enumerate(layers):
            linear = model.model.layers[layer].get_submodule(path)

            def factors(label=label, name=name, i=i, layer=layer):
                if f"{name}.{layer}.A" in parameters:
                    return parameters[f"{name}.{layer}.A"], parameters[f"{name}.{layer}.B"]
                a, b = (parameters[f"{label}.{side}_pool"][frozen[f"{label}.I_{side.lower()}"][i].long()] for side in "AB")
                return a.reshape(r, -1), b.reshape(r, -1).T

            def forward(x, linear=linear, factors=factors):
                a, b = factors()
                return torch.nn.functional.linear(x, linear.weight, linear.bias) + config["alpha"] / r * (x @ a.T) @ b.T

            linear.forward = forward


def train(model, parameters, rows, settings):
    """The losses before each of the updates, and the norms of their gradients."""
    steps, warm = settings["steps"], settings["warmup_steps"]
    optimizer = torch.optim.AdamW(parameters, lr=settings["learning_rate"], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    factor = lambda step: step / warm if step < warm else (steps - step) / (steps - warm)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    losses, norms = [], []
    for _ in range(steps):
        loss = model(**rows).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, settings["max_grad_norm"]).item())
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses, norms


def compute(folder, entry, inputs, tensors, dtype=torch.float64, noise=None):
    """What a case's file should hold; `noise` is the seed of another rounding of its parameters."""
    model = in_dtype(folder / entry["base"], dtype)
    random = torch.Generator().manual_seed(noise or 0)
    parameters, frozen = {}, {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition(".")
        if kind == "frozen":
            frozen[name] = tensor
        elif kind == "param":
            sign = 2 * torch.randint(0, 2, tensor.shape, generator=random) - 1
            moved = tensor.to(dtype) * (1 + (0 if noise is None else LAST_PLACE) * sign.to(dtype))
            parameters[name] = moved.detach().requires_grad_(True)
    attach(model, entry["modules"], entry["config"], parameters, frozen)
    rows = dict(input_ids=inputs["input_ids"].long(), labels=inputs["labels"].long())
    found = model(**rows)
    gradients = torch.autograd.grad(found.loss, list(parameters.values()))
    losses, norms = train(model, list(parameters.values()), rows, entry["train"])
    compute_in(FLOAT[0])
    gradients = {f"grad.{name}": gradient for name, gradient in zip(parameters, gradients)}
    return {"logits": found.logits.detach(), "loss": found.loss.detach().reshape(1), **gradients}, losses, norms


def base_numbers(model, ids, packed, lengths):
    """Logits and loss of the rows, the same with a cache, and those of examples that share a row."""
    compute_in(model.dtype)
    labels = ids.clone()
    labels[0, :5] = labels[1, :3] = -100
    with torch.inference_mode():
        whole = model(input_ids=ids, labels=labels)
        step = model(input_ids=ids[:, :PREFILL], use_cache=True)
        steps = [step.logits]
        for at in range(PREFILL, ids.shape[1]):
            step = model(input_ids=ids[:, at : at + 1], past_key_values=step.past_key_values, use_cache=True)
            steps.append(step.logits)
        alone = [model(input_ids=one[None]).logits[0] for one in packed.split(lengths)]
    compute_in(FLOAT[0])
    as_ints = dict(input_ids=ids, labels=labels, packed_ids=packed, packed_lengths=torch.tensor(lengths))
    numbers = dict(logits=whole.logits, loss=whole.loss.reshape(1), step_logits=torch.cat(steps, 1), packed_logits=torch.cat(alone))
    return {key: one.to(torch.int32) for key, one in as_ints.items()} | numbers


def as_file(tensors):
    return {key: (one.to(FLOAT[0]) if one.is_floating_point() else one).contiguous() for key, one in tensors.items()}


def share(found, expected):
    """The largest difference as a share of the largest number, over tensors."""
    pairs = [(found[key].double(), one.double()) for key, one in expected.items() if key.startswith("grad.")]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def apart(some, others):
    return max(abs(a - b) for a, b in zip(some, others)) / max(map(abs, others))


def rounding(folder, entry, inputs, tensors, exact):
    """How far gradients and losses in float64 are from `exact` when parameters are rounded otherwise."""
    moved = [compute(folder, entry, inputs, tensors, noise=seed) for seed in (1, 2, 3)]
    return max(share(one, exact[0]) for one, _, _ in moved), max(apart(losses, exact[1]) for _, losses, _ in moved)


def determined_base(folder, name, length):
    """Random rows whose logits float32 computes well: queries and keys of linear attention that are nearly 0 are not."""
    lengths = [length // 2 + 1, length - 3]
    models = [in_dtype(folder / name, dtype) for dtype in (FLOAT[0], torch.float64)]
    while True:
        ids, packed = torch.randint(3, VOCABULARY, (2, length)), torch.randint(3, VOCABULARY, (sum(lengths),))
        single, exact = (base_numbers(model, ids, packed, lengths) for model in models)
        if all((single[key] - exact[key]).abs().max() <= LOGITS / 2 for key in exact if key.endswith("logits")):
            return exact, find_modules(models[0])


def determined_case(folder, entry, base):
    """A random adapter, and what its file holds: another rounding of its numbers changes little."""
    while True:
        tensors = random_adapter(entry["modules"], entry["method"], entry["config"])
        exact = compute(folder, entry, base, tensors)
        single, *_ = compute(folder, entry, base, tensors, torch.float32)
        logits = float((single["logits"] - exact[0]["logits"]).abs().max())
        gradients, losses = rounding(folder, entry, base, tensors, exact)
        print(f"{entry['file']}: float32 changes logits by {logits:.1e}, another rounding gradients by {gradients:.1e}, "
              f"the six losses by {losses:.1e}", flush=True)  # fmt: skip
        if logits <= LOGITS / 2 and max(gradients, losses) <= TOLERANCE / 5:
            return tensors, exact


def make(folder):
    index = []
    for name, length in MODELS.items():
        random_model(name, VOCABULARY).save_pretrained(folder / name)
        (folder / name / "generation_config.json").unlink()  # nothing reads it
        base, modules = determined_base(folder, name, length)
        save_file(as_file(base), folder / f"{name}.base.safetensors")
        for method, config in CONFIGS.items():
            settings = dict(steps=6, learning_rate=1e-2, warmup_steps=2, schedule="linear", max_grad_norm=0.3)
            entry = dict(file=f"{name}.{method}.safetensors", base=name, inputs=f"{name}.base.safetensors", method=method)
            entry |= dict(config=config, modules=modules, prefill=PREFILL, train=settings)
            tensors, exact = determined_case(folder, entry, base)
            save_file(as_file(tensors | exact[0]), folder / entry["file"])
            index.append(entry | dict(train=settings | dict(losses=exact[1], grad_norms=exact[2])))
    (folder / "index.json").write_text(json.dumps(index) + "\n")


def check(folder, names):
    for entry in json.loads((folder / "index.json").read_text()):
        name = entry["file"].removesuffix(".safetensors")
        if names and name not in names:
            continue
        inputs, tensors = load_file(folder / entry["inputs"]), load_file(folder / entry["file"])
        exact = compute(folder, entry, inputs, tensors)
        single, losses, _ = compute(folder, entry, inputs, tensors, torch.float32)
        given = entry["train"]["losses"]
        print(f"{name}: gradients, six losses")
        for what, of_gradients, of_losses in [
            ("the file beside float64", share(tensors, exact[0]), apart(given, exact[1])),
            ("float32 here beside float64", share(single, exact[0]), apart(losses, exact[1])),
            ("float32 here beside the file", share(single, tensors), apart(losses, given)),
            ("float64 with another rounding", *rounding(folder, entry, inputs, tensors, exact)),
        ]:
            print(f"    {what}: {of_gradients:.1e}, {of_losses:.1e}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    check(given.folder, given.cases) if given.check else make(given.folder)
