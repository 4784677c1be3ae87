import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { MosError } from "#common";
import { assertNoFolder, makeFolder, makeTemporaryFolder } from "./folders.ts";
import { systemCode } from "./system-error.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mos-folders-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});
const at = (name: string) => join(folder, name);

test("a folder is made with its parents, and the topmost new one is returned", async () => {
  expect(await makeFolder(at("a/b/c"))).toBe(at("a"));
  expect(await makeFolder(at("a/b/d"))).toBe(at("a/b/d"));
  expect(await makeFolder(at("a/b/c"))).toBeUndefined();
  expect(readdirSync(at("a/b"))).toEqual(["c", "d"]);
});

test("the error for a folder that cannot be made gives the reason", async () => {
  writeFileSync(at("file"), "");
  symlinkSync(at("gone"), at("link"));
  for (const [path, message, code] of [
    ["file", /file: a file is in the way/, "EEXIST"],
    ["file/b/c", /file\/b\/c: a part of this path is a file/, "ENOTDIR"],
    ["link", /link: cannot create a folder there/, "ENOENT"],
    ["x".repeat(300), /the name is too long/, "ENAMETOOLONG"],
  ] as const)
    await expect(makeFolder(at(path))).rejects.toSatisfy((error: MosError) => {
      expect(error).toMatchObject({ code: "storage", message: expect.stringMatching(message) });
      return systemCode(error.cause) === code;
    });
});

test("a temporary folder has a unique name; the error says where it cannot be made", async () => {
  vi.stubEnv("TMPDIR", folder);
  const made = [await makeTemporaryFolder("mos-"), await makeTemporaryFolder("mos-")].map((path) =>
    basename(path),
  );
  expect(readdirSync(folder).sort()).toEqual(made.sort());
  for (const name of made) expect(name).toMatch(/^mos-\w{6}$/);
  vi.stubEnv("TMPDIR", at("none"));
  await expect(makeTemporaryFolder("mos-")).rejects.toMatchObject({
    code: "storage",
    message: `cannot create a temporary folder in ${at("none")}: no such file or folder; check the path`,
  });
});

test("a folder where a file should be is refused, anything else is not", async () => {
  writeFileSync(at("file"), "");
  for (const path of ["file", "none", "file/below"]) await assertNoFolder(at(path));
  symlinkSync(folder, at("link"));
  for (const path of [".", "link"])
    await expect(assertNoFolder(at(path))).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringMatching(/ is a folder; name a file/),
    });
});
