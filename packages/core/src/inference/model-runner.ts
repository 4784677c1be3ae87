// The programs of a step, which are the decoder of #models with the engine's hooks, what they are fed with, and how they run.
// R slots of the step · S new tokens of each · M positions of the cache · T logits · V vocabulary · L layers
// H query heads · K key heads · G = H / K · D head width

import {
  add,
  addRmsNorm,
  compile,
  concat,
  convolveSilu,
  DEFAULT_DEVICE,
  fromCache,
  groupedAttention,
  type HostTensor,
  type JoinedHeads,
  leaf,
  linearAttention,
  matmul,
  mul,
  type Program,
  prefersConstants,
  reshape,
  reshapeAs,
  rotateJoined,
  rowProducts,
  rowsAt,
  type SessionOptions,
  scalar,
  shifted,
  slice,
  softCap,
  softmax,
  split,
  splitDynamic,
  splitEqual,
  supports,
  type TensorData,
  toCache,
  transpose,
  type Value,
  windowMask,
} from "mixture-of-shards-graph";
import { type Dim, MosError } from "#common";
import {
  type AttentionHook,
  type CachedTensor,
  cachedTensors,
  decoder,
  layerHeads,
  layerKind,
  layerRope,
  layerWindow,
  type ModelConfig,
  type ProjectHook,
  type RecurrentHook,
  rotatedWidth,
  type StateTensor,
  scoreScale,
  stateTensors,
} from "#models";
import { type BaseWeights, DRAFT_COPY_LIMIT, SECOND_COPY_LIMIT } from "./base-weights.ts";
import { tokenSoftmax } from "./sampler.ts";
import {
  AdapterSlots,
  type CacheDtype,
  coreNames,
  KVCache,
  pastName,
  type SlotRange,
  slotNames,
  writtenName,
} from "./slots.ts";
import { isSnapshotDue, nextName, stateName } from "./states.ts";

// The program of a step is chosen here, when a runner is opened and at each step:
// - The general program takes any step and needs no fused operator. It reads the cache where it lies.
// - Decoding few and short sequences is a matter of how many operators there are rather than of their work, so a second
//   program has fewer than half as many: fused attention and norms, heads that stay joined. Its attention copies the
//   cache, which costs more than is spared once that is large. Devices without this attention have the general program alone.
//   A quantised base is part of each program, so that large ones have the second only if they fit into memory twice.
// - Adapters whose A and B are the base's own have a third program, compiled when they first run without others beside them. It
//   multiplies all rows by one A and one B, and those of a slot by its core.
// - A draft is verified by the second program: with int8 products, its logits do not depend on how many tokens of a slot a step has.
// - Without adapters programs have no slots. A lone adapter can be merged into float32 weights (`mergedAdapter` of
//   prepareWeights), and then costs nothing at any step.
// - Norm gains and biases are constants of the programs: every input costs some microseconds at each step.

/** Slots up to which the fused program can be faster; one where it can hold an adapter, since each of its rows is a product by itself. */
const FEW_SLOTS = 2;

/** Bytes of one layer's keys and values up to which copying them is cheaper than the operators that fusing spares. */
const COPY_LIMIT = 600e3;

/** Bytes of the base up to which a third program may hold it. */
const THIRD_COPY_LIMIT = SECOND_COPY_LIMIT / 2;

/** Share of the base's bytes up to which copying keys and values does not matter. */
const COPY_SHARE = 0.1;

/** The layers of attention. */
const attentionLayers = (config: ModelConfig): readonly number[] =>
  Array.from({ length: config.layers }, (_, layer) => layer).filter(
    (layer) => layerKind(config, layer) === "attention",
  );

/** Bytes of the base that each program holds. */
function fixedBytes({ constantBytes, feeds }: BaseWeights, { session }: ModelRunnerOptions): number {
  const { device = DEFAULT_DEVICE } = session ?? {};
  const fixed = prefersConstants(device) ? Object.values(feeds) : [];
  return fixed.reduce((sum, { data }) => sum + data.byteLength, constantBytes);
}

/** GroupQueryAttention needs head widths that are a multiple of 8. */
function canFuse(base: BaseWeights, options: ModelRunnerOptions): boolean {
  const { config } = base;
  const heads = attentionLayers(config).map((layer) => layerHeads(config, layer).headDim);
  const { device = DEFAULT_DEVICE } = options.session ?? {};
  const attention = config.attentionSoftCap === undefined ? "groupedAttention" : "cappedAttention";
  const isHeldTwice =
    fixedBytes(base, options) <= (options.twice === true ? DRAFT_COPY_LIMIT : SECOND_COPY_LIMIT);
  return isHeldTwice && supports(device, attention) && heads.every((width) => width % 8 === 0);
}

