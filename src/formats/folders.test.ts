import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { MosError } from "#core";
import { expectNoFolder, makeFolder } from "./folders.ts";
import { systemCode } from "./storage-error.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mos-folders-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

test("a folder is made with those above it, and the topmost new one is told", async () => {
  expect(await makeFolder(at("a/b/c"))).toBe(at("a"));
  expect(await makeFolder(at("a/b/d"))).toBe(at("a/b/d"));
  expect(await makeFolder(at("a/b/c"))).toBeUndefined();
  expect(readdirSync(at("a/b"))).toEqual(["c", "d"]);
});

test("a folder that cannot be made says why", async () => {
  writeFileSync(at("file"), "");
  symlinkSync(at("gone"), at("link"));
  for (const [path, message, code] of [
    ["file", /file: a file is in the way/, "EEXIST"],
    ["file/b/c", /file\/b\/c: a part of this path is a file/, "ENOTDIR"],
    ["link", /link: no folder can be made there/, "ENOENT"],
    ["x".repeat(300), /the name is too long/, "ENAMETOOLONG"],
  ] as const)
    await expect(makeFolder(at(path))).rejects.toSatisfy((error: MosError) => {
      expect(error).toMatchObject({ code: "storage", message: expect.stringMatching(message) });
      return systemCode(error.cause) === code;
    });
});

test("a folder in a file's place is refused, anything else is not", async () => {
  writeFileSync(at("file"), "");
  for (const path of ["file", "none", "file/below"]) await expectNoFolder(at(path));
  symlinkSync(folder, at("link"));
  for (const path of [".", "link"])
    await expect(expectNoFolder(at(path))).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringMatching(/ is a folder; name the file/),
    });
});
