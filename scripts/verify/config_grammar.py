"""Random config.json files of all ten families, and what transformers computes with each.

    python scripts/verify/config_grammar.py OUT.jsonl [--count 5000] [--seed 0]
    npm run verify:configs -- OUT.jsonl
    python scripts/verify/config_grammar.py test/fixtures/configs.jsonl.gz --fixture --count 60

Every field that decides what a model computes is present, absent, null or in contradiction to another. A line of the
file has the config, names and shapes of the weights, a number of tokens and their logits, or why transformers refuses.
Weights follow from their names (`numbers`), so none are written; packages/core/test/config-cases.ts makes the same.
"""

import argparse
import gzip
import json
import math
import random
import warnings

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
warnings.filterwarnings("ignore")
torch.set_num_threads(1)

FAMILIES = [
    "llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3_text", "phi3", "olmo2", "granite",
]  # fmt: skip
ROPES = ["default", "linear", "dynamic", "yarn", "longrope", "llama3"]
LENGTH = 24
ABSENT = object()


class Draw(random.Random):
    def maybe(self, chance):
        return self.random() < chance

    def field(self, values, absent=0.5, null=0.01):
        """One of the values, null, or ABSENT."""
        roll = self.random()
        if roll < absent:
            return ABSENT
        return None if roll < absent + null else self.choice(values)


def put(fields, **values):
    fields.update({name: value for name, value in values.items() if value is not ABSENT})


def rope(draw, head_dim, *, kinds=ROPES):
    """The content of rope_scaling or rope_parameters."""
    kind = draw.choice(kinds)
    fields = {}
    names = draw.choices([["rope_type"], ["type"], ["rope_type", "type"], []], [70, 18, 8, 4])[0]
    for name in names:
        fields[name] = kind if draw.maybe(0.93) else draw.choice([*kinds, "su", "mrope", "proportional"])
    put(fields, rope_theta=draw.field([1e4, 5e5, 100.0, 7], 0.5))
    own = 0.06  # that a field of this type is missing
    if kind != "default":
        put(fields, factor=draw.field([2.0, 4, 1.5, 8.0, 1], own, 0.04))
    if kind in ("yarn", "longrope", "llama3"):
        put(fields, original_max_position_embeddings=draw.field([4, 8, 16, 32, 4096], 0.3))
    if kind in ("yarn", "longrope"):
        put(fields, attention_factor=draw.field([1.0, 0.8, 1.3], 0.7))
    if kind == "yarn":
        put(
            fields,
            beta_fast=draw.field([32, 4, 1.5], 0.6),
            beta_slow=draw.field([1, 0.1, 0.5], 0.6),
            mscale=draw.field([1.0, 0.707, 2], 0.6),
            mscale_all_dim=draw.field([1.0, 0.5, 0], 0.6),
            truncate=draw.field([True, False, False], 0.6),
        )
    if kind == "longrope":
        pairs = head_dim // 2
        if draw.maybe(0.05):
            pairs += 1
        factors = lambda low, high: [round(draw.uniform(low, high), 2) for _ in range(pairs)]
        put(
            fields,
            short_factor=draw.field([factors(1, 1.5)], own),
            long_factor=draw.field([factors(1, 8)], own),
        )
    if kind == "llama3":
        put(
            fields,
            low_freq_factor=draw.field([1, 1.0, 0.5], own),
            high_freq_factor=draw.field([4, 2.0, 4.0], own),
        )
    if draw.maybe(0.05):
        put(fields, partial_rotary_factor=draw.field([0.5, 1.0], 0))
    if draw.maybe(0.05):
        put(fields, factor=draw.field([3.0], 0), truncate=draw.field([False], 0.5), beta_fast=draw.field([5], 0.5))
    return fields


def nested(draw, head_dim):
    """A rope for each type of layers."""
    one = lambda: rope(draw, head_dim, kinds=["default", *ROPES])
    fields = {}
    for name, absent in (("full_attention", 0.1), ("sliding_attention", 0.2)):
        put(fields, **{name: draw.field([one()], absent)})
    return fields