/** A question of the tokens alone, so that a draft is verified by the program that would compute its tokens one by one. */
function isWorthFusing(
  { from, count, tokens, allLogits, output = "logits", isDraft = false }: Step,
  {
    cache,
    constantBytes,
    fewSlots,
  }: { readonly cache: KVCache; readonly constantBytes: number; readonly fewSlots: number },
): boolean {
  const isDecoding =
    isDraft || (allLogits !== true && output === "logits" && tokens.every(({ length }) => length === 1));
  const lengths = tokens.map((added, i) => (cache.lengths[from + i] ?? 0) + added.length);
  const copied = count * Math.max(...lengths) * cache.bytesPerPosition;
  const limit = Math.max(COPY_LIMIT * cache.config.layers, COPY_SHARE * constantBytes);
  return isDecoding && count <= fewSlots && copied <= limit;
}

/** The base with its cache and adapter slots. Holds native memory: dispose it. */
export type ModelRunner = Awaited<ReturnType<typeof createModelRunner>>;

/** Compiles the programs of an engine's steps. Throws "bad_option" where `maxLength` is more than the model has; "device". */
export async function createModelRunner(base: BaseWeights, options: ModelRunnerOptions) {
  const { config } = base;
  const { maxLength, session = {} } = options;
  if (maxLength > config.maxPositions)
    throw new MosError(
      "bad_option",
      `${maxLength} tokens exceed the ${config.maxPositions} positions of this model`,
    );
  const [cache, slots] = [new KVCache(config, options.cacheDtype), new AdapterSlots(config)];
  const open = async (graph: StepGraph) => {
    const program = await compile(graph.outputs(base, options), { ...session, fixed: base.feeds });
    const bind = binder(program, { cache, slots, slotAxis: graph.slotAxis, changing: base.changing });
    return { graph, program, bind };
  };
  const { constantBytes } = base;
  const fewSlots = options.adapters === false ? FEW_SLOTS : 1;
  const general = await open(generalStep);
  const fused = canFuse(base, options) ? await open(fusedStep) : undefined;
  const softmax = tokenSoftmax(config.vocabularySize, session);
  // compiled when adapters that share their factors first run by themselves
  let shared: ReturnType<typeof open> | undefined;
  const usesFused = (step: Step): boolean =>
    fused !== undefined &&
    slots.shared === undefined &&
    isWorthFusing(step, { cache, constantBytes, fewSlots });
  return {
    config,
    cache,
    slots,
    /** True if slots may share the factors of adapters, for which a program more holds the base. */
    sharesFactors: fixedBytes(base, options) <= THIRD_COPY_LIMIT,
    /** Softmax of the logits of its steps. */
    softmax,
    /** Tests whether the fused program computes a step. */
    usesFused,
    /**
     * Computes a step, appends its keys and values to the cache, and gives the logits [V] of each slot, or its hidden states
     * [C]: of its last token, or of all with `allLogits`; none for a slot without tokens. Both cache and slots must have room for
     * the step.
     */
    async run(step: Step): Promise<readonly (readonly Float32Array[])[]> {
      if (slots.shared !== undefined) shared ??= open(sharedStep);
      const own = fused !== undefined && usesFused(step) ? fused : general;
      const { graph, program, bind } = (slots.shared !== undefined && (await shared)) || own;
      bind(step);
      const { output = "logits" } = step;
      const feeds = graph.feeds(step, cache, maxLength);
      const names = [...cache.widths.map(writtenName), ...cache.states.tensors.map(nextName)];
      const { [output]: rows, ...written } = await program.run(feeds, [output, ...names]);
      if (!(rows?.data instanceof Float32Array))
        throw new MosError("device", `the program of the step returned no ${output}`);
      keepWritten(cache, step, written);
      return rowsBySlot(rows.data, step, rows.shape.at(-1) ?? 0);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await general.program[Symbol.asyncDispose]();
      await fused?.program[Symbol.asyncDispose]();
      await (await shared?.catch(() => undefined))?.program[Symbol.asyncDispose]();
      await softmax[Symbol.asyncDispose]();
    },
  };
}

/** Appends the keys, values and states that a step's program has written. */
function keepWritten(cache: KVCache, step: Step, written: Readonly<Record<string, HostTensor>>): void {
  const added = cache.widths.map((width): readonly [number, Float32Array | Uint16Array] => {
    const data = written[writtenName(width)]?.data;
    if (isCacheArray(data)) return [width, data];
    throw new MosError("device", `the program of the step returned no ${writtenName(width)}`);
  });
  const counts = step.tokens.map(({ length }) => length);
  cache.append(new Map(added), counts, { from: step.from, tokens: Math.max(...counts) });
  const states = cache.states.tensors.map((tensor) => written[nextName(tensor)]?.data as Float32Array);
  cache.states.replace(step.from, states);
  keepSnapshots(cache, step);
}

