import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { SerializedProgram } from "../onnx.ts";
import type { Device } from "./device.ts";
import { env, InferenceSession, Tensor } from "./onnxruntime.ts";
import { COMMON, type FloatTarget, type OpenSession, type RuntimeTensor } from "./session.ts";
import { unwritten, writeAll } from "./write-constants.ts";

/** Devices of onnxruntime-node; the first is the default. */
export const DEVICES: readonly [Device, ...Device[]] = ["cpu", "webgpu", "cuda"];

/** Constants are part of the model, up to what protobuf can hold. */
export const serialization = () => ({});

/**
 * Threads spin for 20 µs before they sleep. Beside other processes a thread that spins takes the core from the one that it
 * waits for: with the runtime's own, longer spinning, decoding keeps half of its speed there, with this 70 %. Without any,
 * decoding alone on the machine is 9 % slower (`npm run bench:defaults -- --busy`).
 */
const SCHEDULING = { intra_op: { spin_duration_us: "20" } } as const;

/** Opens the session of a program. */
export const openSession: OpenSession = async (program, { name, device, threads, profile }) => {
  const session = await create(program, {
    name,
    ...COMMON,
    executionProviders: [device],
    intraOpNumThreads: Math.min(threads, availableParallelism()),
    interOpNumThreads: 1,
    ...(profile === undefined ? {} : { enableProfiling: true, profileFilePrefix: profile }),
  });
  return {
    run: async (feeds, fetch) =>
      (await session.run(
        feeds as unknown as Record<string, Tensor>,
        Object.fromEntries(Object.entries(fetch).map(([name, target]) => [name, target && toTensor(target)])),
      )) as unknown as Record<string, RuntimeTensor>,
    async [Symbol.asyncDispose]() {
      if (profile !== undefined) session.endProfiling();
      await session.release();
    },
  };
};

/** The runtime writes into tensors of its own class alone. */
const toTensor = ({ data, shape }: FloatTarget): Tensor => new Tensor("float32", data, shape);

/**
 * Opens the session from memory, where constants may lie in files; or from a temporary folder, where arrays are too large
 * for that.
 */
async function create(
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
  const folder = given ?? (await makeFolder());
  const path = join(folder, `${name}.onnx`);
  try {
    await writeProgram(program, { folder, path }).catch((cause: unknown) => {
      throw unwritten(folder, cause);
    });
    return await InferenceSession.create(path, { ...options, extra: { session: SCHEDULING } });
  } finally {
    // constants in files belong to whoever wrote them
    const files = [path, ...new Set(external.map((constant) => join(folder, constant.file)))];
    const ours = given === undefined ? [folder] : files;
    for (const one of ours) await rm(one, { recursive: true, force: true });
  }
}

const makeFolder = (): Promise<string> =>
  mkdtemp(join(tmpdir(), "mos-")).catch((cause: unknown) => {
    throw unwritten(tmpdir(), cause);
  });

/** Writes what a session is opened from into a folder, where constants in files lie already. */
async function writeProgram(
  { model, external }: SerializedProgram,
  { folder, path }: { readonly folder: string; readonly path: string },
): Promise<void> {
  await writeFile(path, model);
  const [first] = external;
  if (first === undefined) return;
  await using file = await open(join(folder, first.file), "w");
  for (const { offset, bytes } of external) await writeAll(file, bytes, offset);
}
