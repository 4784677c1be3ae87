import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { blockFormats, findBlockFormat } from "./dequantize.ts";

// Made by scripts/make_dequantize_fixture.py with llama.cpp's gguf package.
const fixture: Record<string, { raw: string; values: string }> = JSON.parse(
  readFileSync(new URL("../../test/fixtures/dequantize.json", import.meta.url), "utf8"),
);
const decodeBase64 = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

test("the fixture covers every readable type", () => {
  expect(Object.keys(fixture).sort()).toEqual(Object.keys(blockFormats).sort());
});

test.each(Object.keys(blockFormats))("%s gives the reference's numbers, bit for bit", (type) => {
  const { blockSize, bytes, decode } = findBlockFormat(type)!;
  const raw = decodeBase64(fixture[type]!.raw);
  const expected = new Float32Array(decodeBase64(fixture[type]!.values).buffer);
  expect((raw.length / bytes) * blockSize).toBe(expected.length);
  const target = new Float32Array(expected.length);
  decode(raw, target);
  expect([...target]).toEqual([...expected]);
  // the same from an odd place in a larger buffer
  const shifted = new Uint8Array(raw.length + 1);
  shifted.set(raw, 1);
  const again = new Float32Array(expected.length);
  decode(shifted.subarray(1), again);
  expect(again).toEqual(target);
});

test("types that cannot be read are absent", () => {
  expect(findBlockFormat("IQ2_XXS")).toBeUndefined();
  expect(findBlockFormat("constructor")).toBeUndefined();
});
