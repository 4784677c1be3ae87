// adapter_config.json, ours and PEFT's: the one place that knows its fields. Options of PEFT that change what an adapter
// computes are refused by name, whether the folder is opened or imported.
import { z } from "zod";
import { MosError, show } from "#common";
import { COMMON_LINEARS, type DecoderSettings } from "#models";
import { type Adapter, type AdapterConfig, bindMethod, METHOD_NAMES, methods } from "./adapter.ts";
import { joinNames, parseAdapterConfig } from "./adapter-settings.ts";

/** Version of the folder format. PEFT's own folders have no such field. */
const FORMAT = 1;

/** The model that an adapter was made for. */
export interface AdapterBase {
  readonly name: string;
  /** A hash of the weights, the same for every file format. */
  readonly fingerprint: string;
  /** A hash that every quantisation of the model shares; left out, the adapter fits these very weights alone. */
  readonly identity?: string | undefined;
  /** A digest of how its tokenizer turns text into ids. */
  readonly tokens?: string | undefined;
}

/** Fields of every adapter_config.json, under PEFT's names. */
export const commonFields = (
  { rank, dropout }: { readonly rank: number; readonly dropout: number },
  targets: readonly string[] | string,
  { peftType, baseName }: { readonly peftType: string; readonly baseName: string },
) => ({
  peft_type: peftType,
  task_type: "CAUSAL_LM",
  inference_mode: true,
  base_model_name_or_path: baseName,
  r: rank,
  lora_dropout: dropout,
  target_modules: targets,
  bias: "none",
});

/** The fields of an adapter of this package. */
export function writeFields(
  { config, shapes }: Adapter,
  base: AdapterBase,
): Readonly<Record<string, unknown>> {
  const method = bindMethod(config);
  const usesWeights = method.tensors(shapes).some(({ prepare }) => prepare !== undefined);
  return {
    ...commonFields(config, config.targets, { peftType: method.peftType, baseName: base.name }),
    base_fingerprint: base.fingerprint,
    // singular vectors of another quantisation are others, so such an adapter fits these very weights alone
    ...(base.identity === undefined || usesWeights ? {} : { base_identity: base.identity }),
    ...(base.tokens === undefined ? {} : { base_tokens: base.tokens }),
    ...(shapes.decoder === undefined ? {} : { base_decoder: shapes.decoder }),
    ...method.fields(),
    seed: config.seed,
    format: FORMAT,
  };
}

/** Settings of the base's decoder. */
const decoderFields = z.record(z.string(), z.union([z.string(), z.number(), z.null(), z.array(z.number())]));

const names = z.union([z.array(z.string()), z.string()]).nullish();
const numbersByModule = z.record(z.string(), z.number()).nullish();

/** Fields of any adapter_config.json, ours or PEFT's; other fields are kept for the method. */
export const savedFields = z.looseObject({
  peft_type: z.string(),
  base_model_name_or_path: z.string().nullish(),
  base_fingerprint: z.string().optional(),
  base_identity: z.string().optional(),
  base_tokens: z.string().optional(),
  base_decoder: decoderFields.optional(),
  r: z.int(),
  lora_alpha: z.number().optional(),
  lora_dropout: z.number().min(0).lt(1).nullish(),
  target_modules: names,
  exclude_modules: names,
  layers_to_transform: z.union([z.array(z.int()), z.int()]).nullish(),
  layers_pattern: names,
  rank_pattern: numbersByModule,
  alpha_pattern: numbersByModule,
  use_rslora: z.boolean().nullish(),
  /** A LoRA of PEFT has none, and needs none. */
  seed: z.int().min(0).optional(),
  format: z.int().optional(),
});
export type SavedFields = z.output<typeof savedFields>;

/** The base model recorded in an adapter's folder. */
export interface SavedBase {
  readonly name: string | undefined;
  /** Undefined for a plain LoRA of PEFT, which knows no such thing. */
  readonly fingerprint: string | undefined;
  /** Undefined there too, and for adapters that were saved before it was recorded. */
  readonly identity: string | undefined;
  /** Undefined there, and for adapters that were saved before it was recorded. */
  readonly tokens?: string | undefined;
  /** Undefined there too. */
  readonly decoder?: DecoderSettings | undefined;
}

/** The base that the fields name. */
export const savedBase = (fields: SavedFields): SavedBase => ({
  name: fields.base_model_name_or_path ?? undefined,
  fingerprint: fields.base_fingerprint,
  identity: fields.base_identity,
  tokens: fields.base_tokens,
  decoder: fields.base_decoder,
});

const MERGE =
  "merge the adapter into its base with PEFT (merge_and_unload) and use the merged model as the base";

/** PEFT's options that change what a LoRA computes beyond A, B and a scale, each with an alternative. */
export const REFUSED_OPTIONS: Readonly<Record<string, string>> = {
  use_dora: `DoRA also trains magnitudes, which no plain LoRA has; ${MERGE}`,
  lora_bias: `a plain LoRA cannot hold biases of B; ${MERGE}`,
  modules_to_save: `whole modules were also trained and saved; ${MERGE}`,
  trainable_token_indices: `rows of the embedding were also trained; ${MERGE}`,
  target_parameters: "it adapts parameters that are not linear layers",
  layer_replication: "it repeats layers of the base; build that model first, and train on it",
  alora_invocation_tokens: "it activates in the middle of a text, which a plain LoRA cannot do",
  arrow_config: "it chooses among several adapters for each token; import them one by one",
  use_qalora: "it pools the inputs of A; train again without it",
  use_bdlora: "its factors are block-diagonal; train again without it",
  kasa_config: `it changes the base and puts singular values between A and B; ${MERGE}`,
  monteclora_config: "its factors are drawn at random; train again without it",
  megatron_config: "its layers are Megatron layers; save it from a Hugging Face model",
  fan_in_fan_out: "its base stores transposed weights, as GPT-2 does; no such model is supported",
};

