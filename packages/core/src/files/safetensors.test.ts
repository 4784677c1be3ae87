import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./floats.ts";
import { openSafetensors } from "./safetensors.ts";
import { openSafetensorsWriter, writeSafetensors } from "./write-safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "mos-safetensors-"));
const path = join(folder, "x.safetensors");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file with this header, true or not, and this much data. */
function write(header: unknown, dataBytes: number, claimed?: bigint): void {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
}
const f32 = (shape: readonly number[], begin: number, end: number) => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

test("what is written is read again, in every type", async () => {
  const data = Float32Array.of(1.5, -2, 0.1, 3e-5);
  await writeSafetensors(
    path,
    {
      full: { dtype: "F32", shape: [2, 2], data },
      half: { dtype: "F16", shape: [4], data },
      brain: { dtype: "BF16", shape: [4, 1], data },
      whole: { dtype: "I32", shape: [3], data: Int32Array.of(1, -2, 2147483647) },
      one: { dtype: "F32", shape: [], data: Float32Array.of(7) },
      none: { dtype: "F32", shape: [0, 3], data: new Float32Array(0) },
    },
    { format: "pt", made: "here" },
  );
  await using file = await openSafetensors(path);
  expect(file.metadata).toEqual({ format: "pt", made: "here" });
  expect(await file.readFloat32("full")).toEqual(data);
  expect(await file.readFloat32("half")).toEqual(decodeFloat16(encodeFloat16(data)));
  expect(await file.readFloat32("brain")).toEqual(decodeBfloat16(encodeBfloat16(data)));
  expect(await file.readInt32("whole")).toEqual(Int32Array.of(1, -2, 2147483647));
  expect(await file.readFloat32("one")).toEqual(Float32Array.of(7));
  expect((await file.readFloat32("none")).length).toBe(0);
  expect((await file.readBytes("half")).length).toBe(8);
  expect(file.tensors.get("brain")?.shape).toEqual([4, 1]);
});

test("the order of the names does not change the bytes", async () => {
  const tensor = (x: number) => ({ dtype: "F32", shape: [1], data: Float32Array.of(x) }) as const;
  const half = { dtype: "F16", shape: [1], data: Float32Array.of(1) } as const;
  await writeSafetensors(path, { a: half, b: tensor(1), c: tensor(2) }, { x: "1", y: "2" });
  const first = readFileSync(path);
  await writeSafetensors(path, { c: tensor(2), b: tensor(1), a: half }, { y: "2", x: "1" });
  expect(readFileSync(path).equals(first)).toBe(true);
  expect(first.readBigUInt64LE() % 8n).toBe(0n);
});

test("large tensors cross the chunks unchanged", async () => {
  const data = Float32Array.from({ length: (1 << 22) + 5 }, (_, i) => (i % 2048) - 1024);
  await writeSafetensors(path, { a: { dtype: "F16", shape: [data.length], data } });
  await using file = await openSafetensors(path);
  expect(Buffer.compare(Buffer.from((await file.readFloat32("a")).buffer), Buffer.from(data.buffer))).toBe(0);
});

test("64-bit integers are read where they fit", async () => {
  write({ a: { dtype: "I64", shape: [2], data_offsets: [0, 16] } }, 16);
  const bytes = readFileSync(path);
  bytes.writeBigInt64LE(-5n, bytes.length - 16);
  bytes.writeBigInt64LE(9n, bytes.length - 8);
  writeFileSync(path, bytes);
  {
    await using file = await openSafetensors(path);
    expect(await file.readInt32("a")).toEqual(Int32Array.of(-5, 9));
  }
  bytes.writeBigInt64LE(2n ** 40n, bytes.length - 8);
  writeFileSync(path, bytes);
  await using file = await openSafetensors(path);
  await expect(file.readInt32("a")).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/"a": value 1099511627776 at 1/),
  });
});

