// Peak memory of a program, known before it is compiled: the runtime's own rules for the
// order of nodes and the reuse of buffers, applied to the shapes of the graph.
import { MosError } from "../error.ts";
import { type Dim, DTYPE_BYTES, type TensorType } from "../tensor-type.ts";
import { type Node, sortNodes, type Value } from "../value.ts";

/** Operators whose output is their first input in another shape. */
const ALIASES = new Set(["Reshape", "Squeeze", "Unsqueeze", "Flatten"]);
/** Operators that may write over an input of the output's size that nothing else reads. */
const IN_PLACE = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Neg",
  "Exp",
  "Log",
  "Sqrt",
  "Reciprocal",
  "Sigmoid",
  "Tanh",
  "QuickGelu",
  "Cast",
]);
/** Tensors of its output's size that an operator has while it runs: a Where selects from both inputs, and then joins them. */
const TEMPORARIES: Readonly<Record<string, number>> = { Where: 2 };

/** Memory of a program without its inputs. */
export interface ProgramPeak {
  /** Bytes of its intermediate tensors and results, as the runtime's allocator holds them. */
  readonly workspace: number;
  /** Bytes of the constants that are part of it. */
  readonly constants: number;
  /** Bytes of its results. */
  readonly results: number;
  readonly nodes: number;
}

/**
 * The memory of one run of the program that computes `outputs`, with the sizes of dimensions that only a run knows. Throws
 * `bad_config` for one without a size.
 * @example
 * programPeak({ y: mul(x, x) }, { dimensionSize: () => 512 }).workspace;
 */
export function programPeak(
  outputs: Readonly<Record<string, Value>>,
  { dimensionSize }: { readonly dimensionSize: (name: string) => number },
): ProgramPeak {
  const results = Object.values(outputs);
  const program = orderedProgram(results);
  const sizeOf = (dim: Dim): number => {
    const size = typeof dim === "number" ? dim : dimensionSize(dim);
    if (!Number.isFinite(size))
      throw new MosError("bad_config", `the dimension "${dim}" has the size ${size}`);
    return size;
  };
  const countBytes = ({ shape, dtype }: TensorType): number =>
    shape.reduce<number>((size, dim) => size * sizeOf(dim), DTYPE_BYTES[dtype]);
  const { buffers } = new BufferPlan(program, countBytes);
  return {
    workspace: replay(program.length, buffers),
    constants: collectConstants(program).reduce((sum, value) => sum + countBytes(value), 0),
    results: results.reduce((sum, value) => sum + countBytes(value), 0),
    nodes: program.length,
  };
}

/** A node as it is run. */
interface Step {
  readonly op: string;
  readonly inputs: readonly (Value | undefined)[];
  /** The steps that compute the inputs; undefined for an input of the program or a constant. */
  readonly sources: readonly (Step | undefined)[];
  readonly outputs: Node["outputs"];
  /** Names of dimensions that the runtime knows of each output: it infers none of others, and reuses no buffer for them. */
  readonly known: readonly ReadonlySet<Dim>[];
  /** Number of steps that read each output, and the buffers of the outputs. */
  readonly readers: number[];
  readonly buffers: (Buffer | undefined)[];
  readonly index: number;
  /** The results of a run are copies in memory of their own. */
  readonly isResult: boolean;
}

/** The runtime's order: depth first from the last result, later nodes before earlier ones. */
function orderedProgram(results: readonly Value[]): readonly Step[] {
  const copies = toSteps(results);
  const order: Step[] = [];
  const entered = new Set<Step>();
  const left = new Set<Step>();
  const stack = [...copies];
  for (let step = stack.at(-1); step !== undefined; step = stack.at(-1)) {
    if (entered.has(step)) {
      stack.pop();
      if (!left.has(step)) order.push(step);
      left.add(step);
      continue;
    }
    entered.add(step);
    const before = step.sources.filter((source) => source !== undefined && !entered.has(source)) as Step[];
    if (before.length > 1) before.sort((one, other) => one.index - other.index);
    stack.push(...before);
  }
  return order;
}

/** A step for each node, and one that copies each result, which are returned. */
function toSteps(results: readonly Value[]): readonly Step[] {
  const createBuffer = new Map<Node, Step>();
  let index = 0;
  const add = (node: Pick<Node, "op" | "inputs" | "outputs">, isResult: boolean): Step => {
    const { op, inputs, outputs } = node;
    const sources = inputs.map((value) =>
      value?.source.kind === "output" ? createBuffer.get(value.source.node) : undefined,
    );
    inputs.forEach((value, i) => {
      const [source, output] = [sources[i], value?.source.kind === "output" ? value.source.index : 0];
      if (source !== undefined) source.readers[output] = (source.readers[output] ?? 0) + 1;
    });
    const known = knownDims({ op, inputs, sources, outputs });
    return { op, inputs, sources, outputs, known, readers: [], buffers: [], index: index++, isResult };
  };
  for (const node of sortNodes(results)) createBuffer.set(node, add(node, false));
  return results.map((value) => add({ op: "Identity", inputs: [value], outputs: [value] }, true));
}

