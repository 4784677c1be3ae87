// An engine over the tiny model, whose tokenizer writes one letter for each id.
import { type ExpandedFactors, expandFactors } from "#adapters";
import { MosError, randomStream } from "#common";
import {
  bytesPerPosition,
  type CoreParts,
  createModelRunner,
  type Engine,
  EngineClient,
  type EngineEvent,
  type EngineModel,
  type EngineRequest,
  LocalCore,
  type ModelRunner,
  prepareWeights,
} from "#inference";
import { toLayerShapes } from "#models";
import { chatTemplate, type LoadedText, type Tokenizer } from "#text";
import type { AdapterManager } from "../../src/inference/adapters/manager.ts";
import { withFactors } from "../layer-shapes.ts";
import { randomAdapter } from "../random-adapter.ts";
import { floatWeights, type TinyModel, tinyModel } from "../tiny-model.ts";

// heads of 8, so that steps of few slots run the fused program and larger ones the general one
const TINY = tinyModel({ overrides: { max_position_embeddings: 512, head_dim: 8 } });
export const { config, weights } = TINY;
export const MAX_LENGTH = 64;

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letter = (id: number): string => LETTERS[id] ?? "?";

/** The part of a tokenizer that the engine uses. */
export const tokenizer: Tokenizer = {
  vocabularySize: config.vocabularySize,
  bosToken: undefined,
  eosTokens: [2],
  strippedBlanks: 0,
  encode: (text) => [...text].map((c) => LETTERS.indexOf(c)),
  decode: (ids) => ids.map(letter).join(""),
  idToToken: letter,
  tokenToId: (token) => (LETTERS.includes(token) ? LETTERS.indexOf(token) : undefined),
  isSpecial: () => false,
  idToBytes: (id) => new TextEncoder().encode(letter(id)),
};

export const text: LoadedText = {
  tokenizer,
  template: chatTemplate({ tokenizer }),
  generation: { where: "", sampling: {}, endTokens: [] },
  pooling: "last",
};

/** A random adapter whose trained numbers are far from zero. */
export async function randomFactors(
  seed: number,
  settings: object,
  { config } = TINY,
): Promise<ReadonlyMap<string, ExpandedFactors>> {
  const numbers = { seed, deviation: 0.3 };
  return expandFactors(randomAdapter({ seed, ...settings }, withFactors(toLayerShapes(config)), numbers));
}

type Limits = CoreParts["limits"] & { readonly maxWaiting: number };

export const LIMITS: Limits = {
  maxBatch: 4,
  maxWaiting: 100,
  cacheMemory: 1e9,
  slotMemory: 1e9,
  prefillChunk: 4,
  lonePrefillChunk: 8,
  scoringChunk: 4,
};

export interface TinyEngineOptions extends Partial<Limits> {
  readonly maxLength?: number;
  /** In place of the one above; of the same vocabulary. */
  readonly model?: TinyModel;
  /** Most tokens of a draft; with it, products are int8, with which drafts change nothing. */
  readonly draftTokens?: number;
  /** Tokens up to which drafts change nothing (all). */
  readonly sameUpTo?: number;
  /** Kernels of several rows compute lone tokens that may be drafted (false). */
  readonly isPadded?: boolean;
  readonly computeDtype?: "float32" | "int8";
  readonly cacheDtype?: "float32" | "float16";
  /** Milliseconds, by which the cost of drafts is measured. */
  readonly now?: () => number;
  /** Milliseconds of each step for grammars. */
  readonly grammarMilliseconds?: number;
  /** Changes the runner before the engine gets it. */
  readonly wrap?: (runner: ModelRunner) => ModelRunner;
}

export async function tinyEngine(adapters: AdapterManager, options: TinyEngineOptions = {}): Promise<Engine> {
  const { maxLength = MAX_LENGTH, wrap = (runner) => runner, model: tiny = TINY, ...rest } = options;
  const { draftTokens, cacheDtype = "float32", now = () => performance.now(), ...others } = rest;
  const { grammarMilliseconds, sameUpTo = maxLength, isPadded = false, ...given } = others;
  const { computeDtype = draftTokens === undefined ? "float32" : "int8" } = given;
  const drafts = { tokens: draftTokens ?? 0, sameUpTo, isPadded };
  await using prepared = await prepareWeights(tiny.config, floatWeights(tiny.weights), { computeDtype });
  const limits = { ...LIMITS, ...given };
  const fuses = limits.deterministic === undefined ? undefined : false;
  const model: EngineModel = {
    vocabularySize: config.vocabularySize,
    hiddenSize: config.hiddenSize,
    maxLength,
    endTokens: config.eosTokens,
    fingerprint: "test",
    identity: "test",
    baseDtype: "float32",
    computeDtype,
    drafts,
  };
  const core = new LocalCore({
    runner: wrap(
      await createModelRunner(prepared, { maxLength, cacheDtype, fuses, session: { threads: 1 } }),
    ),
    adapters,
    tokenizer,
    endTokens: model.endTokens,
    limits,
    now,
    drafts,
    ...(grammarMilliseconds === undefined ? {} : { grammarMilliseconds }),
  });
  return new EngineClient({
    core,
    model,
    text,
    adapters: [],
    limits: { ...limits, bytesPerPosition: bytesPerPosition(tiny.config) },
  });
}

export const request = (over: Partial<EngineRequest> = {}): EngineRequest => ({
  prompt: [5, 6, 7],
  adapter: null,
  maxTokens: 8,
  seed: 0,
  tenant: "test",
  ...over,
});

export interface Answer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly digest: string | null;
  readonly end: Extract<EngineEvent, { type: "finish" }>;
  readonly events: readonly EngineEvent[];
}

/** All of an answer. */
export async function collectAnswer(events: AsyncIterable<EngineEvent>): Promise<Answer> {
  const all: EngineEvent[] = [];
  for await (const event of events) all.push(event);
  const end = all.find((event) => event.type === "finish");
  if (end === undefined) throw new Error("no end event");
  const tokens = all.filter((event) => event.type === "token");
  return {
    text: tokens.map(({ text }) => text).join("") + end.text,
    ids: tokens.map(({ id }) => id),
    digest: all.find((event) => event.type === "scheduled")?.digest ?? null,
    end,
    events: all,
  };
}

/** A random prompt. */
export const randomPrompt = (seed: number, length: number): readonly number[] => {
  const random = randomStream(seed, "prompt");
  return Array.from({ length }, () => random.below(config.vocabularySize));
};

/** The code of the error that an answer ends with, or that refuses its request. */
export async function catchRefusal(submit: () => AsyncIterable<EngineEvent>): Promise<string> {
  try {
    await collectAnswer(submit());
    return "answered";
  } catch (error) {
    return error instanceof MosError ? error.code : String(error);
  }
}

/** The code of the error that `submit` itself throws. */
export function thrownBy(submit: () => unknown): string {
  try {
    submit();
    return "accepted";
  } catch (error) {
    return error instanceof MosError ? error.code : String(error);
  }
}

/** Polls on every turn of the event loop: a timer would miss what a tiny model does between two polls. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve));
}