def ropes(draw, family, head_dim):
    fields = {}
    kinds = ["default", "longrope", "longrope", "su", "yarn"] if family == "phi3" and draw.maybe(0.8) else ROPES
    flat = lambda: rope(draw, head_dim, kinds=kinds)
    local = family == "gemma3_text"
    style = draw.choices(["none", "scaling", "parameters", "both"], [15, 35, 30, 20])[0]
    if style in ("scaling", "both"):
        fields["rope_scaling"] = draw.choices([flat(), None, {}, nested(draw, head_dim)], [86, 6, 4, 4])[0]
    if style in ("parameters", "both"):
        plain = {"rope_type": "default", "rope_theta": draw.choice([1e4, 5e5])}
        shapes = [flat(), plain, None, {}, nested(draw, head_dim)]
        fields["rope_parameters"] = draw.choices(shapes, [15, 5, 5, 3, 72] if local else [60, 25, 5, 5, 5])[0]
    put(
        fields,
        rope_theta=draw.field([1e4, 1e6, 50, 300.0], 0.6, 0.02),
        original_max_position_embeddings=draw.field([4, 8, 16, 64, 4096], 0.4 if family == "phi3" else 0.85),
        partial_rotary_factor=draw.field([0.5, 0.5, 1.0], 0.6 if family == "phi3" else 0.96),
    )
    if local or draw.maybe(0.02):
        put(fields, rope_local_base_freq=draw.field([1e4, 200.0], 0.5, 0.02))
    return fields


