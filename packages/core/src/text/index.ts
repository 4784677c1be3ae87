export { type AnswerFormat, answerFormat } from "./answer-format.ts";
export { argumentsSource, formatSource } from "./answer-grammar.ts";
export type { AnswerDelta, AnswerParser } from "./answer-parser.ts";
export { type ChatTemplate, chatTemplate, withVariables } from "./chat-template.ts";
export { createDetokenizer, type Detokenizer } from "./detokenizer.ts";
export { withFormat } from "./format-prompt.ts";
export type { GenerationConfig } from "./generation-config.ts";
export { tokenizerFilesFromGguf } from "./gguf-tokenizer.ts";
export { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "./load-text.ts";
export { mediaPart } from "./media.ts";
export type {
  ChatMessage,
  CustomTool,
  FunctionTool,
  ResponseFormat,
  Tool,
  ToolCall,
  ToolChoice,
} from "./messages.ts";
export * from "./openai/messages.ts";
export * from "./openai/response-format.ts";
export * from "./openai/tools.ts";
export type { Pooling } from "./pooling.ts";
export { pythonStrip } from "./python-strip.ts";
export type { RenderedPiece } from "./render-turns.ts";
export { type CallLayout, createAnswerScanner } from "./repeated-calls.ts";
export type { StopScanner } from "./stop-scanner.ts";
export { type TemplateVariables, templateSettings } from "./template-variables.ts";
export { incompleteTail } from "./token-bytes.ts";
export { tokenDigest } from "./token-digest.ts";
export { TOKENIZER_BYTES, type Tokenizer } from "./tokenizer.ts";
export { INPUT_KEY } from "./tool-schemas.ts";
export { findUnpaired } from "./unpaired-calls.ts";
