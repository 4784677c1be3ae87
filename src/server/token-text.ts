import type { LoadedText } from "#text";

/** The part of a tokenizer that writes tokens down. */
export type TokenWriter = Pick<LoadedText["tokenizer"], "bytesOf" | "isSpecial" | "strippedBlanks">;

/** A token as OpenAI's API writes it: its text, or its bytes where they are part of a character only. */
export function tokenText(tokenizer: TokenWriter, id: number): string {
  const bytes = tokenizer.bytesOf(id);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}

/** Characters as Python counts them: code points. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
