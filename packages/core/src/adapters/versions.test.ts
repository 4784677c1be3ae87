// Adapters that are replaced while others read them.

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockChanges, pathExists } from "#files";
import { runs } from "../../../../test/runs.ts";
import { createAdapter } from "./adapter.ts";
import { parseAdapterConfig } from "./adapter-settings.ts";
import { loadAdapter } from "./folder.ts";
import { saveAdapter } from "./folder-files.ts";
import { listVersions, removeVersions, replaceAdapter, retrainingFolder, rollBack } from "./versions.ts";

const shapes = { layers: 1, widths: { q_proj: { in: 4, out: 4 } } };
const makeAdapter = (seed: number) =>
  createAdapter(parseAdapterConfig({ method: "lora", rank: 1, targets: ["q_proj"], seed }), shapes);

let folder = "";
let acme = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-versions-"));
  acme = join(folder, "acme");
  await save(acme, 1);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const save = (path: string, seed: number): Promise<void> =>
  saveAdapter(path, makeAdapter(seed), { base: { name: "tiny", fingerprint: "sha256:0" } });
const load = (path: string) => loadAdapter(path, { shapes, fingerprint: undefined });

test("whoever reads an adapter gets one version whole, and never none, however often it is replaced", async () => {
  await save(retrainingFolder(acme), 2);
  await replaceAdapter(acme, retrainingFolder(acme), { keepVersions: 3 });
  let isRunning = true;
  const swap = async (): Promise<void> => {
    for (let i = 0; i < runs(50); i++) {
      await rollBack(acme, undefined);
      await sleep(5);
    }
    isRunning = false;
  };
  const seen = new Set<number>();
  const read = async (): Promise<void> => {
    while (isRunning) {
      const { config, tensors } = await load(acme);
      expect(tensors).toEqual(makeAdapter(config.seed).tensors);
      seen.add(config.seed);
    }
  };
  await Promise.all([swap(), read(), read()]);
  expect([...seen].sort()).toEqual([1, 2]);
  expect((await readdir(folder)).sort()).toEqual([".acme.versions", "acme"]);
});

test("what a replacement leaves is the last versions, and what was beside the adapter", async () => {
  await writeFile(join(acme, "notes.txt"), "mine");
  for (const seed of [2, 3, 4]) {
    await save(retrainingFolder(acme), seed);
    expect(await replaceAdapter(acme, retrainingFolder(acme), { keepVersions: 2 })).toBe(seed - 1);
  }
  expect((await listVersions(acme)).map(({ version }) => version)).toEqual([3, 2]);
  expect(await readdir(acme)).toContain("notes.txt");
  expect((await load(acme)).config.seed).toBe(4);
  await removeVersions(acme);
  expect(await listVersions(acme)).toEqual([]);
});

test("a replacement waits for whoever changes the folder, such as a server", async () => {
  await save(retrainingFolder(acme), 2);
  await replaceAdapter(acme, retrainingFolder(acme), { keepVersions: 1 });
  const other = await lockChanges(folder);
  let isDone = false;
  const rolling = rollBack(acme, undefined).then(() => {
    isDone = true;
  });
  await sleep(100);
  expect(isDone).toBe(false);
  expect((await load(acme)).config.seed).toBe(2);
  await other[Symbol.asyncDispose]();
  await rolling;
  expect((await load(acme)).config.seed).toBe(1);
});

test("a version comes back also where the adapter is gone, and not where an unfinished run is", async () => {
  await save(retrainingFolder(acme), 2);
  await replaceAdapter(acme, retrainingFolder(acme), { keepVersions: 1 });
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) await rm(join(acme, name));
  await writeFile(join(acme, "run.json"), "{}");
  await expect(rollBack(acme, undefined)).rejects.toThrow(/an unfinished run is in this folder/);
  await rm(acme, { recursive: true });
  expect(await rollBack(acme, undefined)).toMatchObject({ restored: { version: 1 }, kept: undefined });
  expect((await load(acme)).config.seed).toBe(1);
  expect(await pathExists(join(folder, ".acme.versions"))).toBe(false);
});