def windows(draw, family, layers):
    fields = {}
    types = lambda: [draw.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    odd = ["sliding_attention"] * layers if draw.maybe(0.5) else ["chunked_attention"] + ["full_attention"] * layers
    put(
        fields,
        sliding_window=draw.field([1, 3, 5, 8, 24, 64, 4096], 0.35, 0.08),
        layer_types=draw.field([types(), types(), types(), odd], 0.6, 0.05),
    )
    if family in ("qwen2", "qwen3", "smollm3") or draw.maybe(0.05):
        put(fields, use_sliding_window=draw.field([True, True, False], 0.3))
    if family in ("qwen2", "qwen3") or draw.maybe(0.05):
        put(fields, max_window_layers=draw.field([0, 1, 2, 28], 0.3))
    if family == "gemma3_text" or draw.maybe(0.05):
        put(
            fields,
            sliding_window_pattern=draw.field([1, 2, 3, 6], 0.6),
            _sliding_window_pattern=draw.field([2, 3, 6], 0.7),
        )
    if family == "smollm3" or draw.maybe(0.03):
        put(
            fields,
            no_rope_layers=draw.field([[draw.choice([0, 1]) for _ in range(layers)]], 0.5),
            no_rope_layer_interval=draw.field([2, 3, 4], 0.6),
        )
    return fields


RUN = ["silu", "gelu", "gelu_pytorch_tanh", "relu", "gelu_new", "swish", "gelu_fast", "gelu_accurate", "gelu_python"]
ACTIVATIONS = [*RUN, *RUN, *RUN, "quick_gelu", "relu2", "gelu_10", "tanh", "mish"]


def choices(draw, family):
    """Activations, biases, scales and caps."""
    fields = {}
    gemma = family.startswith("gemma")
    put(
        fields,
        hidden_act=draw.field(ACTIVATIONS, 0.5, 0.01),
        hidden_activation=draw.field(ACTIVATIONS, 0.5 if gemma else 0.97, 0.01),
        attention_bias=draw.field([True, False], 0.6, 0.01),
        mlp_bias=draw.field([True, False], 0.7, 0.01),
        tie_word_embeddings=draw.field([True, False], 0.4, 0.01),
        rms_norm_eps=draw.field([1e-5, 1e-6, 1e-2, 0.1], 0.3, 0.01),
    )
    rare = 0.97
    put(
        fields,
        query_pre_attn_scalar=draw.field([4, 16, 64], 0.4 if gemma else rare),
        attn_logit_softcapping=draw.field([1.0, 5.0, 50.0], 0.4 if gemma else rare, 0.1),
        final_logit_softcapping=draw.field([1.0, 2.0, 30.0], 0.4 if gemma else rare, 0.1),
        use_bidirectional_attention=draw.field([False, False, True], 0.8 if gemma else 0.99),
    )
    granite = 0.3 if family == "granite" else rare
    put(
        fields,
        embedding_multiplier=draw.field([12, 2.5, 1.0], granite),
        attention_multiplier=draw.field([0.1, 0.5, 1], granite),
        residual_multiplier=draw.field([0.22, 1.0], granite),
        logits_scaling=draw.field([8, 2.0, 0.5], granite),
    )
    return fields


def config(draw):
    family = draw.choice(FAMILIES)
    layers = draw.choice([2, 3, 4])
    heads, kv = draw.choice([(4, 2), (4, 4), (4, 1), (2, 2)])
    width = draw.choice([4, 8, 8, 8])  # hidden size per head
    fields = {"model_type": family, "vocab_size": 24, "hidden_size": heads * width, "intermediate_size": 24}
    fields |= {"num_hidden_layers": layers, "num_attention_heads": heads}
    fields |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    # a family's own default can be huge
    own = family in ("qwen3", "gemma2", "gemma3_text")
    head_dim = draw.field([8, 16, 4, width], 0 if own else 0.6, 0.01)
    defaulted = family in ("mistral", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3_text")
    put(
        fields,
        head_dim=head_dim,
        num_key_value_heads=draw.field([kv], 0 if defaulted else 0.3, 0.04),
        max_position_embeddings=draw.field([8, 16, 24, 32, 64, 8192], 0.15, 0.01),
    )
    actual = width if head_dim is ABSENT or head_dim is None else head_dim
    fields |= windows(draw, family, layers) | choices(draw, family)
    part = 0.5 if family == "phi3" and draw.maybe(0.4) else 1
    fields |= ropes(draw, family, int(actual * part))
    if draw.maybe(0.03):
        fields |= {draw.choice(["num_experts", "num_local_experts"]): draw.choice([0, 1, 4])}
    return wrapped(draw, fields) if family == "gemma3_text" and draw.maybe(0.15) else fields


VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 4,
          "patch_size": 2}  # fmt: skip


def wrapped(draw, text):
    """The language model as a part of one that also sees."""
    fields = {"model_type": "gemma3", "text_config": text, "vision_config": VISION, "mm_tokens_per_image": 4}
    put(fields, tie_word_embeddings=draw.field([True, False], 0.5))
    if draw.maybe(0.5):
        text.pop("model_type")
    return fields


def hashed(name):
    """FNV-1a of the name, 32 bits."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def numbers(name, shape, offset):
    """The weight of this name: numbers in [-1, 1) by name and index, at the scale of its kind."""
    count = math.prod(shape)
    x = (numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B1)) + numpy.uint32(hashed(name))
    x ^= x >> numpy.uint32(16)
    x *= numpy.uint32(0x85EBCA6B)
    x ^= x >> numpy.uint32(13)
    x *= numpy.uint32(0xC2B2AE35)
    x ^= x >> numpy.uint32(16)
    u = x.astype(numpy.float64) / 2**31 - 1
    if "norm" in name:
        u = 1 - offset + 0.4 * u
    elif len(shape) == 2 and "embed" not in name:
        u = u * 3 / math.sqrt(shape[1])
    return u.astype(numpy.float32).reshape(shape)


def expected(fields):
    """What transformers makes of the config."""
    torch.manual_seed(0)
    parsed = AutoConfig.for_model(**json.loads(json.dumps(fields)))
    model = AutoModelForCausalLM.from_config(parsed, attn_implementation="eager").float().eval()
    offset = 1 if fields["model_type"].startswith("gemma") else 0
    state = model.state_dict()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    names = [name for name in state if not (tied and name == "lm_head.weight") and "vision" not in name]
    names = [name for name in names if "multi_modal" not in name]
    stored = {name: torch.from_numpy(numbers(name, tuple(state[name].shape), offset)) for name in names}
    model.load_state_dict(stored, strict=False)
    model.tie_weights()
    text_config = parsed.get_text_config()
    text = json.dumps(fields)
    # ropes of these types are for texts beyond the context, too
    stretched = ('"dynamic"' in text or '"yarn"' in text) and hashed(text) % 2 == 0
    length = LENGTH if stretched else min(LENGTH, text_config.max_position_embeddings)
    ids = torch.tensor([[(5 * i * i + 3 * i + 1) % text_config.vocab_size for i in range(length)]])
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].double()
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the logits are not finite")
    return {
        "tensors": {name: list(state[name].shape) for name in names},
        "length": length,
        "logits": [[float(f"{x:.6g}") for x in row] for row in logits.tolist()],
    }


def tiny(family, **fields):
    sizes = {"model_type": family, "vocab_size": 24, "hidden_size": 32, "intermediate_size": 24, "head_dim": 8,
             "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
             "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 24}  # fmt: skip
    return sizes | fields


def chosen():
    """Configs that were computed otherwise once."""
    yarn = {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 6}
    linear = {"rope_type": "linear", "factor": 3}
    parameters = {"rope_type": "default", "rope_theta": 10000}
    gemma = {"sliding_window": 5, "query_pre_attn_scalar": 8}
    llama3 = {"rope_type": "llama3", "factor": 4, "low_freq_factor": 1, "high_freq_factor": 4}
    factors = {"short_factor": [1, 1.1, 1.2, 1.3], "long_factor": [1, 2, 3, 4]}
    local = {"sliding_attention": {"rope_type": "default"}, "full_attention": {"rope_type": "default"}}
    windowed = ["full_attention", "sliding_attention", "sliding_attention"]
    return [
        tiny("qwen2", rope_scaling=yarn, rope_parameters=parameters),
        tiny("qwen3", rope_scaling={**yarn, "type": "yarn", "truncate": False, "beta_fast": 4}, rope_theta=1e6),
        tiny("llama", rope_scaling={**yarn, "mscale": 1.0, "mscale_all_dim": 0.5}, max_position_embeddings=6),
        tiny("llama", rope_parameters={**yarn, "attention_factor": 0.9, "rope_theta": 500.0}),
        tiny("mistral", rope_scaling=linear, rope_parameters=parameters, sliding_window=5),
        tiny("llama", rope_scaling={"type": "dynamic", "factor": 3.0}, rope_parameters=parameters),
        tiny("llama", rope_scaling={"type": "dynamic", "factor": 3.0}, max_position_embeddings=8),
        tiny("olmo2", rope_parameters={"rope_type": "dynamic", "factor": 8, "rope_theta": 300}, hidden_act="relu"),
        tiny("llama", rope_scaling={**llama3, "original_max_position_embeddings": 8}, original_max_position_embeddings=4096),
        tiny("qwen2", rope_scaling=yarn, rope_parameters={**parameters, "rope_theta": 1e6}),
        tiny("gemma3_text", rope_parameters=local, **gemma),
        tiny("gemma3_text", rope_parameters=linear, **gemma),
        tiny("gemma3_text", _sliding_window_pattern=2, **gemma),
        tiny("gemma3_text", rope_scaling=yarn, sliding_window_pattern=2, hidden_activation="gelu", **gemma),
        tiny("gemma3_text", rope_scaling={"type": "linear", "factor": 8}, **gemma),
        tiny("smollm3", use_sliding_window=False, sliding_window=5, layer_types=windowed),
        tiny("phi3", rope_scaling={"type": "longrope", "original_max_position_embeddings": 8, **factors}),
        tiny("phi3", rope_scaling={"type": "longrope", **factors}, original_max_position_embeddings=8),
        tiny("granite", hidden_act="gelu", attention_multiplier=0.3),
        tiny("qwen3", use_sliding_window=False, layer_types=windowed),
    ]


def compact(found):
    """A few rows of the logits, which suffice to tell functions apart."""
    last = found["length"] - 1
    rows = sorted({last // 2, last})
    return found | {"logits": {str(row): [float(f"{x:.5g}") for x in found["logits"][row]] for row in rows}}


def case(fields):
    try:
        return {"config": fields} | expected(fields)
    except Exception as error:  # transformers' own refusals are of many types
        return {"config": fields, "refused": f"{type(error).__name__}: {error}".replace("\n", " ")[:200]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fixture", action="store_true", help="chosen configs, and random ones that transformers runs")
    options = parser.parse_args()
    draw = Draw(options.seed)
    if options.fixture:
        cases = [case(fields) for fields in chosen()]
        while len(cases) < options.count:
            found = case(config(draw))
            if "refused" not in found:
                cases.append(found)
        lines = [json.dumps(found if "refused" in found else compact(found)) + "\n" for found in cases]
        with open(options.out, "wb") as out:
            out.write(gzip.compress("".join(lines).encode(), mtime=0))
        return
    refused = 0
    with open(options.out, "w", encoding="utf-8") as out:
        for _ in range(options.count):
            found = case(config(draw))
            refused += "refused" in found
            out.write(json.dumps(found) + "\n")
    print(f"{options.count} configs of seed {options.seed}; transformers refuses {refused} of them")


if __name__ == "__main__":
    main()
