export { ADAPTER_FILES, fittingConfig, RUN_FILES } from "#adapters";
export {
  AsyncQueue,
  adjust,
  bytes,
  type CallContext,
  canonicalJson,
  closeWhenIdle,
  decodeText,
  distinct,
  errorText,
  flag,
  freeMemory,
  limitConcurrency,
  omitUndefined,
  parseJson,
  parseSettings,
  parseWith,
  pick,
  randomStream,
  type Setting,
  type SettingInput,
  type Settings,
  type SettingValues,
  setting,
  settingInfo,
  snakeCase,
  withProgress,
} from "#core";
export { type ChatClient, openChatClient } from "#data";
export {
  assertNoFolder,
  assertSpace,
  assertWritable,
  fromFileName,
  isDiskFull,
  lockChanges,
  lockFolder,
  makeFolder,
  makePrivateFolder,
  makeTemporaryFolder,
  openAtomicFile,
  openJsonLinesWriter,
  pathExists,
  readBytes,
  readJson,
  readJsonLines,
  readParquetRows,
  repairFolder,
  storageError,
  storageProblem,
  toFileName,
  writeFileAtomic,
  writeFolderAtomic,
} from "#files";
export {
  askedModels,
  type CheckReason,
  createProgramChecker,
  findExcess,
  type Grade,
  type Grader,
  grade,
  graderSchema,
  type ProgramChecker,
  PythonGraders,
  parseGrader,
  readSample,
} from "#graders";
export { moduleBeside, serveParent, startChild } from "#process";
export {
  answerFormat,
  formatSource,
  jsonSchemaFormat,
  parseResponseFormat,
  pythonStrip,
  templateSettings,
} from "#text";
export { expectedUpdate, type Measurement, OBJECTIVES, pickChosen, readMeasurements } from "#training";
export { type AddOn, defineServeAddOn, type OpenServeAddOn } from "./add-ons.ts";
export { defineCommand, formatFlag, group } from "./command.ts";
export { adapterOptions, model, quiet } from "./common-options.ts";
export { counted, formatBar, formatDuration, paint, textTable } from "./format.ts";
export { forceExit, listenForInterrupt } from "./interrupt.ts";
export { engineProgress, findModel, pullProgress, userPlaces } from "./loading.ts";
export { openLog } from "./log.ts";
export { liveLine, printJson, printLine, thisRun, warn } from "./terminal.ts";
