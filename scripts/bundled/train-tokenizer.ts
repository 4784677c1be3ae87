/** Writes the bundled model's tokenizer; deterministic: `node --conditions=source --import tsx scripts/bundled/train-tokenizer.ts`. */
import { writeFileSync } from "node:fs";
import { corpus } from "./corpus.ts";
import { renderDocument } from "./documents.ts";
import { SPECIAL_TOKENS, tokenizerConfig, tokenizerJson } from "./tokenizer.ts";

const SEED = 0;
const DOCUMENTS = 30_000;
const VOCABULARY = 1024;
const FOLDER = new URL("../../assets/tiny-english/", import.meta.url);

function* texts(): Generator<string> {
  let left = DOCUMENTS;
  for (const document of corpus(SEED, "tokenizer")) {
    if (left-- === 0) return;
    yield SPECIAL_TOKENS.reduce((text, token) => text.replaceAll(token, ""), renderDocument(document));
  }
}

const write = (name: string, content: object): void =>
  writeFileSync(new URL(name, FOLDER), `${JSON.stringify(content, null, 1)}\n`);

write("tokenizer.json", tokenizerJson(texts(), VOCABULARY));
write("tokenizer_config.json", tokenizerConfig);
console.log(`wrote tokenizer.json and tokenizer_config.json (${VOCABULARY} tokens)`);
