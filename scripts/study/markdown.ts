// Tables in Markdown, and documents with tables that a program computes.
import { MosError } from "#core";

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
/** In place of a number that there is none of. */
export const NONE = "–";
export const fixed = (value: number | undefined, decimals: number): string =>
  value === undefined ? NONE : value.toFixed(decimals).replace("-", "−");

/**
 * The document with each table between `<!-- study: name -->` and `<!-- end of study -->` computed anew.
 * Throws MosError `bad_data` for a name that is not among `parts`.
 */
export const fillTables = (document: string, parts: Readonly<Record<string, string>>): string =>
  document.replaceAll(/<!-- study: ([\w-]+) -->.*?<!-- end of study -->/gs, (_, name: string) => {
    const part = parts[name];
    if (part === undefined)
      throw new MosError(
        "bad_data",
        `there is no table ${name}; use one of ${Object.keys(parts).join(", ")}`,
      );
    return `<!-- study: ${name} -->\n\n${part}\n\n<!-- end of study -->`;
  });
