import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { compile, constant, leaf, matmul, mul } from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import type { ErrorCode } from "#common";
import { openConstantsFile } from "./packed-store.ts";

const refusal = (code: ErrorCode, message: string | RegExp) =>
  expect.objectContaining({
    code,
    message: typeof message === "string" ? message : expect.stringMatching(message),
  });
const temporaries = async () => (await readdir(tmpdir())).filter((name) => /^mos-.{6}$/.test(name));

test("constants in a file give the same results, and the programs outlive the file", async () => {
  const before = await temporaries();
  const numbers = Float32Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i));
  const x = leaf("x", ["n", 64]);
  const feed = { x: { shape: [2, 64], data: Float32Array.from({ length: 128 }, (_, i) => Math.cos(i)) } };
  await using inside = await compile({ y: matmul(x, constant(numbers, [64, 64])) });
  const file = await openConstantsFile();
  const small = await file.add(Float32Array.of(1), [1], "float32");
  const w = await file.add(numbers, [64, 64], "float32");
  expect(file.bytes).toBe(4096 + 64 * 64 * 4);
  await using first = await compile({ y: mul(matmul(x, w), small) });
  // with arrays beside the file that are too large to be inside
  await using second = await compile(
    { y: mul(matmul(x, w), constant(new Float32Array(64).fill(1))) },
    { inlineLimit: 0 },
  );
  await file[Symbol.asyncDispose]();
  expect((await temporaries()).filter((name) => !before.includes(name))).toEqual([]);
  const expected = await inside.run(feed);
  expect(await first.run(feed)).toEqual(expected);
  expect(await second.run(feed)).toEqual(expected);
});

test("a constant has the bytes of its shape, and the files of a program may be in two folders", async () => {
  await using a = await openConstantsFile();
  await using b = await openConstantsFile();
  await expect(a.add(new Float32Array(3), [2, 2], "float32")).rejects.toThrow(
    refusal("bad_config", "a float32 constant of shape [2, 2] needs 16 bytes, not 12"),
  );
  const [x, y] = [
    await a.add(Float32Array.of(2), [1], "float32"),
    await b.add(Float32Array.of(3), [1], "float32"),
  ];
  await using program = await compile({ z: mul(x, y) });
  expect((await program.run({}))["z"]?.data).toEqual(Float32Array.of(6));
});
