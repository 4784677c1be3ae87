import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import type { MosError } from "../error.ts";
import { mul } from "../ops/elementwise.ts";
import { embed } from "../ops/gather.ts";
import { matmul } from "../ops/linear.ts";
import { randomStream } from "../random.ts";
import { constant, leaf, type Value } from "../value.ts";
import { DEVICES } from "./device.ts";
import { compile, type Program } from "./program.ts";

const square = (): Promise<Program> => {
  const x = leaf("x", ["n"]);
  return compile({ y: mul(x, x) });
};
const refusal = (code: string, message: string | RegExp) =>
  expect.objectContaining({
    name: "MosError",
    code,
    message: typeof message === "string" ? message : expect.stringMatching(message),
  });

describe("inputs are checked by name:", () => {
  const product = () =>
    compile({
      y: matmul(leaf("x", ["n", 2]), leaf("w", [2, 3])),
      rows: embed(leaf("table", [4, 2]), leaf("ids", ["m"], "int32")),
    });
  const floats = (shape: readonly number[]) => ({
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });
  const good = {
    x: floats([5, 2]),
    w: floats([2, 3]),
    table: floats([4, 2]),
    ids: { shape: [1], data: Int32Array.of(3) },
  };

  test.each([
    ["a wrong size", { x: floats([5, 3]) }, "input x has shape [5, 3], but the program takes [n, 2]"],
    ["a wrong rank", { w: floats([6]) }, "input w has shape [6], but the program takes [2, 3]"],
    [
      "too few numbers",
      { w: { shape: [2, 3], data: new Float32Array(5) } },
      "input w: 5 elements do not fit the shape [2, 3]",
    ],
    ["a wrong type", { w: { shape: [2, 3], data: new Int32Array(6) } }, "input w: Int32Array is not float32"],
    ["floats as indices", { ids: floats([1]) }, "input ids: Float32Array is not int32"],
    ["an unknown name", { z: floats([1]) }, "the program has no input z"],
  ])("%s", async (_, change, message) => {
    await using program = await product();
    await expect(program.run({ ...good, ...change })).rejects.toThrowError(refusal("bad_config", message));
    expect((await program.run(good))["y"]!.shape).toEqual([5, 3]);
  });

  test("a missing one", async () => {
    await using program = await product();
    const { w: _, ...rest } = good;
    await expect(program.run(rest)).rejects.toThrowError(refusal("bad_config", "input w was not given"));
    expect(() => program.bind({ w: floats([3, 2]) })).toThrowError(
      refusal("bad_config", /input w has shape \[3, 2\]/),
    );
  });

  test("content that the program cannot take", async () => {
    await using program = await product();
    const run = program.run({ ...good, ids: { shape: [1], data: Int32Array.of(4) } });
    await expect(run).rejects.toThrowError(refusal("device", /failed on device cpu: .*idx=4/s));
  });
});

describe("bound inputs", () => {
  test("stay for later runs, follow their array, and yield to those of a run", async () => {
    await using program = await square();
    const data = Float32Array.of(1, 2);
    program.bind({ x: { shape: [2], data } });
    expect([...(await program.run({}))["y"]!.data]).toEqual([1, 4]);
    data[0] = 3;
    expect([...(await program.run({}))["y"]!.data]).toEqual([9, 4]);
    expect([...(await program.run({ x: { shape: [1], data: Float32Array.of(5) } }))["y"]!.data]).toEqual([
      25,
    ]);
    expect([...(await program.run({}))["y"]!.data]).toEqual([9, 4]);
  });

  test("of 64-bit programs are whole numbers of 32 bits", async () => {
    const x = leaf("x", ["n"], "int64");
    await using program = await compile({ y: mul(x, x) });
    const { y } = await program.run({ x: { shape: [2], data: Int32Array.of(-3, 40_000) } });
    expect(y!.data).toEqual(Int32Array.of(9, 1_600_000_000));
  });
});

