import { errorText, MosError, show } from "#core";

/** Execution provider of ONNX Runtime, which the installed runtime must include. @inline */
export type Device = "cpu" | "webgpu" | "cuda";
/** All devices. */
export const DEVICES: readonly Device[] = ["cpu", "webgpu", "cuda"];

/** Throws `bad_option` for what is no device. */
export function checkDevice(device: Device | undefined): void {
  if (device !== undefined && !DEVICES.includes(device))
    throw new MosError("bad_option", `device: ${show(device)} is invalid; give one of ${DEVICES.join(", ")}`);
}

/**
 * Fused operators that not every provider has in float32; each can be replaced by several plain operators. Capped attention is
 * the grouped one with a soft cap; fusedMatMul is a product that transposes or scales.
 */
type FusedOperator = "groupedAttention" | "cappedAttention" | "addRmsNorm" | "fusedMatMul";

/**
 * CUDA's attention takes only halves: such a node would run on the CPU, with the cache copied there at each step. WebGPU's
 * ignores soft caps.
 */
const LACKS: Readonly<Record<Device, readonly FusedOperator[]>> = {
  cpu: [],
  webgpu: ["cappedAttention", "fusedMatMul"],
  cuda: ["groupedAttention", "cappedAttention"],
};

/** Tests whether a device implements a fused operator; if not, graphs use several operators in its place. */
export const supports = (device: Device, operator: FusedOperator): boolean =>
  !LACKS[device].includes(operator);

const ADVICE: Readonly<Record<Device, string>> = {
  cpu: "reinstall onnxruntime-node for this platform",
  webgpu: "it needs a GPU with a Vulkan, Metal or Direct3D 12 driver; or use the device cpu",
  cuda: "install CUDA 12 with cuDNN 9, and download ONNX Runtime's CUDA files, which npm does not install, with: node node_modules/onnxruntime-node/script/install --onnxruntime-node-install; or use the device cpu",
};

/** The error for a provider that is missing or failed to start. */
export function deviceError(device: Device, cause: unknown): MosError {
  const reason = errorText(cause).split("\n")[0];
  return new MosError("device", `device ${device} could not start: ${reason}; ${ADVICE[device]}`, { cause });
}