test.each<[string, () => void, RegExp]>([
  ["an empty file", () => writeFileSync(path, ""), /0 bytes are too few/],
  ["a header beyond the file", () => write({}, 0, 1000n), /header claims 1000 bytes/],
  ["a header of 2⁶³ bytes", () => write({}, 0, 2n ** 63n), /header claims/],
  ["a header that is not JSON", () => write("{oops", 0), /header: not valid JSON/],
  ["a header that is not an object", () => write("[1]", 0), /header: expected an object with dtype/],
  ["a tensor that is not an object", () => write({ a: 3 }, 0), /tensor "a": this is 3; expected an object/],
  ["a negative dimension", () => write({ a: f32([-1], 0, 4) }, 4), /tensor "a": field "shape.0"/],
  ["a fractional offset", () => write({ a: f32([1], 0, 4.5) }, 4), /field "data_offsets.1"/],
  [
    "a shape that needs more bytes",
    () => write({ a: f32([2, 2], 0, 8) }, 8),
    /F32 \[2, 2\] takes 16 bytes, but the offsets span 8/,
  ],
  ["a shape that overflows", () => write({ a: f32([2 ** 52, 2 ** 52], 0, 8) }, 8), /takes 8.1\S+ bytes/],
  [
    "a truncated file",
    () => write({ a: f32([4], 0, 16) }, 12),
    /end at byte \d+, but the file has \d+; it is cut short/,
  ],
  ["data behind the last tensor", () => write({ a: f32([1], 0, 4) }, 8), /the tensors end at byte/],
  [
    "overlapping tensors",
    () => write({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8),
    /"b" begins at byte 4 of the data, but 8 was expected \(overlap\)/,
  ],
  [
    "a gap",
    () => write({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12),
    /"b" begins at byte 8 of the data, but 4 was expected \(gap\)/,
  ],
  [
    "the same name twice",
    () =>
      write(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
    /occurs twice/,
  ],
  [
    "a poisonous name",
    () => write('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    /may not be named "__proto__"/,
  ],
  ["metadata that is not text", () => write({ __metadata__: { a: 1 } }, 0), /__metadata__: field "a"/],
  [
    "a thousand nested lists",
    () => write(`{"a":${"[".repeat(1000)}${"]".repeat(1000)}}`, 0),
    /header: expected an object with dtype/,
  ],
  [
    "a fourth field",
    () => write({ a: { ...f32([1], 0, 4), more: 1 } }, 4),
    /header: there are more than 3 fields/,
  ],
  [
    "17 dimensions",
    () => write({ a: f32(Array(17).fill(1), 0, 4) }, 4),
    /header: there are more than 16 dimensions/,
  ],
  [
    "more tensors than any model has",
    () => write(`{${'"":0,'.repeat(100_001)}"a":0}`, 0),
    /header: there are more than 100001 tensors/,
  ],
  ["a long name", () => write({ ["x".repeat(9999)]: f32([2], 0, 4) }, 4), /tensor "x{150}…": F32 \[2\]/],
])("%s is refused", async (_, make, message) => {
  make();
  await expect(openSafetensors(path)).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(message),
  });
  await expect(openSafetensors(path, { code: "bad_adapter" })).rejects.toMatchObject({ code: "bad_adapter" });
});

test("types that are unknown or no numbers are refused by name", async () => {
  write({ a: { dtype: "F4", shape: [1], data_offsets: [0, 4] } }, 4);
  await expect(openSafetensors(path)).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringMatching(/"a" has the unknown type F4/),
  });
  write({ a: { dtype: "BOOL", shape: [4], data_offsets: [0, 4] } }, 4);
  await using file = await openSafetensors(path);
  await expect(file.readFloat32("a")).rejects.toMatchObject({ code: "unsupported" });
  await expect(file.readInt32("a")).rejects.toMatchObject({ code: "unsupported" });
  await expect(file.readFloat32("b")).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/no tensor "b"/),
  });
});

test("a shape and numbers that disagree are not written", async () => {
  const wrong = writeSafetensors(join(folder, "y.safetensors"), {
    a: { dtype: "F32", shape: [3], data: new Float32Array(2) },
  });
  await expect(wrong).rejects.toMatchObject({
    code: "bad_config",
    message: expect.stringMatching(/\[3\] needs 3 values, but has 2/),
  });
  expect(readdirSync(folder)).toEqual(["x.safetensors"]);
});

test("no damage to the header goes further than a clear error", async () => {
  await writeSafetensors(path, {
    a: { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) },
    b: { dtype: "F16", shape: [1], data: Float32Array.of(1) },
  });
  const good = readFileSync(path);
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), async (position, byte) => {
      const bad = Buffer.from(good);
      bad[position] = byte;
      writeFileSync(path, bad);
      try {
        await using file = await openSafetensors(path);
        for (const { begin, end } of file.tensors.values())
          expect(begin <= end && end <= bad.length).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ name: "MosError" });
      }
    }),
    { numRuns: runs(300) },
  );
});

test("a part of a tensor is that part of the whole, and a file may be written in parts", async () => {
  const data = Float32Array.from({ length: 60 }, (_, i) => i - 30);
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    {
      const plan = [
        { name: "first", dtype, shape: [2] },
        { name: "second", dtype, shape: [6, 10] },
      ];
      await using writer = await openSafetensorsWriter(path, plan);
      await expect(writer.write("second", data)).rejects.toThrowError(
        /"second" was written out of order; expected/,
      );
      await writer.write("first", data.subarray(0, 2));
      await writer.write("second", data.subarray(0, 25));
      await expect(writer.commit()).rejects.toThrowError(/"second" is incomplete/);
      await writer.write("second", data.subarray(25));
      await writer.commit();
    }
    await using file = await openSafetensors(path);
    expect(await file.readFloat32("second")).toEqual(data);
    const part = new Uint8Array(30);
    await file.readInto("second", part, 20);
    expect(part).toEqual((await file.readBytes("second")).subarray(20, 50));
    await using excess = await openSafetensorsWriter(path, [{ name: "one", dtype, shape: [1] }]);
    await expect(excess.write("one", data)).rejects.toThrowError(/"one" has 1 values, but 60 were written/);
  }
});
