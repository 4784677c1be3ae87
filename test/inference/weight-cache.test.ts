// Packed weights that are kept for the next start: the same numbers, and never those of another model or a broken file.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { createModelRunner } from "#inference";
import type { BaseDtype, Compute } from "#models";
import { openWeights } from "../../src/inference/open-weights.ts";
import { fullSettings } from "../../src/inference/settings.ts";

/** Whether disks tell their size. Where they do not, as some of a network, writing finds out. */
const disks = vi.hoisted(() => ({ tellSize: true }));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const statfs = async (path: string) => ({
    ...(await real.statfs(path)),
    ...(disks.tellSize ? {} : { blocks: 0 }),
  });
  return { ...real, statfs };
});

function canMount(): boolean {
  const probe = mkdtempSync(join(tmpdir(), "mos-mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", probe], { stdio: "ignore" });
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true });
  }
}
const mountable = process.platform === "linux" && canMount();

const root = await mkdtemp(join(tmpdir(), "mos-weight-cache-"));
afterAll(() => rm(root, { recursive: true, force: true }));

let count = 0;
let model = "";
beforeEach(async () => {
  model = join(root, `model-${count++}`);
  await cp("assets/tiny-english", model, { recursive: true });
});

interface Started {
  readonly logits: Float32Array;
  readonly fingerprint: string;
  readonly identity: string | undefined;
  readonly notes: readonly string[];
}

interface StartOptions {
  readonly baseDtype?: BaseDtype;
  readonly compute?: Compute;
  readonly keep?: boolean;
  readonly from?: number;
  readonly fallback?: string;
  readonly path?: string;
}

async function start({
  baseDtype = "int4",
  compute = "int8",
  keep = true,
  from = 0,
  fallback,
  path = model,
}: StartOptions = {}): Promise<Started> {
  const notes: string[] = [];
  const opened = await openWeights(path, {
    size: { ...fullSettings({ baseDtype, maxLength: 64 }), compute, adapters: false },
    ...{ free: undefined, signal: undefined, report: () => undefined },
    keep: keep ? { from, fallback } : undefined,
    onNote: (text) => notes.push(text),
  });
  await using weights = opened.weights;
  await using runner = await createModelRunner(weights, { maxLength: 64, adapters: false });
  runner.cache.resize(1, 64);
  const [[logits] = []] = await runner.run({ from: 0, count: 1, tokens: [[1, 5, 9, 200, 33]] });
  const { fingerprint, identity } = opened.model;
  return { logits: logits!.slice(), fingerprint, identity, notes };
}

const cacheFile = (name = "int4-int8"): string => join(model, ".mos", `${name}.safetensors`);
const filesOf = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

test.each([
  ["int4", "int8"],
  ["int4", "float32"],
  ["int8", "int8"],
  ["int8", "float32"],
] as const)(
  "%s with products in %s: the second start has the same bits, and says nothing",
  async (baseDtype, compute) => {
    const without = await start({ baseDtype, compute, keep: false });
    const first = await start({ baseDtype, compute });
    const second = await start({ baseDtype, compute });
    expect(await filesOf(join(model, ".mos"))).toEqual([`${baseDtype}-${compute}.safetensors`]);
    expect(first.notes).toEqual([
      expect.stringMatching(/^packed weights are kept for the next start: .* in .*\.mos$/),
    ]);
    const { notes: _, ...expected } = without;
    expect(first).toMatchObject(expected);
    expect(second).toEqual({ ...expected, notes: [] });
  },
);

test("the second start reads the file that the first one wrote, and no weights", async () => {
  const { logits } = await start();
  const before = await readFile(cacheFile());
  const changed = Buffer.from(before);
  // all of the last tensor, so that the sample of pages is what notices it
  changed.fill(0, changed.length - 200_000);
  await writeFile(cacheFile(), changed);
  const again = await start();
  expect(again.notes[0]).toMatch(
    /cannot be used and are made anew: .*its bytes are not those that were written/,
  );
  expect(again.logits).toEqual(logits);
  expect(before.equals(await readFile(cacheFile()))).toBe(true);
});

