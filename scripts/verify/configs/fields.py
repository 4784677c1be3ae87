"""Fields of random config.json files: each is present, absent, null or in contradiction to another."""

import random

# families whose windowed layers have a rope of their own
LOCAL_ROPES = ("gemma3_text", "gemma4_text", "olmo3", "lfm3")
# those that rotate heads in part by the type "proportional"
PROPORTIONAL = ("gemma4_text", "lfm3")
# rotary positions of three parts
THREE_PARTS = ("qwen3_5_text", "qwen3_vl_text", "qwen2_5_vl_text")
QWEN_WINDOWS = ("qwen2", "qwen3", "qwen2_5_vl_text")
GRANITES = ("granite", "granitemoehybrid", "granite_swa")
ROPES = ["default", "linear", "dynamic", "yarn", "longrope", "llama3"]
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


def rope(draw, head_dim, *, kinds=ROPES, family=""):
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
    if kind == "proportional":
        put(fields, partial_rotary_factor=draw.field([0.25, 0.5, 1.0], 0.2))
    elif draw.maybe(0.05):
        put(fields, partial_rotary_factor=draw.field([0.5, 1.0], 0))
    if family == "ministral3":
        put(fields, llama_4_scaling_beta=draw.field([0.1, 0.5, 0], 0.05))
    if draw.maybe(0.05):
        put(fields, factor=draw.field([3.0], 0), truncate=draw.field([False], 0.5), beta_fast=draw.field([5], 0.5))
    return fields


def nested(draw, head_dim, family):
    """A rope for each type of layers."""
    kinds = ["default", *ROPES] + ["proportional"] * (12 if family in PROPORTIONAL else 0)
    one = lambda: rope(draw, head_dim, kinds=kinds)
    fields = {}
    for name, absent in (("full_attention", 0.1), ("sliding_attention", 0.2)):
        put(fields, **{name: draw.field([one()], absent)})
    return fields


def add_parts(draw, fields, pairs):
    """Says which pairs turn by time, height and width, which are the same in text."""
    found = [fields[name] for name in ("rope_scaling", "rope_parameters") if fields.get(name)]
    if not found:
        found = [{"type": "mrope"}]
        fields["rope_scaling"] = found[0]
    for one in found:
        one["mrope_section"] = [pairs - pairs // 3 * 2, pairs // 3, pairs // 3]
        put(one, mrope_interleaved=draw.field([True, False], 0.4))


def ropes(draw, family, head_dim):
    fields = {}
    kinds = ["default", "longrope", "longrope", "su", "yarn"] if family == "phi3" and draw.maybe(0.8) else ROPES
    kinds = ["yarn"] if family == "ministral3" and draw.maybe(0.7) else kinds
    flat = lambda: rope(draw, head_dim, kinds=kinds, family=family)
    local = family in LOCAL_ROPES
    old = family in PROPORTIONAL  # never written in the old form
    style = draw.choices(["none", "scaling", "parameters", "both"], [15, 3, 72, 10] if old else [15, 35, 30, 20])[0]
    if style in ("scaling", "both"):
        fields["rope_scaling"] = draw.choices([flat(), None, {}, nested(draw, head_dim, family)], [86, 6, 4, 4])[0]
    if style in ("parameters", "both"):
        plain = {"rope_type": "default", "rope_theta": draw.choice([1e4, 5e5])}
        shapes = [flat(), plain, None, {}, nested(draw, head_dim, family)]
        fields["rope_parameters"] = draw.choices(shapes, [15, 5, 5, 3, 72] if local else [60, 25, 5, 5, 5])[0]
    if family in THREE_PARTS and draw.maybe(0.95):
        add_parts(draw, fields, head_dim // 2)
    put(
        fields,
        rope_theta=draw.field([1e4, 1e6, 50, 300.0], 0.6, 0.02),
        original_max_position_embeddings=draw.field([4, 8, 16, 64, 4096], 0.4 if family == "phi3" else 0.85),
        partial_rotary_factor=draw.field([0.5, 0.5, 1.0], 0.6 if family in ("phi3", "qwen3_5_text") else 0.96),
    )
    if family == "gemma3_text" or draw.maybe(0.02):
        put(fields, rope_local_base_freq=draw.field([1e4, 200.0], 0.5, 0.02))
    return fields


# the types of layers of families that have others
TYPES = {
    "lfm2": ["conv", "full_attention"],
    "lfm3": ["conv", "full_attention", "sliding_attention"],
    "qwen3_5_text": ["linear_attention", "full_attention"],
    "granitemoehybrid": ["attention"],
}


def windows(draw, family, layers):
    fields = {}
    known = TYPES.get(family, ["full_attention", "sliding_attention"])
    types = lambda count=layers: [draw.choice(known) for _ in range(count)]
    # of one type, of a type of other families, or of a wrong number
    odd = [[known[-1]] * layers, ["chunked_attention", *types(layers - 1)], types(layers + 1), types(layers - 1)]
    put(
        fields,
        sliding_window=draw.field([1, 3, 5, 8, 24, 64, 4096], 0.35, 0.08),
        layer_types=draw.field([types()] * 9 + [draw.choice(odd)], 0.3 if family in TYPES else 0.6, 0.05),
    )
    if family in (*QWEN_WINDOWS, "smollm3") or draw.maybe(0.05):
        put(fields, use_sliding_window=draw.field([True, True, False], 0.3))
    if family in QWEN_WINDOWS or draw.maybe(0.05):
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
    granite = 0.3 if family in GRANITES else rare
    put(
        fields,
        embedding_multiplier=draw.field([12, 2.5, 1.0], granite),
        attention_multiplier=draw.field([0.1, 0.5, 1], granite),
        residual_multiplier=draw.field([0.22, 1.0], granite),
        logits_scaling=draw.field([8, 2.0, 0.5], granite),
    )
    return fields