/** Keeps the states of the slots that have come to the end of a message, or to a multiple of so many tokens. */
function keepSnapshots(cache: KVCache, { from, tokens }: Step): void {
  const { eosTokens: endTokens } = cache.config;
  for (const [i, added] of tokens.entries()) {
    const length = cache.lengths[from + i] ?? 0;
    if (added.length > 0 && isSnapshotDue(added.at(-1), { length, endTokens }))
      cache.states.keep(from + i, length);
  }
}

const isCacheArray = (data: TensorData | undefined): data is Float32Array | Uint16Array =>
  data instanceof Float32Array || data instanceof Uint16Array;

/** Making hundreds of views takes a while, so they are bound again only when they changed. */
function binder(
  program: Program,
  {
    cache,
    slots,
    slotAxis,
    changing,
  }: { readonly cache: KVCache; readonly slots: AdapterSlots } & Pick<StepGraph, "slotAxis"> &
    Pick<BaseWeights, "changing">,
): (range: SlotRange) => void {
  const bind = (tensors: Readonly<Record<string, HostTensor>>): void =>
    program.bind(Object.fromEntries(Object.entries(tensors).filter(([name]) => program.inputs.has(name))));
  bind(changing);
  let bound = "";
  return ({ from, count }) => {
    const needed = `${from} ${count} ${cache.version} ${slots.version}`;
    if (needed === bound) return;
    bind(cache.view({ from, count }));
    bind(slots.view({ from, count }, slotAxis));
    bound = needed;
  };
}

/** Views of a step's logits [V] or hidden states [C]. */
function rowsBySlot(
  rows: Float32Array,
  { tokens, allLogits = false }: Step,
  width: number,
): readonly (readonly Float32Array[])[] {
  let next = 0;
  return tokens.map(({ length }) =>
    Array.from({ length: allLogits ? length : Math.min(1, length) }, () => {
      next++;
      return rows.subarray((next - 1) * width, next * width);
    }),
  );
}

/** Some slots, and the new tokens of each. */
interface Step extends SlotRange {
  /** For each slot of the range; none for one that only lies between others. */
  readonly tokens: readonly (readonly number[])[];
  /** Logits of every token, rather than of the last one of each slot. */
  readonly allLogits?: boolean;
  /** Logits, or the hidden states that they are made of ("logits"). */
  readonly output?: "logits" | "hidden";
  /** One slot's last token and a draft behind it, rather than a prompt. */
  readonly isDraft?: boolean;
}

/** Capabilities that an engine's steps need. */
export interface ModelRunnerOptions {
  /** The longest sequence, in tokens. */
  readonly maxLength: number;
  /** Allows slots to hold adapters; steps are cheaper without (true). */
  readonly adapters?: boolean;
  /** Data type of the cache ("float32"). */
  readonly cacheDtype?: CacheDtype;
  /** Compiles the fused program of a large base, too, which takes its memory twice (false). */
  readonly twice?: boolean | undefined;
  readonly session?: SessionOptions;
}

/** The part of a base that a step's graph is made of. */
export interface StepBase extends Pick<BaseWeights, "config" | "project" | "head"> {
  readonly values: ReadonlyMap<string, Value>;
}

/**
 * A program of a step: its outputs are `logits` [T, V], of the general one `hidden` [T, C], and what is cached of the new tokens,
 * such as the rotated keys of all layers, then the values: [R, heads, S, width] for each width.
 */
interface StepGraph {
  readonly outputs: (base: StepBase, options: ModelRunnerOptions) => Readonly<Record<string, Value>>;
  /** The axis of the slots in the factors of adapters. */
  readonly slotAxis: 0 | 1;
  /** All that changes with each step, of a graph for sequences up to `maxLength`; cache, slots and weights are bound. */
  readonly feeds: (step: Step, cache: KVCache, maxLength: number) => Record<string, HostTensor>;
}

/** Any number of slots, each with any number of tokens: prompts, and decoding of many slots. */
const anySlots = (makeProject: (base: StepBase, options: ModelRunnerOptions) => ProjectHook): StepGraph => ({
  slotAxis: 0,
  outputs(base, options) {
    const { maxLength, cacheDtype } = options;
    const grid = ["slots", "tokens"];
    const [cache, states] = [new GraphCache(base.config, cacheDtype), new GraphStates(base.config)];
    const hidden = decoder(base.config, {
      ids: leaf("ids", grid, "int32"),
      positions: leaf("positions", grid, "int64"),
      maxPositions: maxLength,
      logitsIndices: leaf("logits_indices", ["logits"], "int32"),
      weights: base.values,
      project: makeProject(base, options),
      attention: cachedAttention(base.config, cache, maxLength),
      earlier: (x, site) => {
        const added = cache.stored(x); // [R, S, C]
        cache.add(reshape(added, ["slots", 1, "tokens", x.shape[2] as Dim]), { ...site, name: "x" });
        return earlierTokens(added, cache.past(site.layer, "x"), site.count);
      },
      recurrent: states.hook({ grouped: (x) => x, apart: (x) => x }),
    });
    return { logits: base.head(hidden), hidden, ...cache.written(1), ...states.next }; // [T, V], [T, C]
  },
  feeds(step, cache, maxLength) {
    const grid = gridFeeds(step, cache);
    const [, S = 0] = grid.ids.shape;
    return {
      ...grid,
      ...earlierFeeds(step, cache),
      ...stateFeeds(step, cache, S),
      ...maskFeeds(cache.config, grid.positions.data, { count: step.count, maxLength }),
      key_counts: cache.config.sinks
        ? { shape: [3], data: Int32Array.of(cache.capacity, S, 1) }
        : { shape: [2], data: Int32Array.of(cache.capacity, S) },
    };
  },
});

