import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FORMATS } from "./formats.ts";
import { KEYWORDS, type KeywordStatus } from "./keywords.ts";

const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");

const keywordsThat = (isIn: (status: KeywordStatus) => boolean): string =>
  [...KEYWORDS]
    .filter(([, status]) => isIn(status))
    .map(([keyword]) => `\`${keyword}\``)
    .join(", ");

test("the README lists what happens to every keyword", () => {
  const lines = [
    `| enforced | ${keywordsThat((status) => status === "enforced")} |`,
    ...[...KEYWORDS].flatMap(([keyword, status]) =>
      typeof status === "object" ? [`| \`${keyword}\` | ${status.partly} |`] : [],
    ),
    `| annotations | ${keywordsThat((status) => status === "annotation")}, and all that are in no draft |`,
    `| refused | ${keywordsThat((status) => status === "refused")} |`,
  ];
  expect(lines.filter((line) => !readme.includes(line))).toEqual([]);
});

test("the README lists the formats", () => {
  expect(readme.replaceAll("\n", " ")).toContain(`Formats are ${FORMATS.join(", ")}.`);
});
