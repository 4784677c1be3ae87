"""A Hugging Face model as a GGUF in the layout of llama.cpp's convert_hf_to_gguf.py: keys, names and order of rows."""

import math

import gguf
import numpy

from families.models import COMMON, weights

# Hugging Face's name within a layer → GGUF's, where a layer has two norms before its parts
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "operator_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
    "conv.conv": "shortconv.conv",
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
    "self_attn.out_proj": "attn_output",
    "self_attn.q_layernorm": "attn_q_norm",
    "self_attn.k_layernorm": "attn_k_norm",
    "feed_forward.w1": "ffn_gate",
    "feed_forward.w3": "ffn_up",
    "feed_forward.w2": "ffn_down",
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.conv1d": "ssm_conv1d",
    "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
    "per_layer_input_gate": "inp_gate",
    "per_layer_projection": "proj",
    "post_per_layer_input_norm": "post_norm",
}
# where there are norms after them
NORMS_AFTER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTER = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.embedding_norm": "token_embd_norm",
    "lm_head": "output",
    "model.embed_tokens_per_layer": "per_layer_token_embd",
    "model.per_layer_model_projection": "per_layer_model_proj",
    "model.per_layer_projection_norm": "per_layer_proj_norm",
}
# what stands in no module, or in one without a name of its own
BARE = {"layer_scalar": "layer_output_scale.weight", "linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias"}
# of two matrices in one: the names of its halves
HALVES = {"shared_mlp.input_linear": ("mlp.gate_proj", "mlp.up_proj"), "shared_mlp.output_linear": ("mlp.down_proj",)}


def gguf_name(family, module):
    """The name of a linear layer or norm, without ".weight" or ".bias"."""
    if module in OUTER:
        return OUTER[module]
    _, _, layer, inner = module.split(".", 3)
    names = NAMES | NORMS_AFTER if family.arch in ("gemma2", "gemma3", "gemma4", "olmo2", "qwen35") else NAMES
    return f"blk.{layer}.{names[inner]}"


