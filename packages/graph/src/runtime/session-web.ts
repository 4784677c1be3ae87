// Sessions of onnxruntime-web, which a page loads: only workers should, since a run keeps their thread busy.
import type { Env, InferenceSession, Tensor } from "onnxruntime-web";
import { errorText, MosError } from "../error.ts";
import type { SerializedProgram } from "../onnx.ts";
import type { Device } from "./device.ts";
import { COMMON, type OpenSession, type RuntimeTensor } from "./session.ts";

/** Devices of onnxruntime-web; the first is the default. */
export const DEVICES: readonly [Device, ...Device[]] = ["wasm", "webgpu"];

/** Constants are passed beside the model, each array as it is: in the model they would be copied twice. */
export const serialization = () =>
  ({ inlineLimit: 0, separateFiles: true, widensHalves: source.hasHalves === false }) as const;

/** Where the runtime comes from, and how it uses the machine. */
export interface RuntimeSource {
  /** A folder with the files of onnxruntime-web/dist; left out, a bundler finds the package. */
  readonly url?: string | undefined;
  /** Threads of an operator: more than one needs a page that is isolated from other origins (1). */
  readonly threads?: number | undefined;
  /** Whether the device computes with float16; where it does not, constants become float32 (true). */
  readonly hasHalves?: boolean | undefined;
  /** Reads the file of constants that lie in one; left out, there are none. */
  readonly readFile?: ((path: string) => Promise<Uint8Array>) | undefined;
}

interface Runtime {
  readonly env: Env;
  readonly InferenceSession: typeof InferenceSession;
}

/** Its files for a device: that with WebGPU is almost twice as large, and computes on the CPU as well. */
const BUILDS = {
  wasm: { file: "ort.wasm.min.mjs", load: () => import("onnxruntime-web/wasm") },
  webgpu: { file: "ort.webgpu.min.mjs", load: () => import("onnxruntime-web/webgpu") },
} as const;

let runtime: Promise<Runtime> | undefined;
let source: RuntimeSource & { readonly device?: Device | undefined } = {};

/** Says where the runtime comes from, and for which device, before the first session is opened: it is loaded only once. */
export function chooseRuntime(chosen: typeof source): void {
  source = chosen;
}

async function loadRuntime(device: Device): Promise<Runtime> {
  const { url, threads = 1 } = source;
  const { file, load } = BUILDS[(source.device ?? device) === "webgpu" ? "webgpu" : "wasm"];
  const folder = url === undefined ? undefined : `${url.replace(/\/$/, "")}/`;
  const found: Runtime = await (folder === undefined
    ? load()
    : import(/* @vite-ignore */ /* webpackIgnore: true */ `${folder}${file}`));
  const { env } = found;
  env.wasm.numThreads = threads;
  if (folder !== undefined) env.wasm.wasmPaths = folder;
  env.logLevel = "fatal";
  return found;
}

/** Opens the session of a program. The threads are the runtime's, and there are no profiles. */
export const openSession: OpenSession = async (program, { device }) => {
  runtime ??= loadRuntime(device);
  const loaded = await runtime.catch((cause: unknown) => {
    runtime = undefined;
    const from = source.url ?? "the package onnxruntime-web";
    throw new MosError("device", `ONNX Runtime could not be loaded from ${from}: ${errorText(cause)}`, {
      cause,
    });
  });
  const session = await loaded.InferenceSession.create(program.model, {
    ...COMMON,
    executionProviders: [device],
    externalData: await externalData(program),
  });
  return {
    async run(feeds, fetch) {
      // it reads own properties only
      const own: Record<string, RuntimeTensor> = {};
      for (const name in feeds) own[name] = feeds[name] as RuntimeTensor;
      return (await session.run(
        own as unknown as Record<string, Tensor>,
        Object.keys(fetch),
      )) as unknown as Record<string, RuntimeTensor>;
    },
    [Symbol.asyncDispose]: () => session.release(),
  };
};

/** The constants outside of the model, which are needed until the session is open. */
async function externalData({ external, folder, files }: SerializedProgram) {
  const given = external.map(({ file, bytes }) => ({ path: file, data: bytes }));
  const read = files.map(async (file) => {
    const data = await source.readFile?.(`${folder}/${file}`);
    if (data === undefined)
      throw new MosError("bad_option", `${file} cannot be read: no readFile was chosen`);
    return { path: file, data };
  });
  return [...given, ...(await Promise.all(read))];
}
