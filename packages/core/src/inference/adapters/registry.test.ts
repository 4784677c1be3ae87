// Scans and loads of a folder that changes meanwhile.

import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createAdapter, openAdapterFolder, parseAdapterConfig, saveAdapter } from "#adapters";
import { MosError } from "#common";
import { toFileName } from "#files";
import { runs } from "../../../../../test/runs.ts";
import { Registry } from "./registry.ts";
import { ResidentCache } from "./resident-cache.ts";

const shapes = { layers: 1, widths: { q_proj: { in: 4, out: 4 } } };
const base = { name: "tiny", fingerprint: "sha256:0" };
const options = { shapes, fingerprint: base.fingerprint, dtype: "float32", limitBytes: 1e6 } as const;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "registry-"));
  await save("acme", 1);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const save = (name: string, seed: number): Promise<void> => {
  const config = parseAdapterConfig({ method: "lora", rank: 1, targets: ["q_proj"], seed });
  return saveAdapter(join(folder, name), createAdapter(config, shapes), { base });
};

async function makeRegistry(): Promise<Registry> {
  const registry = new Registry({ ...options, source: folder });
  await registry.scan();
  return registry;
}

test("an open folder detects that it was replaced or removed", async () => {
  await using open = await openAdapterFolder(join(folder, "acme"));
  expect(await open.isCurrent()).toBe(true);
  await save("acme", 1); // the same content is another version
  expect(await open.isCurrent()).toBe(false);
  await rm(join(folder, "acme"), { recursive: true });
  expect(await open.isCurrent()).toBe(false);
});

