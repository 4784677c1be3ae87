import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type Adapter,
  type AdapterConfigInput,
  bindMethod,
  createAdapter,
  expandOnHost,
  METHOD_NAMES,
  methods,
  parseAdapterConfig,
  saveAdapter,
} from "#adapters";
import { randomStream } from "#common";
import { decodeBfloat16, encodeBfloat16 } from "#files";
import { layerShapes } from "../../../test/layer-shapes.ts";
import { bufferLayout, residentBytes } from "./compact-adapter.ts";
import { type AdapterManager, coalesce, openAdapterManager } from "./manager.ts";
import type { AdapterManagerOptions } from "./registry.ts";

/** A promise that the test resolves. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a call during a run gets a run that starts later, and all such calls share it", async () => {
  const runs: ReturnType<typeof deferred>[] = [];
  const call = coalesce(() => {
    const run = deferred();
    runs.push(run);
    return run.promise;
  });
  const ended: string[] = [];
  const first = call().then(() => ended.push("first"));
  const [second, third] = [call().then(() => ended.push("second")), call().then(() => ended.push("third"))];
  await settled();
  expect(runs).toHaveLength(1);
  runs[0]!.resolve();
  await first;
  await settled();
  expect(ended).toEqual(["first"]);
  expect(runs).toHaveLength(2);
  runs[1]!.resolve();
  await Promise.all([second, third]);
  void call();
  expect(runs).toHaveLength(3);
});

test("the next run starts after a failed one", async () => {
  let runs = 0;
  const call = coalesce(async () => {
    await settled();
    if (runs++ === 0) throw new Error("first");
  });
  const [first, second] = [call(), call()];
  await expect(first).rejects.toThrow("first");
  await second;
  expect(runs).toBe(2);
});

const shapes = layerShapes(2);
const base = { name: "tiny", fingerprint: "sha256:0123456789abcdef" };

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "manager-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** An adapter with random numbers everywhere. */
function trained(settings: AdapterConfigInput, content = 0): Adapter {
  const adapter = createAdapter(parseAdapterConfig(settings), shapes);
  for (const { name, role } of bindMethod(adapter.config).tensors(shapes)) {
    const data = adapter.tensors.get(name)!.data;
    const random = randomStream(content, name);
    if (role === "trainable") data.set(data.map(() => random.normal()));
  }
  return adapter;
}

const MOS = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;
const save = async (name: string, adapter: Adapter): Promise<Adapter> => {
  await saveAdapter(join(folder, name), adapter, { base });
  return adapter;
};
const open = (options: Partial<AdapterManagerOptions> = {}): Promise<AdapterManager> =>
  openAdapterManager({
    source: folder,
    shapes,
    fingerprint: base.fingerprint,
    limitBytes: 1e9,
    dtype: "float32",
    now: () => performance.now(),
    pollSeconds: 0,
    ...options,
  });
const names = (manager: AdapterManager): readonly string[] => manager.list().map(({ name }) => name);

/** The adapter with its numbers rounded to bfloat16. */
function inBfloat16(adapter: Adapter): Adapter {
  const tensors = new Map(adapter.tensors);
  for (const { name, role, shape } of bindMethod(adapter.config).tensors(shapes)) {
    const data = adapter.tensors.get(name)!.data as Float32Array;
    if (role === "trainable") tensors.set(name, { shape, data: decodeBfloat16(encodeBfloat16(data)) });
  }
  return { ...adapter, tensors };
}

