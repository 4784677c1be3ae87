import { posix } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { basename, dirname, extname, isAbsolute, join, resolve } from "./path.ts";

const path = fc
  .array(fc.constantFrom("/", "/", "a", "b.c", ".", "..", ".d", "e.", "é f"), { maxLength: 10 })
  .map((parts) => parts.join(""));

test("paths are those of POSIX", () => {
  fc.assert(
    fc.property(path, (one) => {
      expect(basename(one)).toBe(posix.basename(one));
      expect(posix.normalize(dirname(one))).toBe(posix.normalize(posix.dirname(one)));
      expect(extname(one)).toBe(posix.extname(one));
      expect(isAbsolute(one)).toBe(posix.isAbsolute(one));
    }),
    { numRuns: 2000 },
  );
});

test("paths are joined as on POSIX, and resolved from the root", () => {
  fc.assert(
    fc.property(fc.array(path, { maxLength: 4 }), (parts) => {
      expect(join(...parts)).toBe(posix.join(...parts));
      expect(resolve(...parts)).toBe(posix.resolve("/", ...parts));
    }),
    { numRuns: 2000 },
  );
});