/** Of each output the named dimensions that its node has from inputs, all of which know it; a Reshape keeps those of an axis alone. */
function knownDims({
  op,
  inputs,
  sources,
  outputs,
}: Pick<Step, "op" | "inputs" | "sources" | "outputs">): readonly ReadonlySet<Dim>[] {
  const knows = (i: number, dim: Dim): boolean => {
    const source = inputs[i]?.source;
    return source?.kind !== "output" || sources[i]?.known[source.index]?.has(dim) === true;
  };
  const isKnown = (dim: Dim, axis: number): boolean => {
    if (op === "Reshape") return inputs[0]?.shape[axis] === dim && knows(0, dim);
    const having = [...inputs.keys()].filter((i) => inputs[i]?.shape.includes(dim) === true);
    return having.length > 0 && having.every((i) => knows(i, dim));
  };
  return outputs.map(
    ({ shape }) => new Set(shape.filter((dim, axis) => typeof dim === "string" && isKnown(dim, axis))),
  );
}

/** A buffer, and between which steps it is taken. */
interface Buffer {
  readonly bytes: number;
  /** Equal where one may take the other's place. */
  readonly kind: string;
  readonly from: number;
  to: number;
  /** Readers of the tensor that is in it now. */
  readers: number;
}

/**
 * Assignment of tensors to buffers, which views, in-place results and tensors whose lifetimes do not overlap share.
 */
class BufferPlan {
  /** In the order in which they are taken. */
  readonly buffers: Buffer[] = [];
  readonly #countBytes: ByteCounter;
  /** Buffers of each kind that nothing reads any more, the latest last. */
  readonly #idle = new Map<string, Buffer[]>();

  constructor(order: readonly Step[], countBytes: ByteCounter) {
    this.#countBytes = countBytes;
    order.forEach((step, at) => {
      step.outputs.forEach((_, i) => {
        const buffer = this.#bufferFor(step, i, at);
        if (buffer === undefined) return;
        buffer.readers += step.readers[i] ?? 0;
        step.buffers[i] = buffer;
      });
      this.#release(step, at);
    });
  }

  /** Undefined for another shape of an input or a constant, which is no buffer. */
  #bufferFor(step: Step, i: number, at: number): Buffer | undefined {
    const { op, inputs, outputs, isResult } = step;
    const output = outputs[i] as TensorType;
    const bytes = this.#countBytes(output);
    const kind = reuseKey(output, step.known[i]);
    const createBuffer = (): Buffer => {
      const buffer = { bytes, kind, from: at, to: isResult ? Number.POSITIVE_INFINITY : at, readers: 0 };
      this.buffers.push(buffer);
      return buffer;
    };
    if (isResult) return createBuffer();
    for (let count = TEMPORARIES[op] ?? 0; count > 0; count--) createBuffer();
    if (ALIASES.has(op)) return inputBuffer(step, 0);
    const inPlace =
      IN_PLACE.has(op) && kind !== ""
        ? inputs.map((_, i) => inputBuffer(step, i)).find((one) => one?.readers === 1 && one.bytes === bytes)
        : undefined;
    return inPlace ?? this.#idle.get(kind)?.pop() ?? createBuffer();
  }

  #release(step: Step, at: number): void {
    for (let i = 0; i < step.inputs.length; i++) {
      const buffer = inputBuffer(step, i);
      if (buffer === undefined) continue;
      buffer.readers--;
      buffer.to = at;
      if (buffer.readers > 0 || buffer.kind === "") continue;
      listIn(this.#idle, buffer.kind).push(buffer);
    }
  }
}

/** The buffer of one of the inputs of a step. */
function inputBuffer({ inputs, sources }: Step, i: number): Buffer | undefined {
  const source = inputs[i]?.source;
  return source?.kind === "output" ? sources[i]?.buffers[source.index] : undefined;
}

type ByteCounter = (value: TensorType) => number;

/** The runtime reuses a buffer for tensors of the same shape and width of numbers; "" is like none. */
const reuseKey = ({ shape, dtype }: TensorType, known: ReadonlySet<Dim> | undefined): string =>
  shape.every((dim) => typeof dim === "number" || known?.has(dim))
    ? `${DTYPE_BYTES[dtype]} ${shape.join()}`
    : "";

