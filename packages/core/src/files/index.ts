export {
  type AtomicFile,
  type ByteSource,
  bytesInMemory,
  closeOnFailure,
  fileStamp,
  openAtomicFile,
  openForReading,
  pathExists,
  type ReadableFile,
  readBytes,
  readJson,
  removeLeftovers,
  writeFileAtomic,
} from "./atomic-files.ts";
export { blockFormats, fileBytes, type StoredType } from "./dequantize.ts";
export { fromFileName, toFileName } from "./file-names.ts";
export { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16, writeNumbers } from "./floats.ts";
export * from "./folders.ts";
export {
  type GgufFile,
  type GgufMetadata,
  type GgufTensor,
  type GgufValue,
  openGguf,
  readableType,
} from "./gguf.ts";
export * from "./json-lines.ts";
export { isFolderLocked, lockChanges, lockFolder } from "./lock.ts";
export { readParquetRows } from "./parquet.ts";
export { assertOwned, makePrivateFolder, SHARED } from "./private.ts";
export * from "./safetensors.ts";
export { assertSpace } from "./space.ts";
export * from "./system-error.ts";
export { restartRecord, scalarsRecord, versionRecord } from "./tfevents.ts";
export { type RowTarget, type StoredFormat, storedFormat } from "./unpack.ts";
export * from "./write-gguf.ts";
export * from "./write-safetensors.ts";
