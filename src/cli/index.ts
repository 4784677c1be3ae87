export {
  AsyncQueue,
  adjust,
  bytes,
  canonicalJson,
  childOptions,
  choice,
  decodeText,
  errorText,
  flag,
  freeMemory,
  integer,
  limitConcurrency,
  list,
  moduleBeside,
  names,
  number,
  omitUndefined,
  parseJson,
  parseSettings,
  parseWith,
  pick,
  randomStream,
  type Setting,
  type SettingInput,
  type SettingValues,
  snakeCase,
  text,
  texts,
} from "#core";
export {
  assertNoFolder,
  assertWritable,
  fromFileName,
  isDiskFull,
  lockChanges,
  lockFolder,
  makeFolder,
  makePrivateFolder,
  makeTemporaryFolder,
  openAtomicFile,
  openForReading,
  openJsonLinesWriter,
  pathExists,
  readBytes,
  readJson,
  readJsonLines,
  readParquetRows,
  repairFolder,
  storageError,
  storageProblem,
  systemCode,
  toFileName,
  writeFileAtomic,
  writeFolderAtomic,
} from "#files";
export { pythonStrip, templateSettings } from "#text";
export { adapterOptions } from "./adapter-options.ts";
export { type AddOn, defineServeAddOn, type OpenServeAddOn } from "./add-ons.ts";
export { paint } from "./colour.ts";
export { defineCommand, group } from "./command.ts";
export { model, quiet } from "./common-options.ts";
export { engineProgress, findModel, pullProgress, userPlaces, withProgress } from "./loading.ts";
export { counted, formatBar, formatDuration } from "./numbers.ts";

export { labelled, textTable } from "./tables.ts";
export {
  forceExit,
  listenForInterrupt,
  liveLine,
  nearPath,
  printJson,
  printLine,
  thisRun,
  warn,
} from "./terminal.ts";
