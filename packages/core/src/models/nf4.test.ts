import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { dequantizeWeight } from "./dequantize-weight.ts";
import { nf4Codes } from "./quantize-blocks.ts";
import { floatData } from "./weight.ts";

// Made by scripts/make_nf4_fixture.py with bitsandbytes.
const fixture: Record<string, string> = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/nf4.json", import.meta.url), "utf8"),
);
const readBytes = (name: string) => new Uint8Array(Buffer.from(fixture[name]!, "base64"));
const readFloats = (name: string) => new Float32Array(readBytes(name).buffer);

test("codes, scales and numbers are those of bitsandbytes", () => {
  const numbers = readFloats("numbers");
  const rows = numbers.length / 128;
  const bytes = new Uint8Array(numbers.length / 2);
  const absmax = new Float32Array(numbers.length / 64);
  for (let row = 0; row < rows; row++)
    nf4Codes(numbers.subarray(row * 128, (row + 1) * 128), { row, blockSize: 64, bytes, absmax });
  expect(absmax).toEqual(readFloats("absmax"));
  expect(bytes).toEqual(readBytes("codes"));
  const weight = {
    shape: [rows, 128],
    format: { kind: "nf4", blockSize: 64 },
    parts: { codes: bytes, scales: absmax },
  } as const;
  expect(dequantizeWeight(weight)).toEqual(readFloats("values"));
  expect(() => floatData(weight)).toThrowError("stored as nf4 was read as float32");
});
