import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { TensorData } from "mixture-of-shards-graph";
import { type WeightFormat, weightBytes, weightParts } from "mixture-of-shards-graph/common";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { randomStream } from "#common";
import { blockFormats, type StoredType, storedFormat, writeSafetensors } from "#files";
import { runs } from "../../../../test/runs.ts";
import { blocksGguf, GGUF_TYPES, randomBlocks } from "../../test/block-gguf.ts";
import { storedBytes } from "../../test/stored-weights.ts";
import { writeGguf } from "../../test/tiny-gguf.ts";
import { asTensors, tinyModel, writeTinyModel } from "../../test/tiny-model.ts";
import { dequantizeWeight, numberAt } from "./dequantize-weight.ts";
import { computeIdentity } from "./fingerprint.ts";
import { loadBase, openModel } from "./load.ts";
import { baseFormats, type LoadProgress, readWeights } from "./read-weights.ts";
import { rowWriter } from "./row-writer.ts";
import { type Weight, weightFeeds } from "./weight.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mos-weights-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Equality to the bit, quickly. */
const same = (a: Float32Array, b: Float32Array): boolean =>
  a.length === b.length &&
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
const ALL = Object.keys(blockFormats) as StoredType[];
/** Types of all kinds of formats. */
const FILES: readonly StoredType[] = ["Q4_1", "Q8_0", "Q6_K"];

/** A weight from the bytes of its rows in a type. */
function written(
  type: StoredType,
  bytes: Uint8Array,
  shape: readonly [number, number],
  format: WeightFormat,
): Weight {
  const [out, width] = shape;
  const writer = rowWriter({ type, shape, width, format, onNumbers: () => {} });
  const size = bytes.length / out;
  for (let row = out - 1; row >= 0; row--) writer.write(row, bytes.subarray(row * size, (row + 1) * size));
  writer.finish();
  return writer.weight;
}

describe.each(ALL)("%s", (type) => {
  const { blockSize, bytes: blockBytes, decode } = blockFormats[type];

  test("kept as it is stands for the same numbers as expanded, to the bit", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(),
        (out, blocks, seed) => {
          const width = Math.max(64, blockSize) * blocks;
          const bytes = randomBlocks(type, { count: (out * width) / blockSize, seed });
          const expanded = new Float32Array(out * width);
          decode(bytes, expanded);
          const { format } = storedFormat(type);
          const weight = written(type, bytes, [out, width], format);
          expect(same(dequantizeWeight(weight), expanded)).toBe(true);
          expect(
            same(dequantizeWeight(weight, { begin: out - 1, end: out }), expanded.slice((out - 1) * width)),
          ).toBe(true);
          const some = [0, width - 1, out * width - 1, Math.floor((out * width) / 2)];
          for (const i of some) expect(numberAt(weight, i)).toBe(expanded[i]);
          // the tensors are those that a program takes
          for (const { part, shape, dtype } of weightParts(format, weight.shape))
            expect([part, (weight.parts[part] as TensorData).length, dtype]).toEqual([
              part,
              shape.reduce((a, b) => a * b, 1),
              dtype,
            ]);
          expect(storedBytes(weight)).toBe(weightBytes(format, weight.shape));
          expect(blocks * out * Math.max(64, blockSize)).toBe((bytes.length / blockBytes) * blockSize);
        },
      ),
      { numRuns: runs(25) },
    );
  });

  // how a type is decoded is decided above, and files differ in nothing else
  const tags = FILES.includes(type) ? [] : ["thorough"];
  test("a file of it loads as its float32 expansion does: numbers, fingerprint, identity", {
    tags,
  }, async () => {
    const { kept, expanded } = blocksGguf(type);
    await writeGguf(at("kept.gguf"), kept);
    await writeGguf(at("expanded.gguf"), expanded);
    const stored = await loadBase(at("kept.gguf"), { baseDtype: "stored" });
    const float = await loadBase(at("expanded.gguf"), { baseDtype: "float32" });
    const opened = await loadBase(at("kept.gguf"), { baseDtype: "float32" });
    expect(stored.fingerprint).toBe(float.fingerprint);
    expect(stored.identity).toBe(float.identity);
    expect(opened).toMatchObject({ fingerprint: float.fingerprint, identity: float.identity });
    for (const [name, weight] of stored.weights) {
      const expected = dequantizeWeight(float.weights.get(name)!);
      expect(same(dequantizeWeight(weight), expected), name).toBe(true);
      expect(same(dequantizeWeight(opened.weights.get(name)!), expected), name).toBe(true);
      expect(weight.format).toEqual(
        weight.shape.length === 1 ? { kind: "float32" } : storedFormat(type).format,
      );
    }
    await using files = await openModel(at("kept.gguf"));
    expect(await computeIdentity(files)).toBe(float.identity);
    const formats = baseFormats(files, {
      baseDtype: "stored",
      computeDtype: "float32",
      transposedCodes: false,
    });
    expect([...formats]).toEqual([...stored.weights].map(([name, { format }]) => [name, format]));
  });
});

