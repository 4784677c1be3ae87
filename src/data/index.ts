// Data: a JSONL file → examples → token ids and labels → rows → batches. Start with dataset.ts, then encode.ts,
// plan.ts and batch.ts.
export { type Batch, batches, makeBatch } from "./batch.ts";
export { readDataset } from "./dataset.ts";
export {
  type EncodedDataset,
  type EncodedExample,
  type EncodingReport,
  encodeExample,
  encodeExamples,
  IGNORED,
  PROMPT_FORMATS,
  type PromptFormat,
} from "./encode.ts";
export type { Example } from "./example.ts";
export { type PlanOptions, planEpoch } from "./plan.ts";
export { splitHeldOut } from "./split.ts";
export { missingBos } from "./tokenize-pieces.ts";
