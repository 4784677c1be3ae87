import { openSession, serialization } from "#session";
import { MosError } from "../error.ts";
import { serialize } from "../onnx.ts";
import { countElements, type DType, type TensorType } from "../tensor-type.ts";
import { type HostTensor, showShape, type TensorData, type Value } from "../value.ts";
import { DEFAULT_DEVICE, type Device, deviceError, prefersConstants, supports } from "./device.ts";
import type { FloatTarget, RuntimeTensor } from "./session.ts";

/** Options of a session. @inline */
export interface SessionOptions {
  /** The CPU by default. */
  readonly device?: Device;
  /** Threads of one operator, at most as many as the machine has cores; 0 (the default) lets the runtime choose. */
  readonly threads?: number;
  /** A path prefix for the runtime's profile, which is not written without it. */
  readonly profile?: string;
  /** Bytes of constants up to which a program is passed in memory; above, through a temporary file. 1.5 GiB. */
  readonly inlineLimit?: number;
}

/** Options of compiling a program. */
interface CompileOptions extends SessionOptions {
  /** Contents of leaves that never change, which are bound, or constants on a device that prefers them. Others may be among them. */
  readonly fixed?: Readonly<Record<string, HostTensor>>;
}

/** A compiled program. It holds native memory and must be disposed. @inline */
export interface Program extends AsyncDisposable {
  readonly inputs: ReadonlyMap<string, TensorType>;
  /** Sets inputs for all later runs. Arrays are shared, so the program reads what is written into them later. */
  bind(tensors: Readonly<Record<string, HostTensor>>): void;
  /**
   * Runs with the bound inputs and `feeds`. `fetch` names the outputs that are computed and returned, all by default, or has
   * memory that float32 ones of them may be written into, rather than into new arrays.
   */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    fetch?: readonly string[] | Readonly<Record<string, FloatTarget | null>>,
  ): Promise<Readonly<Record<string, HostTensor>>>;
}

/**
 * Compiles the program that computes `outputs` from its leaves.
 *
 * @throws MosError `device` where the provider cannot start, `unsupported` for a program that the runtime rejects,
 * `storage` where external data cannot be written.
 * @example
 * const x = leaf("x", ["n"]);
 * await using program = await compile({ y: mul(x, x) });
 * const { y } = await program.run({ x: { shape: [2], data: Float32Array.of(2, 3) } });
 */
export async function compile(
  outputs: Readonly<Record<string, Value>>,
  options: CompileOptions = {},
): Promise<Program> {
  const { device = DEFAULT_DEVICE, threads = 0, profile, inlineLimit, fixed = {} } = options;
  const names = Object.keys(outputs);
  const name = crypto.randomUUID();
  const serialized = serialize(outputs, {
    ...serialization(),
    externalName: `${name}.bin`,
    standardProducts: !supports(device, "fusedMatMul"),
    ...(inlineLimit === undefined ? {} : { inlineLimit }),
    ...(prefersConstants(device) ? { fixed } : {}),
  });
  // only the inputs are kept: the runtime has its own copy of the constants
  const { inputs } = serialized;
  const session = await openSession(serialized, { name, device, threads, profile }).catch(
    (cause: unknown) => {
      if (cause instanceof MosError) throw cause;
      throw device === DEFAULT_DEVICE
        ? new MosError("unsupported", `ONNX Runtime rejected this program: ${String(cause)}`, { cause })
        : deviceError(device, cause);
    },
  );
  const feed = (
    given: Record<string, RuntimeTensor>,
    tensors: Readonly<Record<string, HostTensor>>,
  ): void => {
    for (const [name, tensor] of Object.entries(tensors)) {
      const type = inputs.get(name);
      if (type === undefined) throw new MosError("bad_config", `the program has no input ${name}`);
      given[name] = toRuntime(name, tensor, type);
    }
  };
  const bound: Record<string, RuntimeTensor> = {};
  feed(bound, Object.fromEntries(Object.entries(fixed).filter(([name]) => inputs.has(name))));
  let isOpen = true;
  return {
    inputs,
    bind: (tensors) => feed(bound, tensors),
    async run(feeds, fetch = names) {
      // bound inputs are the prototype of the feeds, since copying hundreds of entries takes a share of a short run
      const given: Record<string, RuntimeTensor> = Object.create(bound);
      feed(given, feeds);
      for (const name of inputs.keys())
        if (given[name] === undefined) throw new MosError("bad_config", `input ${name} was not given`);
      const wanted = isList(fetch) ? Object.fromEntries(fetch.map((name) => [name, null])) : fetch;
      const results = await session.run(given, wanted).catch((cause: unknown) => {
        throw new MosError("device", `the program failed on device ${device}: ${String(cause)}`, { cause });
      });
      return Object.fromEntries(
        Object.keys(wanted).map((name) => [name, fromRuntime(results[name] as RuntimeTensor)]),
      );
    },
    async [Symbol.asyncDispose]() {
      if (!isOpen) return;
      isOpen = false;
      await session[Symbol.asyncDispose]();
    },
  };
}

const isList = <T>(given: readonly string[] | T): given is readonly string[] => Array.isArray(given);

const NATURAL: Readonly<Partial<Record<DType, (data: TensorData) => boolean>>> = {
  float32: (data) => data instanceof Float32Array,
  int32: (data) => data instanceof Int32Array,
  int64: (data) => data instanceof Int32Array,
  uint8: (data) => data instanceof Uint8Array,
  int8: (data) => data instanceof Int8Array,
  uint16: (data) => data instanceof Uint16Array,
  float16: (data) => data instanceof Uint16Array,
};

function check(name: string, { shape, data }: HostTensor, leaf: TensorType): void {
  const fits =
    shape.length === leaf.shape.length &&
    shape.every((dim, i) => typeof leaf.shape[i] === "string" || leaf.shape[i] === dim);
  if (!fits)
    throw new MosError(
      "bad_config",
      `input ${name} has shape ${showShape(shape)}, but the program takes ${showShape(leaf.shape)}`,
    );
  if (countElements(shape) !== data.length)
    throw new MosError(
      "bad_config",
      `input ${name}: ${data.length} elements do not fit the shape ${showShape(shape)}`,
    );
  if (NATURAL[leaf.dtype]?.(data) !== true)
    throw new MosError("bad_config", `input ${name}: ${data.constructor.name} is not ${leaf.dtype}`);
}

/** A host tensor as the runtime's. Its memory is shared, except that int64 is a copy. */
function toRuntime(name: string, tensor: HostTensor, leaf: TensorType): RuntimeTensor {
  check(name, tensor, leaf);
  const { data, shape: dims } = tensor;
  // halves go by their bits: the runtime's binding does not find the bytes of a Float16Array
  const numbers = leaf.dtype === "int64" ? BigInt64Array.from(data as Int32Array, BigInt) : data;
  return { type: leaf.dtype, data: numbers, dims, location: "cpu" };
}

/** A result of the runtime as a host tensor. */
function fromRuntime(tensor: RuntimeTensor): HostTensor {
  const { data, dims: shape } = tensor;
  if (data instanceof BigInt64Array) return { shape, data: Int32Array.from(data, Number) };
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array)
    return { shape, data };
  if (tensor.type === "float16") {
    const { buffer, byteOffset, byteLength } = data; // of a Uint16Array or a Float16Array
    return { shape, data: new Uint16Array(buffer, byteOffset, byteLength / 2) };
  }
  if (data instanceof Uint16Array) return { shape, data };
  throw new MosError("unsupported", `a program returned ${tensor.type}, which cannot be read on the host`);
}
