"""Fields that only families of 2026 have, and the models that also see."""

from .fields import put

FULL, SLIDING = "full_attention", "sliding_attention"


def qwen3_5(draw, layers):
    fields = {}
    put(
        fields,
        full_attention_interval=draw.field([1, 2, 3, 4], 0.6, 0.03),
        linear_num_key_heads=draw.field([1, 2, 2, 3], 0.03),
        linear_num_value_heads=draw.field([2, 4, 4, 6], 0.03),
        linear_key_head_dim=draw.field([4, 8, 6], 0.03),
        linear_value_head_dim=draw.field([4, 8, 6], 0.03),
        linear_conv_kernel_dim=draw.field([4, 2, 3, 1], 0.5),
        attn_output_gate=draw.field([True, False], 0.9),
        mamba_ssm_dtype=draw.field(["float32"], 0.8),
    )
    return fields


def heads_by_layer(draw, types):
    """per_layer_config: most often the same for all full layers."""
    one = {"head_dim": draw.choice([4, 16])}
    put(one, num_key_value_heads=draw.field([1, 2], 0.5))
    chosen = {str(i): one for i, kind in enumerate(types) if kind == FULL}
    if draw.maybe(0.3):
        chosen[str(draw.randrange(len(types)))] = {"head_dim": 16}
    return chosen


def gemma4(draw, layers):
    fields = {}
    types = [SLIDING if draw.maybe(0.5) else FULL for _ in range(layers - 1)] + [FULL]
    width = draw.choice([0, 0, 4, 8])
    put(
        fields,
        layer_types=draw.field([types], 0.3, 0.03),
        global_head_dim=draw.field([4, 8, 16, 16], 0.05, 0.03),
        num_global_key_value_heads=draw.field([1, 2, 2], 0.4, 0.05),
        attention_k_eq_v=draw.field([True, False], 0.4),
        num_kv_shared_layers=draw.field([0, 1, 2, layers, layers - 1, -1], 0.4),
        use_double_wide_mlp=draw.field([True, False], 0.4),
        hidden_size_per_layer_input=draw.field([width], 0.02),
        vocab_size_per_layer_input=draw.field([24, 30, 24, 7], 0.1 if width == 0 else 0),
        enable_moe_block=draw.field([False, True], 0.9),
        num_experts=draw.field([4], 0.97),
        use_bidirectional_attention=draw.field(["vision", "all"], 0.9),
    )
    if draw.maybe(0.08):
        fields["per_layer_config"] = heads_by_layer(draw, fields.get("layer_types") or types)
    return fields


def convolutions(draw):
    fields = {}
    put(
        fields,
        norm_eps=draw.field([1e-5, 1e-2, 0.1], 0.3),
        conv_L_cache=draw.field([1, 2, 3, 4, 7], 0.4),
        conv_bias=draw.field([False, True], 0.8),
    )
    return fields


def lfm2(draw, layers):
    fields = convolutions(draw)
    put(
        fields,
        full_attn_idxs=draw.field([[0], [layers - 1], list(range(layers)), [1, 99], []], 0.6, 0.05),
        block_auto_adjust_ff_dim=draw.field([True, False], 0.3),
        block_multiple_of=draw.field([4, 16, 256], 0.4),
        block_ffn_dim_multiplier=draw.field([1.0, 1, 1.3], 0.5, 0.05),
        block_ff_dim=draw.field([24, 40], 0.7),
        tie_embedding=draw.field([True, False], 0.8),
    )
    return fields


def lfm3(draw, layers):
    fields = convolutions(draw)
    put(
        fields,
        use_sandwich_norm=draw.field([True, True, True, False], 0.5),
        use_attention_gate=draw.field([True, False], 0.4),
    )
    return fields


def granite_hybrid(draw, layers):
    fields = {"mamba_n_heads": 2}
    put(
        fields,
        num_local_experts=draw.field([0, 0, 0, 0, 0, 2], 0.03),
        shared_intermediate_size=draw.field([24, 40], 0.1),
        position_embedding_type=draw.field(["rope"] * 8 + ["nope", "alibi"], 0.08, 0.03),
        layers_block_type=draw.field([["attention"] * layers, ["mamba"] * layers], 0.9),
    )
    if draw.maybe(0.8):
        name = draw.choices(["layer_types", "layers_block_type"], [80, 20])[0]
        fields[name] = [draw.choice(["attention", FULL])] * layers
    return fields


def granite_swa(draw, layers):
    fields = {}
    thetas = [draw.choice([0, 1e4, 1e4]) for _ in range(layers)]
    mixed = [draw.choice([0, 100.0, 1e4]) for _ in range(layers)]
    put(fields, layer_rope_theta=draw.field([thetas, thetas, mixed, [0] * layers, thetas[1:]], 0.5, 0.05))
    return fields


OWN = {
    "qwen3_5_text": qwen3_5,
    "gemma4_text": gemma4,
    "lfm2": lfm2,
    "lfm3": lfm3,
    "granitemoehybrid": granite_hybrid,
    "granite_swa": granite_swa,
}

PATCHES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 4,
           "patch_size": 2}  # fmt: skip
QWEN = {"hidden_size": 8, "intermediate_size": 8, "depth": 1, "num_heads": 1, "patch_size": 2, "spatial_merge_size": 2}
# type of the language model → types of models that also see, with what they see by
WRAPPERS = {
    "gemma3_text": [("gemma3", PATCHES | {"mm_tokens_per_image": 4})],
    "gemma4_text": [("gemma4", None)],
    "qwen3_5_text": [("qwen3_5", QWEN | {"num_position_embeddings": 16})],
    "qwen3_vl_text": [("qwen3_vl", QWEN | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]})],
    "qwen2_5_vl_text": [("qwen2_5_vl", QWEN | {"window_size": 4, "fullatt_block_indexes": [0]})],
    "llama": [("smolvlm", PATCHES)],
    "mistral": [("mistral3", PATCHES | {"head_dim": 8})],
    "ministral3": [("mistral3", PATCHES | {"head_dim": 8})],
}
# language models that stand in others alone
PARTS = ("qwen3_vl_text", "qwen2_5_vl_text")


def wrapped(draw, text):
    """The language model as a part of one that also sees."""
    kind, vision = draw.choice(WRAPPERS[text["model_type"]])
    fields = {"model_type": kind}
    if kind.startswith("qwen"):
        vision = vision | {"out_hidden_size": text["hidden_size"]}
    if vision is not None:
        fields["vision_config"] = vision
    put(fields, tie_word_embeddings=draw.field([True, False], 0.5))
    if kind == "qwen2_5_vl" and draw.maybe(0.3):  # as on the hub, where all fields stand side by side
        return text | fields
    if draw.maybe(0.3):
        text.pop("model_type")
    return fields | {"text_config": text}
