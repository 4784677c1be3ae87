// Disks that are full or read-only. They are small file systems in memory, mounted for the test; where mounting is not
// permitted the tests are skipped and say so.

import { execFileSync } from "node:child_process";
import { mkdirSync, openAsBlob, type PathLike, type StatsFs } from "node:fs";
import files, { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { replaceBuiltin } from "../../../../test/replace-builtin.ts";
import { writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { makeServer } from "../../../server/test/harness.ts";
import { mos, snapshot } from "./run-mos.ts";

/** Whether a disk tells its size. Where it does not, as some of a network, a run finds out when it is full. */
const disks = { tellSize: false };
const findSpace = async (real: typeof files.statfs, path: PathLike): Promise<StatsFs> => {
  const found = await real(path);
  if (!disks.tellSize) found.blocks = 0;
  return found;
};
replaceBuiltin(files, "statfs", (real) => ((path: PathLike) => findSpace(real, path)) as typeof real);

const mount = (...args: readonly string[]): void => {
  execFileSync("mount", args, { stdio: "ignore" });
};

function canMount(): boolean {
  const probe = join(tmpdir(), `mos-mount-${process.pid}`);
  try {
    mkdirSync(probe);
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", probe);
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  }
}
const mountable = process.platform === "linux" && canMount();

let folder: string;
let model: string;
let data: string;
let disk: string;
let whole: string;
/** Bytes of a checkpoint and of the finished adapter. */
let sizes: { readonly checkpoint: number; readonly adapter: number };
let mounted: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-disk-"));
  ({ model, data } = await writeTinyFolder(folder));
  whole = join(folder, "whole");
  expect(await mos(train(whole))).toEqual({ code: 0, stdout: "", stderr: "" });
  const bytes = async (name: string) => (await stat(join(whole, name))).size;
  sizes = {
    checkpoint: await bytes("checkpoints/step-00000006/state.safetensors"),
    adapter: await bytes("adapter_model.safetensors"),
  };
});
beforeEach(async () => {
  disks.tellSize = false;
  disk = await mkdtemp(join(folder, "disk-"));
});
afterAll(async () => {
  for (const path of mounted) execFileSync("umount", [path]);
  mounted = [];
  await rm(folder, { recursive: true, force: true });
});

const mountDisk = (options: string): void => {
  mount("-t", "tmpfs", "-o", options, "tmpfs", disk);
  mounted.push(disk);
};

/** A run whose adapter takes about 200 kB, and its checkpoint three times that. */
const train = (out: string, ...more: readonly string[]): readonly string[] => [
  ...["train", "--model", model, "--data", data, "--out", out, "--method", "lora", "--rank", "64"],
  ...[
    "--max-length",
    "64",
    "--validation-split",
    "0",
    "--quiet",
    "--steps",
    "6",
    "--save-every",
    "2",
    ...more,
  ],
];

/** Fills the disk but for so many bytes. */
async function fill(left: number): Promise<string> {
  const free = Number(execFileSync("df", ["--output=avail", "-B1", disk]).toString().split("\n")[1]);
  const ballast = join(disk, "ballast");
  await writeFile(ballast, new Uint8Array(free - Math.ceil(left / 4096) * 4096));
  return ballast;
}

const FULL = /^mos: .*: the disk is full; free some space or choose another folder\n$/;
const partialFiles = async (): Promise<readonly string[]> =>
  (await readdir(disk, { recursive: true })).filter((name) => name.includes(".partial"));

