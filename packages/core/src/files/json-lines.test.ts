import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test, vi } from "vitest";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { type JsonLine, openJsonLinesWriter, readJsonLines } from "./json-lines.ts";

const folder = mkdtempSync(join(tmpdir(), "mos-jsonl-"));
const path = join(folder, "data.jsonl");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function read(content: string | Uint8Array, options = {}): Promise<Omit<JsonLine, "end">[]> {
  writeFileSync(path, content);
  const lines: Omit<JsonLine, "end">[] = [];
  for await (const { line, value } of readJsonLines(path, options)) lines.push({ line, value });
  return lines;
}

test("a byte order mark, CRLF, blank lines and a missing last line end are tolerated", async () => {
  expect(await read('\uFEFF{"a":1}\r\n\r\n  \n{"a":"é"}')).toEqual([
    { line: 1, value: { a: 1 } },
    { line: 4, value: { a: "é" } },
  ]);
  expect(await read("")).toEqual([]);
});

test("millions of empty lines are passed over in seconds", async () => {
  const spent = startCpuTimer();
  expect(
    await read(Buffer.concat([Buffer.alloc(5e6, "\n"), Buffer.alloc(3e6, " \r\n"), Buffer.from("1")])),
  ).toEqual([{ line: 6_000_001, value: 1 }]);
  expect(spent()).toBeLessThan(10_000);
});

test("lines longer than a chunk, and characters across chunks", async () => {
  const long = "é".repeat(200_000);
  expect(await read(`${JSON.stringify(`x${long}`)}\n${JSON.stringify(long)}\n1`)).toEqual([
    { line: 1, value: `x${long}` },
    { line: 2, value: long },
    { line: 3, value: 1 },
  ]);
});

test("what is not JSON is reported by file, line and column", async () => {
  await expect(read('{"a":1}\n{"a":1,}\n')).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/data\.jsonl:2:8: not valid JSON near .*a.*1/),
  });
  await expect(read('{"a":')).rejects.toThrow(/data\.jsonl:1:6: not valid JSON/);
});

test("bytes that are not UTF-8 are reported by line", async () => {
  const bytes = Buffer.concat([Buffer.from('"a"\n"'), Buffer.of(0xc3, 0x28), Buffer.from('"\n')]);
  await expect(read(bytes)).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/:2: .*UTF-8/),
  });
});

test("a line without end is refused before it fills the memory", async () => {
  await expect(read(`1\n"${"x".repeat(100)}"`, { maximumLineBytes: 50 })).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/data\.jsonl:2: the line is longer than 50 bytes/),
  });
});

test("a line of millions of values is refused before it is parsed", async () => {
  const parse = vi.spyOn(JSON, "parse");
  try {
    await expect(read(`1\n{"messages": [${"{},".repeat(2_000_000)}{}]}`)).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(/data\.jsonl:2: it holds more than 2000000 lists, objects and members/),
    });
    expect(parse.mock.calls.map(([text]) => text)).toEqual(["1"]);
  } finally {
    parse.mockRestore();
  }
});

test("a missing file", async () => {
  await expect(readJsonLines(join(folder, "none")).next()).rejects.toMatchObject({ code: "not_found" });
});

test("what is written is read again, in order, over several openings", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.jsonValue(), { maxLength: 4 }), { maxLength: 3 }),
      async (sessions) => {
        writeFileSync(path, "");
        for (const values of sessions) {
          await using writer = await openJsonLinesWriter(path);
          for (const value of values) await writer.write(value);
        }
        const found = (await read(readFileSync(path))).map(({ value }) => value);
        expect(found).toEqual(JSON.parse(JSON.stringify(sessions.flat())));
      },
    ),
    { numRuns: 30 },
  );
});

test("a line torn by a killed writer is removed before more is appended", async () => {
  writeFileSync(path, '{"step":1}\n{"ste');
  {
    await using writer = await openJsonLinesWriter(path);
    await writer.write({ step: 2 });
  }
  expect(readFileSync(path, "utf8")).toBe('{"step":1}\n{"step":2}\n');
  writeFileSync(path, '{"ste');
  await (await openJsonLinesWriter(path))[Symbol.asyncDispose]();
  expect(readFileSync(path, "utf8")).toBe("");
});