/** Options that make a plain LoRA of another shape, which `mos import` reads. */
export const IMPORTED_OPTIONS = [
  "use_rslora",
  "rank_pattern",
  "alpha_pattern",
  "layers_to_transform",
] as const;

const IMPORT = "convert the folder with mos import";

/** Ways to start that leave the base as it is; the others (PiSSA, OLoRA, LoftQ, …) move a part of it into A and B. */
const PLAIN_STARTS: readonly unknown[] = [
  undefined,
  null,
  true,
  false,
  "gaussian",
  "orthogonal",
  "eva",
  "mica",
];

const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== false &&
  !(typeof value === "object" && Object.keys(value).length === 0);

/**
 * Refuses options of PEFT that A, B and a scale cannot express.
 *
 * @throws MosError `unsupported`, naming the option.
 */
export function refuseOptions(
  fields: SavedFields,
  { where, isImport }: { readonly where: string; readonly isImport: boolean },
): void {
  const refuse = (message: string): never => {
    throw new MosError("unsupported", `${where}: ${message}`);
  };
  const { format = FORMAT, bias, init_lora_weights: start } = fields;
  if (format !== FORMAT)
    refuse(`format ${format} comes from another version of this program; this one reads format ${FORMAT}`);
  for (const [name, reason] of Object.entries(REFUSED_OPTIONS))
    if (isSet(fields[name])) refuse(`${name} is ${show(fields[name], 60)}: ${reason}`);
  const imported = isImport ? undefined : IMPORTED_OPTIONS.find((name) => isSet(fields[name]));
  if (imported !== undefined) refuse(`${imported} is ${show(fields[imported], 60)}; ${IMPORT}`);
  if (isSet(bias) && bias !== "none")
    refuse(`bias is ${show(bias, 60)}: biases of the base were also trained; ${MERGE}`);
  if (!PLAIN_STARTS.includes(start))
    refuse(
      `init_lora_weights is ${show(start, 60)}, an initialisation that changes the base; save it as a plain LoRA with PEFT (save_pretrained with path_initial_model_for_weight_conversion)`,
    );
}

/** Matrices in which files of some families keep several linear layers. */
const FUSED: readonly (string | undefined)[] = ["qkv_proj", "gate_up_proj"];

/** Names of modules, whole paths or one name. Throws `unsupported` for patterns and fused matrices, which can be imported. */
function readTargets(given: SavedFields["target_modules"], where: string): readonly (string | undefined)[] {
  if (given === undefined || given === null)
    throw new MosError("bad_adapter", `${where}: field "target_modules" is missing; ${IMPORT}`);
  if (given === "all-linear") return COMMON_LINEARS;
  const refuse = (what: string): never => {
    throw new MosError("unsupported", `${where}: ${what}; ${IMPORT}`);
  };
  if (typeof given === "string" && /\W/.test(given)) refuse("target_modules is a pattern");
  const names = [given].flat().map((name) => name.split(".").at(-1));
  const fused = names.find((name) => FUSED.includes(name));
  if (fused !== undefined) refuse(`it targets ${fused}, which combines several linear layers`);
  return names;
}

/** The settings of an adapter_config.json. Throws `unsupported` or `bad_adapter`. */
export function readFields(fields: SavedFields, where: string): AdapterConfig {
  const name = METHOD_NAMES.find((known) => methods[known].folder.peftType === fields.peft_type);
  if (name === undefined)
    throw new MosError(
      "unsupported",
      `${where}: peft_type ${JSON.stringify(fields.peft_type)} is not supported; it can be ${joinNames(METHOD_NAMES.map((name) => methods[name].folder.peftType))}`,
    );
  const method = methods[name].folder;
  refuseOptions(fields, { where, isImport: false });
  const own = Object.entries(method.settings);
  const missing = own.find(([, field]) => fields[field] === undefined);
  if (missing !== undefined)
    throw new MosError("bad_adapter", `${where}: field "${missing[1]}" is missing; save the adapter again`);
  const isOurs = fields.format !== undefined || !method.isKnownToPeft;
  if (isOurs && fields.base_fingerprint === undefined)
    throw new MosError(
      "bad_adapter",
      `${where}: field "base_fingerprint" is missing, so its base is unknown; save the adapter again`,
    );
  const targets = readTargets(fields.target_modules, where);
  try {
    return parseAdapterConfig(
      {
        method: name,
        rank: fields.r,
        dropout: fields.lora_dropout ?? 0,
        targets,
        seed: fields.seed,
        ...Object.fromEntries(own.map(([name, field]) => [name, fields[field]])),
      },
      where,
      { rank: "r", dropout: "lora_dropout", targets: "target_modules", ...method.settings },
    );
  } catch (cause) {
    throw cause instanceof MosError ? new MosError("bad_adapter", cause.message, { cause }) : cause;
  }
}
