// R rows of the step · S new tokens of each · V vocabulary
import { MosError } from "#core";

import type { LlamaConfig } from "#models";
import { type CompileOptions, compile, type HostTensor, type Program } from "#runtime";
import { AdapterSlots } from "./adapter-slots.ts";
import type { BaseWeights } from "./base-weights.ts";
import { KVCache, type SlotRange } from "./kv-cache.ts";
import { cutLogits, type Step, stepFeeds } from "./step-feeds.ts";
import { stepGraph } from "./step-graph.ts";
import { writeGraph } from "./write-graph.ts";

/** The base with its cache and slots. Holds native memory: dispose it. */
export interface ModelRunner extends AsyncDisposable {
  readonly config: LlamaConfig;
  readonly cache: KVCache;
  readonly slots: AdapterSlots;
  /** Runs a step, appends to the cache, and gives the logits [V] of each wanted place, row by row. */
  run(step: Step): Promise<readonly (readonly Float32Array[])[]>;
}

export interface ModelRunnerOptions {
  /** The longest sequence. */
  readonly maxLength: number;
  /** Whether rows can have adapters; without, steps are cheaper. */
  readonly adapters?: boolean;
  readonly compile?: CompileOptions;
}

/** Rows up to which the fused program is faster; it copies the cache of each. */
const FEW_ROWS = 2;

/**
 * Bytes of a base up to which a program of its own serves few rows that write. In float32 programs share the weights;
 * quantised ones are part of each program.
 */
const SECOND_COPY_LIMIT = 1e9;

/** Compiles the steps of an engine. */
export async function createModelRunner(
  weights: BaseWeights,
  { maxLength, adapters = true, compile: options = {} }: ModelRunnerOptions,
): Promise<ModelRunner> {
  const { config } = weights;
  const cache = new KVCache(config);
  const slots = new AdapterSlots(weights);
  // quantised matrices go through a file, so that only the runtime holds them
  const compileOptions = { ...options, inlineLimit: 0 };
  const graphOptions = { positions: maxLength, slots: adapters };
  const bindings = { cache, slots, feeds: weights.feeds };
  const step = bound(await compile(stepGraph(weights, graphOptions), compileOptions), bindings);
  // the fused attention takes only such heads
  const canWrite = config.headDim % 8 === 0 && weights.constantBytes <= SECOND_COPY_LIMIT;
  const write = canWrite
    ? bound(await compile(writeGraph(weights, graphOptions), compileOptions), bindings)
    : undefined;
  return {
    config,
    cache,
    slots,
    async run(given) {
      const isFew =
        write !== undefined && given.count <= FEW_ROWS && given.tokens.every((row) => row.length === 1);
      const { program, bind } = isFew ? write : step;
      bind(given);
      const { logits, fresh } = await program.run(
        isFew ? writeFeeds(given, cache) : stepFeeds(given, cache, config),
      );
      if (!(logits?.data instanceof Float32Array && fresh?.data instanceof Float32Array))
        throw new MosError("device", "the step's program gave no logits");
      const counts = given.tokens.map((row) => row.length);
      cache.append(fresh.data, counts, { from: given.from, tokens: Math.max(...counts) });
      return cutLogits(logits.data, given, config.vocabularySize);
    },
    async [Symbol.asyncDispose]() {
      await step.program[Symbol.asyncDispose]();
      await write?.program[Symbol.asyncDispose]();
    },
  };
}

/** A program, and how it is told which rows it works on. */
interface Bound {
  readonly program: Program;
  readonly bind: (range: SlotRange) => void;
}

interface Bindings {
  readonly cache: KVCache;
  readonly slots: AdapterSlots;
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/** Making hundreds of views takes a while, so rows are handed over only where they changed. */
function bound(program: Program, { cache, slots, feeds }: Bindings): Bound {
  const known = (tensors: Readonly<Record<string, HostTensor>>): Readonly<Record<string, HostTensor>> =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => program.inputs.has(name)));
  program.bind(known(feeds));
  let last = "";
  const bind = ({ from, count }: SlotRange): void => {
    const wanted = `${from} ${count} ${cache.version} ${slots.version}`;
    if (wanted === last) return;
    program.bind(known(cache.view({ from, count })));
    program.bind(known(slots.view({ from, count })));
    last = wanted;
  };
  return { program, bind };
}

/** One token of each row. */
function writeFeeds({ from, count, tokens }: Step, cache: KVCache): Record<string, HostTensor> {
  const lengths = Int32Array.from(tokens, (_, i) => cache.lengths[from + i] ?? 0);
  const column = { shape: [count, 1] };
  return {
    ids: { ...column, data: Int32Array.from(tokens.flat()) },
    positions: { ...column, data: lengths },
    lengths: { shape: [count], data: lengths },
    total: { shape: [], data: Int32Array.of(Math.max(...lengths) + 1) },
  };
}