describe.skipIf(!mountable)(mountable ? "a disk" : "a disk (skipped: mounting is not permitted here)", () => {
  test("that is read-only takes no run", async () => {
    mountDisk("size=1m,ro");
    for (const out of [disk, join(disk, "deep", "out")]) {
      const ended = await mos(train(out));
      expect(ended).toMatchObject({ code: 1, stdout: "" });
      expect(ended.stderr).toMatch(
        /^mos: .*: the file system is read-only; choose a folder that can be written\n$/,
      );
    }
    expect(await readdir(disk)).toEqual([]);
  });

  test("that is full at the start is left empty", async () => {
    mountDisk("size=256k");
    await fill(0);
    const ended = await mos(train(join(disk, "out")));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(FULL);
    expect(await readdir(disk)).toEqual(["ballast"]);
  });

  test("that has no room for the run is refused before it starts", async () => {
    disks.tellSize = true;
    mountDisk("size=4m");
    await fill(sizes.checkpoint * 2);
    const ended = await mos(train(join(disk, "out")));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(
      /^mos: .*out: the run with its checkpoints takes 1\.\d\d MB, but its disk has \d+ kB free; free some space, or choose another folder\n$/,
    );
    expect(await readdir(disk)).toEqual(["ballast"]);
  });

  test("that is full at the first checkpoint leaves no half of one", async () => {
    mountDisk("size=4m");
    await fill(sizes.checkpoint / 2);
    const out = join(disk, "out");
    const ended = await mos(train(out));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(FULL);
    expect(await partialFiles()).toEqual([]);
    expect((await readdir(out)).sort()).toEqual(["checkpoints", "metrics.jsonl", "run.json"]);
    expect(await readdir(join(out, "checkpoints"))).toEqual([]);
  });

  test("that becomes full keeps the checkpoint before, which is resumed to the same result", async () => {
    mountDisk("size=4m");
    const out = join(disk, "out");
    // room for one checkpoint, not for the second that is written beside it
    const ballast = await fill(sizes.checkpoint * 1.5);
    const ended = await mos(train(out));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(FULL);
    expect(await partialFiles()).toEqual([]);
    expect(await readdir(join(out, "checkpoints"))).toEqual(["step-00000002"]);
    const kept = await snapshot(join(out, "checkpoints"));
    const again = await mos(train(out, "--resume"));
    expect(again).toMatchObject({ code: 1 });
    expect(await snapshot(join(out, "checkpoints"))).toEqual(kept);
    await rm(ballast);
    expect(await mos(train(out, "--resume"))).toEqual({ code: 0, stdout: "", stderr: "" });
    const plain = async (path: string) =>
      Object.fromEntries(
        Object.entries(await snapshot(path)).map(([name, digest]) => [name.slice(path.length), digest]),
      );
    const [first, second] = [await plain(whole), await plain(out)];
    for (const name of [
      "/adapter_model.safetensors",
      "/adapter_config.json",
      "/checkpoints/step-00000006/state.safetensors",
    ])
      expect(second[name], name).toBe(first[name]);
  });

  test("that is full at the adapter keeps the last checkpoint, which is resumed", async () => {
    mountDisk("size=4m");
    const out = join(disk, "out");
    const ballast = await fill(sizes.checkpoint + sizes.adapter * 1.5);
    const ended = await mos(train(out, "--save-every", "0"));
    expect(ended).toMatchObject({ code: 1, stdout: "" });
    expect(ended.stderr).toMatch(FULL);
    expect(await partialFiles()).toEqual([]);
    expect((await readdir(out)).sort()).toEqual(["checkpoints", "metrics.jsonl", "run.json"]);
    expect(await readdir(join(out, "checkpoints"))).toEqual(["step-00000006"]);
    await rm(ballast);
    expect(await mos(train(out, "--resume", "--save-every", "0"))).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    expect(await readdir(out)).toContain("adapter_config.json");
  });

  test("that is full takes no upload of an adapter, and keeps the one before", async () => {
    mountDisk("size=1m");
    const look = async () =>
      (await readdir(disk)).filter((name) => /^[a-z]+$/.test(name) && name !== "ballast");
    const isAdmin = { name: "admin", isAdmin: true, mayUse: () => true };
    await using server = await makeServer({
      engine: { look },
      server: { keys: { find: async () => isAdmin }, adapterFolder: disk },
    });
    const upload = async (name: string) => {
      const form = new FormData();
      form.set("name", name);
      form.set("adapter_config", await openAsBlob(join(whole, "adapter_config.json")));
      form.set("adapter_model", await openAsBlob(join(whole, "adapter_model.safetensors")));
      const headers = { authorization: "Bearer key" };
      const answer = await server.fetch("/v1/adapters", { method: "POST", body: form, headers });
      return [answer.status, ((await answer.json()) as { error?: { code: string } }).error?.code];
    };
    expect(await upload("old")).toEqual([201, undefined]);
    await fill(sizes.adapter / 2);
    const before = await snapshot(disk);
    for (const name of ["fresh", "old"]) expect(await upload(name)).toEqual([507, "insufficient_storage"]);
    expect(await snapshot(disk)).toEqual(before);
  });

  test("does not lose an old run to --overwrite before the new one has a result", async () => {
    mountDisk("size=4m");
    const out = join(disk, "out");
    expect(await mos(train(out))).toMatchObject({ code: 0 });
    const before = await snapshot(out);
    const data = join(folder, "bad.jsonl");
    await writeFile(data, "{\n");
    expect(await mos(train(out, "--overwrite", "--data", data))).toMatchObject({ code: 1 });
    expect(await snapshot(out)).toEqual(before);
  });
});
