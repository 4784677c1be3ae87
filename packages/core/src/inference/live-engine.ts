// Answers of an adapter while it is trained: on the trainer's own base, and with its factors as they are now, in memory. Both
// compute with the same numbers, so that a token has the same log-probability here as in the forward pass of training.
import type { CompiledSource, GrammarSource, Matcher } from "mixture-of-shards-grammar";
import {
  type HostTensor,
  leaf,
  matmul,
  type SessionOptions,
  split,
  type Value,
} from "mixture-of-shards-graph";
import { type Adapter, expandOnHost, type FactorMap } from "#adapters";
import { AsyncQueue, MosError, onAbort } from "#common";
import { toLayerShapes } from "#models";
import type { Tokenizer } from "#text";
import { openAdapterManager } from "./adapters/manager.ts";
import { type BaseWeights, prepareWeights } from "./base-weights.ts";
import { ClientGrammars } from "./client-grammars.ts";
import { CoreGrammars } from "./core-grammars.ts";
import { type CoreParts, LocalCore } from "./engine-core.ts";
import type { ModelWithText } from "./engine-options.ts";
import { unpackLogprobs } from "./logprobs.ts";
import { createModelRunner } from "./model-runner.ts";
import { fullRequest } from "./requests.ts";
import { prefillLimits } from "./scheduler.ts";
import type { SequenceUpdate } from "./sequence.ts";
import { AdapterSlots, slotNames } from "./slots.ts";
import type { EngineEvent, SamplingOptions } from "./types.ts";

/** One completion of a prompt. */
export interface SampleRequest {
  /** Token ids. */
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  readonly seed: number;
}

/** A completion. */
export interface Sample {
  /** With the end token, where it has ended. */
  readonly tokens: readonly number[];
  /** The natural log-probability of each, at temperature 1. */
  readonly logprobs: Float32Array;
  readonly text: string;
  /** False where it was cut off at `maxTokens`. */
  readonly hasEnded: boolean;
}

/** An engine on a base that is trained. Holds native memory: dispose it. */
export interface LiveEngine extends AsyncDisposable {
  /**
   * Samples completions with the adapter as it is now: each as it ends, with its index. The same requests give the same bytes,
   * whatever was sampled before.
   *
   * @throws MosError `bad_option` for a request that has no room, `diverged`, `cancelled` by the signal.
   */
  sample(
    requests: readonly SampleRequest[],
    signal?: AbortSignal,
  ): AsyncIterable<readonly [index: number, sample: Sample]>;
}

export interface LiveEngineOptions {
  /** As the trainer holds it. Block formats are packed for the runtime; without `prepack`, matrices that are fed are not copied. */
  readonly model: ModelWithText;
  /** The adapter, whose parameters the trainer changes in place. */
  readonly adapter: Adapter;
  /** The longest prompt with its completion. */
  readonly maxLength: number;
  /** Most completions at a time. */
  readonly maxBatch: number;
  readonly session?: SessionOptions | undefined;
  /** Copies weights into the form that is fastest for many completions at a time (true). */
  readonly prepack?: boolean | undefined;
  /** What all completions match. */
  readonly grammar?: GrammarSource | undefined;
}

/**
 * Opens the engine of a trainer, whose steps block the thread that calls this.
 *
 * @throws MosError `bad_option` for a grammar that cannot be enforced.
 */
export async function openLiveEngine(options: LiveEngineOptions): Promise<LiveEngine> {
  const { model: given, adapter, maxLength, maxBatch, session = {}, prepack = true } = options;
  const { config, weights } = given.model;
  const { tokenizer } = given.text;
  const grammar = options.grammar && (await compiled(options.grammar, tokenizer));
  // float32 takes int8 rows as they are, and multiplies with them as training does
  await using base = await prepareWeights(config, weights, {
    computeDtype: "float32",
    device: session.device,
    inMemory: true,
    prepack,
  });
  const live = withLiveAdapter(base, expandOnHost(adapter));
  const runner = await createModelRunner(live.base, { maxLength, adapters: false, fuses: false, session });
  const limits = {
    maxBatch,
    cacheMemory: Number.MAX_SAFE_INTEGER,
    slotMemory: Number.MAX_SAFE_INTEGER,
    ...prefillLimits(config.vocabularySize),
  };
  const endTokens = [...new Set([...tokenizer.eosTokens, ...config.eosTokens])];
  const { vocabularySize } = config;
  // kept from call to call: it has the vocabulary, and what was found out about the grammar
  const grammars = new CoreGrammars({ tokenizer, vocabularySize, endTokens });
  if (grammar !== undefined) grammars.set(grammar.digest, grammar.serialized);
  const { strippedBlanks } = tokenizer;
  const matcher = grammar && (() => grammars.matcher(grammar.digest, { strippedBlanks }));
  return {
    async *sample(requests, signal) {
      live.refresh(expandOnHost(adapter));
      yield* runRequests(requests, { runner, limits, maxLength, tokenizer, endTokens, signal, matcher });
      // keys and values give way to what is trained meanwhile
      runner.cache.resize(0, 0);
    },
    [Symbol.asyncDispose]: () => runner[Symbol.asyncDispose](),
  };
}

async function compiled(source: GrammarSource, tokenizer: Tokenizer): Promise<CompiledSource> {
  await using grammars = new ClientGrammars({ tokenizer, send: () => undefined });
  return await grammars.compile(source);
}