const replaceByFolder = async (path: string): Promise<void> => {
  await rm(path);
  await mkdir(path);
};
type Damage = readonly [string, (path: string) => Promise<void>, RegExp];
const DAMAGES: readonly Damage[] = [
  ["cut short", (path) => truncate(path, 300_000), /cut short/],
  ["empty", (path) => truncate(path, 0), /too few for a safetensors file/],
  ["no safetensors", (path) => writeFile(path, "x".repeat(5000)), /header/],
  ["a folder", replaceByFolder, /folder/],
];
test.each(DAMAGES)("a file that is %s is named in a line", async (_, damage, message) => {
  const { logits } = await start();
  await damage(cacheFile());
  const again = await start();
  expect(again.notes[0]).toMatch(message);
  expect(again.notes[0]).toContain(cacheFile());
  expect(again.logits).toEqual(logits);
});

test("weights of another model in the same place are not used: size, time and a page of each tensor tell", async () => {
  const { fingerprint } = await start();
  const path = join(model, "model.safetensors");
  const bytes = await readFile(path);
  const at = bytes.length - 2048;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(path, bytes);
  const other = await start();
  expect(other.notes[0]).toMatch(/of another model/);
  expect(other.fingerprint).not.toBe("");
  await utimes(path, 1, 1);
  expect((await start()).notes[0]).toMatch(/of another model/);
  expect((await start()).notes).toEqual([]);
  expect(fingerprint).toMatch(/^sha256:/);
});

test("where the model's folder cannot be written the other folder is used, else none, and both are said once", async () => {
  const fallback = join(root, "cache");
  // a file is in the way, also for root, who may write everywhere
  await writeFile(join(model, ".mos"), "");
  const first = await start({ fallback });
  expect(first.notes).toEqual([expect.stringContaining(fallback)]);
  expect((await start({ fallback })).notes).toEqual([]);
  expect(await filesOf(fallback)).toEqual([expect.stringMatching(/^model-\d+-[\da-f]{16}$/)]);
  const none = await start();
  expect(none.notes).toEqual([
    expect.stringMatching(/^packed weights are not kept for the next start: .*\.mos/),
  ]);
  expect(none.logits).toEqual(first.logits);
});

test("small models, stored weights and plain matrices are not kept", async () => {
  const cases: readonly StartOptions[] = [
    { from: 1e9 },
    { keep: false },
    { baseDtype: "stored", compute: "float32" },
    { baseDtype: "float32", compute: "int8" },
    { baseDtype: "nf4", compute: "float32" },
  ];
  for (const options of cases) expect((await start(options)).notes).toEqual([]);
  expect(await filesOf(join(model, ".mos"))).toEqual([]);
});

test.skipIf(!mountable)("on a full disk it serves without, and leaves nothing", async () => {
  const { logits } = await start({ keep: false });
  const disk = join(model, ".mos");
  await mkdir(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], { stdio: "ignore" });
  try {
    const known = await start();
    expect(known.notes).toEqual([expect.stringMatching(/not kept for the next start: .*has \d+ kB free/)]);
    disks.tellSize = false;
    const found = await start();
    expect(found.notes).toEqual([expect.stringMatching(/not kept for the next start: .*the disk is full/)]);
    for (const one of [known, found]) expect(one.logits).toEqual(logits);
    expect(await filesOf(disk)).toEqual([]);
  } finally {
    disks.tellSize = true;
    execFileSync("umount", [disk]);
  }
});

test("two that write at once, and one that reads meanwhile", async () => {
  const all = await Promise.all([start(), start(), start()]);
  for (const one of all) expect(one.logits).toEqual(all[0]!.logits);
  expect(await filesOf(join(model, ".mos"))).toEqual(["int4-int8.safetensors"]);
  expect((await start()).notes).toEqual([]);
});

test("a cache that is only read serves", async () => {
  const { logits } = await start();
  await chmod(join(model, ".mos"), 0o555);
  const again = await start();
  await chmod(join(model, ".mos"), 0o755);
  expect(again).toMatchObject({ logits, notes: [] });
});

test("what is packed stays what it was, or FORMAT of weight-cache.ts is raised", async () => {
  const digests: Record<string, string> = {};
  for (const [baseDtype, compute] of [
    ["int4", "int8"],
    ["int8", "float32"],
  ] as const) {
    await start({ baseDtype, compute });
    const bytes = await readFile(cacheFile(`${baseDtype}-${compute}`));
    const header = Number(bytes.readBigUInt64LE(0));
    digests[`${baseDtype} ${compute}`] = createHash("sha256")
      .update(bytes.subarray(8 + header))
      .digest("hex")
      .slice(0, 16);
  }
  expect(digests).toMatchInlineSnapshot(`
    {
      "int4 int8": "feed5c9e4874d3a1",
      "int8 float32": "79a32ac124d4e071",
    }
  `);
});
