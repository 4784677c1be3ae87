import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { fromFileName, toFileName } from "./file-names.ts";

/** Microsoft's rules for names, in other words than those of the code. */
function isAllowedOnWindows(file: string): boolean {
  const [stem = ""] = file.toUpperCase().split(".");
  const devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"];
  for (const digit of "0123456789¹²³") devices.push(`COM${digit}`, `LPT${digit}`);
  const codes = [...file].map((letter) => letter.codePointAt(0) ?? 0);
  return (
    !codes.some((code) => code < 32) &&
    ![...'<>:"/\\|?*'].some((letter) => file.includes(letter)) &&
    !file.endsWith(".") &&
    !file.endsWith(" ") &&
    !devices.includes(stem.trimEnd())
  );
}

const pieces = [
  "ft:",
  "con",
  "COM1",
  "lpt¹",
  "nul",
  ".",
  " ",
  "%",
  "%3A",
  "%3a",
  "3A",
  ":",
  "a",
  "é",
  "\u0301",
  "😀",
];
const anyName = fc.oneof(
  fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 6 }).map((parts) => parts.join("")),
  fc.string({ unit: "binary", minLength: 1 }),
  fc.string({ unit: "grapheme", minLength: 1 }),
);

test("a name is got back from its file's, which Windows can have", () => {
  fc.assert(
    fc.property(anyName, (name) => {
      const file = toFileName(name);
      expect(fromFileName(file)).toBe(name);
      expect(isAllowedOnWindows(file)).toBe(true);
    }),
    { numRuns: runs(2000) },
  );
});

test("a file that somebody named otherwise has its own name", () => {
  fc.assert(
    fc.property(anyName, (file) => {
      const name = fromFileName(file);
      expect(name === file || toFileName(name) === file).toBe(true);
    }),
    { numRuns: runs(2000) },
  );
  for (const file of ["a:b", "50%", "a%3ab", "a%41", "%FF", "CON", "two words"])
    expect(fromFileName(file)).toBe(file);
});

test.each([
  ["acme-support_v1.2", "acme-support_v1.2"],
  ["Zoë's 模型", "Zoë's 模型"],
  ["ft:base:acme:x:12345678:ckpt-step-10", "ft%3Abase%3Aacme%3Ax%3A12345678%3Ackpt-step-10"],
  ["100%", "100%25"],
  ["..", ".%2E"],
  ["../x", "..%2Fx"],
  ["nul .x", "%6Eul .x"],
  ["com10", "com10"],
])("%j is %j on the disk", async (name, file) => {
  expect(toFileName(name)).toBe(file);
  const folder = await mkdtemp(join(tmpdir(), "mos-file-names-"));
  await mkdir(join(folder, toFileName(name)));
  expect((await readdir(folder)).map(fromFileName)).toEqual([name]);
  await rm(folder, { recursive: true });
});
