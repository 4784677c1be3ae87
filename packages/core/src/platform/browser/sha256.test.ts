import { createHash as createNodeHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createHash } from "./sha256.ts";

const part = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.string({ unit: "binary" }),
  fc.int32Array({ maxLength: 70 }),
  fc.float32Array({ maxLength: 70 }),
);

test("digests are Node's, however the data are cut", () => {
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      for (const encoding of ["hex", "base64url"] as const) {
        const [own, node] = [createHash("sha256"), createNodeHash("sha256")];
        for (const one of parts) {
          own.update(one);
          node.update(one);
        }
        expect(own.digest(encoding)).toBe(node.digest(encoding));
      }
    }),
    { numRuns: 300 },
  );
});

test("ends of all lengths are padded", () => {
  const bytes = Uint8Array.from({ length: 200 }, (_, i) => i * 7);
  for (let length = 0; length <= bytes.length; length++) {
    const data = bytes.subarray(0, length);
    expect(createHash("sha256").update(data).digest("hex")).toBe(
      createNodeHash("sha256").update(data).digest("hex"),
    );
  }
});
