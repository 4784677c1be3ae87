export { isDiskFull, storageError, storageProblem, systemCode } from "./error.ts";
export { fileNameOf, nameOfFile } from "./file-names.ts";
export {
  type AtomicFile,
  type ByteSource,
  bytesInMemory,
  fileStamp,
  openAtomicFile,
  openForReading,
  pathExists,
  type ReadableFile,
  readBytes,
  readJson,
  removeLeftovers,
  writeFileAtomic,
} from "./files.ts";
export {
  expectNoFolder,
  expectWritable,
  type KeptFolder,
  linkEntries,
  listFolder,
  makeFolder,
  makeTemporaryFolder,
  openAtomicFolder,
  repairFolder,
  replacedName,
  replaceFolder,
  restoreFolder,
  takeFolder,
  writeFolderAtomic,
} from "./folders.ts";
export { type JsonLinesWriter, openJsonLinesWriter, readJsonLines } from "./json-lines.ts";
export { lockChanges, lockFolder } from "./lock.ts";
export { type FreeMemory, freeMemory, limitedMemory, type MemorySources } from "./memory.ts";
export {
  describeMemory,
  describePlan,
  type ExpectMemoryOptions,
  expectMemory,
  fitsMemory,
  type MemoryPart,
  type MemoryPlan,
  memoryPlan,
} from "./memory-plan.ts";
export {
  makeNamedFolder,
  makePrivateFolder,
  makePrivateTree,
  PRIVATE_FILE,
  PRIVATE_FOLDER,
} from "./private.ts";
export { describeBytes, expectSpace } from "./space.ts";
