// Text: strings to token ids and back, conversations to text. Start with tokenizer.ts, then gguf-tokenizer.ts,
// chat-template.ts and detokenizer.ts; load-text.ts puts them together for a model.
export {
  type ChatMessage,
  type ChatTemplate,
  type ChatTemplateOptions,
  chatTemplate,
  type RenderedPiece,
} from "./chat-template.ts";
export { createDetokenizer, type Detokenizer } from "./detokenizer.ts";
export { tokenizerFilesFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
export { type LoadedText, type LoadTextOptions, loadTextFromFolder, textFromGguf } from "./load-text.ts";
export { createStopScanner, type ScannedText, type StopScanner } from "./stop-scanner.ts";
export { incompleteTail } from "./token-bytes.ts";
export { loadTokenizer, type Tokenizer, type TokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";
