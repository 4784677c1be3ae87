// A runner of steps: which program takes a step, what it is bound to, and what is kept of its outputs.
// R slots · V vocabulary · C hidden width

import {
  compile,
  DEFAULT_DEVICE,
  type HostTensor,
  type Program,
  prefersConstants,
  supports,
  type TensorData,
} from "mixture-of-shards-graph";
import { MosError } from "#common";
import { layerHeads } from "#models";
import { type BaseWeights, isHeldTwice, SECOND_COPY_LIMIT } from "./base-weights.ts";
import { tokenSoftmax } from "./sampler.ts";
import { AdapterSlots, KVCache, type SlotRange, writtenName } from "./slots.ts";
import { isSnapshotDue, nextName } from "./states.ts";
import { attentionLayers } from "./step-attention.ts";
import {
  fusedStep,
  generalStep,
  type ModelRunnerOptions,
  type Step,
  type StepGraph,
  sharedStep,
  stepLength,
} from "./step-graphs.ts";

// The program of a step is chosen here, when a runner is opened and at each step:
// - The general program takes any step and needs no fused operator. It reads the cache where it lies.
// - Decoding few and short sequences is a matter of how many operators there are rather than of their work, so a second
//   program has fewer than half as many: fused attention and norms, heads that stay joined. Its attention copies the
//   cache, which costs more than is spared once that is large. Devices without this attention have the general program alone.
//   A quantised base is part of each program, so that large ones have the second only if they fit into memory twice. The sampler of
//   a trainer, most of whose steps have many rows, goes without it.
// - Adapters whose A and B are the base's own have a third program, compiled when they first run without others beside them. It
//   multiplies all rows by one A and one B, and those of a slot by its core.
// - A draft is verified by the second program where that computes a token alone, too: with int8 products, its logits mostly do not
//   depend on how many tokens of a slot a step has. Those of the general program do, in the last bits.
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
  return (
    options.fuses !== false &&
    isHeldTwice(fixedBytes(base, options), options.twice === true) &&
    supports(device, attention) &&
    heads.every((width) => width % 8 === 0)
  );
}

/** Positions of keys and values that the fused program copies at less cost than it spares. */
const copiedPositions = ({ config, bytesPerPosition }: KVCache, constantBytes: number): number =>
  Math.floor(Math.max(COPY_LIMIT * config.layers, COPY_SHARE * constantBytes) / bytesPerPosition);

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
  const copied = count * Math.max(...lengths);
  return isDecoding && count <= fewSlots && copied <= copiedPositions(cache, constantBytes);
}

/** The base with its cache and adapter slots. Holds native memory: dispose it. */
export type ModelRunner = Awaited<ReturnType<typeof createModelRunner>>;

/** Compiles the programs of an engine's steps. Throws "bad_option" where `maxLength` is more than the model has; "device". */
export async function createModelRunner(base: BaseWeights, options: ModelRunnerOptions) {
  const { config, constantBytes } = base;
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
  const fewSlots = options.adapters === false ? FEW_SLOTS : 1;
  const general = await open(generalStep);
  const fused = canFuse(base, options) ? await open(fusedStep) : undefined;
  const softmax = tokenSoftmax(config.vocabularySize, session);
  const logitsMemory = reusedMemory(config.vocabularySize);
  const fetch = fetchWritten(cache);
  // compiled when adapters that share their factors first run by themselves
  let shared: ReturnType<typeof open> | undefined;
  const sharesFactors = options.adapters !== false && fixedBytes(base, options) <= THIRD_COPY_LIMIT;
  if (sharesFactors) base.hold();
  const usesFused = (step: Step): boolean =>
    fused !== undefined &&
    slots.shared === undefined &&
    isWorthFusing(step, { cache, constantBytes, fewSlots });
  return {
    config,
    computeDtype: base.computeDtype,
    cache,
    slots,
    /** True if slots may share the factors of adapters, for which a program more holds the base. */
    sharesFactors,
    /** Softmax of the logits of its steps. */
    softmax,
    /** Tests whether the fused program computes a step. */
    usesFused,
    /** The longest sequence that the fused program takes. */
    fusedLength: fused === undefined ? 0 : copiedPositions(cache, constantBytes),
    /**
     * Computes a step, appends its keys and values to the cache, and gives the logits [V] of each slot, or its hidden states
     * [C]: of its last token, or of all with `allLogits`; none for a slot without tokens. The next step may overwrite them. Both
     * cache and slots must have room for the step.
     */
    async run(step: Step): Promise<readonly (readonly Float32Array[])[]> {
      if (slots.shared !== undefined) shared ??= open(sharedStep);
      const own = fused !== undefined && usesFused(step) ? fused : general;
      const { graph, program, bind } = (slots.shared !== undefined && (await shared)) || own;
      bind(step);
      const { output = "logits" } = step;
      const feeds = graph.feeds(step, cache, maxLength);
      const { [output]: rows, ...written } = await program.run(feeds, {
        ...fetch,
        [output]: output === "logits" ? logitsMemory(step) : null,
      });
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
      if (sharesFactors) await base[Symbol.asyncDispose]();
    },
  };
}

/** What a step adds to the cache, in memory of the runtime's. */
const fetchWritten = ({ widths, states }: KVCache): Record<string, null> =>
  Object.fromEntries(
    [...widths.map(writtenName), ...states.tensors.map(nextName)].map((name) => [name, null]),
  );

/** The logits of decoded tokens have the same memory at each step: pages that are new take as long as a copy. */
function reusedMemory(vocabularySize: number) {
  let data = new Float32Array(0);
  return ({ tokens }: Step) => {
    if (tokens.some(({ length }) => length > 1)) return null;
    const rows = tokens.filter(({ length }) => length > 0).length;
    const size = rows * vocabularySize;
    if (data.length < size) data = new Float32Array(size);
    return { shape: [rows, vocabularySize], data: data.subarray(0, size) };
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
  cache.append(new Map(added), counts, { from: step.from, tokens: stepLength(step) });
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
