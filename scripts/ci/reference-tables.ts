// Tables of the reference that restate what the code declares: families, forms of data, types of GGUF files. A document
// marks a place by <!-- table: families --> and <!-- end of table -->; option-lists.ts fills it.

import { blockFormats, type StoredType, storedFormat, weightBytes } from "#files";
import { FORMS } from "../../src/data/forms.ts";
import { FAMILIES } from "../../src/models/families/index.ts";

const PLACE = /<!-- table: (\S+) -->\n[\s\S]*?<!-- end of table -->/g;

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

const code = (text: string): string => `\`${text}\``;

/** A shape whose width every block size divides, and whose height is even. */
const SHAPE = [2, 256] as const;
const WEIGHTS = SHAPE[0] * SHAPE[1];

const blockTypeRow = (type: StoredType): readonly string[] => {
  const { bytes, blockSize } = blockFormats[type];
  return [type, String(bytes / blockSize), String(weightBytes(storedFormat(type).format, SHAPE) / WEIGHTS)];
};

const tables: Readonly<Record<string, () => readonly (readonly string[])[]>> = {
  families: () => [
    ["`model_type`", "models", "GGUF"],
    ...Object.entries(FAMILIES).map(([name, { models, gguf }]) => [
      code(name),
      models,
      code(gguf.architecture),
    ]),
  ],
  "data-forms": () => [
    ["form", "example"],
    ...Object.entries(FORMS).map(([name, { sample }]) => [name, code(sample)]),
  ],
  "block-types": () => [
    ["type", "in the file", "in memory"],
    ...(Object.keys(blockFormats) as StoredType[])
      .filter((type) => blockFormats[type].blockSize > 1)
      .map(blockTypeRow),
  ],
};

/** A document with its tables as they should be. */
export const withReferenceTables = (markdown: string): string =>
  markdown.replace(PLACE, (_, name: string) => {
    const [head = [], ...rows] = tables[name]?.() ?? [];
    if (rows.length === 0)
      throw new Error(`there is no table ${name}; there are ${Object.keys(tables).join(", ")}`);
    const table = [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
    return `<!-- table: ${name} -->\n${table}\n<!-- end of table -->`;
  });
