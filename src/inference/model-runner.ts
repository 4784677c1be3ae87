// R slots of the step · S new tokens of each · V vocabulary
import { MosError } from "#core";
import {
  compile,
  type Device,
  type HostTensor,
  type Program,
  type SessionOptions,
  supports,
  type TensorData,
} from "#graph";
import type { ModelConfig } from "#models";
import { AdapterSlots } from "./adapter-slots.ts";
import { type BaseWeights, SECOND_COPY_LIMIT } from "./base-weights.ts";
import { fusedStep, generalStep, type Step, type StepGraph } from "./decoder-graph.ts";
import { type CacheDtype, KVCache, type SlotRange } from "./kv-cache.ts";

// The program of a step is chosen here, when a runner is opened and at each step:
// - The general program takes any step and needs no fused operator. It reads the cache where it lies.
// - Decoding few and short sequences is a matter of how many operators there are rather than of their work, so a second
//   program has fewer than half as many: fused attention and norms, heads that stay joined. Its attention copies the
//   cache, which costs more than is spared once that is large. Devices without this attention have the general program
//   alone, and so have large quantised bases, since a quantised base is part of each program.
// - Without adapters programs have no slots. A lone adapter can be merged into float32 weights (`mergedAdapter` of
//   prepareWeights), and then costs nothing at any step.
// - Norm gains and biases are constants of the programs: every input costs some microseconds at each step.

/** Slots up to which the fused program can be faster. */
const FEW_SLOTS = 2;

/** Bytes of one layer's keys and values up to which copying them is cheaper than the operators that fusing spares. */
const COPY_LIMIT = 600e3;

/** GroupQueryAttention needs head widths that are a multiple of 8. */
function canFuse({ config, constantBytes }: BaseWeights, device: Device): boolean {
  const attention = config.attentionSoftCap === undefined ? "groupedAttention" : "cappedAttention";
  return supports(device, attention) && config.headDim % 8 === 0 && constantBytes <= SECOND_COPY_LIMIT;
}

const isWorthFusing = (
  { count, tokens, allLogits = false }: Step,
  { config, capacity, bytesPerPosition }: KVCache,
): boolean =>
  count <= FEW_SLOTS &&
  !allLogits &&
  tokens.every(({ length }) => length === 1) &&
  (count * capacity * bytesPerPosition) / config.layers <= COPY_LIMIT;

/** The base with its cache and adapter slots. Holds native memory: dispose it. */
export interface ModelRunner extends AsyncDisposable {
  readonly config: ModelConfig;
  readonly cache: KVCache;
  readonly slots: AdapterSlots;
  /**
   * Computes a step, appends its keys and values to the cache, and gives the logits [V] of each slot: of its last token,
   * or of all with `allLogits`; none for a slot without tokens. Both cache and slots must have room for the step.
   */
  run(step: Step): Promise<readonly (readonly Float32Array[])[]>;
}

/** Capabilities that an engine's steps need. */
export interface ModelRunnerOptions {
  /** The longest sequence, in tokens. */
  readonly maxLength: number;
  /** Allows slots to hold adapters; steps are cheaper without. */
  readonly adapters?: boolean;
  /** Type of the cache's numbers ("float32"). */
  readonly cacheDtype?: CacheDtype;
  readonly session?: SessionOptions;
}

/**
 * Compiles the programs of an engine's steps.
 *
 * @throws MosError "bad_option" where `maxLength` is more than the model has; "device".
 */
export async function createModelRunner(
  base: BaseWeights,
  { maxLength, adapters = true, cacheDtype = "float32", session: given = {} }: ModelRunnerOptions,
): Promise<ModelRunner> {
  const { config } = base;
  if (maxLength > config.maxPositions)
    throw new MosError(
      "bad_option",
      `${maxLength} tokens exceed the ${config.maxPositions} positions of this model`,
    );
  const { device = "cpu" } = given;
  const [cache, slots] = [new KVCache(config, cacheDtype), new AdapterSlots(base)];
  const open = async (graph: StepGraph): Promise<BoundProgram> => {
    const outputs = graph.outputs(base, { maxLength, adapters, cacheDtype, device });
    const program = await compile(outputs, given);
    return { graph, program, bind: binder(program, { cache, slots, feeds: base.feeds }) };
  };
  const general = await open(generalStep);
  const fused = canFuse(base, device) ? await open(fusedStep) : undefined;
  return {
    config,
    cache,
    slots,
    async run(step) {
      const { graph, program, bind } = fused !== undefined && isWorthFusing(step, cache) ? fused : general;
      bind(step);
      const { logits, new_keys_values: written } = await program.run(graph.feeds(step, cache, maxLength));
      if (!(logits?.data instanceof Float32Array && isCacheArray(written?.data)))
        throw new MosError("device", "the step's program gave no logits");
      const counts = step.tokens.map(({ length }) => length);
      cache.append(written.data, counts, { from: step.from, tokens: Math.max(...counts) });
      return logitsBySlot(logits.data, step, config);
    },
    async [Symbol.asyncDispose]() {
      await general.program[Symbol.asyncDispose]();
      await fused?.program[Symbol.asyncDispose]();
    },
  };
}

const isCacheArray = (data: TensorData | undefined): data is Float32Array | Uint16Array =>
  data instanceof Float32Array || data instanceof Uint16Array;

/** A program, and how it gets the slots that it works on. */
interface BoundProgram {
  readonly graph: StepGraph;
  readonly program: Program;
  readonly bind: (range: SlotRange) => void;
}

interface Bindings {
  readonly cache: KVCache;
  readonly slots: AdapterSlots;
  readonly feeds: Readonly<Record<string, HostTensor>>;
}

/** Making hundreds of views takes a while, so they are bound again only when they changed. */
function binder(program: Program, { cache, slots, feeds }: Bindings): (range: SlotRange) => void {
  const bind = (tensors: Readonly<Record<string, HostTensor>>): void =>
    program.bind(Object.fromEntries(Object.entries(tensors).filter(([name]) => program.inputs.has(name))));
  bind(feeds);
  let bound = "";
  return ({ from, count }) => {
    const needed = `${from} ${count} ${cache.version} ${slots.version}`;
    if (needed === bound) return;
    bind(cache.view({ from, count }));
    bind(slots.view({ from, count }));
    bound = needed;
  };
}

/** Views [V] of the logits of a step. */
function logitsBySlot(
  logits: Float32Array,
  { tokens, allLogits = false }: Step,
  { vocabularySize }: ModelConfig,
): readonly (readonly Float32Array[])[] {
  let next = 0;
  return tokens.map(({ length }) =>
    Array.from({ length: allLogits ? length : Math.min(1, length) }, () => {
      next++;
      return logits.subarray((next - 1) * vocabularySize, next * vocabularySize);
    }),
  );
}