/** Beside the inputs of the runner's own slots. */
const liveName = (slotName: string): string => `live.${slotName}`;

/** A base to which an adapter adds its branches: its factors are leaves that all rows share, and `refresh` overwrites. */
function withLiveAdapter(base: BaseWeights, factors: FactorMap) {
  const slots = new AdapterSlots(base.config);
  slots.resize(1, Math.max(1, ...[...factors.values()].map(({ rank }) => rank)));
  slots.fill(0, factors);
  const changing: Record<string, HostTensor> = {};
  for (const [name, { shape, data }] of Object.entries(slots.view({ from: 0, count: 1 })))
    changing[liveName(name)] = { shape: shape.slice(1), data };
  const project: BaseWeights["project"] = (x, layerGroup) => {
    const names = slotNames(layerGroup);
    const factor = (name: string): Value => leaf(liveName(name), changing[liveName(name)]?.shape ?? []);
    const low = matmul(x, factor(names.a), { transposeB: true });
    const sizes = layerGroup.linears.map(() => slots.rank);
    const parts = split(low, { axis: low.shape.length - 1, sizes });
    return base.project(
      x,
      layerGroup,
      parts.map((part, i) => matmul(part, factor(names.b[i] as string))),
    );
  };
  const { config, computeDtype, values, feeds, constantBytes } = base;
  const live: BaseWeights = {
    ...{ config, computeDtype, values, feeds, changing, constantBytes, canMerge: false, project },
    head: (x) => base.head(x),
    hold: () => base.hold(),
    [Symbol.asyncDispose]: () => base[Symbol.asyncDispose](),
  };
  return { base: live, refresh: (now: FactorMap): void => slots.fill(0, now) };
}

/** Takes the events of a request, and gives the sample where they end it. */
function completion(): (events: readonly EngineEvent[]) => Sample | undefined {
  const tokens: number[] = [];
  const logprobs: number[] = [];
  let text = "";
  return (events) => {
    for (const event of events) {
      if (event.type !== "token" && event.type !== "finish") continue;
      text += event.text;
      if (event.type === "finish")
        return {
          ...{ tokens, text, logprobs: Float32Array.from(logprobs) },
          hasEnded: event.finishReason === "end",
        };
      tokens.push(event.id);
      logprobs.push(unpackLogprobs(event)[0]?.logprob ?? Number.NaN);
    }
    return undefined;
  };
}

/** Requests with their indices: the first of each prompt, then the second of each, so that different prompts are read together. */
function inTurns(requests: readonly SampleRequest[]): readonly (readonly [number, SampleRequest])[] {
  const seen = new Map<string, number>();
  const turns = requests.map(({ prompt }) => {
    const key = prompt.join();
    const turn = seen.get(key) ?? 0;
    seen.set(key, turn + 1);
    return turn;
  });
  return [...requests.entries()].sort(([a], [b]) => (turns[a] as number) - (turns[b] as number));
}

/** Runs requests in a core of their own, which finds nothing of what others have left in the cache. */
async function* runRequests(
  requests: readonly SampleRequest[],
  {
    maxLength,
    signal,
    matcher,
    ...parts
  }: Pick<CoreParts, "runner" | "limits" | "tokenizer" | "endTokens"> & {
    readonly maxLength: number;
    readonly signal: AbortSignal | undefined;
    /** Builds one of the grammar that all match, at its start. */
    readonly matcher: (() => Promise<Matcher>) | undefined;
  },
): AsyncGenerator<readonly [number, Sample], void> {
  const { runner, limits } = parts;
  const { config, cache, slots } = runner;
  cache.resize(0, 0);
  slots.resize(0, 0);
  // all of them before the first step: the rows of a step decide how its numbers round, and must not depend on how fast the machine is
  const matchers = await Promise.all(requests.map(() => matcher?.()));
  const now = (): number => performance.now();
  const noAdapters = {
    source: {},
    fingerprint: "",
    limitBytes: 0,
    dtype: "float32",
    pollSeconds: 0,
  } as const;
  const adapters = await openAdapterManager({ ...noAdapters, shapes: toLayerShapes(config), now });
  await using core = new LocalCore({
    ...parts,
    // it goes on with other cores
    runner: { ...runner, [Symbol.asyncDispose]: async () => undefined },
    adapters,
    now,
    grammarMilliseconds: Number.POSITIVE_INFINITY,
    joinsPrompts: true,
  });
  const done = new AsyncQueue<readonly [number, Sample]>();
  const running = requests.map(completion);
  let left = requests.length;
  const take = ({ id, events, error }: SequenceUpdate): void => {
    if (error !== undefined) done.close(new MosError(error.code, error.message));
    const sample = running[id]?.(events);
    if (sample === undefined) return;
    done.push([id, sample]);
    left -= 1;
    if (left === 0) done.close();
  };
  core.start({ onOutput: (updates) => updates.forEach(take), onAdapters: () => undefined });
  const bounds = { ...limits, bytesPerPosition: cache.bytesPerPosition };
  const model = { vocabularySize: config.vocabularySize, maxLength };
  for (const [id, request] of inTurns(requests))
    core.submit(
      id,
      { ...fullRequest({ ...request, logprobs: 0 }, { ...bounds, model }), keepsEnd: true },
      matchers[id],
    );
  if (left === 0) done.close();
  using _signal = onAbort(signal, () => done.close(new MosError("cancelled", "sampling was interrupted")));
  yield* done;
}
