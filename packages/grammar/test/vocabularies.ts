import { readFileSync } from "node:fs";
import { Vocabulary } from "#matcher";

const encoder = new TextEncoder();

/** A vocabulary of these texts or bytes, then of these special tokens, of which the last ends an answer. */
export function vocabularyOf(
  tokens: readonly (string | Uint8Array)[],
  specials: readonly string[] = ["<end>"],
): Vocabulary {
  const size = tokens.length + specials.length;
  return Vocabulary.buildSync({
    size,
    bytesOf: (id) => {
      const token = tokens[id] ?? "";
      return typeof token === "string" ? encoder.encode(token) : token;
    },
    specialName: (id) => specials[id - tokens.length],
    endTokens: specials.length === 0 ? [] : [size - 1],
  });
}

/** The characters by which byte-level tokenizers spell bytes. */
function byteOfCharacter(): Map<string, number> {
  const bytes = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    bytes.set(String.fromCodePoint(isPrintable ? byte : next++), byte);
  }
  return bytes;
}

interface TokenizerJson {
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
}

/** The vocabulary of the bundled model, whose tokenizer is byte-level. */
export function bundledVocabulary(): Vocabulary {
  const url = new URL("../../mos/assets/tiny-english/tokenizer.json", import.meta.url);
  const { model, added_tokens: added }: TokenizerJson = JSON.parse(readFileSync(url, "utf8"));
  const byteOf = byteOfCharacter();
  const bytes = new Map<number, Uint8Array>();
  for (const [text, id] of Object.entries(model.vocab))
    bytes.set(
      id,
      Uint8Array.from(text, (character) => byteOf.get(character) ?? 0),
    );
  const names = new Map(added.map(({ id, content }) => [id, content]));
  return Vocabulary.buildSync({
    size: 1 + Math.max(...bytes.keys(), ...names.keys()),
    bytesOf: (id) => bytes.get(id) ?? new Uint8Array(0),
    specialName: (id) => names.get(id),
    endTokens: added.filter(({ content }) => content === "<|im_end|>").map(({ id }) => id),
  });
}
