export {
  type Batch,
  batches,
  chunk,
  type EpochPlan,
  earlierTokens,
  makeBatch,
  type PlanOptions,
  packExamples,
  planEpoch,
  plannedBatch,
} from "./batch.ts";
export { CallChecker, hasTools } from "./call-check.ts";
export { checkOutput, convertDataset, WRITTEN_FORMATS } from "./convert.ts";
export {
  checkDataset,
  type DataSource,
  dataColumns,
  dataPaths,
  parseColumns,
  readDataset,
  splitValidation,
} from "./dataset.ts";
export { findDocuments, readPassages, type SourcedPassage } from "./documents.ts";
export {
  type AnswerKind,
  type EncodedDataset,
  type EncodedExample,
  type EncodeOptions,
  type EncodingReport,
  encodeAnswers,
  encodeExample,
  encodeExamples,
  encodePromptOf,
  encodeSequences,
  IGNORED,
  joinSequences,
  type LabelledIds,
  sequenceLengths,
  sharedReach,
  type TokenColumns,
  withHint,
} from "./encode.ts";
export {
  type ChatClient,
  type ChatCompletion,
  type ChatCompletionRequest,
  type EndpointOptions,
  endpointUrl,
  openChatClient,
  openEndpoint,
} from "./endpoint.ts";
export {
  answerText,
  asTurns,
  type ChatExample,
  type DataKind,
  type Example,
  type ExampleInput,
  normalise,
  type Place,
  placeText,
  type Role,
  wantedAnswer,
} from "./example.ts";
export * from "./generate.ts";
export { type DatasetInspection, inspectDataset } from "./inspect-dataset.ts";
export { locateData } from "./locate-data.ts";
export { countWords } from "./passages.ts";
export { encodePrompt, PROMPT_FORMATS } from "./prompt-formats.ts";
export { askForQuestions, type QuestionAnswer } from "./question-answers.ts";