export const generalStep: StepGraph = anySlots(withSlots);

/** The same for adapters whose A and B are one product for the rows of all slots: only a core differs. */
const sharedStep: StepGraph = anySlots(withCores);

/** Any tokens of one slot, or one token of every slot, with all operators fused that the device has. */
const fusedStep: StepGraph = {
  slotAxis: 1,
  outputs(base, { maxLength, adapters, cacheDtype, session }) {
    const grid = ["rows", 1];
    const [cache, states] = [new GraphCache(base.config, cacheDtype), new GraphStates(base.config)];
    const positions = leaf("positions", grid, "int64");
    const grouped = leaf("grouped_places", ["slots", "padded", 2], "int64");
    const apart = leaf("row_places", ["rows", 1, 2], "int64");
    const hidden = decoder(base.config, {
      ids: leaf("ids", grid, "int32"),
      positions,
      maxPositions: maxLength,
      logitsIndices: leaf("logits_indices", ["logits"], "int32"),
      weights: base.values,
      project: withSlots(base, { adapters, isSteady: true }),
      attention: fusedAttention(base.config, { cache, maxLength, grouped, apart }),
      earlier: (x, site) => {
        const added = cache.stored(x);
        cache.add(added, { ...site, name: "x" });
        const earlier = earlierTokens(rowsAt(added, grouped), cache.past(site.layer, "x"), site.count);
        return earlier.map((one) => rowsAt(one, apart));
      },
      recurrent: states.hook({ grouped: (x) => rowsAt(x, grouped), apart: (x) => rowsAt(x, apart) }),
      ...(supports(session?.device ?? DEFAULT_DEVICE, "addRmsNorm") ? { addNorm: addRmsNorm } : {}),
    });
    const written = Object.entries(cache.isJoined ? cache.writtenJoined(positions) : cache.written(2));
    const heads = written.map(([name, joined]) => {
      const { width, count } = cache.heads(name);
      const shape = ["slots", "tokens", count, width];
      const apartHeads = reshapeAs(joined, leaf(`${name}.shape`, [4], "int64"), shape);
      return [name, transpose(apartHeads, [0, 2, 1, 3])] as const;
    });
    return { logits: base.head(hidden), ...Object.fromEntries(heads), ...states.next }; // [T, V]
  },
  feeds(step, cache) {
    const { from, count, tokens } = step;
    const S = Math.max(...tokens.map(({ length }) => length));
    const padding = count === 1 ? 1 : 0;
    const starts = Int32Array.from(tokens, (_, i) => cache.lengths[from + i] ?? 0);
    const rows = count * S;
    const { ids, positions, ...rest } = gridFeeds(step, cache);
    const shapes = cache.widths.map((width) => [
      `${writtenName(width)}.shape`,
      { shape: [4], data: Int32Array.of(count, S, cache.headsOf(width), width) },
    ]);
    // the last row stands for padding as well
    const grouped = Array.from({ length: count * (S + padding) }, (_, i) => [Math.min(i, rows - 1), 0]);
    const apart = Array.from({ length: rows }, (_, i) => [Math.floor(i / S), i % S]);
    return {
      ...rest,
      ids: { ...ids, shape: [rows, 1] },
      positions: { ...positions, shape: [rows, 1] },
      grouped_places: { shape: [count, S + padding, 2], data: Int32Array.from(grouped.flat()) },
      row_places: { shape: [rows, 1, 2], data: Int32Array.from(apart.flat()) },
      ...Object.fromEntries(shapes),
      ...earlierFeeds(step, cache),
      ...stateFeeds(step, cache, S + padding),
      lengths: { shape: [count], data: starts.map((start) => start + S + padding - 1) },
      total: { shape: [], data: Int32Array.of(Math.max(...starts) + S + padding) },
    };
  },
};

