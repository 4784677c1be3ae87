// Packed weights that are kept for the next start: the same numbers, and never those for another model or a broken file.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, type PathLike, rmSync, type StatsFs } from "node:fs";
import files, {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createModelRunner } from "#inference";
import type { BaseDtype, ComputeDtype } from "#models";
import { thisWriter } from "#platform";
import { replaceBuiltin } from "../../../../test/replace-builtin.ts";
import { openWeights } from "../../src/inference/open-core.ts";

/** Whether disks tell their size. Where they do not, as some of a network, writing finds out. */
const disks = { tellSize: true };
const findSpace = async (real: typeof files.statfs, path: PathLike): Promise<StatsFs> => {
  const found = await real(path);
  if (!disks.tellSize) found.blocks = 0;
  return found;
};
replaceBuiltin(files, "statfs", (real) => ((path: PathLike) => findSpace(real, path)) as typeof real);

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
  readonly constantBytes: number;
}

/** What the first start of a model says, and its folder with what that has written. */
let written: { readonly folder: string; readonly started: Started };
beforeAll(async () => {
  model = join(root, "written");
  await cp("assets/tiny-english", model, { recursive: true });
  // a copy has the time in milliseconds
  await utimes(join(model, "model.safetensors"), 1000, 1000);
  written = { folder: model, started: await start() };
});
/** A model that was started once. */
async function startedBefore(): Promise<Started> {
  await rm(model, { recursive: true });
  await cp(written.folder, model, { recursive: true, preserveTimestamps: true });
  return written.started;
}

interface StartOptions {
  readonly baseDtype?: BaseDtype;
  readonly computeDtype?: ComputeDtype;
  readonly keep?: boolean;
  readonly from?: number;
  readonly fallback?: string;
  readonly path?: string;
}

/** Opens the weights, and says what that has noted. */
async function openNoted({
  baseDtype = "int4",
  computeDtype = "int8",
  keep = true,
  from = 0,
  fallback,
  path = model,
}: StartOptions = {}) {
  const notes: string[] = [];
  const settings = { baseDtype, computeDtype, maxLength: 64, weightCache: keep, cacheFolder: fallback };
  const opened = await openWeights(
    { model: path, ...settings },
    {
      minCacheBytes: from,
      onProgress: (progress) => {
        if (progress.type === "note") notes.push(progress.text);
      },
    },
  );
  return { opened, notes };
}

async function notesOf(options?: StartOptions): Promise<readonly string[]> {
  const { opened, notes } = await openNoted(options);
  await opened.weights[Symbol.asyncDispose]();
  return notes;
}

async function start(options?: StartOptions): Promise<Started> {
  const { opened, notes } = await openNoted(options);
  await using weights = opened.weights;
  await using runner = await createModelRunner(weights, { maxLength: 64, adapters: false });
  runner.cache.resize(1, 64);
  const [[logits] = []] = await runner.run({ from: 0, count: 1, tokens: [[1, 5, 9, 200, 33]] });
  const { fingerprint, identity } = opened;
  const { constantBytes } = weights; // which decide whether there are two programs
  return { logits: logits!.slice(), fingerprint, identity, notes, constantBytes };
}

const listFiles = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);
const named = (form: string) => expect.stringMatching(new RegExp(`^${form}-[\\da-f]{16}\\.safetensors$`));
async function cacheFile(form = "int4-int8"): Promise<string> {
  const found = (await listFiles(join(model, ".mos"))).filter((name) => name.startsWith(`${form}-`));
  expect(found).toEqual([named(form)]);
  return join(model, ".mos", found[0]!);
}

type Forms = readonly [baseDtype: "int4" | "int8", computeDtype: "int8" | "float32"];
const OTHER_FORMS: readonly Forms[] = [
  ["int4", "float32"],
  ["int8", "int8"],
  ["int8", "float32"],
];
describe("the second start has the same bits, and says nothing", () => {
  const startTwice = async (...[baseDtype, computeDtype]: Forms): Promise<void> => {
    const without = await start({ baseDtype, computeDtype, keep: false });
    const first = await start({ baseDtype, computeDtype });
    const second = await start({ baseDtype, computeDtype });
    expect(await listFiles(join(model, ".mos"))).toEqual([named(`${baseDtype}-${computeDtype}`)]);
    expect(first.notes).toEqual([expect.stringMatching(/^cached packed weights: .* in .*\.mos$/)]);
    const { notes: _, ...expected } = without;
    expect(expected.constantBytes).toBeGreaterThan(0);
    expect(first).toMatchObject(expected);
    expect(second).toEqual({ ...expected, notes: [] });
  };
  test("int4 with products in int8", () => startTwice("int4", "int8"));
  test.each(OTHER_FORMS)("%s with products in %s", { tags: "thorough" }, startTwice);
});

