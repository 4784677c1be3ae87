export { createDetokenizer, type Detokenizer } from "./detokenizer.ts";
export type { GgufMetadata } from "./gguf-metadata.ts";
export { tokenizerFromGguf } from "./gguf-tokenizer.ts";
export { createStopScanner, type ScannedText, type StopScanner } from "./stop-scanner.ts";
export { loadTokenizer, type Tokenizer, type TokenizerFiles, tokenizerFromJson } from "./tokenizer.ts";