describe.each(METHOD_NAMES)("%s", (method) => {
  test.each(["float32", "bfloat16"] as const)(
    "in %s: the factors are right, and the bytes are those reported",
    async (dtype) => {
      const adapter = await save("acme", trained(methods[method].example));
      await using manager = await open({ dtype });
      const { own, shared } = residentBytes(adapter.config, shapes, dtype);
      expect(manager.list()).toMatchObject([{ name: "acme", method, residentBytes: own }]);
      using lease = await manager.acquire("acme");
      expect(lease.expand()).toEqual(expandOnHost(dtype === "float32" ? adapter : inBfloat16(adapter)));
      expect(lease.rank).toBe(adapter.config.rank);
      expect(manager.stats()).toMatchObject({ resident: 1, residentBytes: own + shared, loads: 1 });
    },
  );

  test.each([
    ["float32", 4],
    ["bfloat16", 2],
  ] as const)("in %s: its bytes are those of its tensors", (dtype, width) => {
    const { config, tensors } = trained(methods[method].example);
    const sums = { own: 0, shared: 0 };
    for (const { name, role, dtype: type } of bindMethod(config).tensors(shapes)) {
      const { length } = tensors.get(name)!.data;
      const frozen = type === "int32" && role !== "seeded" ? 2 : 4;
      sums[role === "seeded" ? "shared" : "own"] += length * (role === "trainable" ? width : frozen);
    }
    expect(residentBytes(config, shapes, dtype)).toEqual(sums);
  });
});

test("an index table whose entries exceed 16 bits is stored in 32", () => {
  const config = parseAdapterConfig({
    method: "subset-selection",
    rank: 3,
    equivalentRank: 3,
    targets: ["q_proj"],
  });
  const forms = [21_845, 21_846].map((layers) => {
    const { stored } = bufferLayout(config, { layers, widths: { q_proj: { in: 1, out: 1 } } }, "bfloat16");
    return stored.find(({ name }) => name === "q_proj.I")!.format;
  });
  expect(forms).toEqual(["uint16", "int32"]);
});

