export { blockFormats, type StoredType } from "./dequantize.ts";
export { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16, float16Value } from "./floats.ts";
export { type GgufFile, type GgufTensor, openGguf, readableType } from "./gguf.ts";
export type { GgufMetadata, GgufValue } from "./gguf-header.ts";
export { readParquetRows } from "./parquet.ts";
export {
  expectAdapterHeader,
  type NumberRange,
  openSafetensors,
  type SafetensorsDtype,
  type SafetensorsFile,
} from "./safetensors.ts";
export { restartRecord, scalarsRecord, versionRecord } from "./tfevents.ts";
export { type RowTarget, type StoredFormat, storedFormat } from "./unpack.ts";
export {
  type GgufType,
  openGgufWriter,
  type PlannedGgufTensor,
  type WritableGgufTensor,
  type WritableGgufValue,
  writeGguf,
} from "./write-gguf.ts";
export {
  openSafetensorsWriter,
  type PlacedTensor,
  type PlannedTensor,
  safetensorsHeader,
  type WritableTensor,
  writeSafetensors,
} from "./write-safetensors.ts";
