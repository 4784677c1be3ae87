import { expect, test } from "vitest";
import type { ModelConfig } from "./config.ts";
import { configText, huggingFaceConfig, parseHuggingFaceConfig } from "./config-json.ts";
import { ropeFrequencies } from "./geometry.ts";
import { PRESET_NAMES, presetConfig } from "./presets/index.ts";

/** config.json of Llama-3.2-1B, as transformers 4 writes it. */
const llama32 = {
  architectures: ["LlamaForCausalLM"],
  attention_bias: false,
  bos_token_id: 128000,
  eos_token_id: 128001,
  head_dim: 64,
  hidden_act: "silu",
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: "llama",
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32,
    high_freq_factor: 4,
    low_freq_factor: 1,
    original_max_position_embeddings: 8192,
    rope_type: "llama3",
  },
  rope_theta: 500000,
  tie_word_embeddings: true,
  vocab_size: 128256,
};
const { rope_scaling, rope_theta, ...withoutRope } = llama32;
const parse = (changes: object = {}, generation?: unknown): ModelConfig =>
  parseHuggingFaceConfig(
    { ...llama32, ...changes },
    "config.json",
    generation === undefined ? {} : { generation },
  );

const of = (model_type: string, name: string, fields: object): object => ({
  ...fields,
  model_type,
  architectures: [`${name}ForCausalLM`],
});

const again = (config: ModelConfig): ModelConfig =>
  parseHuggingFaceConfig(JSON.parse(JSON.stringify(huggingFaceConfig(config, "here"))), "config.json");

test("the style of transformers 4 and of 5 give the same config, which is the preset's", () => {
  expect(parse()).toEqual(presetConfig("llama3.2-1b"));
  const newer = { ...withoutRope, rope_parameters: { ...rope_scaling, rope_theta } };
  expect(parseHuggingFaceConfig(newer, "config.json")).toEqual(presetConfig("llama3.2-1b"));
});

test("absent fields have their published defaults", () => {
  const config = parse({
    head_dim: null,
    num_key_value_heads: undefined,
    rope_scaling: null,
    rope_theta: undefined,
    tie_word_embeddings: undefined,
  });
  expect(config).toMatchObject({
    headDim: 64,
    keyValueHeads: 32,
    rope: { kind: "default", theta: 10000 },
    tiedHead: false,
  });
});

test("linear scaling in the old spelling", () => {
  expect(parse({ rope_scaling: { type: "linear", factor: 4 } }).rope).toEqual({
    kind: "linear",
    theta: 500000,
    factor: 4,
  });
});

const yarn = {
  kind: "yarn",
  theta: 500000,
  factor: 4,
  originalMaxPositions: 32768,
  betaFast: 32,
  betaSlow: 1,
  truncate: true,
  attentionFactor: 0.1 * Math.log(4) + 1,
};

test("YaRN as Qwen's instructions have it extends the context", () => {
  const rope_scaling = { type: "yarn", factor: 4, original_max_position_embeddings: 32768 };
  const qwen = of("qwen2", "Qwen2", { max_position_embeddings: 32768, rope_scaling });
  expect(parse(qwen)).toMatchObject({ rope: yarn, maxPositions: 131072 });
  const newer = { rope_parameters: { ...rope_scaling, rope_theta: 500000 }, rope_scaling: undefined };
  expect(parse({ ...qwen, ...newer })).toEqual(parse(qwen));
  expect(parse({ ...qwen, rope_scaling: { ...rope_scaling, beta_fast: 8, truncate: false } }).rope).toEqual({
    ...yarn,
    betaFast: 8,
    truncate: false,
  });
});

test("dynamic scaling extends the context, and scales nothing up to the original one", () => {
  const config = parse({ max_position_embeddings: 2048, rope_scaling: { type: "dynamic", factor: 2 } });
  const rope = { kind: "dynamic", theta: 500000, factor: 2, originalMaxPositions: 2048 } as const;
  expect(config).toMatchObject({ rope, maxPositions: 4096 });
  const rotaryDim = config.headDim;
  const at = (positions: number) => ropeFrequencies({ rope, rotaryDim, positions });
  expect(at(2048)).toEqual(ropeFrequencies({ rope: { kind: "default", theta: 500000 }, rotaryDim }));
  expect(at(4096)[1]).toBeCloseTo((500000 * 3 ** (64 / 62)) ** (-2 / 64), 12);
});

test("an original length on top counts before that in the rope", () => {
  const { rope } = parse({ original_max_position_embeddings: 4096 });
  expect(rope).toMatchObject({ kind: "llama3", originalMaxPositions: 4096 });
});

test.each([
  ["swish", undefined],
  ["gelu_new", "gelu_tanh"],
  ["gelu", "gelu"],
  ["relu", "relu"],
])("the activation %s", (hidden_act, activation) => {
  const config = parse({ hidden_act });
  expect(config.activation).toBe(activation);
  expect(again(config)).toEqual(config);
});

