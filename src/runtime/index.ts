export { type ConstantsFile, openConstantsFile } from "./constants-file.ts";
export { DEVICES, type Device, supports } from "./device.ts";
export type { HostTensor } from "./host-tensor.ts";
export { requireInt8Products } from "./int8-probe.ts";
export { type ProgramPeak, programPeak } from "./peak.ts";
export { type CompileOptions, compile, type Program } from "./program.ts";