test("only the requested outputs are returned", async () => {
  const x = leaf("x", ["n"]);
  await using program = await compile({ y: mul(x, x), z: mul(x, mul(x, x)) });
  expect(Object.keys(await program.run({ x: { shape: [1], data: Float32Array.of(2) } }, ["z"]))).toEqual([
    "z",
  ]);
});

test("outputs may be leaves, each other, and what others are computed from", async () => {
  const x = leaf("x", ["n"]);
  const y = mul(x, x);
  await using program = await compile({ y, again: y, cube: mul(y, x), given: x });
  const results = await program.run({ x: { shape: [2], data: Float32Array.of(2, 3) } }, [
    "y",
    "again",
    "cube",
    "given",
  ]);
  const found = Object.entries(results).map(([name, { data }]) => [name, [...data]]);
  expect(Object.fromEntries(found)).toEqual({ y: [4, 9], again: [4, 9], cube: [8, 27], given: [2, 3] });
});

test("an output is written into memory that is given for it, of which it takes a part", async () => {
  await using program = await square();
  const memory = new Float32Array(4);
  const run = (...numbers: readonly number[]) =>
    program.run(
      { x: { shape: [numbers.length], data: Float32Array.from(numbers) } },
      { y: { shape: [numbers.length], data: memory.subarray(1, 1 + numbers.length) } },
    );
  expect((await run(1, 2, 3))["y"]).toEqual({ shape: [3], data: Float32Array.of(1, 4, 9) });
  expect([...((await run(5))["y"]?.data ?? [])]).toEqual([25]);
  expect([...memory]).toEqual([0, 25, 4, 9]);
});

test("disposing twice is fine", async () => {
  const program = await square();
  await program[Symbol.asyncDispose]();
  await program[Symbol.asyncDispose]();
});

describe("constants above the inline limit", () => {
  const random = randomStream(0, "weights");
  const weights = (rows: number, columns: number): Value =>
    constant(
      Float32Array.from({ length: rows * columns }, () => random.normal()),
      [rows, columns],
    );
  const x = leaf("x", ["n", 40]);
  // one constant is small enough to stay inside
  const outputs = { y: matmul(matmul(matmul(x, weights(40, 30)), weights(30, 50)), weights(50, 2)) };
  const feed = { x: { shape: [3, 40], data: Float32Array.from({ length: 120 }, () => random.normal()) } };
  const temporaries = async () => (await readdir(tmpdir())).filter((name) => /^mos-.{6}$/.test(name));

  test("go through a file that is removed afterwards, with the same results", async () => {
    await using inside = await compile(outputs);
    const before = await temporaries();
    await using outside = await compile(outputs, { inlineLimit: 2000 });
    expect((await temporaries()).filter((name) => !before.includes(name))).toEqual([]);
    expect(await outside.run(feed)).toEqual(await inside.run(feed));
  });
});

describe("devices", () => {
  const failure = async (device: (typeof DEVICES)[number]): Promise<unknown> => {
    const x = leaf("x", ["n"]);
    try {
      const program = await compile({ y: mul(x, x) }, { device });
      const { y } = await program.run({ x: { shape: [2], data: Float32Array.of(2, 3) } });
      expect([...y!.data]).toEqual([4, 9]);
      await program[Symbol.asyncDispose]();
      return undefined;
    } catch (error) {
      return error;
    }
  };

  test.each([...DEVICES])("%s computes, or says why it cannot start and what would do", async (device) => {
    const error = (await failure(device)) as MosError | undefined;
    if (device === "cpu") expect(error).toBeUndefined();
    if (error !== undefined) {
      expect(error).toMatchObject({ name: "MosError", code: "device" });
      expect(error.message).toMatch(
        new RegExp(`^device ${device} could not start: .+; .*or use the device cpu$`),
      );
      expect(error.message).not.toContain("\n");
    }
  });

  test("a program that the runtime refuses is not blamed on the device", async () => {
    const table = leaf("table", [4, 2]);
    await expect(compile({ y: embed(table, leaf("ids", [1])) })).rejects.toThrowError(
      refusal("unsupported", /^ONNX Runtime rejected this program: /),
    );
  });
});
