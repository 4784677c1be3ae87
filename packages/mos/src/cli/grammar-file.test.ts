import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "mixture-of-shards-core/common";
import { GrammarError } from "mixture-of-shards-grammar";
import { expect, test } from "vitest";
import { grammarSyntax, readGrammarFile, withOrigin } from "./grammar-file.ts";

test("the syntax of a grammar is its file's extension, or else how it defines rules", () => {
  expect(grammarSyntax("a.gbnf", "start: x")).toBe("gbnf");
  expect(grammarSyntax("a.lark", "root ::= x")).toBe("lark");
  expect(grammarSyntax("a.txt", '# numbers\nroot ::= "1" | "2"')).toBe("gbnf");
  expect(grammarSyntax("a", '// "::=" is text here\nstart: "::="')).toBe("lark");
});

test("a schema and a grammar are read from their files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-grammar-"));
  const path = (name: string): string => join(folder, name);
  await writeFile(path("schema.json"), '{"type": "integer"}');
  await writeFile(path("bad.json"), '{"type":\n "integer",}');
  await writeFile(path("move.gbnf"), 'root ::= "e4"');
  const read = (jsonSchema?: string, grammar?: string) => readGrammarFile({ jsonSchema, grammar });
  expect(await read()).toBeUndefined();
  expect(await read(path("schema.json"))).toMatchObject({
    source: { type: "json_schema", schema: { type: "integer" } },
  });
  expect(await read(undefined, path("move.gbnf"))).toMatchObject({
    source: { type: "gbnf", text: 'root ::= "e4"' },
    origin: `--grammar ${path("move.gbnf")}`,
  });
  await expect(read(path("bad.json"))).rejects.toThrow(/--json-schema .*bad\.json: not valid JSON/);
  await expect(read(path("none.json"))).rejects.toThrow(/--json-schema .*none\.json/);
});

test("an error of the grammar names the file and the place in it", () => {
  const form = { source: { type: "json_schema", schema: {} }, origin: "--json-schema a.json" } as const;
  const cause = new GrammarError("unsupported", '"uniqueItems" is not supported', { pointer: "/items" });
  expect(withOrigin(new MosError("bad_option", cause.message, { cause }), form)).toMatchObject({
    code: "bad_option",
    message: '--json-schema a.json at /items: "uniqueItems" is not supported',
  });
  const other = new MosError("busy", "the queue is full");
  expect(withOrigin(other, form)).toBe(other);
});
