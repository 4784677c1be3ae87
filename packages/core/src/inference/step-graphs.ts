// The graphs of a step, which are the decoder of #models with the engine's hooks, and what they are fed with.
// R slots of the step · S new tokens of each · T logits · V vocabulary · C hidden width · D head width
import {
  addRmsNorm,
  concat,
  convolveSilu,
  DEFAULT_DEVICE,
  type HostTensor,
  leaf,
  linearAttention,
  matmul,
  mul,
  reshape,
  reshapeAs,
  rowProducts,
  rowsAt,
  type SessionOptions,
  shifted,
  splitEqual,
  supports,
  transpose,
  type Value,
} from "mixture-of-shards-graph";
import type { Dim } from "#common";
import {
  decoder,
  type ModelConfig,
  type ProjectHook,
  type RecurrentHook,
  type StateTensor,
  stateTensors,
} from "#models";
import type { BaseWeights } from "./base-weights.ts";
import { type CacheDtype, coreNames, type KVCache, type SlotRange, slotNames, writtenName } from "./slots.ts";
import { nextName, stateName } from "./states.ts";
import { cachedAttention, fusedAttention, GraphCache, maskFeeds } from "./step-attention.ts";

/** Some slots, and the new tokens of each. */
export interface Step extends SlotRange {
  /** For each slot of the range; none for one that only lies between others. */
  readonly tokens: readonly (readonly number[])[];
  /** Logits of every token, rather than of the last one of each slot. */
  readonly allLogits?: boolean;
  /** Logits, or the hidden states that they are made of ("logits"). */
  readonly output?: "logits" | "hidden";
  /** One slot's last token and a draft behind it, rather than a prompt. */
  readonly isDraft?: boolean;
  /** Computes a lone token by the kernels of several rows, as it would be before a draft. */
  readonly isPadded?: boolean;
}

/** Tokens of each slot that a step's program computes, those that are padding included. */
export const stepLength = ({ tokens, isPadded = false }: Step): number =>
  Math.max(isPadded ? 2 : 0, ...tokens.map(({ length }) => length));

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
  /** False without the fused program, where few steps have so few rows that it is faster (true). */
  readonly fuses?: boolean | undefined;
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
export interface StepGraph {
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
      recurrent: states.hook(),
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
export const sharedStep: StepGraph = anySlots(withCores);

/** Any tokens of one slot, or one token of every slot, with all operators fused that the device has. */
export const fusedStep: StepGraph = {
  slotAxis: 1,
  outputs(base, { maxLength, adapters, cacheDtype, session }) {
    const grid = ["rows", 1];
    const [cache, states] = [new GraphCache(base.config, cacheDtype), new GraphStates(base.config)];
    const positions = leaf("positions", grid, "int64");
    const grouped = leaf("grouped", ["slots", "padded", 2], "int64");
    const apart = leaf("apart", ["rows", 1, 2], "int64");
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
      recurrent: states.hook({ grouped, apart }),
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
    const S = stepLength(step);
    const padding = count === 1 && S === tokens[0]?.length ? 1 : 0;
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
      grouped: { shape: [count, S + padding, 2], data: Int32Array.from(grouped.flat()) },
      apart: { shape: [rows, 1, 2], data: Int32Array.from(apart.flat()) },
      ...Object.fromEntries(shapes),
      ...earlierFeeds(step, cache),
      ...stateFeeds(step, cache, S + padding),
      lengths: { shape: [count], data: starts.map((start) => start + S + padding - 1) },
      total: { shape: [], data: Int32Array.of(Math.max(...starts) + S + padding) },
    };
  },
};

/** The tokens of a step [R, S] with their positions, and those of them whose logits are wanted. */
function gridFeeds(step: Step, { lengths }: KVCache) {
  const { from, count, tokens, allLogits = false } = step;
  const S = stepLength(step);
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

  /** Linear attention of tokens in the order of slots [R, S, C], or that `grouped` brings into it, and `apart` back. */
  hook(places?: Readonly<Record<"grouped" | "apart", Value>>): RecurrentHook {
    const grouped = (x: Value): Value => (places === undefined ? x : rowsAt(x, places.grouped));
    const apart = (x: Value): Value => (places === undefined ? x : rowsAt(x, places.apart));
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
