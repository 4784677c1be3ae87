// R rows of the step · S new tokens of each · V vocabulary
import { MosError } from "#core";
import type { LlamaConfig } from "#models";
import { type CompileOptions, compile, type HostTensor, type Program } from "#runtime";
import { RowCache, type RowRange } from "./row-cache.ts";
import { AdapterSlots } from "./slots.ts";
import { stepGraph } from "./step-graph.ts";
import type { ServingWeights } from "./weights.ts";
import { writeGraph } from "./write-graph.ts";

/** Some rows of the engine, and what each of them reads in this step. */
export interface Step extends RowRange {
  /** New tokens of each row of the range; none for a row that only lies between others. */
  readonly tokens: readonly (readonly number[])[];
  /** Logits behind every token, rather than behind the last of each row. */
  readonly everyPlace?: boolean;
}

/** The base with its cache and slots. Holds native memory: dispose it. */
export interface StepProgram extends AsyncDisposable {
  readonly config: LlamaConfig;
  readonly cache: RowCache;
  readonly slots: AdapterSlots;
  /** Runs a step, appends to the cache, and gives the logits [V] of each wanted place, row by row. */
  run(step: Step): Promise<readonly (readonly Float32Array[])[]>;
}

export interface StepProgramOptions {
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
export async function createStepProgram(
  weights: ServingWeights,
  { maxLength, adapters = true, compile: options = {} }: StepProgramOptions,
): Promise<StepProgram> {
  const { config } = weights;
  const cache = new RowCache(config);
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
      const tokens = Math.max(...given.tokens.map((row) => row.length));
      const isFew =
        write !== undefined && given.count <= FEW_ROWS && given.tokens.every((row) => row.length === 1);
      const { program, bind } = isFew ? write : step;
      bind(given);
      const { logits, fresh } = await program.run(
        isFew
          ? writeFeeds(given, cache)
          : stepFeeds(given, { tokens, cache, groups: config.heads / config.keyValueHeads }),
      );
      if (!(logits?.data instanceof Float32Array && fresh?.data instanceof Float32Array))
        throw new MosError("device", "the step's program gave no logits");
      const counts = given.tokens.map((row) => row.length);
      cache.append(fresh.data, counts, { from: given.from, tokens });
      return cut(logits.data, { counts: wantedCounts(given), width: config.vocabularySize });
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
  readonly bind: (range: RowRange) => void;
}

interface Bindings {
  readonly cache: RowCache;
  readonly slots: AdapterSlots;
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/** Making hundreds of views takes a while, so rows are handed over only where they changed. */
function bound(program: Program, { cache, slots, feeds }: Bindings): Bound {
  const known = (tensors: Readonly<Record<string, HostTensor>>): Readonly<Record<string, HostTensor>> =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => program.inputs.has(name)));
  program.bind(known(feeds));
  let last = "";
  const bind = ({ from, count }: RowRange): void => {
    const wanted = `${from} ${count} ${cache.version} ${slots.version}`;
    if (wanted === last) return;
    program.bind(known(cache.view({ from, count })));
    program.bind(known(slots.view({ from, count })));
    last = wanted;
  };
  return { program, bind };
}

/** One token of each row. */
function writeFeeds({ from, count, tokens }: Step, cache: RowCache): Record<string, HostTensor> {
  const lengths = Int32Array.from(tokens, (_, i) => cache.lengths[from + i] ?? 0);
  const column = { shape: [count, 1] };
  return {
    ids: { ...column, data: Int32Array.from(tokens.flat()) },
    positions: { ...column, data: lengths },
    lengths: { shape: [count], data: lengths },
    total: { shape: [], data: Int32Array.of(Math.max(...lengths) + 1) },
  };
}

const wantedCounts = ({ tokens, everyPlace = false }: Step): readonly number[] =>
  tokens.map((row) => (everyPlace ? row.length : Math.min(1, row.length)));

interface FeedOptions {
  readonly tokens: number;
  readonly cache: RowCache;
  readonly groups: number;
}

/** Ids, positions and masks of a step; rows shorter than S are filled up with tokens nobody looks at. */
function stepFeeds(step: Step, { tokens: S, cache, groups }: FeedOptions): Record<string, HostTensor> {
  const grid = [step.count, S];
  const ids = new Int32Array(step.count * S);
  const positions = new Int32Array(ids.length);
  const wanted: number[] = [];
  step.tokens.forEach((row, i) => {
    ids.set(row, i * S);
    const start = cache.lengths[step.from + i] ?? 0;
    // a filler stays at a position that the tables have
    for (let s = 0; s < S; s++)
      positions[i * S + s] = row.length === 0 ? 0 : start + Math.min(s, row.length - 1);
    const first = step.everyPlace === true ? 0 : Math.max(0, row.length - 1);
    for (let s = first; s < row.length; s++) wanted.push(i * S + s);
  });
  return {
    ids: { shape: grid, data: ids },
    positions: { shape: grid, data: positions },
    new_mask: { shape: [1, 1, groups * S, S], data: causalMask(S, groups) },
    key_counts: { shape: [2], data: Int32Array.of(cache.places, S) },
    wanted: { shape: [wanted.length], data: Int32Array.from(wanted) },
  };
}

/** 0 up to a query's own place, −10³⁰ behind it: [G · S, S] */
function causalMask(S: number, groups: number): Float32Array {
  const mask = new Float32Array(groups * S * S);
  for (let q = 0; q < groups * S; q++) mask.fill(-1e30, q * S + (q % S) + 1, (q + 1) * S);
  return mask;
}

/** Views [V] of the logits, so many for each row. */
function cut(
  logits: Float32Array,
  { counts, width }: { readonly counts: readonly number[]; readonly width: number },
): readonly (readonly Float32Array[])[] {
  let next = 0;
  return counts.map((count) =>
    Array.from({ length: count }, () => {
      next++;
      return logits.subarray((next - 1) * width, next * width);
    }),
  );
}
