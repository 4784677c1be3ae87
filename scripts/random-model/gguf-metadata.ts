// The header of a random model's GGUF file: its sizes and choices under llama.cpp's keys, and the tokenizer.
import type { StoredType, WritableGgufValue } from "mixture-of-shards-core/files";
import type { ModelConfig } from "mixture-of-shards-core/models";
import { ggufArchitecture, rotatedWidth } from "mixture-of-shards-core/models";
import { type PaddedTokenizer, SPECIAL } from "./padded-tokenizer.ts";

type Header = Readonly<Record<string, WritableGgufValue>>;

/** llama.cpp's numbers for what most tensors of a file are. */
const FILE_TYPES: Readonly<Record<StoredType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q4_K: 15,
  Q5_K: 17,
  Q6_K: 18,
  BF16: 32,
};

/** llama.cpp's kinds of tokens. */
const KIND = { normal: 1, control: 3, unused: 5 } as const;

const string = (value: string): WritableGgufValue => ({ type: "string", value });
const uint32 = (value: number): WritableGgufValue => ({ type: "uint32", value });
const float32 = (value: number): WritableGgufValue => ({ type: "float32", value });

const numbers = (values: Readonly<Record<string, number | undefined>>, as: typeof uint32): Header =>
  Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, as(value)]])),
  );

/** What a model's kind has beside sizes. Gemma's scales follow from its sizes, and have no keys. */
function choiceFields(config: ModelConfig): Header {
  const { rope, localRope, window, logitScale } = config;
  return {
    ...numbers({ "attention.sliding_window": window?.size }, uint32),
    ...numbers(
      {
        attn_logit_softcapping: config.attentionSoftCap,
        final_logit_softcapping: config.logitSoftCap,
        "rope.freq_base_swa": localRope?.theta,
      },
      float32,
    ),
    ...(rope.kind === "linear"
      ? { "rope.scaling.type": string("linear"), "rope.scaling.factor": float32(rope.factor) }
      : {}),
    ...(rope.kind === "longrope"
      ? {
          "rope.scaling.original_context_length": uint32(rope.originalMaxPositions),
          "rope.scaling.attn_factor": float32(rope.attentionFactor),
        }
      : {}),
    ...(config.architecture === "granite"
      ? numbers(
          {
            "attention.scale": config.attentionScale,
            embedding_scale: config.embeddingScale,
            residual_scale: config.residualScale,
            logit_scale: logitScale === undefined ? undefined : 1 / logitScale,
          },
          float32,
        )
      : {}),
  };
}

function sizeFields(config: ModelConfig): Header {
  const sizes = {
    block_count: config.layers,
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    feed_forward_length: config.intermediateSize,
    "attention.head_count": config.heads,
    "attention.head_count_kv": config.keyValueHeads,
    "attention.key_length": config.headDim,
    "attention.value_length": config.headDim,
    "rope.dimension_count": rotatedWidth(config),
    vocab_size: config.vocabularySize,
  };
  return {
    ...numbers(sizes, uint32),
    ...numbers(
      { "attention.layer_norm_rms_epsilon": config.normEpsilon, "rope.freq_base": config.rope.theta },
      float32,
    ),
  };
}

function tokenizerFields(tokenizer: PaddedTokenizer): Header {
  const kinds = tokenizer.tokens.map((_, id) =>
    id <= SPECIAL.end ? KIND.control : id < tokenizer.used ? KIND.normal : KIND.unused,
  );
  return {
    "tokenizer.ggml.model": string("gpt2"),
    "tokenizer.ggml.pre": string("gpt-2"),
    "tokenizer.ggml.tokens": { type: "strings", value: tokenizer.tokens },
    "tokenizer.ggml.token_type": { type: "int32s", value: kinds },
    "tokenizer.ggml.merges": { type: "strings", value: tokenizer.merges.map((pair) => pair.join(" ")) },
    "tokenizer.ggml.bos_token_id": uint32(SPECIAL.start),
    "tokenizer.ggml.eos_token_id": uint32(SPECIAL.end),
    "tokenizer.ggml.padding_token_id": uint32(SPECIAL.start),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
    "tokenizer.chat_template": string(tokenizer.chatTemplate),
  };
}

/** What the header says of a model whose matrices are mostly of one type. */
export function ggufMetadata({
  name,
  config,
  tokenizer,
  type,
}: {
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: PaddedTokenizer;
  readonly type: StoredType;
}): Header {
  const architecture = ggufArchitecture(config);
  const own = Object.entries({ ...sizeFields(config), ...choiceFields(config) });
  return {
    "general.architecture": string(architecture),
    // llama.cpp looks for Phi-3's own tokens in a model of its name
    "general.name": string(name.replace(/^phi/, "phi ")),
    "general.file_type": uint32(FILE_TYPES[type]),
    "general.quantization_version": uint32(2),
    ...Object.fromEntries(own.map(([key, value]) => [`${architecture}.${key}`, value])),
    ...tokenizerFields(tokenizer),
  };
}
