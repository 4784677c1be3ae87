"""Tiny random models of the families that are not Llama, as Hugging Face folders.

Whatever a family does differently is set so that it changes the numbers: windows are shorter than the prompts, soft caps
are within reach of the scores, gains and biases are random. Weights are multiples of 1/64, so that files compress, and
float16 and bfloat16 hold the same numbers.
"""

from dataclasses import dataclass, field

import torch
import transformers

WINDOW = 6


@dataclass(frozen=True)
class Family:
    """One row of the table below."""

    config: str  # class of transformers
    arch: str = ""  # general.architecture; "" without a GGUF layout
    tokenizer: str = ""  # tokenizer.ggml.pre of the byte-level kind, or "spm"
    settings: dict = field(default_factory=dict)
    permuted: bool = False  # llama.cpp's order of the rows of q and k
    shifted: bool = False  # the folder stores gains as w and computes with 1 + w


COMMON = dict(
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
)
NARROW = dict(hidden_size=24, intermediate_size=32, head_dim=16, num_attention_heads=2, num_key_value_heads=1)
GEMMA = dict(**NARROW, query_pre_attn_scalar=16, sliding_window=WINDOW)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
LONGROPE = dict(
    rope_type="longrope",
    rope_theta=10000.0,
    partial_rotary_factor=0.75,
    short_factor=[1.0, 1.25, 2.0],
    long_factor=[1.5, 4.0, 9.0],
)


WINDOWED, FULL = "sliding_attention", "full_attention"
GDN = dict(
    num_hidden_layers=4,
    layer_types=["linear_attention", FULL] * 2,
    head_dim=16,
    linear_conv_kernel_dim=4,
    linear_key_head_dim=16,
    linear_value_head_dim=16,
    linear_num_key_heads=2,
    tie_word_embeddings=False,
    rope_parameters=dict(
        rope_type="default",
        rope_theta=1e7,
        partial_rotary_factor=0.5,
        mrope_section=[2, 1, 1],
        mrope_interleaved=True,
    ),
)
GEMMA4 = dict(
    num_hidden_layers=9,
    layer_types=[WINDOWED, WINDOWED, FULL] * 3,
    head_dim=16,
    global_head_dim=32,
    sliding_window=WINDOW,
    hidden_activation="gelu_pytorch_tanh",
    final_logit_softcapping=5.0,
    tie_word_embeddings=True,
    rope_parameters={
        FULL: dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25),
        WINDOWED: dict(rope_type="default", rope_theta=1e4),
    },
)
GRANITE = dict(
    embedding_multiplier=2.0,
    logits_scaling=4.0,
    residual_multiplier=0.8,
    attention_multiplier=0.2,
    tie_word_embeddings=True,
)


