// R rows of the step · S new tokens of each · V vocabulary
import { MosError } from "#core";
import type { LlamaConfig } from "#models";
import { type CompileOptions, compile, type HostTensor, type Program } from "#runtime";
import { RowCache, type RowRange } from "./row-cache.ts";
import { AdapterSlots } from "./slots.ts";
import { stepGraph } from "./step-graph.ts";
import type { ServingWeights } from "./weights.ts";

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
  readonly compile?: CompileOptions;
}

/** Compiles the steps of an engine. */
export async function createStepProgram(
  weights: ServingWeights,
  { maxLength, compile: options = {} }: StepProgramOptions,
): Promise<StepProgram> {
  const { config } = weights;
  const program = await compile(stepGraph(weights, { positions: maxLength, slots: true }), options);
  program.bind(
    Object.fromEntries(Object.entries(weights.feeds).filter(([name]) => program.inputs.has(name))),
  );
  const cache = new RowCache(config);
  const slots = new AdapterSlots(weights);
  const bind = bindRows(program, { cache, slots });
  return {
    config,
    cache,
    slots,
    async run(step) {
      const tokens = Math.max(...step.tokens.map((row) => row.length));
      bind(step);
      const feeds = stepFeeds(step, { tokens, cache, groups: config.heads / config.keyValueHeads });
      const { logits, fresh } = await program.run(feeds);
      if (!(logits?.data instanceof Float32Array && fresh?.data instanceof Float32Array))
        throw new MosError("device", "the step's program gave no logits");
      const counts = step.tokens.map((row) => row.length);
      cache.append(fresh.data, counts, { from: step.from, tokens });
      return cut(logits.data, { counts: wantedCounts(step), width: config.vocabularySize });
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** Hands over the arrays of a range of rows; making hundreds of views takes a while, so only where they changed. */
function bindRows(
  program: Program,
  { cache, slots }: Pick<StepProgram, "cache" | "slots">,
): (range: RowRange) => void {
  let bound = "";
  return ({ from, count }) => {
    const wanted = `${from} ${count} ${cache.version} ${slots.version}`;
    if (wanted === bound) return;
    program.bind(cache.view({ from, count }));
    program.bind(slots.view({ from, count }));
    bound = wanted;
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
