// What a worker computes on.
import type { Device } from "mixture-of-shards-graph";

/** Devices of a page. */
export type WebDevice = Extract<Device, "wasm" | "webgpu">;

/** A GPU of the browser, as far as it is used. @internal */
interface GpuAdapter {
  readonly features: ReadonlySet<string>;
  readonly info?: { readonly isFallbackAdapter?: boolean };
  /** Where older browsers have it. */
  readonly isFallbackAdapter?: boolean;
}

/** A device, and what it can do. */
export interface ChosenDevice {
  readonly device: WebDevice;
  /** Whether it computes with float16. */
  readonly hasHalves: boolean;
}

/** The device that is wanted; for "auto" WebGPU where the browser has a GPU for it that is not software, else WebAssembly. */
export async function chooseDevice(wanted: WebDevice | "auto"): Promise<ChosenDevice> {
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