/** The tokens of a step [R, S] with their positions, and those of them whose logits are wanted. */
function gridFeeds({ from, count, tokens, allLogits = false }: Step, { lengths }: KVCache) {
  const S = Math.max(...tokens.map(({ length }) => length));
  const ids = new Int32Array(count * S);
  const positions = new Int32Array(count * S);
  const logitsIndices: number[] = [];
  for (const [i, row] of tokens.entries()) {
    ids.set(row, i * S);
    const start = lengths[from + i] ?? 0;
    // padding has a position that the rotary tables have
    for (let s = 0; s < S; s++)
      positions[i * S + s] = row.length === 0 ? 0 : start + Math.min(s, row.length - 1);
    for (let s = allLogits ? 0 : Math.max(0, row.length - 1); s < row.length; s++)
      logitsIndices.push(i * S + s);
  }
  return {
    ids: { shape: [count, S], data: ids },
    positions: { shape: [count, S], data: positions },
    logits_indices: { shape: [logitsIndices.length], data: Int32Array.from(logitsIndices) },
  };
}

/**
 * The base's layers, and x Aᵀ Bᵀ by the factors of each slot: A [R, parts · r, in] of a group, Bᵀ [R, r, out] of each part. With
 * `isSteady` there is one slot, as the second axis of its factors, and the result of a row does not depend on how many there are.
 */
function withSlots(
  base: StepBase,
  {
    adapters = true,
    isSteady = false,
  }: { readonly adapters?: boolean | undefined; readonly isSteady?: boolean },
): ProjectHook {
  return (x, layerGroup) => {
    if (!adapters) return base.project(x, layerGroup);
    const { in: width, outs } = layerGroup;
    const { a, b } = slotNames(layerGroup);
    const product = isSteady ? rowProducts : matmul;
    const factor = (name: string, rows: string, columns: number): Value =>
      leaf(name, isSteady ? [rows, 1, columns] : ["slots", rows, columns]);
    const ranks = outs.length === 1 ? "rank" : `rank · ${outs.length}`;
    const low = product(x, factor(a, ranks, width), { transposeB: true });
    const branches = splitEqual(low, outs.length, { name: "rank" }).map((part, i) =>
      product(part, factor(b[i] as string, "rank", outs[i] as number)),
    );
    return base.project(x, layerGroup, branches);
  };
}

/** The base's layers, and x Aᵀ C Bᵀ by the core of each slot, C [R, r, r], between A [parts · r, in] and Bᵀ [r, out] of all slots. */
function withCores(base: StepBase): ProjectHook {
  return (x, layerGroup) => {
    const { in: width, outs } = layerGroup;
    const { a, b } = slotNames(layerGroup);
    const ranks = outs.length === 1 ? "rank" : `rank · ${outs.length}`;
    const low = matmul(x, leaf(a, [ranks, width]), { transposeB: true });
    const branches = splitEqual(low, outs.length, { name: "rank" }).map((part, i) => {
      const core = leaf(coreNames(layerGroup)[i] as string, ["slots", "rank", "rank"]);
      return matmul(matmul(part, core), leaf(b[i] as string, ["rank", outs[i] as number]));
    });
    return base.project(x, layerGroup, branches);
  };
}

/**
 * Tests whether the fused attention rotates queries and keys itself, which spares four operators of a layer: where they are only
 * rotated, all layers alike, in heads as it takes them, without sinks, and the cache keeps what it rotated.
 */
function canJoinHeads(config: ModelConfig, dtype: CacheDtype): boolean {
  const first = layerRope(config, 0);
  const isWhole = config.headDim % 16 === 0 && rotatedWidth(config) === config.headDim;
  const { queryKeyNorm, queryScale, layerKinds, sinks } = config;
  const choices = [queryKeyNorm, queryScale, layerKinds, sinks];
  const isPlain = isWhole && dtype === "float32" && choices.every((choice) => choice === undefined);
  const layers = Array.from({ length: config.layers }, (_, layer) => layerRope(config, layer));
  return isPlain && first !== undefined && layers.every((rope) => rope === first);
}

/** Where the inputs of convolutions of earlier tokens are in the cache, for each number of them that layers read. */
function earlierFeeds({ from, count }: Step, cache: KVCache): Record<string, HostTensor> {
  const { convolution } = cache.config;
  if (convolution === undefined || convolution < 2) return {};
  const before = convolution - 1;
  // before the first token of a sequence is a position behind all that the slot holds, which is zero
  const places = Array.from({ length: count * before }, (_, i) => {
    const position = (cache.lengths[from + Math.floor(i / before)] ?? 0) - before + (i % before);
    return [Math.floor(i / before), position < 0 ? cache.capacity - 1 : position];
  });
  return { earlier_places: { shape: [count, before, 2], data: Int32Array.from(places.flat()) } };
}

/** What a convolution reads at the `count` tokens before each of the new ones x [R, S, C]; `past` is [R, 1, M, C]. */
function earlierTokens(x: Value, past: Value, count: number): readonly Value[] {
  const channels = x.shape[2] as Dim;
  const places = leaf("earlier_places", ["slots", count, 2], "int64");
  const before = rowsAt(reshape(past, ["slots", "cached", channels]), places);
  const all = concat([before, x], 1);
  return Array.from({ length: count }, (_, i) =>
    shifted(all, { axis: 1, before: i, after: count - i }, x.shape),
  );
}