describe("the folder", () => {
  test("is rescanned for added, replaced and removed adapters", async () => {
    const reported: string[][] = [];
    await using manager = await open();
    manager.onChange((list) => reported.push(list.map(({ name }) => name)));
    expect(manager.list()).toEqual([]);
    const first = await save("acme", trained(MOS, 1));
    await save("zeta", trained({ method: "lora", rank: 2 }));
    await manager.refresh();
    expect(names(manager)).toEqual(["acme", "zeta"]);
    const { digest } = manager.list()[0]!;

    using old = await manager.acquire("acme");
    const second = await save("acme", trained(MOS, 2));
    await manager.refresh();
    expect(manager.list()[0]!.digest).not.toBe(digest);
    using replaced = await manager.acquire("acme");
    expect(old.digest).toBe(digest);
    expect(old.expand()).toEqual(expandOnHost(first));
    expect(replaced.expand()).toEqual(expandOnHost(second));

    await rm(join(folder, "zeta"), { recursive: true });
    await manager.refresh();
    await manager.refresh();
    expect(names(manager)).toEqual(["acme"]);
    expect(reported).toEqual([["acme", "zeta"], ["acme", "zeta"], ["acme"]]);
    await expect(manager.acquire("zeta")).rejects.toMatchObject({ code: "not_found" });
  });

  test("that changed before anybody listened is reported by the next scan", async () => {
    const reported: string[][] = [];
    await using manager = await open();
    await save("acme", trained(MOS));
    await manager.refresh();
    manager.onChange((list) => reported.push(list.map(({ name }) => name)));
    await manager.refresh();
    await manager.refresh();
    expect(reported).toEqual([["acme"]]);
  });

  test("is polled", async () => {
    const change = new Promise((resolve) => {
      void open({ pollSeconds: 0.05 }).then((manager) => {
        manager.onChange(resolve);
        return save("acme", trained(MOS)).then(() => change.then(() => manager[Symbol.asyncDispose]()));
      });
    });
    expect(await change).toMatchObject([{ name: "acme" }]);
  });

  test("is scanned for adapters only; other entries are ignored", async () => {
    await mkdir(join(folder, "empty"));
    await writeFile(join(folder, "file"), "");
    await save(".hidden", trained(MOS));
    await save("bell\u0007", trained(MOS));
    await using manager = await open();
    expect(manager.list()).toEqual([]);
    expect(manager.stats().failures).toBe(0);
    await expect(manager.acquire("../etc")).rejects.toMatchObject({ code: "not_found" });
  });

  test("keeps an adapter that is being replaced", async () => {
    await save("acme", trained(MOS));
    await using manager = await open();
    await rename(join(folder, "acme"), join(folder, ".acme.replaced"));
    await manager.refresh();
    expect(names(manager)).toEqual(["acme"]);
  });

  test("gets an adapter back whose writer was killed between the two renames", async () => {
    await save("acme", trained(MOS));
    await rename(join(folder, "acme"), join(folder, ".acme.replaced"));
    await using manager = await open();
    expect(names(manager)).toEqual(["acme"]);
  });

  test("that is missing is an error; one that disappears later leaves the list as it was", async () => {
    await expect(open({ source: join(folder, "no") })).rejects.toMatchObject({ code: "not_found" });
    await save("acme", trained(MOS));
    await using manager = await open();
    await rename(folder, `${folder}.away`);
    const missing = {
      code: "storage",
      message: expect.stringContaining("the folder of adapters is missing"),
    };
    await expect(manager.refresh()).rejects.toMatchObject(missing);
    await expect(manager.acquire("acme")).rejects.toMatchObject(missing);
    expect(names(manager)).toEqual(["acme"]);
    await rename(`${folder}.away`, folder);
  });

  test("is not read after the signal is aborted", async () => {
    await save("acme", trained(MOS));
    await expect(open({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "cancelled" });
  });

  test("may hold copies of an adapter, which share memory by their digest", async () => {
    await save("acme", trained(MOS));
    await save("copy", trained(MOS));
    await using manager = await open();
    using _first = await manager.acquire("acme");
    using second = await manager.acquire("copy");
    expect(second.name).toBe("copy");
    expect(manager.stats()).toMatchObject({ resident: 1, loads: 1, hits: 1, misses: 1 });
  });
});

describe("an adapter that cannot be used", () => {
  test.each<[string, string, (path: string) => Promise<void>]>([
    [
      "another base",
      "was trained on another base",
      (path) => edit(path, { base_fingerprint: "sha256:ffff" }),
    ],
    ["a setting", "r 0 is invalid", (path) => edit(path, { r: 0 })],
    [
      "no tensors",
      "adapter_model.safetensors is missing",
      (path) => rm(join(path, "adapter_model.safetensors")),
    ],
    [
      "tensors cut short",
      "cut short",
      async (path) => {
        const file = join(path, "adapter_model.safetensors");
        await writeFile(file, (await readFile(file)).subarray(0, 3000));
      },
    ],
    [
      "a number",
      "is NaN",
      async (path) => {
        const file = join(path, "adapter_model.safetensors");
        const bytes = await readFile(file);
        bytes.writeFloatLE(Number.NaN, bytes.length - 4); // in the last tensor, which holds floats
        await writeFile(file, bytes);
      },
    ],
  ])(
    "%s is reported when it is requested, and usable once it is written again",
    async (_, message, spoil) => {
      const path = join(folder, "acme");
      await save("acme", trained({ method: "lora", rank: 2 }));
      await spoil(path);
      await using manager = await open();
      for (let i = 0; i < 2; i++)
        await expect(manager.acquire("acme")).rejects.toMatchObject({
          code: "bad_adapter",
          message: expect.stringMatching(new RegExp(`^adapter "acme" cannot be used: (?!/).*${message}`)),
        });
      expect(manager.list()).toEqual([]);
      await manager.refresh();
      expect(manager.stats()).toMatchObject({ failures: 1, residentBytes: 0 });
      await save("acme", trained(MOS));
      await manager.refresh();
      using lease = await manager.acquire("acme");
      expect(lease.rank).toBe(3);
    },
  );

  test("one larger than the memory limit is refused with both sizes", async () => {
    const { config } = await save("acme", trained(MOS));
    const { own } = residentBytes(config, shapes, "float32");
    await using manager = await open({ limitBytes: own - 1 });
    await expect(manager.acquire("acme")).rejects.toMatchObject({
      code: "bad_adapter",
      message: expect.stringContaining(`${own} bytes, more than the memory for all adapters, ${own - 1}`),
    });
  });

  test("a number that bfloat16 would make infinite is refused", async () => {
    const adapter = trained(MOS);
    (adapter.tensors.get("q_proj.A_pool")!.data as Float32Array)[3] = 3.4e38;
    await save("acme", adapter);
    await using manager = await open({ dtype: "bfloat16" });
    await expect(manager.acquire("acme")).rejects.toMatchObject({ code: "bad_adapter" });
  });

  test("a plain LoRA of PEFT needs no fingerprint", async () => {
    await save("acme", trained({ method: "lora", rank: 2 }));
    await edit(join(folder, "acme"), { base_fingerprint: undefined, format: undefined, seed: undefined });
    await using manager = await open();
    using lease = await manager.acquire("acme");
    expect(lease.rank).toBe(2);
  });
});

async function edit(path: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
  const file = join(path, "adapter_config.json");
  const before: object = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...before, ...fields }));
}

