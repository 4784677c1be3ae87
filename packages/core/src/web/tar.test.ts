import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readTar, tarParts } from "./tar.ts";

const joined = (parts: readonly Uint8Array<ArrayBuffer>[]) => new Uint8Array(Buffer.concat(parts));
const entry = (name: string, text: string) => ({ name, bytes: new TextEncoder().encode(text) });

test("what is written is read again", () => {
  const file = fc.record({
    name: fc.stringMatching(/^[a-z]{1,20}(\/[a-zé]{1,20}){0,2}$/),
    bytes: fc.uint8Array({ maxLength: 1500 }).map((bytes) => new Uint8Array(bytes)),
  });
  fc.assert(
    fc.property(fc.array(file, { maxLength: 4 }), (files) => {
      expect(readTar(joined(tarParts(files)))).toEqual(files);
    }),
  );
});

test("the system's tar reads it, and is read", () => {
  const folder = mkdtempSync(join(tmpdir(), "tar-"));
  try {
    writeFileSync(join(folder, "a.tar"), joined(tarParts([entry("x/run.json", "{}"), entry("x/b", "12")])));
    expect(execFileSync("tar", ["-xOf", "a.tar", "x/b"], { cwd: folder }).toString()).toBe("12");
    writeFileSync(join(folder, "c"), "three");
    execFileSync("tar", ["-cf", "b.tar", "--format=ustar", "c"], { cwd: folder });
    expect(readTar(new Uint8Array(readFileSync(join(folder, "b.tar"))))).toEqual([entry("c", "three")]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("what is cut off or no archive is refused", () => {
  const bytes = joined(tarParts([entry("a", "text")]));
  const refusal = expect.objectContaining({
    code: "bad_adapter",
    message: expect.stringMatching(/^the archive is damaged at byte 0/),
  });
  expect(() => readTar(bytes.subarray(0, 513))).toThrowError(refusal);
  expect(() => readTar(new Uint8Array(1024).fill(65))).toThrowError(refusal);
});