test("ends of sequence of both files are merged", () => {
  expect(parse({}, { eos_token_id: [128009, 128001] }).eosTokens).toEqual([128001, 128009]);
  expect(parse({ eos_token_id: [5, 3] }).eosTokens).toEqual([3, 5]);
  expect(parse({ eos_token_id: null, pad_token_id: -1 })).toMatchObject({ eosTokens: [] });
});

test("a head width of its own, and biases", () => {
  expect(parse({ head_dim: 80, attention_bias: true, mlp_bias: true })).toMatchObject({
    headDim: 80,
    attentionBias: true,
    mlpBias: true,
  });
});

test.each([
  ...["gemma", "gemma3n", "gemma3n_text", "gpt2", "gpt_neox", "gpt_oss", "phi", "phimoe", "phi4_multimodal"],
  ...["qwen2_moe", "qwen2_vl", "qwen3_moe", "qwen3_next", "qwen3_vl_moe", "mixtral"],
  ...["llama4", "llama4_text", "mllama", "olmo", "olmoe", "granitemoe", "lfm2_moe"],
  ...["deepseek_v3", "mamba", "falcon", "bitnet", "t5"],
])("a model of the type %s is refused by name, whatever else it has", (model_type) => {
  const architectures = ["SomethingForCausalLM"];
  for (const json of [
    { model_type, architectures },
    { ...llama32, model_type, architectures },
  ])
    expect(() => parseHuggingFaceConfig(json, "config.json")).toThrowError(
      expect.objectContaining({
        code: "unsupported",
        message: expect.stringMatching(
          new RegExp(`"${model_type}" are not supported; supported are qwen3_5_text, .*qwen3, .*llama`),
        ),
      }),
    );
});

const layer_types = Array.from({ length: 16 }, () => "full_attention");

test.each<[string, object, RegExp]>([
  [
    "a family by its class",
    { model_type: undefined, architectures: ["GemmaForCausalLM"] },
    /"GemmaForCausalLM"/,
  ],
  ["a classifier", { architectures: ["LlamaForSequenceClassification"] }, /LlamaForSequenceClassification/],
  [
    "an embedder of another kind",
    { model_type: "qwen3", architectures: ["Qwen2Model"] },
    /architecture Qwen2Model is not supported/,
  ],
  [
    "mish",
    { hidden_act: "mish" },
    /hidden_act "mish" is not supported; supported are silu, swish, relu, gelu,/,
  ],
  ["relu²", of("granite", "Granite", { hidden_act: "relu2" }), /hidden_act "relu2"/],
  [
    "Gemma with another activation",
    of("gemma2", "Gemma2", { hidden_activation: "relu6" }),
    /hidden_activation "relu6"/,
  ],
  [
    "half rotation",
    { partial_rotary_factor: 0.5 },
    /partial_rotary_factor 0.5 is not supported in this family/,
  ],
  [
    "a wrapper's class",
    { model_type: "gemma3", architectures: ["Gemma3ForSequenceClassification"], text_config: {} },
    /Gemma3ForSequenceClassification is not supported; a model of the type ".*" must be a /,
  ],
  [
    "a wrapper's quantised weights",
    {
      model_type: "gemma3",
      architectures: ["Gemma3ForConditionalGeneration"],
      text_config: { ...llama32, model_type: "gemma3_text" },
      quantization_config: { quant_method: "bitsandbytes" },
    },
    /quantization_config/,
  ],
  ["quantised weights", { quantization_config: { quant_method: "awq" } }, /quantization_config/],
  ["weights of 1.58 bits", { quantization_config: { quant_method: "bitnet" } }, /quantization_config/],
  [
    "a theta that transformers drops",
    { rope_parameters: { rope_theta: 1e6 }, rope_scaling: { rope_type: "yarn", factor: 4 } },
    /rope_scaling and rope_parameters are both set, and transformers replaces the latter's rope_theta 1000000 with 500000/,
  ],
  [
    "ropes of types of layers that share one",
    { rope_parameters: { full_attention: { rope_type: "linear", factor: 2 } } },
    /rope_parameters.full_attention is not supported/,
  ],
  [
    "proportional scaling",
    { rope_scaling: { rope_type: "proportional" } },
    /"proportional" is not supported; supported are default, linear/,
  ],
  [
    "a linear Phi-3",
    of("phi3", "Phi3", { rope_scaling: { rope_type: "linear", factor: 2 } }),
    /"linear" is not supported in this family; supported are default and longrope/,
  ],
  [
    "an original length of Phi-3 that transformers drops",
    of("phi3", "Phi3", {
      rope_scaling: {
        rope_type: "longrope",
        short_factor: [1],
        long_factor: [1],
        original_max_position_embeddings: 2048,
      },
    }),
    /original_max_position_embeddings 2048 is set in the rope only/,
  ],
  [
    "flat parameters of Gemma 3",
    of("gemma3_text", "Gemma3", { rope_scaling: null, rope_parameters: { rope_theta: 1e5 } }),
    /rope_parameters.rope_theta applies to no layer/,
  ],
  [
    "a pattern of Gemma 3 that is not read",
    of("gemma3_text", "Gemma3", { _sliding_window_pattern: 4 }),
    /_sliding_window_pattern 4 would be ignored and 6 used/,
  ],
  ["rope by sections", { rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] } }, /"mrope"/],
  ["experts", { num_local_experts: 8 }, /mixture-of-experts models \(num_local_experts 8\)/],
  ["experts of Qwen", of("qwen3", "Qwen3", { num_experts: 128 }), /num_experts 128/],
  [
    "linear attention",
    of("qwen3", "Qwen3", { layer_types: ["linear_attention", ...layer_types.slice(1)] }),
    /layers of the type "linear_attention"/,
  ],
  [
    "chunked attention",
    of("qwen2", "Qwen2", { layer_types: [...layer_types.slice(1), "chunked_attention"] }),
    /layers of the type "chunked_attention"/,
  ],
  [
    "attention to later tokens",
    of("gemma3_text", "Gemma3", { hidden_act: null, use_bidirectional_attention: true }),
    /use_bidirectional_attention/,
  ],
])("%s is refused by name", (_, changes, message) => {
  expect(() => parse(changes)).toThrowError(
    expect.objectContaining({ code: "unsupported", message: expect.stringMatching(message) }),
  );
});

