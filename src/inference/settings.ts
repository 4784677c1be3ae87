import {
  bytes,
  choice,
  flag,
  integer,
  number,
  parseSettings,
  type SettingInput,
  type SettingValues,
  texts,
} from "#core";
import { type BaseDtype, baseDtype, COMPUTES, type Compute } from "#models";
import type { CacheDtype } from "./kv-cache.ts";

const CACHE_DTYPES = ["float32", "float16"] as const satisfies readonly CacheDtype[];
const RESIDENT_DTYPES = ["float32", "bfloat16"] as const;

/** How the base is kept in memory, and what its products are computed in. */
export const baseSettings = {
  baseDtype: { ...baseDtype, formerly: "quantize", formerValues: { none: "float32" } },
  compute: choice(COMPUTES, {
    defaultText: "int8 for the base dtypes int8 and int4, float32 for others",
    help: "what the base's products are computed in; int8 is several times faster and rounds",
  }),
  weightCache: flag({
    default: true,
    help: "do not keep the weights of a base dtype other than stored and float32 beside the model for the next start",
  }),
};

/** The precision of the products of a base, where none is given. */
export const defaultCompute = (kept: BaseDtype): Compute =>
  kept === "int8" || kept === "int4" ? "int8" : "float32";

/** What adapters may take of the memory. */
export const adapterSettings = {
  adapterMemory: bytes({
    default: 2e9,
    defaultText: "2GB",
    help: "memory of resident adapters, which are ready to be used",
  }),
  slotMemory: bytes({
    min: 1,
    default: 2e9,
    defaultText: "2GB",
    help: "memory of the adapters of running requests, each expanded in its slot",
  }),
  maxAdapterRank: integer({
    min: 1,
    default: 256,
    placeholder: "rank",
    help: "largest rank of an adapter; every running request pays for the largest one in the batch",
  }),
  adapterDtype: choice(RESIDENT_DTYPES, {
    default: "float32",
    help: "how resident adapters keep their numbers",
  }),
};

/** How many requests run, how long they may be, and what they may take of the machine. */
export const batchSettings = {
  cacheMemory: bytes({
    min: 1,
    defaultText: "4GB, or what is free",
    help: "memory of the keys and values of running requests",
  }),
  cacheDtype: choice(CACHE_DTYPES, {
    default: "float32",
    help: "what keys and values are stored as; float16 takes half the memory and rounds",
  }),
  maxBatch: integer({ min: 1, default: 16, help: "requests that run side by side" }),
  maxWaiting: integer({
    min: 1,
    default: 256,
    help: "requests of one tenant that may wait; more are refused until there is room",
  }),
  maxLength: integer({
    min: 2,
    placeholder: "tokens",
    defaultText: "what the model allows, at most 4096",
    help: "longest prompt and answer together",
  }),
  threads: integer({ min: 0, default: 0, defaultText: "one for each core", help: "threads to compute with" }),
};

/** All settings of an engine but its model and adapters. */
export const engineSettings = { ...baseSettings, ...adapterSettings, ...batchSettings };

/** How an engine keeps its base, and how much of the machine it takes; `engineSettings` says what each setting means. */
export interface EngineSettings extends SettingInput<typeof engineSettings> {}

/** The settings with everything that was left out. */
export interface FullSettings extends SettingValues<typeof engineSettings> {}

/**
 * Fills in and checks.
 *
 * @throws MosError `bad_option` with the setting's name, what was given, and what would be accepted.
 */
export const fullSettings = (settings: EngineSettings): FullSettings =>
  parseSettings(engineSettings, settings);

const modelsOr = (value: number): string => `the model's, or ${value}`;

/** How the next token is chosen. */
export const samplingSettings = {
  temperature: number({
    min: 0,
    placeholder: "t",
    defaultText: "the model's, or 0; 1 where only --top-p, --top-k or --min-p is set",
    help: "0 always takes the most likely token",
  }),
  topP: number({
    above: 0,
    max: 1,
    placeholder: "p",
    defaultText: modelsOr(1),
    help: "keep the fewest tokens whose probabilities reach this sum; 1 keeps all",
  }),
  topK: integer({
    min: 0,
    placeholder: "k",
    defaultText: modelsOr(0),
    help: "keep this many of the most likely tokens; 0 keeps all",
  }),
  minP: number({
    min: 0,
    max: 1,
    placeholder: "p",
    defaultText: modelsOr(0),
    help: "keep tokens at least this likely, relative to the most likely one; 0 keeps all",
  }),
  repetitionPenalty: number({
    above: 0,
    defaultText: modelsOr(1),
    help: "above 1 avoids tokens that have occurred before",
  }),
  presencePenalty: number({
    min: -2,
    max: 2,
    defaultText: "0",
    help: "above 0 avoids tokens that the answer has already",
  }),
  frequencyPenalty: number({
    min: -2,
    max: 2,
    defaultText: "0",
    help: "above 0 avoids tokens the more, the more often the answer has them",
  }),
};

/** What answers are like where their requests do not say. */
export const defaultsSettings = {
  generationConfig: choice(["auto", "none"], {
    default: "auto",
    help: "auto samples as the model's generation_config.json or GGUF metadata say; none leaves them out",
  }),
  ...samplingSettings,
  maxTokens: integer({ min: 1, defaultText: modelsOr(256), help: "most tokens of an answer" }),
};

/** How an answer is written. */
export const answerSettings = {
  ...defaultsSettings,
  stop: texts({ help: "text that ends an answer, \\n for a line break; may be repeated" }),
  seed: integer({ min: 0, default: 0, help: "the same seed gives the same answer on the same machine" }),
};
