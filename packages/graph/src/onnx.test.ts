import { describe, expect, test } from "vitest";
import { serialize } from "./onnx.ts";
import { add, mul } from "./ops/elementwise.ts";
import { matmul } from "./ops/linear.ts";
import type { Shape } from "./tensor-type.ts";
import { cast, constant, type DType, leaf } from "./value.ts";

const weights = (rows: number, columns: number) =>
  constant(new Float32Array(rows * columns), [rows, columns]);

describe("leaves", () => {
  test("are the inputs, by name, each once, and only those that the outputs need", () => {
    const x = leaf("x", ["n", 2]);
    const unused = leaf("unused", [1]);
    add(x, unused);
    const { inputs } = serialize({
      y: mul(x, x),
      z: matmul(x, leaf("w", [2, 3])),
      i: leaf("ids", ["m"], "int32"),
    });
    expect(new Map(inputs)).toEqual(
      new Map<string, { shape: Shape; dtype: DType }>([
        ["x", { shape: ["n", 2], dtype: "float32" }],
        ["w", { shape: [2, 3], dtype: "float32" }],
        ["ids", { shape: ["m"], dtype: "int32" }],
      ]),
    );
  });

  test.each<[string, Shape, DType]>([
    ["two shapes", [3], "float32"],
    ["two types", [2], "int32"],
    ["a name for a known size", ["n"], "float32"],
  ])("of one name with %s are refused", (_, shape, dtype) => {
    const twice = { a: leaf("x", [2]), b: leaf("x", shape, dtype) };
    expect(() => serialize(twice)).toThrowError(
      expect.objectContaining({
        code: "bad_config",
        message: "leaf x is used with different shapes or types",
      }),
    );
  });
});

describe("constants", () => {
  const x = leaf("x", ["n", 64]);
  const small = constant(new Float32Array(64));
  const y = add(matmul(matmul(x, weights(64, 64)), weights(64, 64)), small);

  test("are inside while they are small together", () => {
    const { external, model } = serialize({ y });
    expect(external).toEqual([]);
    expect(model.length).toBeGreaterThan(2 * 64 * 64 * 4);
  });

  test("are external above the limit, the large ones only, at aligned offsets", () => {
    const { external, model } = serialize({ y }, { inlineLimit: 1000 });
    expect(external.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([
      [0, 16384],
      [16384, 16384],
    ]);
    expect(model.length).toBeLessThan(2000);
    const odd = matmul(leaf("v", ["n", 3]), weights(3, 100));
    const { external: aligned } = serialize({ odd, y }, { inlineLimit: 1000 });
    for (const { offset } of aligned) expect(offset % 4096).toBe(0);
    for (const [i, { offset }] of aligned.entries())
      if (i > 0) expect(offset).toBeGreaterThanOrEqual(aligned[i - 1]!.offset + aligned[i - 1]!.bytes.length);
  });

  test("that were given for leaves are no inputs, and each has a file of its own where that is asked for", () => {
    const w = leaf("w", [64, 64]);
    const given = { w: { data: new Float32Array(64 * 64).fill(2) }, z: { data: new Float32Array(1) } };
    const options = { fixed: given, inlineLimit: 0, separateFiles: true, externalName: "part" };
    const { inputs, external } = serialize({ y: matmul(matmul(matmul(x, w), weights(64, 64)), w) }, options);
    expect([...inputs.keys()]).toEqual(["x"]);
    expect(external.map(({ file, offset, bytes }) => [file, offset, bytes[3]])).toEqual([
      ["part.0", 0, 64],
      ["part.1", 0, 0],
    ]);
    const mixed = { y: mul(w, leaf("w", [64, 1])) };
    expect(() => serialize(mixed, options)).toThrowError(expect.objectContaining({ code: "bad_config" }));
  });

  test("that are used twice are written once", () => {
    const w = weights(64, 64);
    const twice = serialize({ y: matmul(matmul(x, w), w) });
    expect(twice.model.length).toBeLessThan(1.1 * 64 * 64 * 4);
  });

  test("need as many numbers as their shape has elements", () => {
    expect(() => constant(new Float32Array(5), [2, 3])).toThrowError(
      expect.objectContaining({ message: "a constant of shape [2, 3] needs 6 elements, not 5" }),
    );
    expect(() => constant(new Float32Array(5), ["n"])).toThrowError(
      expect.objectContaining({ message: "dimension n has no size before the run" }),
    );
  });
});

test("the same graph gives the same bytes", () => {
  const build = () => serialize({ y: matmul(leaf("x", ["n", 2]), weights(2, 3)) }).model;
  expect(build()).toEqual(build());
});

test("a graph of many thousand nodes is written", () => {
  let y = leaf("x", [1]);
  for (let i = 0; i < 20_000; i++) y = add(y, y);
  expect(serialize({ y }).model.length).toBeGreaterThan(20_000);
});

test("constants in halves become float32 for a device without them", () => {
  const halves = constant(Uint16Array.of(0x3c00, 0xc100), [2], "float16");
  const outputs = { y: mul(cast(halves, "float32"), leaf("x", [2])) };
  const outside = { externalAbove: 0, inlineLimit: 0, separateFiles: true };
  const read = (widensHalves: boolean): Uint8Array | undefined =>
    serialize(outputs, { ...outside, widensHalves }).external[0]?.bytes;
  expect(read(false)).toHaveLength(4);
  expect(new Float32Array(read(true)?.slice().buffer ?? new ArrayBuffer(0))).toEqual(
    Float32Array.of(1, -2.5),
  );
});
