export { describeBytes } from "./describe-bytes.ts";
export {
  type AtomicFile,
  type AtomicFolder,
  type ByteSource,
  bytesInMemory,
  openAtomicFile,
  openAtomicFolder,
  openForReading,
  pathExists,
  type ReadableFile,
  type ReadOptions,
  readBytes,
  replacedName,
  restoreFolder,
  writeFileAtomic,
  writeFolderAtomic,
} from "./files.ts";
export { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./float16.ts";
export { lockFolder } from "./folder-lock.ts";
export { expectNoFolder, makeFolder, makeTemporaryFolder } from "./folders.ts";
export { expectSpace } from "./free-space.ts";
export { type GgufFile, type GgufTensor, openGguf } from "./gguf.ts";
export type { GgufMetadata, GgufValue } from "./gguf-metadata.ts";
export { canonicalJson, decodeText, parseJson, parseWith, readJson } from "./json.ts";
export {
  type JsonLine,
  type JsonLinesWriter,
  openJsonLinesWriter,
  type ReadJsonLinesOptions,
  readJsonLines,
} from "./jsonl.ts";
export {
  type NumberRange,
  type OpenSafetensorsOptions,
  openSafetensors,
  type SafetensorsDtype,
  type SafetensorsEntry,
  type SafetensorsFile,
} from "./safetensors.ts";
export { storageError, systemCode } from "./storage-error.ts";
export {
  type WritableGguf,
  type WritableGgufTensor,
  type WritableGgufValue,
  writeGguf,
} from "./write-gguf.ts";
export {
  openSafetensorsWriter,
  type PlannedTensor,
  type SafetensorsWriter,
  type WritableTensor,
  writeSafetensors,
} from "./write-safetensors.ts";
