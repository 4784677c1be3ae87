// Tables in Markdown, and parts of documents that a program writes.
import { readFile } from "node:fs/promises";
import { MosError } from "#core";
import { writeFileAtomic } from "#files";

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
/** In place of a number that there is none of. */
export const NONE = "–";
export const fixed = (value: number | undefined, decimals: number): string =>
  value === undefined ? NONE : value.toFixed(decimals).replace("-", "−");

/** Writes the part of a document between `<!-- study: name -->` and `<!-- end of study -->` anew. */
export async function fill(path: string, parts: Readonly<Record<string, string>>): Promise<void> {
  let text = await readFile(path, "utf8");
  for (const [name, part] of Object.entries(parts)) {
    const [start, end] = [`<!-- study: ${name} -->`, "<!-- end of study -->"];
    const [begin, stop] = [text.indexOf(start), text.indexOf(end, text.indexOf(start))];
    if (begin < 0 || stop < 0) throw new MosError("bad_data", `${path} has no part ${start}`);
    text = `${text.slice(0, begin + start.length)}\n\n${part}\n\n${text.slice(stop)}`;
  }
  await writeFileAtomic(path, text);
}
