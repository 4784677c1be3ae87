import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { blockFormats, isStoredType, type StoredType } from "./dequantize.ts";

// Made by scripts/make_dequantize_fixture.py with llama.cpp's gguf package.
const fixture: Record<string, { raw: string; values: string }> = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/dequantize.json", import.meta.url), "utf8"),
);
const decodeBase64 = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

test("the fixture covers every readable type", () => {
  expect(Object.keys(fixture).sort()).toEqual(Object.keys(blockFormats).sort());
});

test.each(Object.keys(blockFormats) as StoredType[])(
  "%s gives the reference's numbers, bit for bit",
  (type) => {
    const { blockSize, bytes, decode } = blockFormats[type];
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
  },
);

test("types that cannot be read are absent", () => {
  expect(isStoredType("IQ2_XXS")).toBe(false);
  expect(isStoredType("constructor")).toBe(false);
});