test("the table of types is that of the writer of test files", () => {
  expect(Object.keys(GGUF_TYPES).sort()).toEqual([...ALL].sort());
});

describe("identity", () => {
  test("is equal in all quantisations of a model, and another where a gain or the geometry differs", async () => {
    await writeGguf(at("a.gguf"), blocksGguf("Q4_1").kept);
    await writeGguf(at("b.gguf"), blocksGguf("Q8_0").kept);
    await writeTinyModel(at("c"));
    await writeTinyModel(at("d"), {
      edit: (weights) => weights.get("model.norm.weight")!.data.fill(1.5, 3, 4),
    });
    await writeTinyModel(at("e"), { edit: (weights) => weights.get("lm_head.weight")!.data.fill(1.5, 3, 4) });
    await writeTinyModel(at("f"), { overrides: { rope_theta: 20000 } });
    const [a, b, c, d, e, f] = await Promise.all(
      ["a.gguf", "b.gguf", "c", "d", "e", "f"].map((name) => loadBase(at(name))),
    );
    expect(a!.identity).toBe(b!.identity);
    expect(a!.fingerprint).not.toBe(b!.fingerprint);
    expect(e!.identity).toBe(c!.identity);
    expect(e!.fingerprint).not.toBe(c!.fingerprint);
    expect(new Set([a, c, d, f].map((model) => model!.identity)).size).toBe(4);
  });
});

describe("quantised while it is read", () => {
  const model = tinyModel({ overrides: { hidden_size: 64, intermediate_size: 192, head_dim: 16 } });
  const random = randomStream(4, "numbers");
  const numbers = Float32Array.from({ length: 5 * 192 }, () => random.normal());
  const bytes = new Uint8Array(numbers.buffer);
  const shape = [5, 192] as const;

  const root = (a: Float32Array, b: Float32Array): number =>
    Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.length);

  test.each<[string, WeightFormat, number]>([
    [
      "int8",
      { kind: "blocks", bits: 8, blockSize: 64, zeroPoint: 0, scales: "float32", offsets: false },
      0.007,
    ],
    [
      "int4",
      { kind: "blocks", bits: 4, blockSize: 32, zeroPoint: 0, scales: "float16", offsets: true },
      0.09,
    ],
    ["nf4", { kind: "nf4", blockSize: 64 }, 0.11],
    ["int8 rows", { kind: "int8rows", transposed: true }, 0.016],
  ])("%s is near, in any order of rows", (_, format, most) => {
    const weight = written("F32", bytes, shape, format);
    const back = dequantizeWeight(weight);
    expect(root(numbers, back)).toBeLessThan(most);
    expect(root(numbers, back)).toBeGreaterThan(most / 2);
    expect(dequantizeWeight(weight, { begin: 3, end: 5 })).toEqual(back.slice(3 * 192));
    expect(storedBytes(weight)).toBe(weightBytes(format, shape));
    const { codes, transposed } = weight.parts;
    if (transposed)
      for (let i = 0; i < 5; i++)
        for (let k = 0; k < 192; k++) expect(transposed[k * 5 + i]).toBe(codes![i * 192 + k]);
  });

  test.each(["int8", "int4", "nf4"] as const)(
    "%s keeps the fingerprint of the file and leaves vectors alone",
    async (baseDtype) => {
      await writeTinyModel(at("m"), { overrides: { hidden_size: 64, intermediate_size: 192, head_dim: 16 } });
      const float = await loadBase(at("m"));
      const loaded = await loadBase(at("m"), { baseDtype });
      expect(loaded).toMatchObject({ fingerprint: float.fingerprint, identity: float.identity });
      for (const [name, weight] of loaded.weights) {
        const expected = model.weights.get(name)!.data;
        if (weight.shape.length === 1) expect(dequantizeWeight(weight)).toEqual(expected);
        else expect(root(dequantizeWeight(weight), expected)).toBeLessThan(0.012);
      }
      const head = loaded.weights.get("lm_head.weight")!.format;
      expect(head).toMatchObject(
        baseDtype === "nf4" ? { kind: "float32" } : { kind: "blocks", bits: 8, blockSize: 64 },
      );
    },
  );
});

