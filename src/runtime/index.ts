export { type ConstantsFile, openConstantsFile } from "./constants-file.ts";
export { DEVICES, type Device, supports } from "./device.ts";
export type { HostTensor, LeafType } from "./host-tensor.ts";
export { type ProgramPeak, programPeak } from "./peak.ts";
export { type CompileOptions, compile, type Program } from "./program.ts";
