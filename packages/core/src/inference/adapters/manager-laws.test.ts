// Invariants of the adapter manager under random orders of changes, loads and releases.
import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  type Adapter,
  type AdapterConfigInput,
  bindMethod,
  createAdapter,
  type ExpandedFactors,
  expandOnHost,
  parseAdapterConfig,
  saveAdapter,
} from "#adapters";
import { MosError, randomStream } from "#common";
import { runs } from "../../../../../test/runs.ts";
import { residentBytes } from "./compact-adapter.ts";
import { type AdapterLease, type AdapterManager, openAdapterManager } from "./manager.ts";

const shapes = { layers: 2, widths: { q_proj: { in: 8, out: 8 }, v_proj: { in: 8, out: 4 } } };
const base = { name: "tiny", fingerprint: "sha256:0" };
const targets = ["q_proj", "v_proj"] as const;

function trained(settings: AdapterConfigInput, content: number): Adapter {
  const adapter = createAdapter(parseAdapterConfig({ ...settings, seed: content }), shapes);
  for (const { name, role } of bindMethod(adapter.config).tensors(shapes)) {
    const { data } = adapter.tensors.get(name)!;
    const random = randomStream(content, name);
    if (role === "trainable") data.set(data.map(() => random.normal()));
  }
  return adapter;
}

/** Contents of three sizes; alpha differs too, so that settings of one with tensors of another would be noticed. */
const contents = [
  trained(
    { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2, alpha: 1, targets: [...targets] },
    1,
  ),
  trained(
    { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2, alpha: 2, targets: [...targets] },
    2,
  ),
  trained({ method: "lora", rank: 4, alpha: 3, targets: [...targets] }, 3),
  trained({ method: "lora", rank: 4, alpha: 4, targets: [...targets] }, 4),
  trained({ method: "vera", rank: 6, targets: [...targets] }, 5),
];
const factors = contents.map((adapter) => expandOnHost(adapter));
const bytes = contents.map(({ config }) => residentBytes(config, shapes, "float32"));
const NAMES = ["a", "b", "c", "d"] as const;

let stash = "";
let folder = "";
beforeAll(async () => {
  stash = await mkdtemp(join(tmpdir(), "stash-"));
  for (const [i, adapter] of contents.entries()) await saveAdapter(join(stash, String(i)), adapter, { base });
});
beforeEach(async () => {
  folder = await mkdtemp(join(stash, "manager-"));
});
afterAll(() => rm(stash, { recursive: true, force: true }));

const open = (limitBytes: number): Promise<AdapterManager> =>
  openAdapterManager({
    source: folder,
    shapes,
    fingerprint: base.fingerprint,
    limitBytes,
    dtype: "float32",
    now: () => performance.now(),
    pollSeconds: 0,
  });

const readContent = (expanded: ReadonlyMap<string, ExpandedFactors>): number =>
  factors.findIndex((known) => [...known].every(([key, value]) => same(expanded.get(key), value)));
const same = (x: ExpandedFactors | undefined, y: ExpandedFactors): boolean =>
  x?.rank === y.rank && x.scale === y.scale && x.a.join() === y.a.join() && x.b.join() === y.b.join();

/** A model of the manager: the folder, its content at the last scan, and the leases that are held. */
class World {
  readonly manager: AdapterManager;
  readonly limit: number;
  private readonly onDisk = new Map<string, number>();
  private seen = new Map<string, number>();
  private readonly digests = new Map<string, number>();
  private readonly held: { readonly lease: AdapterLease; readonly content: number }[] = [];

  constructor(manager: AdapterManager, limit: number) {
    this.manager = manager;
    this.limit = limit;
  }

  async write(name: string, content: number): Promise<void> {
    await this.remove(name);
    await cp(join(stash, String(content)), join(folder, ".new"), { recursive: true });
    await rename(join(folder, ".new"), join(folder, name));
    this.onDisk.set(name, content);
  }

  async remove(name: string): Promise<void> {
    await rm(join(folder, name), { recursive: true, force: true });
    this.onDisk.delete(name);
  }

  async refresh(): Promise<void> {
    await this.manager.refresh();
    this.seen = new Map(this.onDisk);
    expect(this.manager.list().map(({ name }) => name)).toEqual([...this.seen.keys()].sort());
  }

  async acquire(name: string): Promise<void> {
    const allowed = [this.seen.get(name), this.onDisk.get(name)];
    const before = this.manager.list();
    const lease = await this.manager.acquire(name).catch((error: unknown) => error);
    // a load that finds another content rescans the whole folder
    if (this.manager.list() !== before) this.seen = new Map(this.onDisk);
    if (lease instanceof MosError) return this.checkRefusal(lease, name, allowed);
    const content = readContent((lease as AdapterLease).expand());
    expect(allowed).toContain(content);
    this.held.push({ lease: lease as AdapterLease, content });
  }