test("the second start reads the file that the first one wrote, and no weights", async () => {
  const { logits } = await startedBefore();
  const path = await cacheFile();
  const before = await readFile(path);
  const changed = Buffer.from(before);
  // all of the last tensor, so that the sample of pages is what notices it
  changed.fill(0, changed.length - 200_000);
  await writeFile(path, changed);
  const again = await start();
  expect(again.notes[0]).toMatch(/cannot be used and are rebuilt: .*checksum mismatch/);
  expect(again.logits).toEqual(logits);
  expect(before.equals(await readFile(path))).toBe(true);
});

/** Changes the header of a cache, and seals it again where `isSealed`. */
async function changeHeader(path: string, from: RegExp, to: string, isSealed: boolean): Promise<void> {
  const bytes = await readFile(path);
  const length = 8 + Number(bytes.readBigUInt64LE(0));
  let header = bytes.toString("latin1", 8, length);
  expect(header).toMatch(from);
  header = header.replace(from, to);
  const withSeal = (seal: string): Buffer => {
    const text = header.replace(/"mos_header":"[^"]{64}"/, `"mos_header":"${seal}"`);
    bytes.write(text, 8, "latin1");
    return bytes.subarray(0, length);
  };
  if (isSealed)
    withSeal(
      createHash("sha256")
        .update(withSeal("-".repeat(64)))
        .digest("hex"),
    );
  else withSeal(/"mos_header":"([^"]{64})"/.exec(header)![1]!);
  await writeFile(path, bytes);
}