test("Mistral without a window that matters is taken", () => {
  const mistral = { model_type: "mistral", architectures: ["MistralForCausalLM"] };
  expect(parse({ ...mistral, sliding_window: null }).architecture).toBe("mistral");
  expect(parse({ ...mistral, sliding_window: 131072 }).architecture).toBe("mistral");
});

test.each<[string, unknown, RegExp]>([
  ["no object", 3, /config\.json: this is 3; expected an object/],
  [
    "nothing that says what it is",
    { ...llama32, model_type: undefined, architectures: [] },
    /neither model_type nor architectures/,
  ],
  ["a missing field", { ...llama32, hidden_size: undefined }, /field "hidden_size"/],
  [
    "a field of another type",
    { ...llama32, num_hidden_layers: "16" },
    /field "num_hidden_layers" is .*; expected a number/,
  ],
  ["no heads at all", { ...llama32, num_attention_heads: 0 }, /config\.json: num_attention_heads is 0/],
  ["a head too many", { ...llama32, num_key_value_heads: -1 }, /config\.json: num_key_value_heads is -1/],
  ["a width that is null", { ...llama32, intermediate_size: null }, /field "intermediate_size" is null/],
  ["a theta that is text", { ...llama32, rope_theta: "1e4" }, /field "rope_theta" is "1e4"/],
  [
    "a huge context",
    { ...llama32, max_position_embeddings: 1e300 },
    /config\.json: max_position_embeddings is 1e\+300/,
  ],
  [
    "a negative factor",
    { ...llama32, rope_scaling: { ...rope_scaling, factor: -2 } },
    /config\.json: rope_scaling\.factor is -2/,
  ],
  ["zero layers", { ...llama32, num_hidden_layers: 0 }, /config\.json: num_hidden_layers is 0/],
  ["a fractional width", { ...llama32, hidden_size: 2048.5 }, /config\.json: hidden_size is 2048.5/],
  [
    "an absurd vocabulary",
    { ...llama32, vocab_size: 1e15 },
    /config\.json: vocab_size is 1000000000000000; expected a whole number/,
  ],
  ["heads that do not share", { ...llama32, num_key_value_heads: 5 }, /32 heads cannot share 5/],
  ["an odd head", { ...llama32, head_dim: 63 }, /config\.json: head_dim is 63; it must be even/],
  [
    "heads that do not divide",
    { ...llama32, head_dim: null, num_attention_heads: 24 },
    /config\.json: hidden_size \/ num_attention_heads is 85.33/,
  ],
  ["a negative epsilon", { ...llama32, rms_norm_eps: -1 }, /config\.json: rms_norm_eps is -1/],
  [
    "a negative theta",
    { ...llama32, rope_theta: -1 },
    /config\.json: rope_theta is -1; expected a positive number/,
  ],
  [
    "llama3 scaling without a factor",
    { ...llama32, rope_scaling: { rope_type: "llama3" } },
    /"llama3" lacks factor/,
  ],
  [
    "factors upside down",
    { ...llama32, rope_scaling: { ...rope_scaling, high_freq_factor: 0.5 } },
    /config\.json: rope_scaling\.high_freq_factor is 0.5; it must exceed rope_scaling\.low_freq_factor/,
  ],
  [
    "an end outside the vocabulary",
    { ...llama32, eos_token_id: 128256 },
    /config\.json: eos_token_id 128256 is outside/,
  ],
])("%s is a broken config", (_, json, message) => {
  expect(() => parseHuggingFaceConfig(json, "config.json")).toThrowError(
    expect.objectContaining({ code: "bad_model", message: expect.stringMatching(message) }),
  );
});