describe("what is refused", () => {
  const wide = { hidden_size: 64, intermediate_size: 64, head_dim: 16 };
  const q = "model.layers.0.self_attn.q_proj.weight";
  const refusal = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) });

  test.each<[StoredType, number, RegExp]>([
    [
      "Q4_1",
      1,
      /q_proj.weight has the scale (NaN|-?Infinity) for block 3 of row 64; scales and offsets must be finite.* damaged/,
    ],
    ["Q4_1", 3, /q_proj.weight has the offset (NaN|-?Infinity) for block 3 of row 64/],
    ["Q4_K", 1, /q_proj.weight has the scale (NaN|-?Infinity) for block [0-7] of row 64/],
    ["F16", 1, /q_proj.weight holds the value (NaN|-?Infinity) at 16387/],
    ["BF16", 1, /q_proj.weight holds the value (NaN|-?Infinity) at 16387/],
  ])("%s with a scale or number that is not finite (byte %i)", async (type, byte, message) => {
    const { kept } = blocksGguf(type);
    const { blockSize, bytes } = blockFormats[type];
    const tensors = kept.tensors.map((tensor) => {
      if (tensor.name !== "blk.0.attn_q.weight") return tensor;
      const bad = tensor.bytes.slice();
      // row 64 is the first of a head, which llama.cpp leaves in its place
      const block = (64 * 256) / blockSize + (blockSize === 256 ? 0 : 3);
      bad.fill(0x7f, block * bytes + byte - 1, block * bytes + byte + 1);
      if (type === "BF16") bad.fill(0xff, block * bytes, block * bytes + 1);
      return { ...tensor, bytes: bad };
    });
    await writeGguf(at("bad.gguf"), { ...kept, tensors });
    await expect(loadBase(at("bad.gguf"), { baseDtype: "stored" })).rejects.toMatchObject(
      refusal("bad_model", message),
    );
    const loaded = loadBase(at("bad.gguf"), { baseDtype: "float32" });
    await expect(loaded).rejects.toMatchObject(
      refusal("bad_model", /q_proj.weight holds the value (NaN|-?Infinity) at 16/),
    );
  });

  test("a type that is not known, before any weight is read", async () => {
    const { kept } = blocksGguf("Q8_0");
    const tensors = kept.tensors.map((tensor) =>
      tensor.name === "output.weight" ? { ...tensor, type: 20 } : tensor,
    );
    await writeGguf(at("bad.gguf"), { ...kept, tensors });
    await expect(loadBase(at("bad.gguf"), { baseDtype: "stored" })).rejects.toMatchObject(
      refusal(
        "unsupported",
        /bad.gguf: tensor "output.weight" has the unsupported type IQ4_NL; supported types are F32, F16, BF16, Q4_0/,
      ),
    );
  });

  test("vectors in blocks, where llama.cpp has another order", async () => {
    const { kept } = blocksGguf("Q8_0");
    const biases = [["q", 256] as const, ["k", 64] as const, ["v", 64] as const].map(([letter, length]) => ({
      name: `blk.0.attn_${letter}.bias`,
      shape: [length],
      type: 8,
      bytes: randomBlocks("Q8_0", { count: length / 32, seed: 1 }),
    }));
    await writeGguf(at("bad.gguf"), { ...kept, tensors: [...kept.tensors, ...biases] });
    await expect(loadBase(at("bad.gguf"), { baseDtype: "float32" })).rejects.toMatchObject(
      refusal("unsupported", /bad.gguf: tensor "blk.0.attn_q.bias" is a vector in blocks of Q8_0/),
    );
  });

  test("rows that no block size divides", async () => {
    await writeTinyModel(at("tiny"));
    for (const baseDtype of ["int8", "int4", "nf4"] as const)
      await expect(loadBase(at("tiny"), { baseDtype })).rejects.toMatchObject(
        refusal(
          "unsupported",
          new RegExp(
            `down_proj.weight has rows of 40, which cannot be split into blocks of .* stored as ${baseDtype}; use the base dtype stored`,
          ),
        ),
      );
    await loadBase(at("tiny"), { computeDtype: "int8" });
  });

  test("numbers that int4 has no scale for", async () => {
    await writeTinyModel(at("big"), {
      overrides: wide,
      edit: (weights) => weights.get(q)!.data.fill(3e6, 0, 1),
    });
    await expect(loadBase(at("big"), { baseDtype: "int4" })).rejects.toMatchObject(
      refusal(
        "unsupported",
        /q_proj.weight has values in block 0 of row 0 that are too large to quantise \(the scale/,
      ),
    );
    await loadBase(at("big"), { baseDtype: "int8" });
  });

  test("whole numbers in safetensors", async () => {
    const { weights } = await writeTinyModel(at("whole"));
    const { shape } = weights.get(q)!;
    const data = new Int32Array(shape.reduce((a, b) => a * b, 1));
    await writeSafetensors(at("whole/model.safetensors"), {
      ...asTensors(weights),
      [q]: { dtype: "I32", shape, data },
    });
    await expect(loadBase(at("whole"), { baseDtype: "stored" })).rejects.toMatchObject(
      refusal("unsupported", /q_proj.weight" has type I32; expected F32, F16 or BF16/),
    );
  });

  test("parts of the wrong length", () => {
    const weight = written("F32", new Uint8Array(2 * 64 * 4), [2, 64], { kind: "nf4", blockSize: 64 });
    const short = { ...weight, parts: { ...weight.parts, codes: new Uint8Array(63) } };
    expect(() => weightFeeds("w", short)).toThrowError(
      "w: a weight [2, 64] stored as nf4 needs codes [2, 32], not 63 values",
    );
  });
});

