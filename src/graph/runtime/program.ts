import { randomUUID } from "node:crypto";
import { open, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { countElements, MosError, type Shape } from "#core";
import { makeTemporaryFolder } from "#files";
import { type SerializedProgram, serialize } from "../onnx.ts";
import { type DType, showShape, type TensorData, type Value } from "../value.ts";
import { unwritten, writeAll } from "./constants-file.ts";
import { type Device, deviceError, supports } from "./device.ts";
import { env, InferenceSession, Tensor } from "./onnxruntime.ts";

/** Options of a session. @inline */
export interface SessionOptions {
  /** "cpu" by default. */
  readonly device?: Device;
  /** Threads of one operator, at most as many as the machine has cores; 0 (the default) lets the runtime choose. */
  readonly threads?: number;
  /** A path prefix for the runtime's profile, which is not written without it. */
  readonly profile?: string;
  /** Bytes of constants up to which a program is passed in memory; above, through a temporary file. 1.5 GiB. */
  readonly inlineLimit?: number;
}

/** A compiled program. It holds native memory and must be disposed. @inline */
export interface Program extends AsyncDisposable {
  readonly inputs: ReadonlyMap<string, LeafType>;
  /** Sets inputs for all later runs. Arrays are shared, so the program reads what is written into them later. */
  bind(tensors: Readonly<Record<string, HostTensor>>): void;
  /** Runs with the bound inputs and `feeds`; `fetch` names the outputs that are computed and returned, all by default. */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    fetch?: readonly string[],
  ): Promise<Readonly<Record<string, HostTensor>>>;
}

/** Writes what a session is opened from into a folder, where constants in files lie already. Gives the model's path. */
async function writeProgram(
  { model, external }: SerializedProgram,
  { folder, name }: { readonly folder: string; readonly name: string },
): Promise<string> {
  const path = join(folder, `${name}.onnx`);
  await writeFile(path, model);
  if (external.length === 0) return path;
  await using file = await open(join(folder, externalName(name)), "w");
  for (const { offset, bytes } of external) await writeAll(file, bytes, offset);
  return path;
}

/** The file of the constants that were given as arrays. */
const externalName = (name: string): string => `${name}.bin`;

/**
 * Threads spin for 20 µs before they sleep. Beside other processes a thread that spins takes the core from the one that it
 * waits for: with the runtime's own, longer spinning, decoding keeps half of its speed there, with this 70 %. Without any,
 * decoding alone on the machine is 9 % slower (`npm run bench:defaults -- --busy`).
 */
const SCHEDULING = { intra_op: { spin_duration_us: "20" } } as const;

/**
 * Opens the session from memory, where constants may lie in files; or from a temporary folder, where arrays are too large
 * for that.
 */
