// The worker of a page: its first call says what runs where, and opens the storage; all others are the library's.

import type { Device } from "mixture-of-shards-graph";
import type { RuntimeSource } from "mixture-of-shards-graph/web";
import { z } from "zod";
import { type CallContext, describeBytes, type Methods, MosError, serveCalls } from "#common";
import { fromFileName, isDiskFull, pathExists } from "#files";
import { join, readdir, stat, statfs } from "#platform";
import { mount, openOpfsVolume } from "#platform/browser";
import { type Port, portChannel } from "./channel.ts";
import { openHost } from "./host.ts";

// the policy of a page may forbid functions made of text, and reports each attempt
z.config({ jitless: true });

/** Devices of a page. */
export type WebDevice = Extract<Device, "wasm" | "webgpu">;

/** A GPU of the browser, as far as it is used. @internal */
interface GpuAdapter {
  readonly features: ReadonlySet<string>;
  readonly info?: { readonly isFallbackAdapter?: boolean };
  /** Where older browsers have it. */
  readonly isFallbackAdapter?: boolean;
}

/** The device that is wanted, and whether it computes with float16; for "auto" WebGPU where the browser has a GPU for it that is not software, else WebAssembly. */
async function chooseDevice(
  wanted: WebDevice | "auto",
): Promise<{ readonly device: WebDevice; readonly hasHalves: boolean }> {
  const { gpu } = (
    globalThis as unknown as {
      readonly navigator: { readonly gpu?: { requestAdapter(): Promise<GpuAdapter | null> } };
    }
  ).navigator;
  const adapter = wanted === "wasm" ? undefined : await gpu?.requestAdapter().catch(() => undefined);
  const isSoftware = adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter ?? false;
  const device = wanted !== "auto" ? wanted : adapter && !isSoftware ? "webgpu" : "wasm";
  return { device, hasHalves: device === "wasm" || adapter?.features.has("shader-f16") === true };
}

/**
 * Puts the private files of this origin in their place, which all its tabs share. False where the browser gives none, as in some
 * private windows: then all files are in the memory of this worker.
 */
async function openStorage(): Promise<boolean> {
  try {
    mount("/", await openOpfsVolume());
    return true;
  } catch {
    return false;
  }
}

/** What holds most of the space, and what removes it. */
const REMOVERS = { "/models": "removeModel", "/adapters": "remove" } as const;

/** The largest are enough to choose from. */
const MOST = 10;

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path);
  if (!found.isDirectory()) return found.size;
  const sizes = await Promise.all((await readdir(path)).map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The calls that free space, those of the most bytes first. */
async function listRemovable(): Promise<readonly string[]> {
  const found: { readonly call: string; readonly bytes: number }[] = [];
  for (const [folder, remover] of Object.entries(REMOVERS))
    for (const file of (await pathExists(folder)) ? await readdir(folder) : [])
      if (!file.startsWith("."))
        found.push({
          call: `${remover}("${fromFileName(file)}")`,
          bytes: await sizeOf(join(folder, file)),
        });
  return found
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, MOST)
    .map(({ call, bytes }) => `${call} frees ${describeBytes(bytes)}`);
}

/** Where the storage of this origin is full, an error that says what can be removed; any other error stays as it is. */
async function explainFull(error: unknown): Promise<unknown> {
  if (!isDiskFull(error)) return error;
  const { bavail, blocks, bsize } = await statfs("/");
  // the browser knows more exactly what is used than what it would give
  const used = describeBytes((blocks - bavail) * bsize);
  const calls = await listRemovable();
  const advice = calls.length === 0 ? "free some space on this machine" : calls.join(", ");
  return new MosError("storage", `the browser's storage for this site is full (${used}): ${advice}`, {
    cause: error,
  });
}

let methods: Methods | undefined;

async function open({
  device: wanted,
  ...options
}: Pick<RuntimeSource, "threads" | "url"> & { readonly device: WebDevice | "auto" }) {
  const isKept = await openStorage();
  const chosen = await chooseDevice(wanted);
  methods = openHost({ ...options, ...chosen });
  return { isKept, device: chosen.device };
}

/** What a page calls: first of all `open`. */
export type WorkerMethods = ReturnType<typeof openHost> & { readonly open: typeof open };

async function run(name: string, argument: never, context: CallContext<unknown>): Promise<unknown> {
  const method = name === "open" ? open : methods?.[name];
  if (method === undefined) throw new MosError("bad_option", `the worker has no method ${name}`);
  try {
    return await method(argument, context as never);
  } catch (error) {
    throw await explainFull(error);
  }
}

serveCalls(portChannel(globalThis as unknown as Port), run);