describe("loading", () => {
  test("tells the bytes that were read, and ends at all of them", async () => {
    await writeGguf(at("a.gguf"), blocksGguf("Q4_0").kept);
    const seen: LoadProgress[] = [];
    const { weights } = await loadBase(at("a.gguf"), {
      baseDtype: "stored",
      onProgress: (progress) => seen.push(progress),
    });
    const bytes = [...weights.values()].reduce((sum, weight) => sum + storedBytes(weight), 0);
    expect(seen.every(({ doneBytes }, i) => doneBytes >= (seen[i - 1]?.doneBytes ?? 0))).toBe(true);
    // an odd number of rows of 4 bits takes half a row more in memory
    expect(bytes - seen.at(-1)!.totalBytes).toBe(2 * 128);
    expect(seen.at(-1)).toMatchObject({
      done: weights.size,
      total: weights.size,
      doneBytes: seen.at(-1)!.totalBytes,
    });
  });

  test("reads a tensor in parts, each into the same memory", async () => {
    await writeTinyModel(at("large"), { overrides: { vocab_size: 150_000, tie_word_embeddings: true } });
    await using files = await openModel(at("large"));
    const buffers = new Map<ArrayBufferLike, number>();
    const spying = {
      ...files,
      storedRows(name: string) {
        const rows = files.storedRows(name);
        const readInto = async (target: Uint8Array, begin: number) => {
          buffers.set(target.buffer, (buffers.get(target.buffer) ?? 0) + 1);
          await rows.readInto(target, begin);
        };
        return { ...rows, readInto };
      },
    };
    const reading = readWeights(spying, {
      baseDtype: "stored",
      computeDtype: "float32",
      transposedCodes: false,
    });
    for await (const [name] of reading) if (name.includes("embed")) break;
    // 9.6 MB in parts of 8 MiB
    expect([...buffers].map(([{ byteLength }, reads]) => [byteLength, reads])).toEqual([[8 * 2 ** 20, 2]]);
  });
});