  private checkRefusal({ code }: MosError, name: string, allowed: readonly (number | undefined)[]): void {
    if (code === "not_found") expect(allowed, name).toContain(undefined);
    else {
      expect(code).toBe("busy");
      const fits = allowed.every((content) => content !== undefined && this.wouldFit(content));
      expect(fits, `${name} was refused though there was room`).toBe(false);
    }
  }

  private wouldFit(content: number): boolean {
    const pinned = new Set([...this.held.map((one) => one.content), content]);
    return this.sum(pinned) <= this.limit;
  }

  private sum(kept: ReadonlySet<number>): number {
    return [...kept].reduce((sum, i) => sum + bytes[i]!.own + bytes[i]!.shared, 0);
  }

  release(which: number): void {
    if (this.held.length === 0) return;
    const [one] = this.held.splice(which % this.held.length, 1);
    one!.lease[Symbol.dispose]();
  }

  check(): void {
    const { residentBytes: now, resident } = this.manager.stats();
    expect(now).toBeLessThanOrEqual(this.limit);
    const pinned = new Set(this.held.map(({ content }) => content));
    expect(now).toBeGreaterThanOrEqual(this.sum(pinned)); // pinned adapters are counted
    expect(resident).toBeGreaterThanOrEqual(pinned.size);
    for (const { lease, content } of this.held) {
      expect(readContent(lease.expand())).toBe(content);
      expect(this.digests.get(lease.digest) ?? content).toBe(content);
      this.digests.set(lease.digest, content);
    }
    expect(new Set(this.digests.values()).size).toBe(this.digests.size);
  }

  releaseAll(): void {
    while (this.held.length > 0) this.release(0);
  }
}

const name = fc.constantFrom(...NAMES);
const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(name, fc.nat({ max: contents.length - 1 })).map(
      ([at, content]) =>
        (world: World) =>
          world.write(at, content),
    ),
  },
  { weight: 1, arbitrary: name.map((at) => (world: World) => world.remove(at)) },
  { weight: 2, arbitrary: fc.constant((world: World) => world.refresh()) },
  {
    weight: 6,
    arbitrary: fc.array(name, { minLength: 1, maxLength: 3 }).map((all) => async (world: World) => {
      for (const at of all) await world.acquire(at);
    }),
  },
  { weight: 4, arbitrary: fc.nat().map((which) => async (world: World) => world.release(which)) },
);

test("bytes stay within the limit, leases keep their content, and pinned adapters are not evicted", async () => {
  const largest = Math.max(...bytes.map(({ own, shared }) => own + shared));
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: largest, max: 4 * largest }),
      fc.array(action, { minLength: 10, maxLength: 30 }),
      async (limit, actions) => {
        await rm(folder, { recursive: true, force: true });
        folder = await mkdtemp(join(stash, "manager-"));
        const manager = await open(limit);
        const world = new World(manager, limit);
        for (const at of NAMES) await world.write(at, NAMES.indexOf(at));
        await world.refresh();
        for (const act of actions) {
          await act(world);
          world.check();
        }
        world.releaseAll();
        await world.refresh();
        world.check();
        await manager[Symbol.asyncDispose]();
        expect(manager.stats()).toMatchObject({ resident: 0, residentBytes: 0 });
      },
    ),
    { numRuns: runs(40) },
  );
});

test("a lease never mixes two contents, however often the folder is replaced", async () => {
  await saveAdapter(join(folder, "acme"), contents[0]!, { base });
  await using manager = await open(1e6);
  const known = new Map<string, number>();
  const writes = runs(40);
  let writing = true;
  const write = async (): Promise<void> => {
    for (let i = 1; i <= writes; i++)
      await saveAdapter(join(folder, "acme"), contents[i % contents.length]!, { base });
    writing = false;
  };
  const read = async (): Promise<number> => {
    let leases = 0;
    while (writing) {
      try {
        using lease = await manager.acquire("acme");
        const content = readContent(lease.expand());
        expect(content).toBeGreaterThanOrEqual(0);
        expect(known.get(lease.digest) ?? content).toBe(content);
        known.set(lease.digest, content);
        leases++;
      } catch (error) {
        // a folder that changes faster than it can be read is reported as busy, never as broken or missing
        expect(error).toMatchObject({ code: "busy" });
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return leases;
  };
  const look = async (): Promise<void> => {
    while (writing) await manager.refresh();
  };
  const [, leases] = await Promise.all([write(), read(), read(), look()]);
  expect(leases).toBeGreaterThan(0);
  expect(known.size).toBeGreaterThan(1);
  await manager.refresh();
  using last = await manager.acquire("acme");
  expect(readContent(last.expand())).toBe(writes % contents.length);
  expect(manager.stats().failures).toBe(0);
});
