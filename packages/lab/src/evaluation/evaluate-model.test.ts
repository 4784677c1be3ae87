import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readBundled, writeAdapter } from "../../test/evaluation/bundled.ts";
import { nameAdapters } from "./evaluate-model.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-adapters-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("adapters have the names of their folders, with numbers where these are not enough", async () => {
  const { shapes } = await readBundled();
  const paths = ["one/mos", "two/mos", "base", ".hidden", "7"].map((name) => join(folder, name));
  for (const path of paths) await writeAdapter(path);
  const adapterNames = async (...chosen: readonly number[]): Promise<readonly string[]> => {
    const folders = chosen.map((i) => paths[i] ?? "");
    const named = await nameAdapters(folders, shapes);
    expect([...named.values()].map(({ path }) => path)).toEqual(folders);
    return [...named.keys()];
  };
  expect(await adapterNames()).toEqual([]);
  expect(await adapterNames(1)).toEqual(["mos"]);
  expect(await adapterNames(1, 0)).toEqual(["1-mos", "2-mos"]);
  expect(await adapterNames(2, 0)).toEqual(["1-base", "2-mos"]);
  expect(await adapterNames(1, 4)).toEqual(["mos", "7"]);
  expect(await adapterNames(3)).toEqual(["1-.hidden"]);
});

test("the error for a folder that is not a usable adapter says what is wrong", async () => {
  const { shapes } = await readBundled();
  const sound = await writeAdapter(join(folder, "sound"));
  const broken = await writeAdapter(join(folder, "broken"));
  await writeFile(join(broken, "adapter_model.safetensors"), "nothing");
  const other = { ...shapes, layers: shapes.layers + 1 };
  for (const [adapters, shape, error] of [
    [[folder], shapes, { code: "not_found", message: expect.stringMatching(/no adapter_config\.json/) }],
    [[broken], shapes, { code: "bad_adapter", message: expect.stringMatching(/adapter_model\.safetensors/) }],
    [[sound], other, { code: "bad_adapter" }],
    [
      ["a", "./a"],
      shapes,
      { code: "bad_option", message: expect.stringMatching(/\/a is given twice; omit one/) },
    ],
  ] as const)
    await expect(nameAdapters(adapters, shape)).rejects.toMatchObject(error);
});
