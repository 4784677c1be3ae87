import { DEVICES } from "#session";
import { errorText, MosError } from "../error.ts";

/** Execution provider of ONNX Runtime, which the installed runtime must include; wasm is the CPU of a browser. @inline */
export type Device = "cpu" | "wasm" | "webgpu" | "cuda";

export { DEVICES };
/** The device of whoever names none. */
export const [DEFAULT_DEVICE] = DEVICES;

/** Throws `bad_option` for what is no device. */
export function checkDevice(device: Device | undefined): void {
  if (device !== undefined && !DEVICES.includes(device))
    throw new MosError(
      "bad_option",
      `device: ${JSON.stringify(device)} is invalid; give one of ${DEVICES.join(", ")}`,
    );
}

/**
 * Fused operators that not every provider has, or has only so slow that others are faster; each can be replaced by several
 * plain operators. Capped attention is the grouped one with a soft cap; fusedMatMul is a product that transposes or scales;
 * blockProduct one with a quantised weight, and int8Product one of two quantised operands.
 */
type FusedOperator =
  | "groupedAttention"
  | "cappedAttention"
  | "addRmsNorm"
  | "fusedMatMul"
  | "blockProduct"
  | "int8Product";

/** What is known of a device. */
interface DeviceFacts {
  readonly lacks: readonly FusedOperator[];
  /** Whether inputs that never change become constants, since a run copies what it is fed. */
  readonly prefersConstants: boolean;
  /** What to do where the device cannot start. */
  readonly advice: string;
}

const FACTS: Readonly<Record<Device, DeviceFacts>> = {
  cpu: { lacks: [], prefersConstants: false, advice: "reinstall onnxruntime-node for this platform" },
  // its products of quantised numbers take 19 to 140 times as long as those of floats
  wasm: {
    lacks: ["blockProduct", "int8Product"],
    prefersConstants: true,
    advice: "the page needs WebAssembly, and the files of onnxruntime-web 1.30.0",
  },
  // its attention ignores soft caps
  webgpu: {
    lacks: ["cappedAttention", "fusedMatMul", "int8Product"],
    prefersConstants: true,
    advice: `it needs a GPU with a Vulkan, Metal or Direct3D 12 driver; or use the device ${DEFAULT_DEVICE}`,
  },
  // its attention takes only halves: such a node would run on the CPU, with the cache copied there at each step
  cuda: {
    lacks: ["groupedAttention", "cappedAttention", "int8Product"],
    // not measured
    prefersConstants: false,
    advice:
      "install CUDA 12 with cuDNN 9, and download ONNX Runtime's CUDA files, which npm does not install, with: node node_modules/onnxruntime-node/script/install --onnxruntime-node-install; or use the device cpu",
  },
};

/** Tests whether a device implements a fused operator; if not, graphs use several operators in its place. */
export const supports = (device: Device, operator: FusedOperator): boolean =>
  !FACTS[device].lacks.includes(operator);

/** Tests whether inputs that never change should be constants on a device. */
export const prefersConstants = (device: Device): boolean => FACTS[device].prefersConstants;

/** The error for a provider that is missing or failed to start. */
export function deviceError(device: Device, cause: unknown): MosError {
  const reason = errorText(cause).split("\n")[0];
  const { advice } = FACTS[device];
  return new MosError("device", `device ${device} could not start: ${reason}; ${advice}`, { cause });
}