/** Which of S tokens of each slot are new, and where the last inputs of convolutions are behind those before them. */
function stateFeeds({ count, tokens }: Step, { config }: KVCache, S: number): Record<string, HostTensor> {
  if (config.linearAttention === undefined) return {};
  const before = config.linearAttention.kernel - 1;
  const mask = Float32Array.from({ length: count * S }, (_, i) =>
    Number(i % S < (tokens[Math.floor(i / S)]?.length ?? 0)),
  );
  const places = Array.from({ length: count * before }, (_, i) => {
    const slot = Math.floor(i / before);
    return [slot, (tokens[slot]?.length ?? 0) + (i % before)];
  });
  return {
    new_tokens: { shape: [count, S, 1], data: mask },
    state_places: { shape: [count, before, 2], data: Int32Array.from(places.flat()) },
  };
}

/** States of linear attention as a graph reads them, and what it makes of them, collected while it is built. */
class GraphStates {
  readonly next: Record<string, Value> = {};
  readonly #tensors: readonly StateTensor[];
  readonly #config: ModelConfig;

  constructor(config: ModelConfig) {
    this.#config = config;
    this.#tensors = stateTensors(config);
  }

  /** Linear attention of tokens that `grouped` brings into the order of slots [R, S, C], and `apart` back. */
  hook({ grouped, apart }: Readonly<Record<"grouped" | "apart", (x: Value) => Value>>): RecurrentHook {
    const { keyHeads = 1, kernel: width = 1 } = this.#config.linearAttention ?? {};
    return {
      convolve: (x, { layer, kernel }) => {
        const added = grouped(x);
        const { earlier, keep } = this.#state(layer, "earlier");
        const places = leaf("state_places", ["slots", width - 1, 2], "int64");
        keep(rowsAt(concat([earlier, added], 1), places));
        const turned = (rows: Value): Value => transpose(rows, [0, 2, 1]);
        return apart(turned(convolveSilu(turned(added), kernel, turned(earlier))));
      },
      recur: ({ q, k, v, layer, ...change }) => {
        const values = grouped(v);
        const isNew = leaf("new_tokens", ["slots", values.shape[1] as Dim, 1]);
        const { earlier: state, keep } = this.#state(layer, "memory");
        const [decay, beta] = [mul(grouped(change.decay), isNew), mul(grouped(change.beta), isNew)];
        const found = linearAttention(grouped(q), grouped(k), {
          v: values,
          decay,
          beta,
          state,
          keyHeads,
        });
        keep(found.state);
        return apart(found.y);
      },
    };
  }

  #state(layer: number, name: StateTensor["name"]) {
    const { shape = [] } =
      this.#tensors.find((tensor) => tensor.layer === layer && tensor.name === name) ?? {};
    return {
      earlier: leaf(stateName({ layer, name }), ["slots", ...shape]),
      keep: (next: Value): void => {
        this.next[nextName({ layer, name })] = next;
      },
    };
  }
}

/** A cached tensor of a layer. */
type CachedSite = Pick<CachedTensor, "layer" | "name">;

/** The cache as a graph reads it, and what is new of all layers, collected while it is built. */
class GraphCache {
  /** True where `exchangeJoined` takes the place of `exchange`. */
  readonly isJoined: boolean;
  readonly #config: ModelConfig;
  readonly #dtype: CacheDtype;
  readonly #tensors: readonly CachedTensor[];
  /** New positions by the names of the tensors. */
  readonly #added = new Map<string, Value>();
  /** Joined heads of all layers, not rotated. */
  readonly #joined: JoinedHeads[] = [];

  constructor(config: ModelConfig, dtype: CacheDtype = "float32") {
    this.#config = config;
    this.#dtype = dtype;
    this.#tensors = cachedTensors(config);
    this.isJoined = canJoinHeads(config, dtype);
  }

  /** Takes what is new of a tensor. */
  add(x: Value, site: CachedSite): void {
    this.#added.set(pastName(site), x);
  }

  /** Takes a layer's new keys and values, and gives the earlier ones, [R, K, M, D] each. */
  exchange({ k, v, layer, keyLayer }: Parameters<AttentionHook["attend"]>[0]) {
    if (layer === keyLayer) {
      this.add(k, { layer, name: "k" });
      this.add(v, { layer, name: "v" });
    }
    return { pastKeys: this.past(keyLayer, "k"), pastValues: this.past(keyLayer, "v") };
  }

  /** The same with queries beside them, where keys are not yet rotated. */
  exchangeJoined(joined: JoinedHeads, layer: number) {
    this.#joined.push(joined);
    return { pastKeys: this.past(layer, "k"), pastValues: this.past(layer, "v") };
  }

