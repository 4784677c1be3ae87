import { expect, test } from "vitest";
import { MosError } from "./error.ts";

test("a message has one line, whatever a file holds", () => {
  const { message } = new MosError("bad_data", 'x.json: "a\n\u001b[2Jmos: all is well\u2028"');
  expect(message).toBe('x.json: "a\\n\\u001b[2Jmos: all is well\\u2028"');
});

test("quotations and words end after 150 and 200 characters", () => {
  const { message } = new MosError("bad_data", `"${"a b".repeat(1000)}" is not ${"x".repeat(5000)}; give y`);
  expect(message).toBe(`"${"a b".repeat(100).slice(0, 150)}…" is not ${"x".repeat(200)}… give y`);
  expect(new MosError("bad_data", "a ".repeat(10_000)).message).toHaveLength(2001);
});

test("what follows a quotation is not one", () => {
  const message = `there is no "a"; known are ${"b, ".repeat(100)}`;
  expect(new MosError("not_found", message).message).toBe(message);
});

test("a hint is lines of our own", () => {
  expect(new MosError("bad_data", "no\nlines", { hint: "one\ntwo" }).message).toBe("no\\nlines\none\ntwo");
});
