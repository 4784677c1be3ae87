import { randomUUID } from "node:crypto";
import { open, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { MosError } from "#core";
import { makeTemporaryFolder } from "#files";
import { type SerializedProgram, serialize } from "../onnx.ts";
import type { Value } from "../value.ts";
import { unwritten, writeAll } from "./constants-file.ts";
import { type Device, deviceError } from "./device.ts";
import { fromRuntime, type HostTensor, type LeafType, toRuntime } from "./host-tensor.ts";
import { env, InferenceSession, type Tensor } from "./onnxruntime.ts";

/** Options of a session. */
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

/** A compiled program. It holds native memory and must be disposed. */
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
      // constants in files are found from here, and nothing has to be written beside them
      ...(given === undefined
        ? {}
        : { extra: { session: { model_external_initializers_file_folder_path: given } } }),
    });
  const folder = given ?? (await makeTemporaryFolder("mos-"));
  try {
    const path = await writeProgram(program, { folder, name }).catch((cause: unknown) => {
      throw unwritten(folder, cause);
    });
    return await InferenceSession.create(path, options);
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
      ? new MosError("unsupported", `the runtime refuses this program: ${String(cause)}`, { cause })
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
