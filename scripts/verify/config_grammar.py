"""Random config.json files of all families, and what transformers computes with each.

    python scripts/verify/config_grammar.py OUT.jsonl [--count 5000] [--seed 0] [--families olmo3,lfm2]
    npm run verify:configs -- OUT.jsonl
    python scripts/verify/config_grammar.py test/fixtures/configs.jsonl.gz --fixture --count 120

Every field that decides what a model computes is present, absent, null or in contradiction to another. A line of the
file has the config, names and shapes of the weights as transformers saves them, and the logits of two texts, or why
transformers refuses. Weights follow from their names (`numbers`); packages/core/test/config-cases.ts makes the same.
"""

import argparse
import gzip
import json
import math
import tempfile
import warnings
from pathlib import Path

import numpy
import torch
from configs.fields import ABSENT, Draw, choices, put, ropes, windows
from configs.newer import OWN, PARTS, WRAPPERS, wrapped
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore")
torch.set_num_threads(1)

FAMILIES = [
    "llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3_text", "phi3", "olmo2", "granite",
    "qwen3_5_text", "gemma4_text", "lfm2", "lfm3", "ministral3", "olmo3", "granitemoehybrid", "granite_swa",
    "qwen3_vl_text", "qwen2_5_vl_text",
]  # fmt: skip
# tokens of the two texts, where the context has room: the longer one is longer than a chunk of linear attention
LENGTHS = (24, 70)

def config(draw, families):
    family = draw.choice(families)
    layers = draw.choice([2, 3, 4])
    heads, kv = draw.choice([(4, 2), (4, 4), (4, 1), (2, 2)])
    width = draw.choice([4, 8, 8, 8])  # hidden size per head
    fields = {"model_type": family, "vocab_size": 24, "hidden_size": heads * width, "intermediate_size": 24}
    fields |= {"num_hidden_layers": layers, "num_attention_heads": heads}
    fields |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    # a family's own default can be huge
    wide = ("gemma2", "gemma3_text", "gemma4_text", "qwen3", "qwen3_5_text", "qwen3_vl_text", "lfm3", "ministral3")
    head_dim = draw.field([8, 16, 4, width], 0.03 if family in wide else 0.95 if family in PARTS else 0.6, 0.01)
    own = ("mistral", "qwen2", "smollm3", "lfm2", "granite_swa", "qwen2_5_vl_text")  # a number of heads of their own
    put(
        fields,
        head_dim=head_dim,
        num_key_value_heads=draw.field([kv], 0.05 if family in (*wide, *own) else 0.3, 0.04),
        max_position_embeddings=draw.field([8, 16, 24, 32, 64, 128, 8192], 0.2, 0.01),
    )
    actual = width if head_dim is ABSENT or head_dim is None else head_dim
    fields |= windows(draw, family, layers) | choices(draw, family)
    part = 0.5 if family == "phi3" and draw.maybe(0.4) else 1
    fields |= ropes(draw, family, int(actual * part))
    if draw.maybe(0.03):
        fields |= {draw.choice(["num_experts", "num_local_experts"]): draw.choice([0, 1, 4])}
    if family in OWN:
        fields |= OWN[family](draw, layers)
    return wrapped(draw, fields) if family in PARTS or family in WRAPPERS and draw.maybe(0.15) else fields


def hashed(name):
    """FNV-1a of the name, 32 bits."""
    h = 0x811C9DC5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def offset(fields):
    """What is added to the gains of norms that files have."""
    kind = fields["model_type"]
    return 1 if kind.startswith(("gemma2", "gemma3", "qwen3_5")) else 0


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
    if "norm" in name and "linear_attn" not in name:
        u = 1 - offset + 0.4 * u
    elif name.endswith(("linear_attn.norm.weight", "layer_scalar")):
        u = 1 + 0.4 * u
    elif len(shape) == 2 and "embed" not in name:
        u = u * 3 / math.sqrt(shape[1])
    return u.astype(numpy.float32).reshape(shape)