def permute(rows, heads):
    """The two halves of each head side by side: 0, D/2, 1, D/2 + 1, …"""
    return rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def tiled(numbers, config, kept=0):
    """Value heads in rows behind the first `kept`: the first ones of all key heads, then the second ones, …"""
    keys, values = config.linear_num_key_heads, config.linear_num_value_heads
    heads = numbers[kept:].reshape(keys, values // keys, -1, *numbers.shape[1:])
    return numpy.concatenate([numbers[:kept], heads.swapaxes(0, 1).reshape(-1, *numbers.shape[1:])])


def gguf_columns(family, module, config, numbers):
    """Numbers of a weight or of a LoRA's A, as the file has their columns."""
    is_tiled = family.arch == "qwen35" and module.endswith("linear_attn.out_proj")
    return tiled(numbers.T, config).T if is_tiled else numbers


def parts(module, numbers):
    """The matrices that a file has of one in transformers, with their modules; of a LoRA the rows of its B."""
    names = next((HALVES[whole] for whole in HALVES if module.endswith(whole)), None)
    if names is None:
        return [(module, numbers)]
    prefix = module.rsplit(".", 2)[0]
    return [(f"{prefix}.{name}", part) for name, part in zip(names, numpy.split(numbers, len(names)))]


def gguf_rows(family, config, module, numbers):
    """Numbers of a weight, of a bias or of a LoRA's B, as the file has them."""
    if family.arch == "qwen35" and ".linear_attn." in module:
        if module.endswith(("in_proj_qkv", "conv1d")):
            return tiled(numbers, config, kept=2 * config.linear_num_key_heads * config.linear_key_head_dim)
        return numbers if module.endswith(("norm", "out_proj")) else tiled(numbers, config)
    if family.permuted and module.endswith(".q_proj"):
        return permute(numbers, config.num_attention_heads)
    if family.permuted and module.endswith(".k_proj"):
        return permute(numbers, config.num_key_value_heads)
    return numbers + 1 if family.shifted and module.endswith("norm") else numbers


def write_rope(writer, family, config):
    parameters = config.rope_parameters
    whole = parameters.get("full_attention", parameters)
    if family.arch != "gemma2":
        writer.add_rope_freq_base(whole["rope_theta"])
    if family.arch in ("llama", "smollm3", "granite", "mistral3"):
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_rope_dimension_count(width)
    if whole["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(whole["factor"])
    if whole["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(whole["factor"])
        writer.add_rope_scaling_orig_ctx_len(whole["original_max_position_embeddings"])
        if "beta_fast" in whole:
            writer.add_rope_scaling_yarn_beta_fast(whole["beta_fast"])
            writer.add_rope_scaling_yarn_beta_slow(whole["beta_slow"])
    if family.arch == "mistral3":
        writer.add_rope_scaling_yarn_log_mul(whole["mscale_all_dim"])
        writer.add_attn_temperature_scale(whole["llama_4_scaling_beta"])
    if family.arch == "gemma4":
        wide = family.settings["global_head_dim"]
        turned = int(wide * whole["partial_rotary_factor"] / 2)
        rest = wide // 2 - turned
        writer.add_tensor("rope_freqs.weight", numpy.array([1.0] * turned + [1e30] * rest, numpy.float32))
    if "sliding_attention" in parameters:
        writer.add_rope_freq_base_swa(parameters["sliding_attention"]["rope_theta"])


def write_phi3_rope(writer, config):
    parameters = config.rope_parameters
    original = config.original_max_position_embeddings
    factor = parameters.get("partial_rotary_factor", 1.0)
    writer.add_rope_dimension_count(int(factor * config.hidden_size) // config.num_attention_heads)
    writer.add_rope_scaling_orig_ctx_len(original)
    if parameters["rope_type"] == "longrope":
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
        for length in ("long", "short"):
            factors = numpy.array(parameters[f"{length}_factor"], numpy.float32)
            writer.add_tensor(f"rope_factors_{length}.weight", factors)


def write_layer_keys(writer, family, config):
    """Keys of families whose layers differ."""
    types = config.layer_types
    windowed = [kind == "sliding_attention" for kind in types]
    if family.arch == "lfm2":
        writer.add_head_count_kv([config.num_key_value_heads if kind != "conv" else 0 for kind in types])
        writer.add_shortconv_l_cache(config.conv_L_cache)
    if family.arch == "qwen35":
        values = config.linear_num_value_heads
        writer.add_rope_dimension_count(int(config.head_dim * config.rope_parameters["partial_rotary_factor"]))
        writer.add_rope_dimension_sections([*config.rope_parameters["mrope_section"], 0])
        writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
        writer.add_ssm_state_size(config.linear_key_head_dim)
        writer.add_ssm_group_count(config.linear_num_key_heads)
        writer.add_ssm_time_step_rank(values)
        writer.add_ssm_inner_size(config.linear_value_head_dim * values)
        writer.add_full_attention_interval(types.index("full_attention") + 1)
    if family.arch in ("gemma4", "olmo2"):
        writer.add_sliding_window(config.sliding_window)
        writer.add_sliding_window_pattern(windowed)
    if family.arch == "gemma4":
        settings = {**COMMON, **family.settings}  # the config has these by layer
        own, narrow, wide = (settings[key] for key in ("num_key_value_heads", "head_dim", "global_head_dim"))
        full = settings.get("num_global_key_value_heads", own)
        writer.add_head_count_kv([own if is_windowed else full for is_windowed in windowed])
        sharing, width = config.num_kv_shared_layers, config.intermediate_size
        shared = 2 * width if config.use_double_wide_mlp else width
        writer.add_feed_forward_length([width] * (len(types) - sharing) + [shared] * sharing)
        writer.add_shared_kv_layers(sharing)
        writer.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input or 0)
        writer.add_key_length(wide)
        writer.add_value_length(wide)
        writer.add_key_length_swa(narrow)
        writer.add_value_length_swa(narrow)
        writer.add_rope_dimension_count(wide)
        writer.add_rope_dimension_count_swa(narrow)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def write_keys(writer, family, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if family.arch != "gemma4":
        writer.add_feed_forward_length(config.intermediate_size)
    if family.arch not in ("gemma4", "lfm2"):
        writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(getattr(config, "norm_eps", None) or config.rms_norm_eps)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if family.arch in ("lfm2", "qwen35", "gemma4") or hasattr(config, "layer_types") and family.arch == "olmo2":
        write_layer_keys(writer, family, config)
    if family.arch != "gemma4" and getattr(config, "head_dim", None) is not None:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if family.arch in ("llama", "smollm3", "granite"):
        writer.add_vocab_size(config.vocab_size)
    write_rope(writer, family, config)
    if family.arch == "phi3":
        write_phi3_rope(writer, config)
        writer.add_sliding_window(config.sliding_window or 0)
    if family.arch in ("gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if family.arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if family.arch == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model(path, family, model, tokenizer):
    config = model.config
    writer = gguf.GGUFWriter(path, family.arch)
    writer.add_type(gguf.GGUFType.MODEL)
    write_keys(writer, family, config)
    tokenizer.write(writer)
    for name, parameter in weights(model):  # a tied head is no parameter of its own
        numbers = parameter.detach().numpy()
        layer, inner = (*name.split(".", 3), "", "")[2:4]
        if inner in BARE:
            numbers = -numpy.exp(numbers) if inner.endswith("A_log") else numbers
            rows = gguf_rows(family, config, name, numbers)
            writer.add_tensor(f"blk.{layer}.{BARE[inner]}", numpy.ascontiguousarray(rows))
            continue
        whole, kind = name.rsplit(".", 1)
        for module, part in parts(whole, numbers.squeeze(1) if numbers.ndim == 3 else numbers):
            ordered = gguf_columns(family, module, config, gguf_rows(family, config, module, part))
            writer.add_tensor(f"{gguf_name(family, module)}.{kind}", numpy.ascontiguousarray(ordered))
    finish(writer)


def write_adapter(path, family, config, lora):
    """A LoRA: module → (A [r, in], B [out, r])."""
    writer = gguf.GGUFWriter(path, family.arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, lora.alpha)
    for whole, (a, b) in lora.factors.items():
        for module, part in parts(whole, b.numpy()):
            name = gguf_name(family, module)
            columns, rows = gguf_columns(family, module, config, a.numpy()), gguf_rows(family, config, module, part)
            writer.add_tensor(f"{name}.weight.lora_a", numpy.ascontiguousarray(columns))
            writer.add_tensor(f"{name}.weight.lora_b", numpy.ascontiguousarray(rows))
    finish(writer)
