// A regular expression of a tokenizer.json is a program of whoever made that file, and some take longer than anybody's life on
// forty characters. While one runs, the process hears no signal, so it runs under a watch that V8 keeps.
import { MosError } from "#common";
import { runWithTimeout } from "#platform";
import { knownSplits } from "./gguf-pre-tokenizers.ts";
import { GPT2_SPLIT } from "./pre-tokenizer.ts";

/** Milliseconds for a text, which may be a request's, and for each of its characters: ten times what a slow machine takes. */
const [EACH_TEXT, EACH_CHARACTER] = [50, 0.01];

const KNOWN: ReadonlySet<string> = new Set([GPT2_SPLIT, ...knownSplits()]);

/** Tests whether a part of a tokenizer.json has a regular expression other than those of known models. */
export function hasOwnPattern(part: unknown): boolean {
  if (typeof part !== "object" || part === null) return false;
  return Object.entries(part).some(([name, value]) =>
    name === "Regex" ? typeof value !== "string" || !KNOWN.has(value) : hasOwnPattern(value),
  );
}

/**
 * A function of a text that ends within a time that is many times what it should take.
 *
 * @throws MosError `bad_model` from that function where it does not.
 */
export function withTimeLimit<T>(encode: (text: string) => T): (text: string) => T {
  return (text) => {
    let result: { readonly value: T } | undefined;
    const milliseconds = Math.ceil(EACH_TEXT + EACH_CHARACTER * text.length);
    const isOver = runWithTimeout(() => {
      result = { value: encode(text) };
    }, milliseconds);
    if (!isOver)
      throw new MosError(
        "bad_model",
        `tokenizer.json: its regular expressions take more than ${milliseconds / 1000} s for ${text.length} characters; they may not terminate, so do not use this tokenizer`,
      );
    if (result === undefined) throw new Error("the text was not encoded");
    return result.value;
  };
}