describe("memory", () => {
  test("the least recently used adapter is evicted first, a pinned one never", async () => {
    for (const name of ["a", "b", "c", "d"]) await save(name, trained(MOS, name.charCodeAt(0)));
    const { own } = residentBytes(parseAdapterConfig(MOS), shapes, "float32");
    await using manager = await open({ limitBytes: 2 * own + 1 });
    const use = async (name: string): Promise<void> => (await manager.acquire(name))[Symbol.dispose]();
    await use("a");
    await use("b");
    await use("a");
    await use("c"); // evicts b
    await use("a");
    expect(manager.stats()).toMatchObject({ resident: 2, hits: 2, misses: 3, evictions: 1 });
    using _a = await manager.acquire("a");
    await use("d"); // evicts c
    using d = await manager.acquire("d");
    await expect(manager.acquire("b")).rejects.toMatchObject({ code: "busy" });
    expect(manager.stats()).toMatchObject({ resident: 2, residentBytes: 2 * own, evictions: 2 });
    d[Symbol.dispose]();
    d[Symbol.dispose](); // a second release does nothing
    await use("b");
    expect(() => d.expand()).toThrow("is already released");
  });

  test("nothing is evicted where the adapter would not fit even then", async () => {
    for (const name of ["a", "b"]) await save(name, trained(MOS, name.charCodeAt(0)));
    await save("big", trained({ ...MOS, equivalentRank: 3 }));
    const { own } = residentBytes(parseAdapterConfig(MOS), shapes, "float32");
    await using manager = await open({ limitBytes: 2 * own });
    using _a = await manager.acquire("a");
    (await manager.acquire("b"))[Symbol.dispose]();
    await expect(manager.acquire("big")).rejects.toMatchObject({ code: "busy" });
    expect(manager.stats()).toMatchObject({ resident: 2, evictions: 0 });
  });

  test("tensors drawn from a seed are kept once for all adapters that use it", async () => {
    const vera = { method: "vera", rank: 8 } as const;
    for (const name of ["a", "b"]) await save(name, trained(vera, name.charCodeAt(0)));
    await save("other", trained({ ...vera, seed: 1 }));
    const { own, shared } = residentBytes(parseAdapterConfig(vera), shapes, "float32");
    await using manager = await open({ limitBytes: 2 * (own + shared) });
    using _a = await manager.acquire("a");
    const b = await manager.acquire("b");
    expect(manager.stats().residentBytes).toBe(2 * own + shared);
    await expect(manager.acquire("other")).rejects.toMatchObject({ code: "busy" });
    b[Symbol.dispose]();
    using _other = await manager.acquire("other"); // evicts b, but not the tensors that it shares
    expect(manager.stats()).toMatchObject({ residentBytes: 2 * (own + shared), evictions: 1 });
  });

  test("callers of one adapter share one load", async () => {
    const adapter = await save("acme", trained(MOS));
    await using manager = await open();
    const leases = Array.from({ length: 3 }, () => manager.acquire("acme"));
    for (const lease of await Promise.all(leases)) {
      expect(lease.expand()).toEqual(expandOnHost(adapter));
      lease[Symbol.dispose]();
    }
    expect(manager.stats()).toMatchObject({ loads: 1, misses: 3, resident: 1 });
  });

  test("a content that was replaced is freed with its last lease", async () => {
    await save("acme", trained(MOS, 1));
    await using manager = await open();
    const lease = await manager.acquire("acme");
    await save("acme", trained(MOS, 2));
    await manager.refresh();
    expect(manager.stats().resident).toBe(1);
    lease[Symbol.dispose]();
    expect(manager.stats()).toMatchObject({ resident: 0, residentBytes: 0, evictions: 0 });
  });

  test("a content that was removed and has no lease is freed by the next scan", async () => {
    await save("acme", trained(MOS, 1));
    await using manager = await open();
    (await manager.acquire("acme"))[Symbol.dispose]();
    await rm(join(folder, "acme"), { recursive: true });
    await manager.refresh();
    expect(manager.stats()).toMatchObject({ resident: 0, residentBytes: 0, evictions: 0 });
  });

  test("an adapter that was replaced since the last scan is loaded as it is now", async () => {
    await save("acme", trained(MOS, 1));
    await using manager = await open();
    const [before] = manager.list();
    const second = await save("acme", trained(MOS, 2));
    using lease = await manager.acquire("acme");
    expect(lease.digest).not.toBe(before!.digest);
    expect(lease.digest).toBe(manager.list()[0]!.digest);
    expect(lease.expand()).toEqual(expandOnHost(second));
  });

  test("an adapter whose folder is overwritten with garbage is served from memory, and evicted last", async () => {
    const acme = await save("acme", trained(MOS, 1));
    for (const name of ["b", "c"]) await save(name, trained(MOS, name.charCodeAt(0)));
    const { own } = residentBytes(parseAdapterConfig(MOS), shapes, "float32");
    await using manager = await open({ limitBytes: 2 * own });
    const use = async (name: string): Promise<void> => (await manager.acquire(name))[Symbol.dispose]();
    await use("acme");
    await use("b");
    const garbage = { name: "acme", reason: expect.stringMatching(/^acme.*is served from memory$/) };
    await writeFile(join(folder, "acme", "adapter_model.safetensors"), "garbage");
    await manager.refresh();
    expect(names(manager)).toEqual(["acme", "b", "c"]);
    expect([manager.refused(), manager.stats().failures]).toEqual([[garbage], 1]);
    await use("c"); // evicts b, although acme was used before it
    await writeFile(join(folder, "acme", "adapter_config.json"), "more garbage");
    await manager.refresh();
    expect([manager.refused(), manager.stats().failures]).toEqual([[garbage], 2]);
    using lease = await manager.acquire("acme");
    expect(lease.expand()).toEqual(expandOnHost(acme));
    // once it is not in memory any more, its folder counts
    lease[Symbol.dispose]();
    const pinned = [await manager.acquire("b"), await manager.acquire("c")];
    for (const one of pinned) one[Symbol.dispose]();
    await expect(manager.acquire("acme")).rejects.toMatchObject({ code: "bad_adapter" });
    expect([names(manager), manager.refused()]).toEqual([
      ["b", "c"],
      [{ name: "acme", reason: expect.not.stringContaining("memory") }],
    ]);
    await save("acme", trained(MOS, 2));
    await manager.refresh();
    expect([names(manager), manager.refused()]).toEqual([["acme", "b", "c"], []]);
  });

  test("leases stay valid after the manager is disposed, and no new ones are given", async () => {
    const adapter = await save("acme", trained(MOS));
    const manager = await open();
    using lease = await manager.acquire("acme");
    await manager[Symbol.asyncDispose]();
    expect(lease.expand()).toEqual(expandOnHost(adapter));
    await expect(manager.acquire("acme")).rejects.toMatchObject({ code: "cancelled" });
  });
});

test("hundreds of adapters are registered, and unchanged ones are not read again", {
  tags: "thorough",
}, async () => {
  const adapters = Array.from({ length: 300 }, (_, i) => trained({ ...MOS, targets: ["q_proj"] }, i));
  for (const [i, adapter] of adapters.entries()) await save(`tenant-${i}`, adapter);
  await using manager = await open();
  expect(manager.list()).toHaveLength(300);
  expect(new Set(manager.list().map(({ digest }) => digest)).size).toBe(300);
  const before = manager.list();
  const after = await manager.refresh();
  after.forEach((info, i) => {
    expect(info).toBe(before[i]);
  });
  const leases = await Promise.all(manager.list().map(({ name }) => manager.acquire(name)));
  expect(manager.stats()).toMatchObject({ resident: 300, loads: 300 });
  expect(leases[7]!.expand()).toEqual(expandOnHost(adapters[Number(leases[7]!.name.slice(7))]!));
});