def written(folder, fields):
    """Writes a model of this config; returns the shapes of its weights by their names in the file."""
    parsed = AutoConfig.for_model(**json.loads(json.dumps(fields)))
    sees = fields["model_type"] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    kind.from_config(parsed, dtype=torch.float32).save_pretrained(folder)
    file = folder / "model.safetensors"
    with safe_open(file, "pt") as opened:
        shapes = {name: list(opened.get_slice(name).get_shape()) for name in opened.keys()}
    stored = {name: torch.from_numpy(numbers(name, shape, offset(fields))) for name, shape in shapes.items()}
    save_file(stored, file, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(fields))
    return kind, shapes


def expected(fields):
    """What transformers makes of the config."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        kind, tensors = written(Path(folder), fields)
        options = dict(dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        model, loading = kind.from_pretrained(folder, **options)
    if loading["missing_keys"] or loading["unexpected_keys"] or loading["mismatched_keys"]:
        raise AssertionError(f"transformers does not load what it saved: {loading}")
    text = json.dumps(fields)
    # ropes of these types are for texts beyond the context, too
    stretched = ('"dynamic"' in text or '"yarn"' in text) and hashed(text) % 2 == 0
    config = model.config.get_text_config()
    longest = LENGTHS[0] if stretched else config.max_position_embeddings
    first = min(LENGTHS[0], longest)
    # the shorter text comes first, since dynamic ropes remember the longer one
    lengths = sorted({first, LENGTHS[1] if longest >= LENGTHS[1] else max(1, first // 2)})
    return {"tensors": tensors, "texts": [computed(model.eval(), length, config.vocab_size) for length in lengths]}


def computed(model, length, vocabulary):
    ids = torch.tensor([[(5 * i * i + 3 * i + 1) % vocabulary for i in range(length)]])
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].double()
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the logits are not finite")
    return {"length": length, "logits": [[float(f"{x:.6g}") for x in row] for row in logits.tolist()]}


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
    lfm3 = {"layer_types": ["conv", "full_attention", "sliding_attention"], "sliding_window": 5}
    linear_heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
                    "linear_value_head_dim": 8}  # fmt: skip
    hybrid = {"num_local_experts": 0, "shared_intermediate_size": 24, "mamba_n_heads": 2, "position_embedding_type": "rope"}
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
        tiny("lfm3", norm_eps=0.1, rms_norm_eps=1e-5, **lfm3),
        tiny("lfm3", rope_parameters={"full_attention": linear, "sliding_attention": linear}, **lfm3),
        tiny("lfm3", rope_parameters=None, **lfm3),
        tiny("qwen3_5_text", hidden_act="gelu", **linear_heads),
        tiny("granitemoehybrid", layer_types=["full_attention"] * 3, **hybrid),
        tiny("granitemoehybrid", layer_types=["mamba"] * 3, layers_block_type=["attention"] * 3, **hybrid),
    ]


def compact(text):
    """A few rows of the logits, which suffice to tell functions apart."""
    last = text["length"] - 1
    rows = sorted({last // 2, last})
    return text | {"logits": {str(row): [float(f"{x:.5g}") for x in text["logits"][row]] for row in rows}}


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
    parser.add_argument("--families", default=",".join(FAMILIES))
    options = parser.parse_args()
    families = options.families.split(",")
    draw = Draw(options.seed)
    if options.fixture:
        cases = [case(fields) for fields in chosen()]
        while len(cases) < options.count:
            found = case(config(draw, families))
            if "refused" not in found:
                cases.append(found)
        small = [found | {"texts": [compact(text) for text in found.get("texts", [])]} for found in cases]
        lines = [json.dumps(found) + "\n" for found in small]
        with open(options.out, "wb") as out:
            out.write(gzip.compress("".join(lines).encode(), mtime=0))
        return
    refused = 0
    with open(options.out, "w", encoding="utf-8") as out:
        for _ in range(options.count):
            found = case(config(draw, families))
            refused += "refused" in found
            out.write(json.dumps(found) + "\n")
    print(f"{options.count} configs of seed {options.seed}; transformers refuses {refused} of them")


if __name__ == "__main__":
    main()
