import { bytes, choice, flag, integer, number, texts } from "#core";
import { type BaseDtype, baseDtype, COMPUTE_DTYPES, type ComputeDtype } from "#models";
import type { CacheDtype } from "./kv-cache.ts";

const CACHE_DTYPES = ["float32", "float16"] as const satisfies readonly CacheDtype[];
const RESIDENT_DTYPES = ["float32", "bfloat16"] as const;

/** Format of the base in memory, and type of its products. */
export const baseSettings = {
  baseDtype,
  computeDtype: choice(COMPUTE_DTYPES, {
    defaultText: "int8 for --base-dtype int8 and int4, else float32",
    help: "data type of matrix products with the base weights; int8 is several times faster but rounds",
  }),
  weightCache: flag({
    default: true,
    help: "do not cache quantised weights on disk",
  }),
};

/** The precision of the products of a base, where none is given. */
export const defaultCompute = (kept: BaseDtype): ComputeDtype =>
  kept === "int8" || kept === "int4" ? "int8" : "float32";

/** Settings of the adapters' memory. */
export const adapterSettings = {
  adapterMemory: bytes({
    default: 2e9,
    defaultText: "2GB",
    help: "memory for adapters kept loaded",
  }),
  slotMemory: bytes({
    min: 1,
    default: 2e9,
    defaultText: "2GB",
    help: "memory for the expanded adapters of running requests",
  }),
  maxAdapterRank: integer({
    min: 1,
    default: 256,
    placeholder: "rank",
    help: "largest adapter rank accepted; the largest rank in a batch slows all of it",
  }),
  adapterDtype: choice(RESIDENT_DTYPES, {
    default: "float32",
    help: "data type of loaded adapters",
  }),
};

/** Settings of batches: number of requests, their length and their memory. */
export const batchSettings = {
  cacheMemory: bytes({
    min: 1,
    defaultText: "4GB, or less if less is free",
    help: "memory for the KV cache",
  }),
  cacheDtype: choice(CACHE_DTYPES, {
    default: "float32",
    help: "data type of the KV cache; float16 halves its memory but rounds",
  }),
  maxBatch: integer({ min: 1, default: 16, help: "largest number of concurrent requests" }),
  maxWaiting: integer({
    min: 1,
    default: 256,
    help: "largest number of queued requests per tenant; more get status 429",
  }),
  maxLength: integer({
    min: 2,
    placeholder: "tokens",
    defaultText: "the model's limit, at most 4096",
    help: "maximum length of prompt and output together, in tokens",
  }),
  threads: integer({ min: 0, default: 0, defaultText: "one per core", help: "compute threads" }),
};

/** All settings of an engine but its model and adapters. */
export const engineSettings = { ...baseSettings, ...adapterSettings, ...batchSettings };

const modelsOr = (value: number): string => `the model's, else ${value}`;

/** How the next token is chosen. */
export const samplingSettings = {
  temperature: number({
    min: 0,
    placeholder: "t",
    defaultText: "the model's, else 0, or 1 if --top-p, --top-k or --min-p is set",
    help: "sampling temperature; 0 is greedy decoding",
  }),
  topP: number({
    above: 0,
    max: 1,
    placeholder: "p",
    defaultText: modelsOr(1),
    help: "sample from the smallest set of tokens with this total probability; 1 disables",
  }),
  topK: integer({
    min: 0,
    placeholder: "k",
    defaultText: modelsOr(0),
    help: "sample from this many most likely tokens; 0 disables",
  }),
  minP: number({
    min: 0,
    max: 1,
    placeholder: "p",
    defaultText: modelsOr(0),
    help: "drop tokens below this fraction of the top token's probability; 0 disables",
  }),
  repetitionPenalty: number({
    above: 0,
    defaultText: modelsOr(1),
    help: "penalise tokens that occur in the prompt or output; 1 disables",
  }),
  presencePenalty: number({
    min: -2,
    max: 2,
    defaultText: "0",
    help: "penalise tokens that already occur in the output",
  }),
  frequencyPenalty: number({
    min: -2,
    max: 2,
    defaultText: "0",
    help: "penalise tokens by how often they already occur in the output",
  }),
};

/** What answers are like where their requests do not say. */
export const defaultsSettings = {
  generationConfig: choice(["auto", "none"], {
    default: "auto",
    help: "auto takes sampling defaults from generation_config.json or GGUF metadata; none ignores them",
  }),
  ...samplingSettings,
  maxTokens: integer({ min: 1, defaultText: modelsOr(256), help: "maximum number of output tokens" }),
};

/** How an answer is written. */
export const answerSettings = {
  ...defaultsSettings,
  stop: texts({ help: "stop sequence, \\n for a line break; repeatable" }),
  seed: integer({
    min: 0,
    default: 0,
    help: "random seed; equal seeds give equal output on the same machine",
  }),
};
