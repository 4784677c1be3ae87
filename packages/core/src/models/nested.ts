// Models that also see contain a language model: under `text_config` in config.json, and with names of its
// own in files of weights and adapters.
import { z } from "zod";
import { MosError, omitUndefined, parseWith } from "#common";
import { unsupported } from "./families/family.ts";
import { tokenIds } from "./families/raw-config.ts";

/** A model that contains a language model. */
interface Wrapper {
  readonly className: string;
  /** Types of its `text_config`, and what each is as a model by itself; the first is that of one without a type. */
  readonly texts: Readonly<Record<string, string>>;
  /** transformers ties the head by the field around `text_config`, or by this. */
  readonly isTied: boolean;
  /** Names of the language model's modules begin so in transformers. */
  readonly prefix?: string;
  /** Defaults of `text_config` that differ from those of the model by itself. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** The language model's fields may stand around those of the vision model, without a `text_config`. */
  readonly isFlat?: true;
  /** transformers ignores the cap on logits here. */
  readonly isUncapped?: true;
}

const WRAPPERS: Readonly<Record<string, Wrapper>> = {
  gemma3: {
    className: "Gemma3ForConditionalGeneration",
    texts: { gemma3_text: "gemma3_text" },
    isTied: true,
    isUncapped: true,
  },
  qwen3_vl: {
    className: "Qwen3VLForConditionalGeneration",
    texts: { qwen3_vl_text: "qwen3" },
    isTied: false,
    defaults: { rope_theta: 5e5, max_position_embeddings: 128_000 },
  },
  qwen2_5_vl: {
    className: "Qwen2_5_VLForConditionalGeneration",
    texts: { qwen2_5_vl_text: "qwen2", qwen2_5_vl: "qwen2" },
    isTied: false,
    defaults: { rope_theta: 1e6 },
    isFlat: true,
  },
  smolvlm: {
    className: "SmolVLMForConditionalGeneration",
    texts: { llama: "llama" },
    isTied: false,
    prefix: "model.text_model.",
    defaults: { rms_norm_eps: 1e-5 },
  },
  gemma4: {
    className: "Gemma4ForConditionalGeneration",
    texts: { gemma4_text: "gemma4_text" },
    isTied: true,
  },
  qwen3_5: {
    className: "Qwen3_5ForConditionalGeneration",
    texts: { qwen3_5_text: "qwen3_5_text" },
    isTied: false,
  },
  mistral3: {
    className: "Mistral3ForConditionalGeneration",
    texts: { mistral: "mistral", ministral3: "ministral3" },
    isTied: true,
  },
};

const wrapperOf = (type: string | undefined): Wrapper | undefined =>
  type !== undefined && Object.hasOwn(WRAPPERS, type) ? WRAPPERS[type] : undefined;

const typeSchema = z.looseObject({ model_type: z.string().optional() });
const wrapperSchema = z.looseObject({
  model_type: z.string(),
  text_config: z
    .looseObject({
      model_type: z.string().nullish(),
      final_logit_softcapping: z.number().nullish(),
      tie_word_embeddings: z.boolean().nullish(),
      rope_scaling: z
        .looseObject({ type: z.string().optional(), rope_type: z.string().optional() })
        .nullish(),
    })
    .optional(),
  tie_word_embeddings: z.boolean().nullish(),
  architectures: z.array(z.string()).nullish(),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
  pad_token_id: tokenIds,
  quantization_config: z.unknown().optional(),
});

/** Names of language models' modules begin so, alone and, since transformers 4.52, as a part. */
const [ALONE, AS_PART] = ["model.", "model.language_model."] as const;
/** The same as a part, in files and in older versions, too. */
const PART = /^(?:language_model\.model|model\.(?:language|text)_model)\./;
/** A decoder that was saved without its head, as embedding models are, has no prefix. */
const HEADLESS = /^(?=(?:embed_tokens|layers|norm|embedding_norm)\.)/;
const VISION =
  /^(?:model\.)?(?:vision_tower|vision_model|visual|multi_modal_projector|connector|embed_vision|audio_tower|embed_audio)\./;

