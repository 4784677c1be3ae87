// Vision models contain a language model: under `text_config` in config.json, and with names of its
// own in files of weights and adapters.
import { z } from "zod";
import { parseWith } from "#common";
import { unsupported } from "./families/family.ts";
import { tokenIds } from "./families/raw-config.ts";

/** Their types, and the class that such a model has. */
const WRAPPERS: ReadonlyMap<string, string> = new Map([["gemma3", "Gemma3ForConditionalGeneration"]]);

const typeSchema = z.looseObject({ model_type: z.string().optional() });
const wrapperSchema = z.looseObject({
  model_type: z.string(),
  text_config: z.looseObject({ final_logit_softcapping: z.number().nullish() }),
  /** transformers ties the head by this field, whatever the language model's is. */
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
const PART = /^(?:language_model\.model|model\.language_model)\./;
/** A decoder that was saved without its head, as embedding models are, has no prefix. */
const HEADLESS = /^(?=(?:embed_tokens|layers|norm)\.)/;
const VISION = /^(?:model\.)?(?:vision_tower|vision_model|multi_modal_projector)\./;

/** Tests whether a config.json nests the language model in a larger one. */
const isNested = (json: unknown, where: string): boolean =>
  WRAPPERS.has(parseWith(typeSchema, json, { code: "bad_model", where }).model_type ?? "");

/** Prefix of the language model's module names in the model that transformers makes of a config.json. */
export const modulePrefix = (json: unknown, where: string): string =>
  isNested(json, where) ? AS_PART : ALONE;

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

/**
 * The config.json of the language model in a vision model: its `text_config` and some of the fields around it.
 *
 * @throws MosError "unsupported" for another class of the type, "bad_model" without a `text_config`.
 */
export function unwrapped(json: unknown, where: string): unknown {
  if (!isNested(json, where)) return json;
  const { text_config, model_type, architectures, ...outer } = parseWith(wrapperSchema, json, {
    code: "bad_model",
    where,
  });
  const className = WRAPPERS.get(model_type);
  const other = architectures?.find((name) => name !== className);
  if (other !== undefined)
    throw unsupported(
      where,
      `the architecture ${other} is not supported; a model of the type "${model_type}" must be a ${className}`,
    );
  const { final_logit_softcapping: cap } = text_config;
  if (cap !== undefined && cap !== null)
    throw unsupported(
      where,
      `text_config.final_logit_softcapping ${cap} is not supported in models of the type "${model_type}"; omit it`,
    );
  const { tie_word_embeddings = true } = outer;
  const { bos_token_id, eos_token_id, pad_token_id, quantization_config } = outer;
  const around = { bos_token_id, eos_token_id, pad_token_id, quantization_config };
  const stated = Object.entries(around).filter(([, value]) => value !== undefined && value !== null);
  return {
    model_type: `${model_type}_text`,
    ...text_config,
    ...Object.fromEntries(stated),
    tie_word_embeddings: tie_word_embeddings === true,
    architectures: undefined,
  };
}
