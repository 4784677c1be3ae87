// The options of an engine, and what they resolve to.

import type { Device } from "mixture-of-shards-graph";
import { z } from "zod";
import type { Adapter } from "#adapters";
import {
  bytes,
  flag,
  kinds,
  locateKinds,
  MosError,
  type OptionKinds,
  parseSettings,
  pick,
  type SettingInput,
  type SettingValues,
  setting,
} from "#common";
import {
  baseDtype,
  type ComputeDtype,
  computeDtype,
  type LoadedModel,
  type LocateCalls,
  type ModelConfig,
  steadyPositions,
} from "#models";
import type { GenerationConfig, LoadedText, TemplateVariables } from "#text";
import type { CacheDtype } from "./slots.ts";
import type { AnswerDefaults } from "./types.ts";

/** Progress of opening: bytes of the model read, adapters found, the programs compiled. Notes report other events. @inline */
export type OpenProgress =
  | {
      readonly type: "model" | "adapters" | "compile";
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "note"; readonly text: string };

/** A model that is loaded already. Its weights stay as they are. */
export interface ModelWithText {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

/** An engine's model, adapters and device, its share of the machine, and callbacks for opening. */
export interface EngineOptions extends SettingInput<typeof engineSettings>, LocateCalls {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is loaded already. */
  readonly model: string | ModelWithText;
  /** A folder that is watched, with one sub-folder for each adapter, or folders by the name of their adapter. */
  readonly adapters?: string | Readonly<Record<string, string>> | undefined;
  /**
   * An adapter, or its folder, that becomes part of the base: as fast as the base alone, which this engine lacks then.
   * Merging takes a second copy of a loaded model's linear layers; where they have more than 300 million parameters, an
   * adapter without others beside it is not merged but used, from a slot, by every request.
   */
  readonly mergedAdapter?: string | Adapter | undefined;
  /** A folder for packed weights of models whose own folder cannot be written; without it they are not cached then. */
  readonly cacheFolder?: string | undefined;
  /** Device of the steps ("cpu"). */
  readonly device?: Device | undefined;
  /**
   * Computes steps on the calling thread, which they block. A loaded model always is; a path is not
   * unless this is set: its engine has a process of its own.
   */
  readonly inProcess?: boolean;
  /** Defaults of requests; missing ones come from the model's files. */
  readonly defaults?: DefaultsInput | undefined;
  /** Variables of the model's chat template, such as `enable_thinking`; those of a request come before them. */
  readonly chatTemplateKwargs?: TemplateVariables | undefined;
  /** Timeout of the engine's heartbeat, after which `isResponding` is false (30); 0 disables it. */
  readonly silentSeconds?: number;
  /** The time for chat templates that print the date; without it they print the date they carry, or none. */
  readonly now?: Date | undefined;
  /** Called while the model is loaded and prepared. */
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Stops opening; an open engine is closed by disposing it. */
  readonly signal?: AbortSignal | undefined;
}

/** The options that decide what a core is; they cross to the engine's process. */
export interface CoreOptions<Model = string>
  extends SettingInput<typeof engineSettings>,
    Pick<EngineOptions, "adapters" | "mergedAdapter" | "cacheFolder" | "device"> {
  readonly model: Model;
}

/** The options of an engine with what its model and its device decide. */
export interface ResolvedOptions extends SettingValues<typeof engineSettings> {
  readonly computeDtype: ComputeDtype;
  /** The longest sequence. */
  readonly maxLength: number;
  readonly device: Device;
  /** True if slots hold adapters. */
  readonly adapters: boolean;
  readonly cacheFolder?: string | undefined;
}

const CACHE_DTYPES = ["float32", "float16"] as const satisfies readonly CacheDtype[];
const RESIDENT_DTYPES = ["float32", "bfloat16"] as const;

/** Format of the base in memory, and type of its products. */
export const baseSettings = {
  baseDtype,
  computeDtype,
  weightCache: flag({
    default: true,
    help: "do not cache quantised weights on disk",
  }),
};

/** Settings of the adapters' memory. */
export const adapterSettings = {
  adapterMemory: setting(bytes(), {
    default: 2e9,
    defaultText: "2GB",
    help: "memory for the adapters that are kept loaded",
  }),
  slotMemory: setting(bytes(1), {
    default: 2e9,
    defaultText: "2GB",
    help: "memory for the expanded adapters of running requests",
  }),
  maxAdapterRank: setting(z.int().min(1), {
    default: 256,
    placeholder: "rank",
    help: "largest adapter rank accepted; the largest rank in a batch slows all of it",
  }),
  adapterDtype: setting(z.enum(RESIDENT_DTYPES), {
    default: "float32",
    help: "data type of loaded adapters; bfloat16 takes half the memory, and changes some answers",
  }),
};

/** Tokens of prompt and output together at most, where no setting says otherwise. */
const MAX_LENGTH = 4096;

/** Tokens of a slot where no setting says otherwise. */
export const defaultMaxLength = (config: ModelConfig): number =>
  Math.min(MAX_LENGTH, steadyPositions(config));

/** Settings of batches: number of requests, their length and their memory. */
export const batchSettings = {
  cacheMemory: setting(bytes(1), {
    defaultText: "that of --max-batch sequences of --max-length, at most 4GB and what is free",
    help: "memory for the KV cache",
  }),
  cacheDtype: setting(z.enum(CACHE_DTYPES), {
    default: "float32",
    help: "data type of the KV cache; float16 halves its memory but rounds",
  }),
  maxBatch: setting(z.int().min(1), {
    common: true,
    default: 16,
    help: "maximum number of concurrent requests",
  }),
  maxWaiting: setting(z.int().min(1), {
    default: 256,
    help: "maximum number of queued requests per tenant; further requests get status 429",
  }),
  maxLength: setting(z.int().min(2), {
    placeholder: "tokens",
    defaultText: `the model's limit, at most ${MAX_LENGTH}`,
    help: "maximum length of prompt and output together, in tokens",
  }),
  draftTokens: setting(z.int().min(0).max(15), {
    default: 7,
    help: "maximum number of tokens drafted from an earlier occurrence of the last ones, and verified in one step; 0 disables",
  }),
  deterministic: flag({
    default: false,
    help: "answers that depend on their requests alone, not on others beside them or before; slower",
  }),
  threads: setting(z.int().min(0), { default: 0, defaultText: "one per core", help: "compute threads" }),
};

/** All settings of an engine but its model and adapters. */
export const engineSettings = { ...baseSettings, ...adapterSettings, ...batchSettings };

export const engineKinds: OptionKinds<EngineOptions> = {
  ...engineSettings,
  ...locateKinds,
  model: z.union([z.string(), kinds.object]),
  adapters: z.union([z.string(), kinds.object]).optional(),
  mergedAdapter: z.union([z.string(), kinds.object]).optional(),
  cacheFolder: z.string().optional(),
  device: z.string().optional(),
  inProcess: z.boolean().optional(),
  defaults: kinds.object.optional(),
  chatTemplateKwargs: kinds.object.optional(),
  silentSeconds: kinds.number.optional(),
  now: kinds.object.optional(),
  onProgress: kinds.function.optional(),
};

const modelsOr = (value: number): string => `the model's, else ${value}`;

/** Settings for choosing the next token. */
export const samplingSettings = {
  temperature: setting(z.number().min(0), {
    common: true,
    placeholder: "t",
    defaultText: "the model's, else 0, or 1 if --top-p, --top-k or --min-p is set",
    help: "sampling temperature; 0 is greedy decoding",
  }),
  topP: setting(z.number().gt(0).max(1), {
    placeholder: "p",
    defaultText: modelsOr(1),
    help: "sample from the smallest set of tokens with this total probability; 1 disables",
  }),
  topK: setting(z.int().min(0), {
    placeholder: "k",
    defaultText: modelsOr(0),
    help: "sample from this many most likely tokens; 0 disables",
  }),
  minP: setting(z.number().min(0).max(1), {
    placeholder: "p",
    defaultText: modelsOr(0),
    help: "drop tokens below this fraction of the top token's probability; 0 disables",
  }),
  repetitionPenalty: setting(z.number().gt(0), {
    defaultText: modelsOr(1),
    help: "penalise tokens that occur in the prompt or output; 1 disables",
  }),
  presencePenalty: setting(z.number().min(-2).max(2), {
    defaultText: "0",
    help: "penalise tokens that already occur in the output",
  }),
  frequencyPenalty: setting(z.number().min(-2).max(2), {
    defaultText: "0",
    help: "penalise tokens by how often they already occur in the output",
  }),
};

/** Defaults of requests. */
export const defaultsSettings = {
  generationConfig: setting(z.enum(["auto", "none"]), {
    default: "auto",
    help: "auto takes sampling defaults from generation_config.json or GGUF metadata; none ignores them",
  }),
  ...samplingSettings,
  maxTokens: setting(z.int().min(1), {
    common: true,
    defaultText: modelsOr(256),
    help: "maximum number of output tokens",
  }),
};

/** Settings of one answer. */
export const answerSettings = {
  ...defaultsSettings,
  stop: setting(z.array(z.string()).readonly(), {
    help: "stop sequence, \\n for a line break; repeatable",
  }),
  seed: setting(z.int().min(0), {
    default: 0,
    help: "random seed; equal seeds give equal output on the same machine",
  }),
};

/** The settings of `defaultsSettings` that were given. */
interface DefaultsInput extends SettingInput<typeof defaultsSettings> {}

/** Defaults of an engine that was created without any. */
export const NO_DEFAULTS: AnswerDefaults = { sampling: {}, sources: {} };

/** Defaults in a model's files that no option sets. Throws `bad_model` for invalid ones. */
function modelDefaults({ where, sampling, maxTokens }: GenerationConfig, options: object) {
  const found = Object.entries({ ...sampling, ...(maxTokens === undefined ? {} : { maxTokens }) });
  const needed = Object.fromEntries(found.filter(([name]) => !(name in options)));
  try {
    const { generationConfig: _, ...checked } = parseSettings(defaultsSettings, needed);
    return pick(defaultsSettings, checked);
  } catch (cause) {
    if (!(cause instanceof MosError)) throw cause;
    throw new MosError(
      "bad_model",
      `${where}: ${cause.message}; correct it, or ignore the file with --generation-config none`,
      { cause },
    );
  }
}

/**
 * The defaults of an engine: what was given, and of what was not, what the model's files have.
 *
 * @throws MosError `bad_option` for a setting out of range, `bad_model` for one of the model's, naming the file.
 */
export function answerDefaults(given: DefaultsInput, model: GenerationConfig): AnswerDefaults {
  const { generationConfig, ...checked } = parseSettings(defaultsSettings, given);
  const options = pick(defaultsSettings, checked);
  const found = generationConfig === "none" ? {} : modelDefaults(model, options);
  const all = { ...found, ...options };
  const findSource = (name: string): string => (name in options ? "option" : model.where);
  return {
    sampling: pick(samplingSettings, all),
    ...(all.maxTokens === undefined ? {} : { maxTokens: all.maxTokens }),
    sources: Object.fromEntries(Object.keys(all).map((name) => [name, findSource(name)])),
  };
}
