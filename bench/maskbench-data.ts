// MaskBench's schemas with their instances, for the benchmarks of grammars.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { createGunzip } from "node:zlib";

/** A schema with instances that it allows or forbids. */
export interface Entry {
  readonly name: string;
  readonly schema: unknown;
  readonly tests: readonly { readonly valid: boolean; readonly data: unknown }[];
}

/** Characters of schemas that a vocabulary is made of. */
const TEXT = 4_000_000;

/** Every Nth schema of DIR/schemas.jsonl.gz, and text of them all. */
export async function readEntries(
  folder: string,
  { every, first }: { readonly every: number; readonly first: number },
): Promise<{ readonly entries: readonly Entry[]; readonly text: string }> {
  const file = createReadStream(`${folder}/schemas.jsonl.gz`).pipe(createGunzip());
  const entries: Entry[] = [];
  let text = "";
  let i = 0;
  for await (const line of createInterface({ input: file })) {
    if (i % 10 === 0 && text.length < TEXT) text += line;
    if (i++ % every === first) entries.push(JSON.parse(line));
  }
  return { entries, text };
}