def rope(theta, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


FAMILIES = {
    "qwen2": Family("Qwen2Config", "qwen2", "qwen2", dict(tie_word_embeddings=False, **rope(1e6))),
    "qwen3": Family("Qwen3Config", "qwen3", "qwen2", dict(**NARROW, tie_word_embeddings=True, **rope(1e6))),
    "qwen3-yarn": Family("Qwen3Config", "qwen3", "qwen2", dict(**NARROW, tie_word_embeddings=True, **rope(1e4, **YARN))),
    # the fourth layer has no positions; llama.cpp knows no other pattern
    "smollm3": Family("SmolLM3Config", "smollm3", "smaug-bpe", dict(num_hidden_layers=4, **rope(5e6)), permuted=True),
    # llama.cpp's converter drops the window of Mistral, so there is none here
    "mistral": Family("MistralConfig", "llama", "spm", dict(**NARROW, sliding_window=None, **rope(1e4)), permuted=True),
    "gemma2": Family(
        "Gemma2Config",
        "gemma2",
        "spm",
        dict(**GEMMA, num_hidden_layers=4, attn_logit_softcapping=2.0, final_logit_softcapping=5.0, **rope(1e4)),
        shifted=True,
    ),
    "gemma3_text": Family(
        "Gemma3TextConfig",
        "gemma3",
        "spm",
        dict(
            **GEMMA,
            num_hidden_layers=7,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        ),
        shifted=True,
    ),
    # llama.cpp runs no window of Phi-3
    "phi3": Family("Phi3Config", "phi3", "spm", dict(original_max_position_embeddings=512, **rope(1e4))),
    "phi3-long": Family(
        "Phi3Config",
        "phi3",
        "gpt-4o",
        dict(original_max_position_embeddings=8, tie_word_embeddings=True, rope_parameters=LONGROPE),
    ),
    "phi3-short": Family(
        "Phi3Config",
        "phi3",
        "gpt-4o",
        dict(original_max_position_embeddings=256, tie_word_embeddings=True, rope_parameters=LONGROPE),
    ),
    "olmo2": Family("Olmo2Config", "olmo2", "dbrx", rope(5e5)),
    "granite": Family(
        "GraniteConfig",
        "granite",
        "refact",
        dict(**GRANITE, **rope(1e4)),
        permuted=True,
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        "granite",
        "dbrx",
        dict(
            **GRANITE,
            **rope(1e4),
            layer_types=["attention"] * 2,
            position_embedding_type="rope",
            shared_intermediate_size=40,
            num_local_experts=0,
            num_experts_per_tok=0,
            **dict(mamba_n_heads=8, mamba_d_head=8, mamba_expand=2),  # checked, though no layer has them
        ),
        permuted=True,
    ),
    "ministral3": Family(
        "Ministral3Config",
        "mistral3",
        "tekken",
        dict(
            head_dim=16,
            tie_word_embeddings=False,
            sliding_window=None,
            **rope(1e4, **YARN, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.5),
        ),
        permuted=True,
    ),
    "olmo3": Family(
        "Olmo3Config",
        "olmo2",
        "dbrx",
        dict(
            num_hidden_layers=4,
            layer_types=[WINDOWED, WINDOWED, WINDOWED, FULL],
            sliding_window=WINDOW,
            rope_parameters={
                WINDOWED: dict(rope_type="default", rope_theta=5e5),
                FULL: dict(
                    **dict(rope_type="yarn", rope_theta=5e5, factor=8.0, original_max_position_embeddings=64),
                    **dict(beta_fast=32.0, beta_slow=1.0),
                ),
            },
        ),
    ),
    "lfm2": Family(
        "Lfm2Config",
        "lfm2",
        "lfm2",
        dict(
            num_hidden_layers=4,
            layer_types=["conv", FULL] * 2,
            conv_L_cache=3,
            norm_eps=1e-5,
            block_auto_adjust_ff_dim=False,
            tie_word_embeddings=True,
            **rope(1e4),
        ),
    ),
    # as many value heads as key heads, and three to each
    "qwen3_5": Family("Qwen3_5TextConfig", "qwen35", "qwen35", dict(**GDN, linear_num_value_heads=2), shifted=True),
    "qwen3_5-tiled": Family(
        "Qwen3_5TextConfig", "qwen35", "qwen35", dict(**GDN, linear_num_value_heads=6), shifted=True
    ),
    # the last three layers use the keys of others and have wider MLPs, and all have embeddings of their own
    "gemma4": Family(
        "Gemma4TextConfig",
        "gemma4",
        "gemma4",
        dict(**GEMMA4, num_kv_shared_layers=3, use_double_wide_mlp=True, hidden_size_per_layer_input=8),
    ),
    # values of full layers are their keys; the gaps of llama.cpp, whose table of GELU is of halves, are off by up to 5e-2
    "gemma4-wide": Family(
        "Gemma4TextConfig",
        "gemma4",
        "gemma4",
        dict(
            **GEMMA4,
            num_kv_shared_layers=0,
            hidden_size_per_layer_input=0,
            attention_k_eq_v=True,
            num_global_key_value_heads=1,
        ),
    ),
}

# the others, as folders alone
FOLDERS = {
    "lfm3": Family(
        "Lfm3Config",
        settings=dict(
            **NARROW,
            num_hidden_layers=4,
            layer_types=["conv", WINDOWED, FULL, "conv"],
            sliding_window=WINDOW,
            rope_parameters={
                WINDOWED: dict(rope_type="default", rope_theta=1e4),
                FULL: dict(rope_type="proportional", rope_theta=1e4, partial_rotary_factor=0.5),
            },
        ),
    ),
    "granite_swa": Family(
        "GraniteSWAConfig",
        settings=dict(sliding_window=WINDOW, layer_rope_theta=[0, 1e4], attention_multiplier=0.2, **rope(1e4)),
    ),
}


def random_number(name, parameter, family, tied):
    noise = torch.randn(parameter.shape)
    if "norm" in name:
        return 0.25 * noise + (0 if family.shifted and "linear_attn.norm" not in name else 1)
    if name.endswith("layer_scalar"):
        return 1 + 0.25 * noise
    if name.endswith(("A_log", "dt_bias")):
        return 0.5 * noise
    if name.endswith("bias"):
        return 0.5 * noise
    if "embed_tokens" in name:
        return noise * (0.25 if tied else 1)  # a tied head would repeat its input otherwise
    if parameter.ndim == 1:
        return noise  # sinks
    return 1.5 * noise / (4 if parameter.ndim == 3 else parameter.shape[1]) ** 0.5


def weights(model):
    """The parameters, and the numbers that Gemma 4 multiplies layers by, which are no parameters."""
    return [*model.named_parameters(), *((name, kept) for name, kept in model.named_buffers() if "layer_scalar" in name)]


def random_model(name, vocabulary):
    """A model of the family; its numbers depend on the name alone."""
    family = (FAMILIES | FOLDERS)[name]
    torch.manual_seed(sum(name.encode()))
    special = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    sizes = {"vocab_size": vocabulary}
    if family.arch == "gemma4":
        sizes["vocab_size_per_layer_input"] = vocabulary
    settings = {**COMMON, **family.settings, **special, **sizes}
    config = getattr(transformers, family.config)(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for key, parameter in weights(model):
            parameter.copy_((64 * random_number(key, parameter, family, config.tie_word_embeddings)).round() / 64)
    return model.eval()
