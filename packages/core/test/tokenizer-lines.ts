// Texts with the ids of the model's own tokenizer (scripts/verify/tokenizer_text.py), beside a tokenizer of ours.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { openGguf } from "#files";
import { createDetokenizer, type LoadedText, type Tokenizer, textFromGguf } from "#text";

export interface Line {
  readonly text: string;
  readonly ids: readonly number[];
  /** What the ids decode to, where that is another text, and another one yet without special tokens. */
  readonly decoded?: string;
  readonly plain?: string;
}

export function readLines(path: string | URL): readonly Line[] {
  const rows = gunzipSync(readFileSync(path)).toString("utf8").trimEnd().split("\n").slice(1);
  return rows.map((row): Line => JSON.parse(row));
}

/** A GGUF file's text, whether or not the model itself can be run. */
export async function readGgufText(path: string): Promise<LoadedText> {
  await using file = await openGguf(path);
  return textFromGguf(file.metadata);
}

function streamed(ids: readonly number[], tokenizer: Tokenizer): string {
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

/** The lines that a tokenizer encodes, decodes (at once, without special tokens, id by id) to something else. */
export function wrongLines(
  tokenizer: Tokenizer,
  lines: readonly Line[],
): Readonly<Record<"ids" | "decoded" | "plain" | "streamed", readonly Line[]>> {
  return {
    ids: lines.filter(({ text, ids }) => tokenizer.encode(text).join() !== ids.join()),
    decoded: lines.filter(({ text, ids, decoded = text }) => tokenizer.decode(ids) !== decoded),
    plain: lines.filter(
      ({ text, ids, decoded = text, plain = decoded }) =>
        tokenizer.decode(ids, { skipSpecialTokens: true }) !== plain,
    ),
    streamed: lines.filter(({ text, ids, decoded = text }) => streamed(ids, tokenizer) !== decoded),
  };
}