function listIn<K, V>(lists: Map<K, V[]>, key: K): V[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

/** Takes and frees the buffers in an arena, in the order of the steps. */
function replay(steps: number, buffers: readonly Buffer[]): number {
  const begins = new Map<number, Buffer[]>();
  const ends = new Map<number, Buffer[]>();
  for (const buffer of buffers) {
    listIn(begins, buffer.from).push(buffer);
    // results are copied and freed when a run is over
    listIn(ends, Math.min(buffer.to, steps)).push(buffer);
  }
  const arena = new Arena();
  const pieces = new Map<Buffer, Piece>();
  // what the first run took is filled in another way by the next
  for (let run = 0; run < 2; run++)
    for (let at = 0; at <= steps; at++) {
      for (const buffer of begins.get(at) ?? []) pieces.set(buffer, arena.allocate(buffer.bytes));
      for (const buffer of ends.get(at) ?? []) arena.free(pieces.get(buffer) as Piece);
    }
  return arena.touched;
}

/** The constants that nodes read, each once. */
function collectConstants(order: readonly Step[]): readonly Value[] {
  const found = new Map<unknown, Value>();
  for (const { inputs } of order)
    for (const value of inputs) if (value?.source.kind === "constant") found.set(value.source.data, value);
  return [...found.values()];
}

// Memory touched by the allocator of the runtime's CPU provider: an arena which takes memory in growing
// regions, gives the smallest free piece that is large enough, and keeps everything until its program is closed.

/** A piece of memory: where it lies, and how much of it there is. */
interface Piece {
  readonly region: number;
  readonly begin: number;
  readonly size: number;
}

const UNIT = 256;
const FIRST_REGION = 2 ** 20;
const MAX_EXTENSION = 2 ** 30;
/** A larger rest is split off, whatever was requested. */
const MAX_WASTE = 2 ** 27;
/** Memory counts from its first use on, by pieces of this size. */
const PAGE = 2 ** 16;

/** Allocations and frees in the order in which a program makes them, and what they take of the machine. */
export class Arena {
  /** Free pieces in the order of their sizes. */
  readonly #free: Piece[] = [];
  /** The same by the addresses at which they begin and end. */
  readonly #begins = new Map<number, Piece>();
  readonly #ends = new Map<number, Piece>();
  /** The pages of each region that were in use. */
  readonly #used: Uint8Array[] = [];
  #step = FIRST_REGION;
  #touched = 0;

  /** Bytes that were in use at some time; they are never given back. */
  get touched(): number {
    return this.#touched * PAGE;
  }

  allocate(bytes: number): Piece {
    const size = Math.max(UNIT, Math.ceil(bytes / UNIT) * UNIT);
    const fitting = this.#free[this.#insertionIndex({ region: Number.POSITIVE_INFINITY, begin: 0, size })];
    if (fitting !== undefined) this.#take(fitting);
    const found = fitting ?? this.#extend(size);
    this.#touch(found, bytes);
    const rest = found.size - size;
    if (rest < size && rest < MAX_WASTE) return found;
    this.#insert({ ...found, begin: found.begin + size, size: rest });
    return { ...found, size };
  }

  free(piece: Piece): void {
    const before = this.#ends.get(pieceKey(piece.region, piece.begin));
    const next = this.#begins.get(pieceKey(piece.region, piece.begin + piece.size));
    if (before !== undefined) this.#take(before);
    if (next !== undefined) this.#take(next);
    const begin = before?.begin ?? piece.begin;
    this.#insert({ region: piece.region, begin, size: piece.begin + piece.size + (next?.size ?? 0) - begin });
  }

  #extend(size: number): Piece {
    const isLarge = size > this.#step;
    while (size > this.#step) this.#step *= 2;
    const region = { region: this.#used.length, begin: 0, size: this.#step };
    this.#used.push(new Uint8Array(Math.ceil(this.#step / PAGE)));
    if (!isLarge) this.#step = Math.min(MAX_EXTENSION, 2 * this.#step);
    return region;
  }

  #touch({ region, begin }: Piece, bytes: number): void {
    const used = this.#used[region] as Uint8Array;
    for (let page = Math.floor(begin / PAGE); page * PAGE < begin + bytes; page++) {
      if (used[page] === 1) continue;
      used[page] = 1;
      this.#touched++;
    }
  }

  /** The first place in the order of free pieces that is not before this one. */
  #insertionIndex(piece: Piece): number {
    let [low, high] = [0, this.#free.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#free[middle] as Piece, piece)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #take(piece: Piece): void {
    this.#free.splice(this.#insertionIndex(piece), 1);
    this.#begins.delete(pieceKey(piece.region, piece.begin));
    this.#ends.delete(pieceKey(piece.region, piece.begin + piece.size));
  }

  #insert(piece: Piece): void {
    this.#free.splice(this.#insertionIndex(piece), 0, piece);
    this.#begins.set(pieceKey(piece.region, piece.begin), piece);
    this.#ends.set(pieceKey(piece.region, piece.begin + piece.size), piece);
  }
}

/** Both are below 2²⁰ and 2³³. */
const pieceKey = (region: number, address: number): number => region * 2 ** 33 + address;

/** Smaller pieces first; of one size that with the lowest address: systems place later regions below earlier ones. */
const isBefore = (a: Piece, b: Piece): boolean =>
  a.size !== b.size ? a.size < b.size : a.region !== b.region ? a.region > b.region : a.begin < b.begin;
