// Text to token ids and back, conversations to text. tokenizer.ts first, then gguf-tokenizer.ts, chat-template.ts and
// detokenizer.ts; load-text.ts joins them for a model.
export { type ChatTemplate, chatTemplate, withVariables } from "./chat-template.ts";
export { createDetokenizer, type Detokenizer } from "./detokenizer.ts";
export type { GenerationConfig } from "./generation-config.ts";
export { tokenizerFilesFromGguf } from "./gguf-tokenizer.ts";
export { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "./load-text.ts";
export { mediaPart } from "./media.ts";
export { pythonStrip } from "./python-strip.ts";
export type { ChatMessage, RenderedPiece } from "./render-turns.ts";
export { createStopScanner, type StopScanner } from "./stop-scanner.ts";
export { type TemplateVariables, templateSettings } from "./template-variables.ts";
export { incompleteTail } from "./token-bytes.ts";
export { type TokenMarks, tokenMarks } from "./token-marks.ts";
export { TOKENIZER_BYTES, type Tokenizer } from "./tokenizer.ts";
