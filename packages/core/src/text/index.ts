export {
  type AnswerFormat,
  answerFormat,
  argumentsSource,
  formatSource,
  withFormat,
} from "./answer-format.ts";
export type { AnswerDelta, AnswerParser } from "./answer-parser.ts";
export {
  type ChatTemplate,
  chatTemplate,
  type TemplateVariables,
  templateSettings,
  withVariables,
} from "./chat-template.ts";
export {
  type CallLayout,
  createAnswerScanner,
  createDetokenizer,
  type Detokenizer,
  type StopScanner,
} from "./detokenizer.ts";
export { tokenizerFilesFromGguf } from "./gguf-tokenizer.ts";
export {
  type GenerationConfig,
  type LoadedText,
  type LoadTextOptions,
  loadTextFromFolder,
  type Pooling,
  textFromGguf,
} from "./load-text.ts";
export {
  type ChatMessage,
  type CustomTool,
  type FunctionTool,
  findUnpaired,
  type ResponseFormat,
  type Tool,
  type ToolCall,
  type ToolChoice,
} from "./messages.ts";
export * from "./openai.ts";
export { pythonStrip } from "./python-strip.ts";
export type { RenderedPiece } from "./render-turns.ts";
export { incompleteTail } from "./token-bytes.ts";
export { tokenDigest } from "./token-digest.ts";
export { TOKENIZER_BYTES, type Tokenizer } from "./tokenizer.ts";
export { INPUT_KEY } from "./tool-schemas.ts";
