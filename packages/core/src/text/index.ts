export {
  type AnswerFormat,
  answerFormat,
  argumentsSource,
  formatSource,
  withFormat,
} from "./answer-format.ts";
export type { AnswerDelta, AnswerParser } from "./answer-parser.ts";
export * from "./chat-template.ts";
export {
  type CallLayout,
  createAnswerScanner,
  createDetokenizer,
  type Detokenizer,
  type StopScanner,
} from "./detokenizer.ts";
export { tokenizerFilesFromGguf } from "./gguf-tokenizer.ts";
export { goTemplate } from "./go-template.ts";
export {
  type GenerationConfig,
  type LoadedText,
  type LoadTextOptions,
  loadTextFromFolder,
  type Pooling,
  textFromGguf,
} from "./load-text.ts";
export * from "./messages.ts";
export * from "./openai.ts";
export { pythonStrip } from "./python-strip.ts";
export type { RenderedPiece } from "./render-turns.ts";
export { incompleteTail } from "./token-bytes.ts";
export { tokenDigest } from "./token-digest.ts";
export { TOKENIZER_BYTES, type Tokenizer } from "./tokenizer.ts";
export { INPUT_KEY } from "./tool-schemas.ts";