/** Prefix of the language model's module names in the model that transformers makes of a config.json. */
export function modulePrefix(json: unknown, where: string): string {
  const { model_type } = parseWith(typeSchema, json, { code: "bad_model", where });
  const wrapper = wrapperOf(model_type);
  return wrapper === undefined ? ALONE : (wrapper.prefix ?? AS_PART);
}

/** Prefix of these names in a file. */
export const modulePrefixIn = (names: Iterable<string>): string =>
  [...names].map((name) => PART.exec(name)?.[0]).find((prefix) => prefix !== undefined) ?? ALONE;

/** Tests whether a weight is of a decoder that was saved without its head. */
export const isHeadless = (name: string): boolean => HEADLESS.test(name);

/** Tests whether a weight belongs to the vision part. */
export const isForPictures = (name: string): boolean => VISION.test(name);

/** The name of a weight in its language model. */
export const textName = (name: string): string =>
  name
    .replace(PART, ALONE)
    .replace(/^language_model\.lm_head\./, "lm_head.")
    .replace(HEADLESS, ALONE);

/** The rope of three parts is that of one for text, where all three positions are equal. */
function withoutParts(rope: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { mrope_section: _, mrope_interleaved: __, ...rest } = rope;
  const plain = (type: unknown): unknown => (type === "mrope" ? "default" : type);
  return omitUndefined({ ...rest, type: plain(rest["type"]), rope_type: plain(rest["rope_type"]) });
}

/**
 * The config.json of the language model in a vision model: its `text_config` and some of the fields around it.
 *
 * @throws MosError "unsupported" for another class of the type, "bad_model" without a `text_config`.
 */
export function unwrapped(json: unknown, where: string): unknown {
  const type = parseWith(typeSchema, json, { code: "bad_model", where }).model_type;
  const wrapper = wrapperOf(type);
  if (wrapper === undefined) return json;
  const { text_config, model_type, architectures, ...outer } = parseWith(wrapperSchema, json, {
    code: "bad_model",
    where,
  });
  const { className, texts, isTied, defaults, isFlat, isUncapped } = wrapper;
  // transformers moves the fields alone that its class of text configs declares
  const { original_max_position_embeddings: _, partial_rotary_factor: __, ...declared } = outer;
  const text = text_config ?? (isFlat === true ? declared : undefined);
  if (text === undefined)
    throw new MosError("bad_model", `${where}: field "text_config" is missing; expected an object`);
  const other = architectures?.find((name) => name !== className);
  if (other !== undefined)
    throw unsupported(
      where,
      `the architecture ${other} is not supported; a model of the type "${model_type}" must be a ${className}`,
    );
  const [standard = ""] = Object.keys(texts);
  const stated = String(text["model_type"] ?? standard);
  const family = Object.hasOwn(texts, stated) ? texts[stated] : undefined;
  if (family === undefined)
    throw unsupported(
      where,
      `the language model of the type "${stated}" (text_config) is not supported in models of the type "${model_type}"; supported are ${Object.keys(texts).join(", ")}`,
    );
  const { final_logit_softcapping: cap, rope_scaling: scaling, rope_parameters: parameters } = text;
  if (isUncapped === true && cap !== undefined && cap !== null)
    throw unsupported(
      where,
      `text_config.final_logit_softcapping ${cap} is not supported in models of the type "${model_type}"; omit it`,
    );
  const {
    tie_word_embeddings = isTied,
    bos_token_id,
    eos_token_id,
    pad_token_id,
    quantization_config,
  } = outer;
  const around = { bos_token_id, eos_token_id, pad_token_id, quantization_config };
  const given = Object.entries(around).filter(([, value]) => value !== undefined && value !== null);
  const ropes = Object.entries({ rope_scaling: scaling, rope_parameters: parameters }).flatMap(
    ([name, rope]) => (isObject(rope) ? [[name, withoutParts(rope)]] : []),
  );
  const { vision_config: ___, ...own } = text as Record<string, unknown>;
  return {
    ...defaults,
    ...own,
    ...Object.fromEntries(ropes),
    ...Object.fromEntries(given),
    model_type: family,
    // the field inside counts where the one around it says nothing, in Qwen alone
    tie_word_embeddings:
      tie_word_embeddings === true || (isFlat === true && own["tie_word_embeddings"] === true),
    architectures: undefined,
  };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;
