import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./floats.ts";
import { openGguf } from "./gguf.ts";
import { openGgufWriter, type WritableGgufTensor, type WritableGgufValue, writeGguf } from "./write-gguf.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-write-gguf-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const value: fc.Arbitrary<WritableGgufValue> = fc.oneof(
  fc.record({ type: fc.constant("string" as const), value: fc.string({ unit: "grapheme", maxLength: 40 }) }),
  fc.record({ type: fc.constant("uint32" as const), value: fc.nat({ max: 0xffffffff }) }),
  fc.record({ type: fc.constant("float32" as const), value: fc.float({ noNaN: true }) }),
  fc.record({ type: fc.constant("bool" as const), value: fc.boolean() }),
  fc.record({ type: fc.constant("strings" as const), value: fc.array(fc.string({ unit: "grapheme" })) }),
  fc.record({ type: fc.constant("int32s" as const), value: fc.array(fc.integer()) }),
);

const tensor: fc.Arbitrary<WritableGgufTensor> = fc
  .record({
    dtype: fc.constantFrom("F32" as const, "F16" as const, "BF16" as const),
    shape: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
  })
  .chain(({ dtype, shape }) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return fc
      .float32Array({ minLength: count, maxLength: count, noNaN: true })
      .map((data) => ({ dtype, shape, data }));
  });

// __proto__ is refused by the reader, whatever it names
const names = fc.stringMatching(/^[a-z0-9_.]{1,40}$/).filter((name) => name !== "__proto__");
const content: fc.Arbitrary<Parameters<typeof writeGguf>[1]> = fc.record({
  metadata: fc.dictionary(
    names.filter((name) => name !== "general.alignment"),
    value,
    { maxKeys: 6 },
  ),
  tensors: fc.dictionary(names, tensor, { maxKeys: 5 }),
});

const rounded = ({ dtype, data }: WritableGgufTensor): Float32Array =>
  dtype === "F32"
    ? data
    : dtype === "F16"
      ? decodeFloat16(encodeFloat16(data))
      : decodeBfloat16(encodeBfloat16(data));

test("the keys of a file are those of another one but for its type, whatever their texts hold", async () => {
  const path = join(folder, "keys.gguf");
  const trap = { type: "string", value: "general.file_type\x04\0\0\0" } as const;
  const type = { type: "uint32", value: 2 } as const;
  for (const metadata of [
    { "a.trap": trap, "general.file_type": type, "z.trap": trap },
    { "z.trap": trap },
  ]) {
    await writeGguf(path, { metadata, tensors: {} });
    await using before = await openGguf(path);
    const copy = join(folder, "copy.gguf");
    await using writer = await openGgufWriter(copy, await before.readKeys(7), []);
    await writer.commit();
    await using after = await openGguf(copy);
    const changed = "general.file_type" in metadata ? { "general.file_type": 7 } : {};
    expect(after.metadata).toEqual({ ...before.metadata, ...changed });
  }
});

describe("writeGguf", () => {
  test("what was written is read again", async () => {
    await fc.assert(
      fc.asyncProperty(content, async (written) => {
        const path = join(folder, "file.gguf");
        await writeGguf(path, written);
        await using file = await openGguf(path);
        expect(file.version).toBe(3);
        expect(new Map(Object.entries(file.metadata))).toEqual(
          new Map(Object.entries(written.metadata).map(([key, { value: given }]) => [key, given])),
        );
        expect([...file.tensors.keys()].sort()).toEqual(Object.keys(written.tensors).sort());
        for (const [name, given] of Object.entries(written.tensors)) {
          expect(file.tensors.get(name)).toMatchObject({ type: given.dtype, shape: given.shape });
          expect((file.tensors.get(name)?.offset ?? 1) % 32).toBe(0);
          expect(await file.readFloat32(name)).toEqual(rounded(given));
        }
      }),
      { numRuns: runs(60) },
    );
  });

  test("tensors follow each other at the multiples of 32 that llama.cpp expects, the last one padded", async () => {
    const path = join(folder, "aligned.gguf");
    const data = Float32Array.of(1, 2, 3);
    await writeGguf(path, {
      metadata: { "general.type": { type: "string", value: "adapter" } },
      tensors: { z: { dtype: "F32", shape: [3], data }, a: { dtype: "F16", shape: [3], data } },
    });
    await using file = await openGguf(path);
    const [z, a] = [file.tensors.get("z")!.offset, file.tensors.get("a")!.offset];
    expect(a - z).toBe(32);
    expect((await readFile(path)).length).toBe(a + 32);
  });

  test("a tensor that lies about itself leaves no file", async () => {
    const path = join(folder, "lie.gguf");
    const write = (shape: readonly number[], name = "a") =>
      writeGguf(path, {
        metadata: {},
        tensors: { [name]: { dtype: "F32", shape, data: new Float32Array(2) } },
      });
    await expect(write([3])).rejects.toThrowError('tensor "a" of shape [3] needs 3 values, but has 2');
    await expect(write([1, 1, 1, 1, 2])).rejects.toThrowError("more than 4 dimensions");
    await expect(write([2], "x".repeat(64))).rejects.toThrowError("a name of more than 63 bytes");
    expect((await readdir(folder)).filter((name) => name.includes("lie"))).toEqual([]);
  });

  test("blocks come in parts, in the order of the plan", async () => {
    const path = join(folder, "blocks.gguf");
    const [first, second] = [new Uint8Array(34).fill(60), new Uint8Array(34).fill(61)];
    const planned = [
      { name: "w", type: "Q8_0", shape: [2, 32] },
      { name: "v", type: "F32", shape: [1] },
    ] as const;
    {
      await using writer = await openGgufWriter(path, {}, planned);
      await writer.write("w", first);
      await expect(writer.write("v", new Uint8Array(4))).rejects.toThrowError(
        "was written out of order; expected",
      );
      await expect(writer.commit()).rejects.toThrowError('"w" is incomplete');
      await expect(writer.write("w", new Uint8Array(35))).rejects.toThrowError("has 68 bytes");
    }
    expect((await readdir(folder)).filter((name) => name.includes("blocks"))).toEqual([]);
    await using writer = await openGgufWriter(path, {}, planned);
    await writer.write("w", first);
    await writer.write("w", second);
    await writer.write("v", new Uint8Array(Float32Array.of(7).buffer));
    await writer.commit();
    await using file = await openGguf(path);
    expect(file.tensors.get("w")).toMatchObject({ type: "Q8_0", shape: [2, 32] });
    const [w, v] = [await file.readFloat32("w"), await file.readFloat32("v")];
    // float16 0x3c3c is 1 + 60/1024, and 0x3d3d is 1 + 317/1024
    expect([w[0], w[63], v[0]]).toEqual([60 * (1 + 60 / 1024), 61 * (1 + 317 / 1024), 7]);
    const odd = openGgufWriter(path, {}, [{ name: "w", type: "Q4_0", shape: [2, 48] }]);
    await expect(odd).rejects.toThrowError("rows that are not whole blocks of 32");
  });
});
