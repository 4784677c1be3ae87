// adapter_config.json: our settings under PEFT's names, and back. What PEFT can do and we cannot is refused by name.
import { z } from "zod";
import { MosError } from "#core";
import { LINEAR_NAMES } from "#graph";
import type { Adapter } from "./adapter.ts";
import type { DecoderSettings } from "./method.ts";
import {
  type AdapterConfig,
  anyOf,
  METHOD_NAMES,
  methodOf,
  methodOfFolder,
  methods,
  parseAdapterConfig,
} from "./methods.ts";

/** The number of this form of folders. PEFT's own folders have no such field. */
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

/** The fields of an adapter_config.json. */
export function writeFields(
  { config, geometry }: Adapter,
  base: AdapterBase,
): Readonly<Record<string, unknown>> {
  const method = methodOf(config);
  return {
    peft_type: method.peftType,
    task_type: "CAUSAL_LM",
    inference_mode: true,
    base_model_name_or_path: base.name,
    base_fingerprint: base.fingerprint,
    ...(base.identity === undefined ? {} : { base_identity: base.identity }),
    ...(base.tokens === undefined ? {} : { base_tokens: base.tokens }),
    ...(geometry.decoder === undefined ? {} : { base_decoder: geometry.decoder }),
    r: config.rank,
    lora_dropout: config.dropout,
    target_modules: config.targets,
    bias: "none",
    ...method.fields(),
    seed: config.seed,
    format: FORMAT,
  };
}

/** What the base computes beside its weights. */
export const decoderFields = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.null(), z.array(z.number())]),
);

/** What any adapter_config.json has, ours or PEFT's; other fields are kept for the method. */
export const savedFields = z.looseObject({
  peft_type: z.string(),
  base_model_name_or_path: z.string().nullish(),
  base_fingerprint: z.string().optional(),
  base_identity: z.string().optional(),
  base_tokens: z.string().optional(),
  base_decoder: decoderFields.optional(),
  r: z.int(),
  lora_dropout: z.number().default(0),
  target_modules: z.union([z.array(z.string()), z.string()]),
  /** A LoRA of PEFT has none, and needs none. */
  seed: z.int().min(0).optional(),
  format: z.int().optional(),
});
export type SavedFields = z.output<typeof savedFields>;

/** What an adapter's folder says about the model that it was made for. */
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
export const baseOf = (fields: SavedFields): SavedBase => ({
  name: fields.base_model_name_or_path ?? undefined,
  fingerprint: fields.base_fingerprint,
  identity: fields.base_identity,
  tokens: fields.base_tokens,
  decoder: fields.base_decoder,
});

/** PEFT's options that change what a LoRA computes and that are not read. */
const REFUSED = [
  "use_dora",
  "use_rslora",
  "use_qalora",
  "use_bdlora",
  "lora_bias",
  "modules_to_save",
  "rank_pattern",
  "alpha_pattern",
  "layers_to_transform",
  "layer_replication",
  "target_parameters",
  "trainable_token_indices",
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "monteclora_config",
  "fan_in_fan_out",
] as const;

/** Those of them that still make a plain LoRA of another shape, which `mos import` can read. */
const IMPORTED: readonly string[] = ["use_rslora", "rank_pattern", "alpha_pattern", "layers_to_transform"];

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

function refuseOptions(fields: SavedFields, where: string): void {
  const refuse = (message: string): never => {
    throw new MosError("unsupported", `${where}: ${message}`);
  };
  const { format = FORMAT, bias = "none", init_lora_weights: start } = fields;
  if (format !== FORMAT)
    refuse(`format ${format} comes from another version of this program; this one reads format ${FORMAT}`);
  const refused = REFUSED.find((name) => isSet(fields[name]));
  if (refused !== undefined)
    refuse(
      `${refused} ${JSON.stringify(fields[refused])} changes what the adapter computes and is not supported${IMPORTED.includes(refused) ? " here; mos import makes an adapter of such a folder" : ""}`,
    );
  if (bias !== "none") refuse(`bias ${JSON.stringify(bias)} is not supported; only "none" is`);
  if (!PLAIN_STARTS.includes(start))
    refuse(
      `init_lora_weights ${JSON.stringify(start)} changes the base; let PEFT convert the adapter to a plain LoRA when it saves it`,
    );
}

/** Matrices in which files of some families keep several linear layers. */
const FUSED: readonly (string | undefined)[] = ["qkv_proj", "gate_up_proj"];

/** Names of modules, whole paths or one name. Throws `unsupported` for patterns and fused matrices, which can be imported. */
function readTargets(given: SavedFields["target_modules"], where: string): readonly (string | undefined)[] {
  if (given === "all-linear") return LINEAR_NAMES;
  const refuse = (what: string): never => {
    throw new MosError("unsupported", `${where}: ${what}; mos import makes an adapter of such a folder`);
  };
  if (typeof given === "string" && /\W/.test(given)) refuse("target_modules is a pattern");
  const names = [given].flat().map((name) => name.split(".").at(-1));
  const fused = names.find((name) => FUSED.includes(name));
  if (fused !== undefined) refuse(`it targets ${fused}, in which a model's files keep several linear layers`);
  return names;
}

/** The settings of an adapter_config.json. Throws `unsupported` or `bad_adapter`. */
export function readFields(fields: SavedFields, where: string): AdapterConfig {
  const method = methodOfFolder(fields.peft_type);
  if (method === undefined)
    throw new MosError(
      "unsupported",
      `${where}: peft_type ${JSON.stringify(fields.peft_type)} is not supported; it can be ${anyOf(METHOD_NAMES.map((name) => methods[name].folder.peftType))}`,
    );
  refuseOptions(fields, where);
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
        method: method.name,
        rank: fields.r,
        dropout: fields.lora_dropout,
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
