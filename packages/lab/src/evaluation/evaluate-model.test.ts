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
  const { geometry } = await readBundled();
  const paths = ["one/mos", "two/mos", "base", ".hidden", "7"].map((name) => join(folder, name));
  for (const path of paths) await writeAdapter(path);
  const namesOf = async (...chosen: readonly number[]): Promise<readonly string[]> => {
    const folders = chosen.map((i) => paths[i] ?? "");
    const named = await nameAdapters(folders, geometry);
    expect([...named.values()].map(({ path }) => path)).toEqual(folders);
    return [...named.keys()];
  };
  expect(await namesOf()).toEqual([]);
  expect(await namesOf(1)).toEqual(["mos"]);
  expect(await namesOf(1, 0)).toEqual(["1-mos", "2-mos"]);
  expect(await namesOf(2, 0)).toEqual(["1-base", "2-mos"]);
  expect(await namesOf(1, 4)).toEqual(["mos", "7"]);
  expect(await namesOf(3)).toEqual(["1-.hidden"]);
});

test("the error for a folder that is not a usable adapter says what is wrong", async () => {
  const { geometry } = await readBundled();
  const sound = await writeAdapter(join(folder, "sound"));
  const broken = await writeAdapter(join(folder, "broken"));
  await writeFile(join(broken, "adapter_model.safetensors"), "nothing");
  const other = { ...geometry, layers: geometry.layers + 1 };
  for (const [adapters, shape, error] of [
    [[folder], geometry, { code: "not_found", message: expect.stringMatching(/no adapter_config\.json/) }],
    [
      [broken],
      geometry,
      { code: "bad_adapter", message: expect.stringMatching(/adapter_model\.safetensors/) },
    ],
    [[sound], other, { code: "bad_adapter" }],
    [["a", "./a"], geometry, { code: "bad_option", message: expect.stringMatching(/\/a is given twice/) }],
  ] as const)
    await expect(nameAdapters(adapters, shape)).rejects.toMatchObject(error);
});