test("a header that was changed is noticed: the model's fingerprint, a type", async () => {
  const { fingerprint, identity, logits } = await startedBefore();
  for (const [from, to] of [
    [/sha256:./, "sha256:x"],
    [/("padding\.\d+":\{"dtype":)"U8"/, '$1"I8"'],
  ] as const) {
    await changeHeader(await cacheFile(), from, to, false);
    const again = await start();
    expect(again.notes[0]).toMatch(/checksum mismatch/);
    expect(again).toMatchObject({ fingerprint, identity, logits });
  }
});

test("a cache whose matrices do not fit the model is made anew, however well it is sealed", async () => {
  const { logits } = await startedBefore();
  const path = await cacheFile();
  const before = await readFile(path);
  for (const [from, to] of [
    [/(\\"out\\":)(\d)/, "$19"],
    [/("[^"]*)codes(":)/, "$1coded$2"],
    [/(scales":\{"dtype":"F32","shape":\[)(\d+),(\d+)\]/, "$1$3,$2]"],
  ] as const) {
    await changeHeader(path, from, to, true);
    const again = await start();
    expect(again.notes[0]).toMatch(/cannot be used and are rebuilt: .* is missing/);
    expect(again.logits).toEqual(logits);
    expect(before.equals(await readFile(path))).toBe(true);
  }
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
describe("a file is named in a line that is", () => {
  const nameDamage = async (...[_, damage, message]: Damage): Promise<void> => {
    const { logits } = await startedBefore();
    const path = await cacheFile();
    await damage(path);
    const again = await start();
    expect(again.notes[0]).toMatch(message);
    expect(again.notes[0]).toContain(path);
    expect(again.logits).toEqual(logits);
  };
  test.each(DAMAGES.slice(0, 1))("%s", nameDamage);
  test.each(DAMAGES.slice(1))("%s", { tags: "thorough" }, nameDamage);
});

test("weights for another model in the same place are not used: size, time and pages of each tensor tell", async () => {
  const path = join(model, "model.safetensors");
  await utimes(path, 1000, 1000);
  const first = await start();
  const bytes = await readFile(path);
  const at = bytes.length - 2048;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(path, bytes);
  await utimes(path, 1000, 1000);
  const kept = await cacheFile();
  const other = await start();
  expect(other.notes).toEqual([expect.stringMatching(/^cached packed weights/)]);
  expect(other.fingerprint).not.toBe(first.fingerprint);
  const second = await cacheFile();
  expect(second).not.toBe(kept);
  expect(await notesOf()).toEqual([]);
  await utimes(path, 1, 1);
  expect(await notesOf()).toEqual([expect.stringMatching(/^cached packed weights/)]);
  expect(await cacheFile()).not.toBe(second);
});

test("a file under the name of another is not used", async () => {
  const { logits } = await startedBefore();
  const kept = await readFile(await cacheFile());
  await utimes(join(model, "model.safetensors"), 1, 1);
  await notesOf();
  await writeFile(await cacheFile(), kept);
  const again = await start();
  expect(again.notes[0]).toMatch(/for another model/);
  expect(again.logits).toEqual(logits);
});

test.skipIf(process.platform === "win32")(
  "what other users may write, or own, is not used, and made anew",
  async () => {
    await startedBefore();
    const path = await cacheFile();
    await chmod(path, 0o664);
    expect((await notesOf())[0]).toMatch(/writable by other users/);
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    await chmod(join(model, ".mos"), 0o777);
    expect((await notesOf())[0]).toMatch(/writable by other users/);
    expect((await stat(join(model, ".mos"))).mode & 0o777).toBe(0o755);
    expect(await notesOf()).toEqual([]);
    if (process.getuid?.() !== 0) return; // only root gives files away
    await chown(path, 12_345, 12_345);
    expect((await notesOf())[0]).toMatch(/owned by another user \(uid 12345\)/);
    await chown(path, 12_345, 12_345);
    await chown(model, 12_345, 12_345);
    expect(await notesOf()).toEqual([]);
  },
);

test("a broken file in one place is not spoken of where the other has a good one", async () => {
  const fallback = join(root, "good");
  const folder = join(model, ".mos");
  await writeFile(folder, "");
  await notesOf({ fallback });
  const [own] = await listFiles(fallback);
  const [name] = await listFiles(join(fallback, own!));
  await rm(folder);
  await mkdir(folder);
  await writeFile(join(folder, name!), "broken");
  expect(await notesOf({ fallback })).toEqual([]);
});

test("what a killed start left is removed before room is asked for", async () => {
  const folder = join(model, ".mos");
  await mkdir(folder);
  const left = `.int4-int8-0123456789abcdef.safetensors.999999999-1-${thisWriter.place}-00000000.partial`;
  await writeFile(join(folder, left), "");
  await notesOf();
  expect(await listFiles(folder)).toEqual([named("int4-int8")]);
});

test("where the model's folder cannot be written the other folder is used, else none, and both are said once", async () => {
  const fallback = join(root, "cache");
  // a file is in the way, also for root, who may write everywhere
  await writeFile(join(model, ".mos"), "");
  const first = await start({ fallback });
  expect(first.notes).toEqual([expect.stringContaining(fallback)]);
  expect(await notesOf({ fallback })).toEqual([]);
  expect(await listFiles(fallback)).toEqual([expect.stringMatching(/^model-\d+-[\da-f]{16}$/)]);
  const none = await start();
  expect(none.notes).toEqual([expect.stringMatching(/^packed weights are not cached: .*\.mos/)]);
  expect(none.logits).toEqual(first.logits);
});

test("small models, stored weights and plain matrices are not kept", async () => {
  const cases: readonly StartOptions[] = [
    { from: 1e9 },
    { keep: false },
    { baseDtype: "stored", computeDtype: "float32" },
    { baseDtype: "float32", computeDtype: "int8" },
    { baseDtype: "nf4", computeDtype: "float32" },
  ];
  for (const options of cases) expect(await notesOf(options)).toEqual([]);
  expect(await listFiles(join(model, ".mos"))).toEqual([]);
});

test.skipIf(!mountable)("on a full disk it serves without, and leaves nothing", async () => {
  const { logits } = await start({ keep: false });
  const disk = join(model, ".mos");
  await mkdir(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], { stdio: "ignore" });
  try {
    const known = await start();
    expect(known.notes).toEqual([expect.stringMatching(/not cached: .*has \d+ kB free/)]);
    disks.tellSize = false;
    const found = await start();
    expect(found.notes).toEqual([expect.stringMatching(/not cached: .*the disk is full/)]);
    for (const one of [known, found]) expect(one.logits).toEqual(logits);
    expect(await listFiles(disk)).toEqual([]);
  } finally {
    disks.tellSize = true;
    execFileSync("umount", [disk]);
  }
});

test("two that write at once, and one that reads meanwhile", async () => {
  const all = await Promise.all([start(), start(), start()]);
  for (const one of all) expect(one.logits).toEqual(all[0]!.logits);
  expect(await listFiles(join(model, ".mos"))).toEqual([named("int4-int8")]);
  expect(await notesOf()).toEqual([]);
});

test.skipIf(process.platform !== "linux" || !mountable)("a cache that is only read serves", async () => {
  const { logits } = await startedBefore();
  const folder = join(model, ".mos");
  execFileSync("mount", ["--bind", folder, folder], { stdio: "ignore" });
  try {
    execFileSync("mount", ["-o", "remount,bind,ro", folder], { stdio: "ignore" });
    await expect(writeFile(join(folder, "probe"), "")).rejects.toMatchObject({ code: "EROFS" });
    expect(await start()).toMatchObject({ logits, notes: [] });
  } finally {
    execFileSync("umount", [folder]);
  }
});

test("what is packed stays what it was, or FORMAT of weight-cache.ts is raised", async () => {
  const digests: Record<string, string> = {};
  for (const baseDtype of ["int4", "int8"] as const)
    for (const computeDtype of ["int8", "float32"] as const) {
      await notesOf({ baseDtype, computeDtype });
      const bytes = await readFile(await cacheFile(`${baseDtype}-${computeDtype}`));
      const length = 8 + Number(bytes.readBigUInt64LE(0));
      const { __metadata__, ...tensors } = JSON.parse(bytes.toString("utf8", 8, length));
      digests[`${baseDtype} ${computeDtype}`] = createHash("sha256")
        .update(JSON.stringify([tensors, __metadata__.mos_facts]))
        .update(bytes.subarray(length))
        .digest("hex")
        .slice(0, 16);
    }
  expect(digests).toMatchInlineSnapshot(`
    {
      "int4 float32": "38915f9aa2c29388",
      "int4 int8": "2bc4febcfddc9f6f",
      "int8 float32": "7dbfef78bbb6343a",
      "int8 int8": "2f242f20e4ce0e7b",
    }
  `);
});
