import { mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import type { NumberedRecord } from "./example.ts";
import { readCsv } from "./records.ts";

let path: string;
beforeAll(async () => {
  path = join(await mkdtemp(join(tmpdir(), "mos-csv-")), "data.csv");
});
afterAll(() => rm(join(path, ".."), { recursive: true }));

async function read(content: string | Uint8Array): Promise<readonly NumberedRecord[]> {
  await writeFile(path, content);
  const records: NumberedRecord[] = [];
  for await (const record of readCsv(path)) records.push(record);
  return records;
}

test("quotes, commas and line ends in cells, a byte order mark, CRLF and blank lines", async () => {
  const text = '\uFEFFprompt, completion\r\n"say ""hi"", now","two\r\nlines"\r\n\r\n\r\nb,\r\n';
  expect(await read(text)).toEqual([
    { line: 2, value: { prompt: 'say "hi", now', completion: "two\r\nlines" } },
    { line: 6, value: { prompt: "b", completion: "" } },
  ]);
});

test.each([
  ["tabs", "a\tb\n1,2\t3;4\n"],
  ["semicolons", 'a;b\n1,2;"3;4"\n'],
])("%s between the columns", async (_, text) => {
  expect(await read(text)).toEqual([{ line: 2, value: { a: "1,2", b: "3;4" } }]);
});

test("a file of more than a chunk, whose characters cross its end", async () => {
  const rows = Array.from({ length: 30_000 }, (_, i) => `é${i},"ü\n${i}"`);
  const records = await read(`a,b\n${rows.join("\n")}`);
  expect(records).toHaveLength(30_000);
  expect(records.at(-1)).toEqual({ line: 2 + 2 * 29_999, value: { a: "é29999", b: "ü\n29999" } });
});

test("what is written as RFC 4180 has it comes back, with the lines on which rows begin", async () => {
  const cell = fc.string({ unit: fc.constantFrom("a", '"', ",", "\n", "\r\n", " ", "é"), maxLength: 6 });
  const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(cell, cell), { maxLength: 8 }), async (rows) => {
      let line = 2;
      const expected = rows.map(([a, b]) => {
        const record = { line, value: { a, b } };
        line += (`${a}${b}`.match(/\n/g)?.length ?? 0) + 1;
        return record;
      });
      const text = ["a,b", ...rows.map((row) => row.map(quoted).join(","))].join("\n");
      expect(await read(text)).toEqual(expected);
    }),
    { numRuns: runs(50) },
  );
});

test.each<readonly [string, string | Uint8Array, RegExp]>([
  [
    "a quotation mark without its other",
    'a,b\n1,2\n"3,4\n5,6\n',
    /data\.csv:3: a quotation mark opened .* never closed/,
  ],
  [
    "text after a closing quotation mark",
    'a,b\n"x\ny",2\n"1"x,2\n',
    /data\.csv:4: an unquoted cell of the row .* contains a quotation mark/,
  ],
  [
    "a quotation mark within a cell",
    'a,b\n1,x"y\n',
    /data\.csv:2: an unquoted cell of the row .* contains a quotation mark/,
  ],
  [
    "a row of more cells",
    "a,b\n1,2\n1,2,3\n",
    /data\.csv:3: this row has 3 cells, and the first row names 2 columns/,
  ],
  ["a row of fewer cells", "a,b\n1\n", /data\.csv:2: this row has 1 cells/],
  ["a column twice", "a,a\n1,2\n", /name the columns, without duplicates; "a" occurs twice/],
  ["more columns than are read", "a,".repeat(5000), /names 5001 columns; the limit is 4096/],
  ["a column without a name", "a,\n1,2\n", /one has no name/],
  [
    "another encoding",
    Buffer.from("a,b\ncafé,x\n", "latin1"),
    /data\.csv: the text is not valid UTF-8; save it as UTF-8/,
  ],
  [
    "a cell without end",
    `a,b\n"${"x".repeat(17_000_000)}`,
    /data\.csv:2: the row that begins here is longer/,
  ],
])("refuses %s", async (_, content, message) => {
  await expect(read(content)).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(message),
  });
});

test.skipIf(process.platform !== "linux")("closes a file that it refuses", async () => {
  await expect(read("a,a\n1,2\n")).rejects.toThrow();
  const open = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(join("/proc/self/fd", fd)).catch(() => "")),
  );
  expect(open).not.toContain(path);
});

test("an empty file has no rows", async () => {
  expect(await read("")).toEqual([]);
  expect(await read("a,b\n")).toEqual([]);
});
