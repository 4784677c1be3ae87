export { type Batch, batches, makeBatch, plannedBatch } from "./batch.ts";
export { dataColumns, parseColumns } from "./columns.ts";
export { checkDataset, type DataSource, dataPaths, readDataset } from "./dataset.ts";
export {
  type EncodedDataset,
  type EncodedExample,
  type EncodingReport,
  encodeAnswers,
  encodeExample,
  encodeExamples,
  IGNORED,
} from "./encode.ts";
export { type Example, type ExampleInput, placeText } from "./forms.ts";
export { type LocateDataOptions, locateData } from "./locate.ts";
export { type EpochPlan, type PlanOptions, planEpoch } from "./plan.ts";
export { PROMPT_FORMATS } from "./prompt-formats.ts";
export { splitValidation } from "./split.ts";
export { missingBos } from "./tokenize-pieces.ts";
