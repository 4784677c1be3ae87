import type { SerializedProgram } from "../onnx.ts";
import type { Device } from "./device.ts";

/** What ONNX Runtime takes and gives, in the memory of this process. Halves are a Uint16Array, or a Float16Array in results. */
export interface RuntimeTensor {
  readonly type: string;
  readonly data: ArrayBufferView;
  readonly dims: readonly number[];
  readonly location: "cpu";
}

/** Memory that a float32 output may be written into. */
export interface FloatTarget {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** A program that ONNX Runtime has opened. It holds native memory and must be disposed. */
export interface Session extends AsyncDisposable {
  /** Computes the outputs named by `fetch`, in the memory beside the name where the platform can. Inherited properties of `feeds` count. */
  run(
    feeds: Readonly<Record<string, RuntimeTensor>>,
    fetch: Readonly<Record<string, FloatTarget | null>>,
  ): Promise<Readonly<Record<string, RuntimeTensor>>>;
}

/** Options of opening a session. */
export interface OpenOptions {
  /** A name of this program alone, as `serialize` got it for constants outside of the model. */
  readonly name: string;
  readonly device: Device;
  /** Threads of one operator; 0 lets the runtime choose. */
  readonly threads: number;
  /** A path prefix for the runtime's profile. */
  readonly profile: string | undefined;
}

/**
 * Opens a session, by the package of ONNX Runtime for this platform: #session is session-node.ts or session-web.ts.
 * Throws MosError `storage` where constants cannot be written, else what the runtime throws.
 */
export type OpenSession = (program: SerializedProgram, options: OpenOptions) => Promise<Session>;

/** What both packages are asked for. */
export const COMMON = {
  // our graphs are already in their fastest form, and optimisation would merge rematerialised nodes with their originals
  graphOptimizationLevel: "disabled",
  enableMemPattern: false,
  // errors are thrown, so they need not be logged as well
  logSeverityLevel: 4,
} as const;