// Writing

test.each(PRESET_NAMES.map((name) => [name, presetConfig(name)] as const))(
  "the config of %s is read back as it was",
  (_, config) => {
    expect(again(config)).toEqual(config);
  },
);

test.each<[string, object]>([
  ["YaRN", { rope_scaling: { rope_type: "yarn", factor: 4, truncate: false, mscale: 2, mscale_all_dim: 1 } }],
  ["dynamic scaling", { rope_scaling: { rope_type: "dynamic", factor: 3 } }],
  [
    "longrope",
    { head_dim: 4, rope_scaling: { rope_type: "longrope", short_factor: [1, 1], long_factor: [1, 2] } },
  ],
  [
    "YaRN of Gemma 3",
    of("gemma3_text", "Gemma3", { rope_scaling: { rope_type: "yarn", factor: 4 }, sliding_window: 512 }),
  ],
])("%s is read back as it was", (_, changes) => {
  const config = parse(changes);
  expect(again(config)).toEqual(config);
});

test("several end tokens and a linear scaling too", () => {
  const config: ModelConfig = {
    ...presetConfig("smollm2-135m"),
    eosTokens: [2, 5],
    rope: { kind: "linear", theta: 1e5, factor: 2.5 },
    attentionBias: true,
  };
  expect(again(config)).toEqual(config);
});

test.each([128, 144, 168, 224, 256])("a query scalar of Gemma that is %d stays a whole number", (scalar) => {
  const config = {
    ...presetConfig("smollm2-135m"),
    architecture: "gemma2",
    attentionScale: scalar ** -0.5,
  } as const;
  expect(huggingFaceConfig(config, "here")["query_pre_attn_scalar"]).toBe(scalar);
});

const llama = presetConfig("llama3.2-1b");
const withFactors = (factors: readonly number[], factor = 1): ModelConfig => ({
  ...llama,
  rope: { kind: "factors", theta: llama.rope.theta, factor, factors },
});

test("a GGUF file's factors are recognised as Llama 3's rule", () => {
  const rotaryDim = llama.headDim;
  const plain = ropeFrequencies({ rotaryDim, rope: { kind: "default", theta: 500000 } });
  const factors = ropeFrequencies({ rotaryDim, rope: llama.rope }).map((frequency, i) =>
    Math.fround(plain[i]! / frequency),
  );
  expect(again(withFactors(factors)).rope).toEqual(llama.rope);
});

test("equal factors are a linear scaling, or none", () => {
  const equal = (value: number) => Array.from({ length: llama.headDim / 2 }, () => value);
  expect(again(withFactors(equal(2), 3)).rope).toEqual({ kind: "linear", theta: 500000, factor: 6 });
  expect(again(withFactors(equal(1))).rope).toEqual({ kind: "default", theta: 500000 });
});

test("other factors are refused", () => {
  const odd = Array.from({ length: llama.headDim / 2 }, (_, i) => 1 + i);
  expect(() => huggingFaceConfig(withFactors(odd), "m.gguf")).toThrowError(
    /m\.gguf: its rotary factors .* are not those of Llama 3/,
  );
});

test("what transformers wants as decimals has a point, and the text says the same as before", () => {
  const config = huggingFaceConfig(presetConfig("gemma2-2b"), "here");
  const text = configText({ ...config, note: '"final_logit_softcapping": 30,' });
  expect(text).toContain('"attn_logit_softcapping": 50.0,\n');
  expect(text).toContain('"final_logit_softcapping": 30.0,\n');
  expect(text.match(/\d\.0\b/g)).toHaveLength(2);
  expect(JSON.parse(text)).toMatchObject(config);
  expect(configText({ attention_dropout: 0, other: 0 })).toBe(
    '{\n  "attention_dropout": 0.0,\n  "other": 0\n}\n',
  );
  expect(JSON.parse(configText({ time_step_limit: [0, 1], other: [0, 1] }))).toEqual({
    time_step_limit: [0, 1],
    other: [0, 1],
  });
  expect(configText({ time_step_limit: [0, 1], other: [0, 1] }).match(/\d\.0/g)).toEqual(["0.0", "1.0"]);
  expect(configText({ attn_logit_softcapping: 2.5, final_logit_softcapping: null })).not.toMatch(
    /2\.5\.|null\./,
  );
});
