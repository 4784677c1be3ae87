import fc from "fast-check";
import { expect, test } from "vitest";
import { isSafePath, looksLikeRepository, parseRepository, repositoryAt } from "./repository.ts";

test("reads name, revision and file", () => {
  expect(parseRepository("org/name")).toEqual({ name: "org/name", revision: "main" });
  expect(parseRepository("org/name", "v2")).toEqual({ name: "org/name", revision: "v2" });
  expect(parseRepository("org/name@refs/pr/3")).toEqual({ name: "org/name", revision: "refs/pr/3" });
  expect(parseRepository("o-r.g/n_a.me@v1.0:sub/file.Q4_1.gguf", "v2")).toEqual({
    name: "o-r.g/n_a.me",
    revision: "v1.0",
    file: "sub/file.Q4_1.gguf",
  });
});

test.each([
  "name",
  "",
  "../name",
  "org/..",
  "a/b/c",
  "/org/name",
  "org/na me",
  "org/a--b",
  "https://huggingface.co/datasets/org/name",
  "https://example.org/org/name",
  "hf.co/org/name:Q4_K_M",
  "https://huggingface.co/org/name/discussions/3",
  "https://huggingface.co/org/name/blob/main/..%2Fx.gguf",
  "https://huggingface.co/org/name/tree/%",
  "org/name@",
  "org/name@../main",
  "org/name@-x",
  "org/name@a//b",
  "org/name:../file.gguf",
  "org/name:/etc/passwd",
  "org/name:a\\b.gguf",
])("refuses %j", (text) => {
  expect(() => parseRepository(text)).toThrowError(expect.objectContaining({ code: "bad_option" }));
});

test.each([
  ["https://huggingface.co/org/name", "org/name"],
  ["http://www.huggingface.co/org/name/?library=x#usage", "org/name"],
  ["hf.co/org/name/", "org/name"],
  ["https://huggingface.co/org/name/tree/refs%2Fpr%2F3", "org/name@refs/pr/3"],
  ["https://huggingface.co/org/name/blob/main/sub/a%20b.gguf?download=true", "org/name@main:sub/a b.gguf"],
  ["https://huggingface.co/org/name/resolve/v1.0/a.gguf", "org/name@v1.0:a.gguf"],
])("reads the address %j", (address, name) => {
  expect(repositoryAt(address)).toBe(name);
  expect(parseRepository(address)).toEqual(parseRepository(name));
  expect(repositoryAt(address.replace(/^.*?co\//, "https://mirror:8/hub/"), "https://mirror:8/hub")).toBe(
    name,
  );
});

test("distinguishes repositories from paths", () => {
  expect(looksLikeRepository("org/name@main:file.gguf")).toBe(true);
  expect(looksLikeRepository("./org/name")).toBe(false);
  expect(looksLikeRepository("/models/name")).toBe(false);
  expect(looksLikeRepository("model.gguf")).toBe(false);
});

test("a safe path never leaves its folder", () => {
  const part = fc.constantFrom("..", ".", "", "a", "b.json", "C:", "\\", "\n", "\u0000", "\u0085", "x y");
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), (parts) => {
      const safe = parts.every((p) => p === "a" || p === "b.json" || p === "x y");
      expect(isSafePath(parts.join("/"))).toBe(safe);
    }),
  );
  expect(isSafePath("a".repeat(1025))).toBe(false);
});
