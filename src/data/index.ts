// A JSONL file → examples (dataset.ts, forms.ts) → token ids and labels (encode.ts, prompt-formats.ts,
// tokenize-pieces.ts) → rows of an epoch (plan.ts) → batches (batch.ts).
export { type Batch, batches, makeBatch } from "./batch.ts";
export { checkDataset, readDataset } from "./dataset.ts";
export {
  type EncodedDataset,
  type EncodedExample,
  type EncodingReport,
  encodeExample,
  encodeExamples,
  IGNORED,
} from "./encode.ts";
export type { Example } from "./forms.ts";
export { type PlanOptions, planEpoch } from "./plan.ts";
export { PROMPT_FORMATS, type PromptFormat } from "./prompt-formats.ts";
export { splitHeldOut } from "./split.ts";
export { missingBos } from "./tokenize-pieces.ts";
