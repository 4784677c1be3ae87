"""A Hugging Face model as a GGUF in the layout of llama.cpp's convert_hf_to_gguf.py: keys, names and order of rows."""

import math

import gguf
import numpy

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
}
# where there are norms after them
NORMS_AFTER = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(family, module):
    """The name of a linear layer or norm, without ".weight" or ".bias"."""
    if module in OUTER:
        return OUTER[module]
    _, _, layer, inner = module.split(".", 3)
    names = NAMES | NORMS_AFTER if family.arch in ("gemma2", "gemma3", "olmo2") else NAMES
    return f"blk.{layer}.{names[inner]}"


def permute(rows, heads):
    """The two halves of each head side by side: 0, D/2, 1, D/2 + 1, …"""
    return rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_rows(family, config, module, numbers):
    """Numbers of a weight, of a bias or of a LoRA's B, as the file has them."""
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
    if family.arch in ("llama", "smollm3", "granite"):
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_rope_dimension_count(width)
    if whole["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(whole["factor"])
    if whole["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(whole["factor"])
        writer.add_rope_scaling_orig_ctx_len(whole["original_max_position_embeddings"])
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


def write_keys(writer, family, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if getattr(config, "head_dim", None) is not None:
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
    for name, parameter in model.named_parameters():  # a tied head is no parameter of its own
        module, kind = name.rsplit(".", 1)
        rows = gguf_rows(family, config, module, parameter.detach().numpy())
        writer.add_tensor(f"{gguf_name(family, module)}.{kind}", numpy.ascontiguousarray(rows))
    finish(writer)


def write_adapter(path, family, config, lora):
    """A LoRA: module → (A [r, in], B [out, r])."""
    writer = gguf.GGUFWriter(path, family.arch)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, lora.alpha)
    for module, (a, b) in lora.factors.items():
        name = gguf_name(family, module)
        writer.add_tensor(f"{name}.weight.lora_a", a.numpy())
        writer.add_tensor(f"{name}.weight.lora_b", numpy.ascontiguousarray(gguf_rows(family, config, module, b.numpy())))
    finish(writer)