test("a folder is found by the name that it encodes, and by its own where it encodes none", async () => {
  const names = ["ft:base:acme:x:1", "CON", "50%"];
  for (const name of names) await save(toFileName(name), 2);
  await save("odd:name", 3);
  const registry = await makeRegistry();
  const all = registry.list().map(({ name }) => name);
  expect(all.sort()).toEqual([...names, "acme", "odd:name"].sort());
  // of two folders for one name, the encoded one is the one that was published
  await save("ft:base:acme:x:1", 4);
  await save(toFileName("odd:name"), 2);
  await registry.scan();
  expect(
    registry
      .list()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(all);
  expect(registry.get("odd:name").info.digest).toBe(registry.get("CON").info.digest);
  expect(registry.get("ft:base:acme:x:1").info.digest).toBe(registry.get("CON").info.digest);
});

test("a failure found by a load survives a scan that was already running", async () => {
  const registry = await makeRegistry();
  const looking = registry.scan();
  registry.markBroken(registry.get("acme"), new MosError("bad_adapter", "number 3 is NaN"));
  await looking;
  expect(() => registry.get("acme")).toThrow("number 3 is NaN");
  await registry.scan();
  expect(() => registry.get("acme")).toThrow("number 3 is NaN");
});

test("a scan finds the new version, though a load missed the old one meanwhile", async () => {
  const registry = await makeRegistry();
  const before = registry.get("acme").info.digest;
  await save("acme", 2);
  const looking = registry.scan();
  registry.invalidate("acme");
  await looking;
  expect(registry.get("acme").info.digest).not.toBe(before);
});

test("of folders by name, one that is not there is named when it is asked for", async () => {
  const registry = new Registry({ ...options, source: { acme: join(folder, "acme"), gone: "no/such" } });
  await registry.scan();
  expect(registry.list().map(({ name }) => name)).toEqual(["acme"]);
  expect(() => registry.get("gone")).toThrow("no/such: no adapter here (there is no adapter_config.json)");
  expect(() => registry.get("toString")).toThrow('there is no adapter "toString"; 1 are registered');
});

test("an adapter of a larger rank than is served is refused", async () => {
  const config = parseAdapterConfig({ method: "lora", rank: 3, targets: ["q_proj"] });
  await saveAdapter(join(folder, "large"), createAdapter(config, shapes), { base });
  const registry = new Registry({ ...options, source: folder, maxRank: 2 });
  await registry.scan();
  expect(registry.list().map(({ name }) => name)).toEqual(["acme"]);
  expect(() => registry.get("large")).toThrow("its rank 3 exceeds the limit of 2");
});

test("folders that cannot be used are known by their reason, and hidden ones not at all", async () => {
  await writeFile(join(folder, "notes.txt"), "");
  for (const name of ["run", "empty", "broken", ".acme.retraining"]) await mkdir(join(folder, name));
  for (const name of ["run", ".acme.retraining"]) await writeFile(join(folder, name, "run.json"), "{}");
  await writeFile(join(folder, "broken", "adapter_config.json"), "{");
  await writeFile(join(folder, "broken", "adapter_model.safetensors"), "");
  await saveAdapter(
    join(folder, "other"),
    createAdapter(parseAdapterConfig({ method: "lora", rank: 1, targets: ["q_proj"], seed: 1 }), shapes),
    {
      base: { name: "large", fingerprint: "sha256:1" },
    },
  );
  const registry = new Registry({ ...options, source: `${folder}/./` });
  await registry.scan();
  expect(registry.list().map(({ name }) => name)).toEqual(["acme"]);
  expect(registry.refused()).toEqual([
    { name: "broken", reason: expect.stringMatching(/^broken\/adapter_config\.json: /) },
    { name: "empty", reason: "there is no adapter_config.json" },
    { name: "other", reason: expect.stringContaining("large") },
    { name: "run", reason: "its training has not finished, or was stopped" },
  ]);
  expect(JSON.stringify(registry.refused())).not.toContain(folder);
  // to a request there is no adapter yet
  expect(() => registry.get("run")).toThrow('there is no adapter "run"');
  await rm(join(folder, "run"), { recursive: true });
  await save("empty", 3);
  await registry.scan();
  expect(registry.refused().map(({ name }) => name)).toEqual(["broken", "other"]);
});

test("a folder in doubt is read again", async () => {
  const registry = await makeRegistry();
  const before = registry.get("acme");
  registry.invalidate("acme");
  expect(registry.get("acme")).toBe(before);
  await registry.scan();
  expect(registry.get("acme")).not.toBe(before);
  expect(registry.get("acme")).toEqual(before);
});

test("a load accepts only the registered version and content", async () => {
  const adapter = (await makeRegistry()).get("acme");
  const resident = new ResidentCache({ ...options, now: () => 0, isRegistered: () => true });
  const other = { ...adapter, info: { ...adapter.info, digest: "sha256:other" } };
  expect(await resident.pin(other)).toBeUndefined();
  expect(await resident.pin({ ...adapter, version: "other" })).toBeUndefined();
  expect(resident).toMatchObject({ bytes: 0, digests: [] });
  const pinned = await resident.pin(adapter);
  expect(pinned?.compact.config).toEqual(adapter.config);
});

test("every digest is that of a content that the folder had, however fast it is replaced", async () => {
  const digests = new Set<string>();
  for (const seed of [1, 2, 3]) {
    await save(`.kept-${seed}`, seed);
    await save("acme", seed);
    digests.add((await makeRegistry()).get("acme").info.digest);
  }
  await rm(join(folder, "acme"), { recursive: true });
  /** Replaces the link in one rename, so that there is always an adapter. */
  const swap = async (seed: number): Promise<void> => {
    await symlink(join(folder, `.kept-${seed}`), join(folder, ".link"));
    await rename(join(folder, ".link"), join(folder, "acme"));
  };
  await swap(1);
  const registry = await makeRegistry();
  let running = true;
  const write = async (): Promise<void> => {
    for (let i = 0; i < runs(1500); i++) await swap(1 + (i % 3));
    running = false;
  };
  const seen = new Set<string>();
  const look = async (): Promise<void> => {
    while (running) {
      await registry.scan();
      for (const { digest } of registry.list()) seen.add(digest);
    }
  };
  await Promise.all([write(), look()]);
  await registry.scan();
  expect(registry.list()).toHaveLength(1);
  expect([...seen].filter((digest) => !digests.has(digest))).toEqual([]);
});
