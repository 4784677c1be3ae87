"""Adds the cases of LoRA-XS and Uni-LoRA to a folder of golden numbers that has their bases (test/goldens).

usage: make_small_goldens.py DIR        needs torch, transformers, safetensors and peft
LoRA-XS: U, S and V are those of torch.linalg.svd in float64; the largest entry of each row of V is positive. Uni-LoRA: PEFT's
own model computes everything, with PEFT's own indices. The numbers of its vector are sorted by how often they are used, since ours
begins with those that are used once more.
"""
import json, os, sys
import torch
from peft import UniLoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

out = sys.argv[1]
torch.manual_seed(11)
torch.use_deterministic_algorithms(True)
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
STEPS, RATE, WARM, CLIP = 6, 1e-2, 2, 0.3


def module(layer, name):
    return getattr(layer.self_attn if name in LINEARS[:4] else layer.mlp, name)


def factors(weight, r):
    """A = Vᵀ [r, in] and B = U S [out, r]"""
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    v = v[:r]
    signs = torch.sign(v.gather(1, v.abs().argmax(1, keepdim=True)))
    return (v * signs).float(), (u[:, :r] * s[:r] * signs.T).float()


def lora_xs(model, r, alpha):
    params, deltas = {}, {}
    for k, layer in enumerate(model.model.layers):
        for n in LINEARS:
            lin = module(layer, n)
            a, b = factors(lin.weight, r)
            p = params[f"{n}.{k}.R"] = (torch.randn(r, r) * 0.1).requires_grad_(True)
            deltas[n, k] = lambda a=a, b=b, p=p: alpha / r * b @ p @ a

            def forward(x, lin=lin, a=a, b=b, p=p):
                return torch.nn.functional.linear(x, lin.weight) + alpha / r * (x @ a.T) @ (b @ p).T
            lin.forward = forward
    return params, {}, deltas, lambda vector: vector


def uni_lora(model, r, d):
    config = UniLoraConfig(r=r, theta_d_length=d, proj_seed=3, target_modules=LINEARS, unilora_dropout=0.0)
    peft = get_peft_model(model, config)
    theta = peft.base_model.unilora_theta_d["default"]
    with torch.no_grad():
        theta.copy_(torch.randn(d) * 0.3)
    places, deltas = [], {}
    for n in LINEARS:
        for k, layer in enumerate(model.model.layers):
            lin = module(layer, n)
            places += [lin.unilora_indices_A["default"].flatten(), lin.unilora_indices_B["default"].T.flatten()]
            deltas[n, k] = lambda lin=lin: lin.get_delta_weight("default")
    places = torch.cat(places)
    order = torch.bincount(places, minlength=d).argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(d)
    return {"vector": theta}, {"places": rank[places].to(torch.int32)}, deltas, lambda vector: vector[order]


def train(model, params, inputs):
    optimizer = torch.optim.AdamW(params, lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: s / WARM if s < WARM else (STEPS - s) / (STEPS - WARM))
    losses, norms = [], []
    for _ in range(STEPS):
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, CLIP).item())
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses, norms


def add(base, method, make, settings):
    model = LlamaForCausalLM.from_pretrained(f"{out}/{base}", dtype=torch.float32).eval()
    model.requires_grad_(False)
    read = load_file(f"{out}/{base}.base.safetensors")
    inputs = {"input_ids": read["input_ids"].long(), "labels": read["labels"].long()}
    params, frozen, deltas, order = make(model, **settings)
    result = model(**inputs)
    grads = torch.autograd.grad(result.loss, list(params.values()))
    tensors = {f"param.{k}": order(v.detach()).clone() for k, v in params.items()}
    tensors |= {f"frozen.{k}": v for k, v in frozen.items()}
    tensors |= {f"grad.{k}": order(g) for k, g in zip(params, grads)}
    tensors |= {"logits": result.logits.detach(), "loss": result.loss.detach().reshape(1)}
    last = len(model.model.layers) - 1
    tensors |= {f"delta.{n}.{k}": deltas[n, k]().detach() for n in ("q_proj", "down_proj") for k in (0, last)}
    losses, norms = train(model, list(params.values()), inputs)
    save_file({k: v.contiguous() for k, v in tensors.items()}, f"{out}/{base}.{method}.safetensors")
    return {"file": f"{base}.{method}.safetensors", "base": base, "inputs": f"{base}.base.safetensors", "method": method,
            "config": settings, "trainable": sum(p.numel() for p in params.values()), "loss": result.loss.item(),
            "train": {"steps": STEPS, "learning_rate": RATE, "warmup_steps": WARM, "schedule": "linear",
                      "max_grad_norm": CLIP, "losses": losses, "grad_norms": norms}}


path = os.path.join(out, "index.json")
index = [entry for entry in json.load(open(path)) if entry["method"] not in ("lora_xs", "uni_lora")]
for base in sorted({entry["base"] for entry in index}):
    index.append(add(base, "lora_xs", lora_xs, dict(r=4, alpha=16.0)))
    index.append(add(base, "uni_lora", uni_lora, dict(r=5, d=700)))
json.dump(index, open(path, "w"), indent=1)
print(len(index), "cases")