  /** What is cached of a tensor: [R, H, M, W]. */
  past(layer: number, name: CachedTensor["name"]): Value {
    const found = this.#tensors.find((tensor) => tensor.layer === layer && tensor.name === name);
    const { heads = 0, width = 0 } = found ?? {};
    return fromCache(leaf(pastName({ layer, name }), ["slots", heads, "cached", width], this.#dtype));
  }

  /** New positions as later steps read them. */
  stored(x: Value): Value {
    return fromCache(toCache(x, this.#dtype));
  }

  /** The heads of the tensors that an output of `written` holds. */
  heads(output: string): { readonly width: number; readonly count: number } {
    const own = this.#tensors.filter(({ width }) => writtenName(width) === output);
    return { width: own[0]?.width ?? 0, count: own.reduce((sum, { heads }) => sum + heads, 0) };
  }

  /** What is new of all tensors, those of each width joined along an axis. */
  written(axis: number): Readonly<Record<string, Value>> {
    const outputs = new Map<string, Value[]>();
    for (const tensor of this.#tensors) {
      const name = writtenName(tensor.width);
      const added = this.#added.get(pastName(tensor)) as Value;
      outputs.set(name, [...(outputs.get(name) ?? []), added]);
    }
    return Object.fromEntries(
      [...outputs].map(([name, parts]) => [name, toCache(concat(parts, axis), this.#dtype)]),
    );
  }

  /** The same of joined heads [N, 1, (H + 2 K) · D] at `positions` [N, 1], where one operator rotates the keys of all layers. */
  writtenJoined(positions: Value): Readonly<Record<string, Value>> {
    const { layers: L, heads: H, keyValueHeads: K, headDim: D } = this.#config;
    const all = this.#joined.map(({ qkv }) => qkv);
    const layers = reshape(concat(all, 2), [...positions.shape, L, (H + 2 * K) * D]);
    const [, ...parts] = split(layers, { axis: 3, sizes: [H * D, K * D, K * D] });
    const [k, v] = parts.map((part) => reshape(part, [...positions.shape, L * K * D])) as [Value, Value];
    const [{ tables }] = this.#joined as [JoinedHeads];
    return { [writtenName(D)]: concat([rotateJoined(k, positions, { ...tables, heads: L * K }), v], 2) };
  }
}

/**
 * The plain implementation: attention over the cache and over the new tokens, whose scores meet only in the softmax. The cache is
 * read where it lies and never copied.
 */
function cachedAttention(config: ModelConfig, cache: GraphCache, maxLength: number): AttentionHook {
  const { attentionSoftCap } = config;
  const alpha = scoreScale(config);
  const layerMasks = attentionMasks(config, maxLength);
  const counts = leaf("key_counts", [config.sinks ? 3 : 2], "int64");
  return {
    heads: "split",
    attend(heads) {
      const { q, k, v, layer } = heads;
      const { heads: H, keyValueHeads: K, headDim: D } = layerHeads(config, layer);
      const { pastKeys, pastValues } = cache.exchange(heads);
      const grouped = reshape(q, ["slots", K, groupedName(H / K), D]); // [R, K, G·S, D]
      const scores = (keys: Value, mask: Value): Value => {
        const plain = matmul(grouped, keys, { transposeB: true, alpha });
        return add(attentionSoftCap === undefined ? plain : softCap(plain, attentionSoftCap), mask);
      };
      const { cached, added } = layerMasks(layer);
      const all = [scores(pastKeys, cached), scores(k, added)];
      const sink = heads.sinks && sinkScores(heads.sinks, grouped);
      const p = softmax(concat(sink ? [...all, sink] : all, 3)); // [R, K, G·S, M + S]
      const names = ["cached", "tokens", ...(sink ? ["sink"] : [])];
      const [onCache, onNew] = splitDynamic(p, counts, { names }) as readonly [Value, Value];
      const seen = add(matmul(onCache, pastValues), matmul(onNew, v));
      return reshape(seen, ["slots", H, "tokens", D]);
    },
  };
}

/** The scores of the heads' sinks [H] for the queries [R, K, G·S, D]: [R, K, G·S, 1] */
function sinkScores(sinks: Value, queries: Value): Value {
  const [slots, K, rows] = queries.shape as readonly [Dim, number, Dim, number];
  const groups = (sinks.shape[0] as number) / K;
  // zeros in the shape of the queries, whose number each run decides
  const none = mul(slice(queries, { axis: 3, from: 0, to: 1 }), scalar(0));
  const apart = reshape(none, [slots, K, groups, "tokens", 1]);
  return reshape(add(apart, reshape(sinks, [K, groups, 1, 1])), [slots, K, rows, 1]);
}

/**
 * The same in one operator, for which the runtime copies the cache. One token alone is computed by other kernels than several,
 * so that a padding token behind it makes its result independent of how many there are.
 */
function fusedAttention(
  config: ModelConfig,
  {
    cache,
    maxLength,
    grouped,
    apart,
  }: {
    readonly cache: GraphCache;
    readonly maxLength: number;
    readonly grouped: Value;
    readonly apart: Value;
  },
): AttentionHook {
  const lengths = leaf("lengths", ["slots"], "int32");
  const total = leaf("total", [], "int32");
  const padded = (x: Value): Value => rowsAt(x, grouped);
  return {
    heads: "joined",
    rotates: cache.isJoined,
    attend(given) {
      const { q, k, v, layer, tables } = given;
      const joined = tables && { qkv: concat([q, k, v], 2), tables };
      const heads: Parameters<typeof groupedAttention>[0] = joined
        ? { qkv: padded(joined.qkv), tables: joined.tables }
        : [padded(q), padded(cache.stored(k)), padded(cache.stored(v))];
      const seen = groupedAttention(heads, {
        ...(joined ? cache.exchangeJoined(joined, layer) : cache.exchange(given)),
        lengths,
        total,
        ...layerHeads(config, layer),
        scale: scoreScale(config),
        softCap: config.attentionSoftCap,
        sinks: given.sinks,
        window: layerWindow(config, layer, maxLength),
      });
      return rowsAt(seen, apart);
    },
  };
}

/** Layers that see alike: their window, and the queries that share a key head. */
interface MaskKind {
  readonly window: number | undefined;
  readonly groups: number;
  /** The end of its masks' names. */
  readonly suffix: string;
}

/** The kind of a layer of attention. */
function maskKind(config: ModelConfig, layer: number, maxLength: number): MaskKind {
  const { heads, keyValueHeads } = layerHeads(config, layer);
  const window = layerWindow(config, layer, maxLength);
  const own = keyValueHeads === config.keyValueHeads ? [] : [`full${keyValueHeads}`];
  const suffix = [...own, ...(window === undefined ? [] : [window])].map((part) => `.${part}`).join("");
  return { window, groups: heads / keyValueHeads, suffix };
}

const maskName = (mask: string, { suffix }: MaskKind): string => `${mask}${suffix}`;

/** The dimension of the queries that share a key head: "grouped2" are twice the tokens. */
const groupedName = (groups: number): string => `grouped${groups}`;

/**
 * Masks that are added to attention scores: `cached` on tokens of the cache, [R, 1, 1, M] or with a window [R, 1, G · S, M], and
 * `added` on new tokens, [1, 1, G · S, S].
 */
function makeMasks(kind: MaskKind) {
  const grouped = groupedName(kind.groups);
  const cached = leaf("past_mask", ["slots", 1, 1, "cached"]);
  const added = leaf(maskName("new_mask", kind), [1, 1, grouped, "tokens"]);
  if (kind.window === undefined) return { cached, added };
  const positions = leaf("cached_positions", ["cached"], "int32");
  const first = leaf(maskName("first_seen", kind), ["slots", 1, grouped, 1], "int32");
  return { cached: windowMask(cached, positions, first), added };
}

/** The masks of each layer of a graph, in which no sequence is longer than `maxLength`. Layers of a kind share them. */
function attentionMasks(config: ModelConfig, maxLength: number) {
  const made = new Map<string, ReturnType<typeof makeMasks>>();
  return (layer: number) => {
    const kind = maskKind(config, layer, maxLength);
    const masks = made.get(kind.suffix) ?? makeMasks(kind);
    made.set(kind.suffix, masks);
    return masks;
  };
}

/** The masks of new tokens at `positions` [count, S], as a graph for sequences up to `maxLength` takes them. */
function maskFeeds(
  config: ModelConfig,
  positions: Int32Array,
  { count, maxLength }: { readonly count: number; readonly maxLength: number },
): Record<string, HostTensor> {
  const S = positions.length / count;
  const feeds: Record<string, HostTensor> = {};
  for (const layer of attentionLayers(config)) {
    const kind = maskKind(config, layer, maxLength);
    const name = maskName("new_mask", kind);
    if (name in feeds) continue;
    const { window, groups } = kind;
    const data = causalMask(S, groups, window);
    feeds[name] = { shape: [1, 1, groups * S, S], data };
    if (window === undefined) continue;
    const first = Int32Array.from({ length: count * groups * S }, (_, i) => {
      const [slot, token] = [Math.floor(i / (groups * S)), i % S];
      return (positions[slot * S + token] as number) - window + 1;
    });
    feeds[maskName("first_seen", kind)] = { shape: [count, 1, groups * S, 1], data: first };
  }
  return feeds;
}

/** 0 for the last `window` tokens up to a query's own, −10³⁰ for all others: [G · S, S] */
function causalMask(S: number, groups: number, window = S): Float32Array {
  const mask = new Float32Array(groups * S * S);
  for (let row = 0; row < groups * S; row++) {
    const query = row % S;
    mask.fill(-1e30, row * S, row * S + Math.max(0, query - window + 1));
    mask.fill(-1e30, row * S + query + 1, (row + 1) * S);
  }
  return mask;
}
