// What a program will take of the machine while it runs, known before it is compiled: the runtime's own rules for the
// order of nodes and the reuse of buffers, applied to the shapes of the graph.
import { type Dim, type DType, type Node, nodesOf, type Value } from "#graph";
import { Arena, type Piece } from "./arena.ts";

const BYTES: Readonly<Record<DType, number>> = {
  ...{ float32: 4, float16: 2, bfloat16: 2, int64: 8, int32: 4, uint16: 2, uint8: 1, int8: 1, bool: 1 },
};

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
  "QuickGelu",
  "Cast",
]);

/** What decides the sizes of a program's tensors. */
export interface PeakOptions {
  /** The size of a dimension that only a run knows. */
  readonly sizeOf: (name: string) => number;
}

/** What a program takes beside its inputs. */
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
 * The memory of one run of the program that computes `outputs`.
 *
 * @example
 * programPeak({ y: mul(x, x) }, { sizeOf: () => 512 }).workspace;
 */
export function programPeak(outputs: Readonly<Record<string, Value>>, { sizeOf }: PeakOptions): ProgramPeak {
  const results = Object.values(outputs);
  const program = orderedProgram(results);
  const bytesOf = ({ shape, dtype }: Pick<Value, "shape" | "dtype">): number =>
    shape.reduce<number>((size, dim) => size * (typeof dim === "number" ? dim : sizeOf(dim)), BYTES[dtype]);
  const { buffers } = new BufferPlan(program, bytesOf);
  return {
    workspace: replay(program.length, buffers),
    constants: constantsOf(program, results).reduce((sum, value) => sum + bytesOf(value), 0),
    results: results.reduce((sum, value) => sum + bytesOf(value), 0),
    nodes: program.length,
  };
}

/** A node as it is run. */
interface Step {
  readonly op: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: Node["outputs"];
  readonly index: number;
  /** The results of a run are copies in memory of their own. */
  readonly isResult: boolean;
  readonly node: Node | undefined;
}

/** The runtime's order: depth first from the last result, later nodes before earlier ones. */
function orderedProgram(results: readonly Value[]): readonly Step[] {
  const steps: Step[] = nodesOf(results).map((node, index) => ({
    ...{ op: node.op, inputs: node.inputs, outputs: node.outputs, index, node, isResult: false },
  }));
  const producers = new Map(steps.map((step) => [step.node as Node, step]));
  const copies = results.map(
    (value, i): Step => ({
      ...{ op: "Identity", inputs: [value], outputs: [value], index: steps.length + i },
      ...{ isResult: true, node: undefined },
    }),
  );
  const order: Step[] = [];
  const seen = new Set<Step>();
  const stack: { readonly step: Step; readonly leave: boolean }[] = copies.map((step) => ({
    step,
    leave: false,
  }));
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { step, leave } = top;
    if (leave) order.push(step);
    if (leave || seen.has(step)) continue;
    seen.add(step);
    stack.push({ step, leave: true });
    const before = step.inputs.flatMap((input) => producerOf(producers, input) ?? []);
    for (const next of [...new Set(before)].sort((a, b) => a.index - b.index))
      if (!seen.has(next)) stack.push({ step: next, leave: false });
  }
  return order;
}

const producerOf = (producers: ReadonlyMap<Node, Step>, value: Value | undefined): Step | undefined =>
  value?.source.kind === "output" ? producers.get(value.source.node) : undefined;

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
 * Which tensors share a buffer: views, results in the place of an input, and what takes the place of what is not needed
 * any more.
 */
class BufferPlan {
  /** In the order in which they are taken. */
  readonly buffers: Buffer[] = [];
  readonly #bytesOf: BytesOf;
  /** How many nodes read each output of a node, and the buffers that these are in. */
  readonly #readers = new Map<Node, number[]>();
  readonly #held = new Map<Node, (Buffer | undefined)[]>();
  /** Buffers of each kind that nothing reads any more, the latest last. */
  readonly #idle = new Map<string, Buffer[]>();

  constructor(order: readonly Step[], bytesOf: BytesOf) {
    this.#bytesOf = bytesOf;
    for (const { node, outputs } of order) {
      if (node === undefined) continue;
      const none = outputs.map(() => 0);
      this.#readers.set(node, none);
      this.#held.set(node, []);
    }
    for (const { source } of order.flatMap(({ inputs }) => inputs.filter((input) => input !== undefined))) {
      const counts = source.kind === "output" ? this.#readers.get(source.node) : undefined;
      if (counts !== undefined && source.kind === "output")
        counts[source.index] = (counts[source.index] ?? 0) + 1;
    }
    order.forEach((step, at) => {
      step.outputs.forEach((output, i) => {
        const buffer = this.#bufferFor(step, output, at);
        if (buffer === undefined || step.node === undefined) return;
        buffer.readers += this.#readers.get(step.node)?.[i] ?? 0;
        (this.#held.get(step.node) as (Buffer | undefined)[])[i] = buffer;
      });
      this.#release(step, at);
    });
  }

  #bufferOf(value: Value | undefined): Buffer | undefined {
    if (value?.source.kind !== "output") return undefined;
    return this.#held.get(value.source.node)?.[value.source.index];
  }

  /** Undefined for another shape of an input or a constant, which is no buffer. */
  #bufferFor(
    { op, inputs, isResult }: Step,
    output: Step["outputs"][number],
    at: number,
  ): Buffer | undefined {
    const bytes = this.#bytesOf(output);
    const kind = kindOf(output);
    const made = (): Buffer => {
      const buffer = { bytes, kind, from: at, to: isResult ? Number.POSITIVE_INFINITY : at, readers: 0 };
      this.buffers.push(buffer);
      return buffer;
    };
    if (isResult) return made();
    if (ALIASES.has(op)) return this.#bufferOf(inputs[0]);
    const inPlace =
      IN_PLACE.has(op) && kind !== ""
        ? inputs
            .map((input) => this.#bufferOf(input))
            .find((one) => one?.readers === 1 && one.bytes === bytes)
        : undefined;
    return inPlace ?? this.#idle.get(kind)?.pop() ?? made();
  }

  #release({ inputs }: Step, at: number): void {
    for (const input of inputs) {
      const buffer = this.#bufferOf(input);
      if (buffer === undefined) continue;
      buffer.readers--;
      buffer.to = at;
      if (buffer.readers > 0 || buffer.kind === "") continue;
      listIn(this.#idle, buffer.kind).push(buffer);
    }
  }
}

type BytesOf = (value: Pick<Value, "shape" | "dtype">) => number;

/** A dimension that the runtime cannot compare is written as a sum or a part of another. */
const isComparable = (dim: Dim): boolean => typeof dim === "number" || /^\w+$/.test(dim);

/** The runtime reuses a buffer for tensors of the same shape and width of numbers; "" is like none. */
const kindOf = ({ shape, dtype }: Pick<Value, "shape" | "dtype">): string =>
  shape.every(isComparable) ? `${BYTES[dtype]} ${shape.join()}` : "";

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
function constantsOf(order: readonly Step[], results: readonly Value[]): readonly Value[] {
  const found = new Map<unknown, Value>();
  for (const value of [...order.flatMap(({ inputs }) => inputs), ...results])
    if (value?.source.kind === "constant") found.set(value.source.data, value);
  return [...found.values()];
}