async function openSession(
  program: SerializedProgram,
  { name, ...options }: InferenceSession.SessionOptions & { readonly name: string },
): Promise<InferenceSession> {
  // a provider that fails to load is logged at the runtime's level, before that of a session applies
  env.logLevel = "fatal";
  const { external, folder: given } = program;
  if (external.length === 0)
    return InferenceSession.create(program.model, {
      ...options,
      extra: {
        session: {
          ...SCHEDULING,
          // constants in files are found from here, and nothing has to be written beside them
          ...(given === undefined ? {} : { model_external_initializers_file_folder_path: given }),
        },
      },
    });
  const folder = given ?? (await makeTemporaryFolder("mos-"));
  try {
    const path = await writeProgram(program, { folder, name }).catch((cause: unknown) => {
      throw unwritten(folder, cause);
    });
    return await InferenceSession.create(path, { ...options, extra: { session: SCHEDULING } });
  } finally {
    // constants in files belong to whoever wrote them
    const files = [`${name}.onnx`, externalName(name)].map((file) => join(folder, file));
    const ours = given === undefined ? [folder] : files;
    for (const path of ours) await rm(path, { recursive: true, force: true });
  }
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
  options: SessionOptions = {},
): Promise<Program> {
  const { device = "cpu", threads = 0, profile, inlineLimit } = options;
  const names = Object.keys(outputs);
  const name = randomUUID();
  const serialized = serialize(outputs, {
    externalName: externalName(name),
    standardProducts: !supports(device, "fusedMatMul"),
    ...(inlineLimit === undefined ? {} : { inlineLimit }),
  });
  // only the inputs are kept: the runtime has its own copy of the constants
  const { inputs } = serialized;
  const session = await openSession(serialized, {
    name,
    executionProviders: [device],
    intraOpNumThreads: Math.min(threads, availableParallelism()),
    interOpNumThreads: 1,
    // our graphs are already in their fastest form, and optimisation would merge rematerialised nodes with their originals
    graphOptimizationLevel: "disabled",
    enableMemPattern: false,
    // errors are thrown, so they need not be logged as well
    logSeverityLevel: 4,
    ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
  }).catch((cause: unknown) => {
    if (cause instanceof MosError) throw cause;
    throw device === "cpu"
      ? new MosError("unsupported", `ONNX Runtime rejected this program: ${String(cause)}`, { cause })
      : deviceError(device, cause);
  });
  const leafType = (name: string): LeafType => {
    const type = inputs.get(name);
    if (type === undefined) throw new MosError("bad_config", `the program has no input ${name}`);
    return type;
  };
  const bound: Record<string, Tensor> = {};
  let isOpen = true;
  return {
    inputs,
    bind(tensors) {
      for (const [name, tensor] of Object.entries(tensors))
        bound[name] = toRuntime(name, tensor, leafType(name));
    },
    async run(feeds, fetch = names) {
      // bound inputs are the prototype of the feeds, since copying hundreds of entries takes a share of a short run
      const given: Record<string, Tensor> = Object.create(bound);
      for (const [name, tensor] of Object.entries(feeds))
        given[name] = toRuntime(name, tensor, leafType(name));
      for (const name of inputs.keys())
        if (given[name] === undefined) throw new MosError("bad_config", `input ${name} was not given`);
      const results = await session.run(given, fetch).catch((cause: unknown) => {
        throw new MosError("device", `the program failed on device ${device}: ${String(cause)}`, { cause });
      });
      return Object.fromEntries(fetch.map((name) => [name, fromRuntime(results[name] as Tensor)]));
    },
    async [Symbol.asyncDispose]() {
      if (!isOpen) return;
      isOpen = false;
      if (profile !== undefined) session.endProfiling();
      await session.release();
    },
  };
}

/** A tensor in the memory of this process, row-major. Whole numbers are Int32Array, whatever the program's own type. @inline */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Types that a leaf of a program accepts. */
export interface LeafType {
  readonly shape: Shape;
  readonly dtype: DType;
}

const NATURAL: Readonly<Partial<Record<DType, (data: TensorData) => boolean>>> = {
  float32: (data) => data instanceof Float32Array,
  int32: (data) => data instanceof Int32Array,
  int64: (data) => data instanceof Int32Array,
  uint8: (data) => data instanceof Uint8Array,
  int8: (data) => data instanceof Int8Array,
  uint16: (data) => data instanceof Uint16Array,
  float16: (data) => data instanceof Uint16Array,
};

function check(name: string, { shape, data }: HostTensor, leaf: LeafType): void {
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

/**
 * Halves by their bits. Where JavaScript has a Float16Array, the constructor makes one of them, whose bytes the runtime's
 * binding does not find: it reads a Uint16Array alone.
 */
const halves = (bits: Uint16Array, shape: readonly number[]): Tensor =>
  Object.assign(new Tensor("uint16", bits, shape), { type: "float16" });

/** A host tensor as the runtime's. Its memory is shared, except that int64 is a copy. */
function toRuntime(name: string, tensor: HostTensor, leaf: LeafType): Tensor {
  check(name, tensor, leaf);
  const { data, shape } = tensor;
  if (leaf.dtype === "int64")
    return new Tensor("int64", BigInt64Array.from(data as Int32Array, BigInt), shape);
  if (data instanceof Float32Array) return new Tensor("float32", data, shape);
  if (data instanceof Int8Array) return new Tensor("int8", data, shape);
  if (data instanceof Uint16Array)
    return leaf.dtype === "float16" ? halves(data, shape) : new Tensor("uint16", data, shape);
  return data instanceof Int32Array ? new Tensor("int32", data, shape) : new Tensor("uint8", data, shape);
}

/** A result of the runtime as a host tensor. */
function fromRuntime(tensor: Tensor): HostTensor {
  const { data, dims: shape } = tensor;
  if (data instanceof BigInt64Array) return { shape, data: Int32Array.from(data, Number) };
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array)
    return { shape, data };
  if (tensor.type === "float16") {
    const { buffer, byteOffset, length } = data as Uint16Array; // or a Float16Array
    return { shape, data: new Uint16Array(buffer, byteOffset, length) };
  }
  if (data instanceof Uint16Array) return { shape, data };
  throw new MosError("unsupported", `a program returned ${tensor.type}, which cannot be read on the host`);
}
