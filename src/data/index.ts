// Data: a JSONL file → examples → token ids and labels → rows → batches. Start with dataset.ts, then encode.ts,
// plan.ts and batch.ts.
export { type Batch, type BatchesOptions, batches, type MakeBatchOptions, makeBatch } from "./batch.ts";
export { type Dataset, type JsonLines, parseDataset, readDataset } from "./dataset.ts";
export {
  type EncodedDataset,
  type EncodedExample,
  type EncodeOptions,
  type EncodingReport,
  type EncodingRules,
  encodeExample,
  encodeExamples,
  IGNORED,
} from "./encode.ts";
export type { ChatExample, CompletionExample, Example, Role, Turn } from "./example.ts";
export type { FormName } from "./forms.ts";
export { epochOrder, type OrderOptions } from "./order.ts";
export { type PackOptions, packExamples } from "./pack.ts";
export { type EpochPlan, type PlanOptions, planEpoch } from "./plan.ts";
export { type Split, type SplitOptions, splitHeldOut } from "./split.ts";
export { missingBos } from "./tokenize-pieces.ts";
