import { open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { env, InferenceSession, type Tensor } from "onnxruntime-node";
import { MosError } from "#core";
import { type SerializedProgram, serialize, type Value } from "#graph";
import { makeTemporaryFolder } from "#storage";
import { type Device, deviceError } from "./device.ts";
import { fromRuntime, type HostTensor, type LeafType, toRuntime } from "./host-tensor.ts";

/** Where and how a program runs. */
export interface CompileOptions {
  readonly device?: Device;
  /** Threads inside one operator; 0 lets the runtime choose. */
  readonly threads?: number;
  /** A file prefix: the runtime writes its own profile there. */
  readonly profile?: string;
  /** Bytes of constants up to which a program is handed over in memory; above, they go through a temporary file. */
  readonly inlineLimit?: number;
}

/** A compiled program. It holds native memory: dispose it. */
export interface Program extends AsyncDisposable {
  readonly inputs: ReadonlyMap<string, LeafType>;
  /** Fixes inputs for all later runs. Their arrays are shared, so writing into one changes what the program sees. */
  bind(tensors: Readonly<Record<string, HostTensor>>): void;
  /** Runs with the bound inputs and these. `fetch` limits the outputs that are copied back. */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    fetch?: readonly string[],
  ): Promise<Readonly<Record<string, HostTensor>>>;
}

/** One system call writes at most this many bytes; of more it would write a part only. */
const LARGEST_WRITE = 1 << 30;

async function writeProgram(folder: string, { model, external }: SerializedProgram): Promise<void> {
  await writeFile(join(folder, "model.onnx"), model);
  await using file = await open(join(folder, "weights.bin"), "w");
  for (const { offset, bytes } of external)
    for (let done = 0; done < bytes.byteLength; ) {
      const length = Math.min(LARGEST_WRITE, bytes.byteLength - done);
      done += (await file.write(bytes, done, length, offset + done)).bytesWritten;
    }
}

/** The session is opened from a file only where constants are too large for the model's own bytes. */
async function openSession(
  program: SerializedProgram,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  // A provider that cannot be loaded is reported before any session's own level counts, so the runtime's is set too.
  env.logLevel = "fatal";
  if (program.external.length === 0) return InferenceSession.create(program.model, options);
  const folder = await makeTemporaryFolder("mos-");
  try {
    await writeProgram(folder, program).catch((cause: NodeJS.ErrnoException) => {
      throw new MosError("storage", `${folder}: the program's constants cannot be written (${cause.code})`, {
        cause,
      });
    });
    return await InferenceSession.create(join(folder, "model.onnx"), options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Compiles the program that computes `outputs` from its leaves.
 * Throws `device` where the provider cannot start.
 *
 * @example
 * const x = leaf("x", ["n"]);
 * await using program = await compile({ y: mul(x, x) });
 * const { y } = await program.run({ x: { shape: [2], data: Float32Array.of(2, 3) } });
 */
export async function compile(
  outputs: Readonly<Record<string, Value>>,
  options: CompileOptions = {},
): Promise<Program> {
  const { device = "cpu", threads = 0, profile, inlineLimit } = options;
  const names = Object.keys(outputs);
  const serialized = serialize(outputs, inlineLimit === undefined ? {} : { inlineLimit });
  // the program below holds neither the graph nor its bytes: the runtime has its own copy of the constants
  const { inputs } = serialized;
  const session = await openSession(serialized, {
    executionProviders: [device],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    // Our graphs are already in the form that is fastest, and nodes computed twice on purpose must not be merged.
    graphOptimizationLevel: "disabled",
    enableMemPattern: false,
    // errors come back as exceptions; a library does not print them too
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
      // what is bound is looked up behind the feeds: copying hundreds of entries would cost a share of a short run
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
