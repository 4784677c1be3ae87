export { describeBytes } from "./describe-bytes.ts";
export {
  type ByteSource,
  bytesInMemory,
  openAtomicFolder,
  openForReading,
  pathExists,
  type ReadableFile,
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
export { type JsonLinesWriter, openJsonLinesWriter, readJsonLines } from "./jsonl.ts";
export {
  type NumberRange,
  openSafetensors,
  type SafetensorsDtype,
  type SafetensorsFile,
} from "./safetensors.ts";
export { storageError, systemCode } from "./storage-error.ts";
export { type WritableGgufTensor, writeGguf } from "./write-gguf.ts";
export {
  openSafetensorsWriter,
  type PlannedTensor,
  type WritableTensor,
  writeSafetensors,
} from "./write-safetensors.ts";
