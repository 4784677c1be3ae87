// What a service leaves on the disk: who may read it, and what stays readable to nobody else while it runs.
import { execFile } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { toFileName } from "mixture-of-shards-core/files";
import type OpenAI from "openai";
import { toFile } from "openai";
import { afterAll, expect, test, vi } from "vitest";
import { openPglite } from "#database";
import { databases } from "./databases.ts";
import { startServing } from "./serving.ts";

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), "mos-files-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** All that is in a folder, with its modes. */
async function modesIn(root: string): Promise<ReadonlyMap<string, string>> {
  const modes = new Map<string, string>();
  const list = () => readdir(root, { withFileTypes: true, recursive: true });
  // again where a temporary folder went away meanwhile
  for (const entry of await list().catch(list)) {
    const path = join(entry.parentPath, entry.name);
    const found = await stat(path).catch(() => undefined); // temporary, and gone
    if (found !== undefined) modes.set(path, (found.mode & 0o777).toString(8));
  }
  return modes;
}

/** Names that Windows cannot have, of those that a service might make. */
const NOT_ON_WINDOWS = /[<>:"|?*\\]|[. ]$/;

const fileMode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

async function trainOne(client: OpenAI): Promise<string> {
  const file = await client.files.create({
    file: await toFile(await readFile("assets/quickstart/train.jsonl"), "train.jsonl"),
    purpose: "fine-tune",
  });
  const mos = { rank: 6, equivalent_rank: 2, steps: 2, save_every: 1, max_length: 64 };
  const body = { model: "tiny", training_file: file.id, seed: 7, mos };
  const { id } = await client.fineTuning.jobs.create(body as OpenAI.FineTuning.JobCreateParams);
  for (;;) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (job.status === "succeeded") return job.fine_tuned_model ?? "";
    if (job.status === "failed") throw new Error(job.error?.message);
    await sleep(200);
  }
}

test.skipIf(process.platform === "win32").each(databases)(
  "%s: nobody else may read or write what a service keeps, whatever the umask is",
  { timeout: 180_000 },
  async (name, open) => {
    await using database = name === "PGlite" ? undefined : await open();
    const root = join(folder, name);
    const storage = join(root, "storage");
    // a folder of an operator's, which was open before
    await mkdir(join(storage, "objects"), { recursive: true });
    for (const path of [root, storage, join(storage, "objects")]) await chmod(path, 0o777);
    const umask = process.umask(0);
    try {
      const more = ["--storage", storage, "--workers", "1"];
      await using serving = await startServing(["acme"], { url: database?.url, more });
      const acme = serving.client("acme");
      const model = await trainOne(acme);
      await acme.chat.completions.create({
        model,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 2,
      });
      // checkpoints are published at the next look
      const folders = [model, `${model}:ckpt-step-1`, `${model}:ckpt-step-2`].map(toFileName).sort();
      await vi.waitFor(
        async () => expect((await readdir(join(storage, "adapters"))).sort()).toEqual(folders),
        { timeout: 60_000, interval: 200 },
      );
      const state = join(serving.folder, "state");
      for (const place of name === "PGlite" ? [state, storage] : [storage]) {
        expect(await fileMode(place)).toBe("700");
        const modes = await modesIn(place);
        expect(modes.size).toBeGreaterThan(5);
        expect([...modes].filter(([, mode]) => mode !== "700" && mode !== "600")).toEqual([]);
        expect([...modes.keys()].filter((path) => NOT_ON_WINDOWS.test(basename(path)))).toEqual([]);
        if (process.getuid?.() !== 0) continue;
        await chmod(folder, 0o755);
        const asOther = run("find", [place, "-maxdepth", "1"], { uid: 65_534, gid: 65_534 });
        await expect(asOther).rejects.toThrow(/Permission denied/);
      }
    } finally {
      process.umask(umask);
    }
  },
);

/** Bytes of all files in folders, by their inodes: one that is renamed meanwhile counts once. */
function bytesIn(folders: readonly string[]): number {
  const sizes = new Map<number, number>();
  for (const place of folders)
    for (const name of readdirSync(place, { recursive: true, encoding: "utf8" })) {
      const found = statSync(join(place, name), { throwIfNoEntry: false });
      if (found?.isFile() === true) sizes.set(found.ino, found.size);
    }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** The same as du tells. */
async function diskUsage(folders: readonly string[]): Promise<number> {
  const find = `find ${folders.join(" ")} -type f -print0 | du --apparent-size -bc --files0-from=- 2>/dev/null | tail -1`;
  return Number.parseInt((await run("bash", ["-c", find])).stdout, 10);
}

/** What is counted while something is removed and something else arrives may be both: it is counted again. */
async function least(count: () => number | Promise<number>, most: number): Promise<number> {
  let bytes = await count();
  for (let again = 0; bytes > most && again < 5; again++) bytes = Math.min(bytes, await count());
  return bytes;
}

test.each(databases)(
  "%s: files never take more than a key allows, at any moment of uploads, refusals and deletions",
  { timeout: 180_000 },
  async (name, open) => {
    const MOST = 3_000_000;
    await using database = name === "PGlite" ? undefined : await open();
    const limits = { max_storage_bytes: MOST };
    await using serving = await startServing(["acme"], {
      url: database?.url,
      more: ["--workers", "0"],
      limits,
    });
    const acme = serving.client("acme");
    const places = ["incoming", "objects"].map((part) => join(serving.storage, part));
    const seen = { accepted: 0, refused: 0, wrong: 0, deleted: 0, left: 0, most: 0, du: 0, looks: 0 };
    const end = performance.now() + 12_000;
    /** A slow machine needs longer to see all of it. */
    const isOver = (): boolean =>
      performance.now() > end &&
      seen.most > MOST / 2 &&
      [seen.accepted, seen.refused, seen.wrong, seen.deleted].every((count) => count > 0);

    const line = (seed: number): string =>
      `${JSON.stringify({ prompt: `${seed} ${"a".repeat(1000)}`, completion: " b" })}\n`;
    const create = async (bytes: number, { isWrong = false, signal = AbortSignal.timeout(150_000) } = {}) =>
      acme.files.create(
        {
          file: await toFile(Buffer.from((isWrong ? "{" : "") + line(bytes).repeat(bytes / 1030)), "a.jsonl"),
          purpose: "fine-tune",
        },
        { signal },
      );
    const isRefusal = (error: unknown): boolean =>
      error instanceof Error && "code" in error && error.code === "storage_limit_exceeded";

    /** Uploads a file in one of the ways in which clients do; undefined where none is there afterwards. */
    async function uploadOne(round: number): Promise<string | undefined> {
      const bytes = 100_000 + ((round * 7919) % 10) * 110_000 + round;
      const isLeaving = round % 7 === 3;
      const signal = AbortSignal.timeout(isLeaving ? 30 : 150_000);
      try {
        const { id, status } = await create(bytes, { isWrong: round % 5 === 1, signal });
        seen[status === "error" ? "wrong" : "accepted"]++;
        return id;
      } catch (error) {
        if (!isRefusal(error) && !isLeaving) throw error;
        seen[isRefusal(error) ? "refused" : "left"]++;
        return undefined;
      }
    }
    async function client(seed: number): Promise<void> {
      const own: string[] = [];
      for (let round = seed; !isOver(); round++) {
        const id = await uploadOne(round);
        if (id !== undefined) own.push(id);
        const gone = round % 3 === 0 ? own.shift() : undefined;
        if (gone === undefined) continue;
        await acme.files.delete(gone);
        seen.deleted++;
      }
      for (const id of own) await acme.files.delete(id);
    }
    const look = async (): Promise<void> => {
      for (let second = 0; !isOver(); await sleep(10)) {
        seen.most = Math.max(seen.most, await least(() => bytesIn(places), MOST));
        seen.looks++;
        if (performance.now() < second) continue;
        second = performance.now() + 1000;
        seen.du = Math.max(seen.du, await least(() => diskUsage(places), MOST));
      }
    };
    await Promise.all([look(), ...Array.from({ length: 6 }, (_, i) => client(1000 * i))]);
    process.stderr.write(`${JSON.stringify({ database: name, ...seen })}\n`);
    expect(Math.max(seen.most, seen.du)).toBeLessThanOrEqual(MOST);
    expect(seen.most).toBeGreaterThan(MOST / 2);
    for (const what of ["accepted", "refused", "wrong", "deleted", "looks"] as const)
      expect(seen[what]).toBeGreaterThan(0);
    // what clients deleted, and what those that left had sent, is gone, and all of the room is there again
    await vi.waitFor(
      async () => {
        for (const { id } of (await acme.files.list()).data) await acme.files.delete(id);
        expect(bytesIn(places)).toBe(0);
      },
      { timeout: 60_000, interval: 200 },
    );
    await create(2_900_000);
  },
);

/** A small file system for one test; undefined where this process may not mount one. */
async function mountIn(place: string) {
  await mkdir(place);
  const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=20m", "tmpfs", place]).then(
    () => true,
    () => false,
  );
  if (!mounted) return undefined;
  return {
    mode: (mode: "ro" | "rw") => run("mount", ["-o", `remount,${mode}`, place]),
    [Symbol.asyncDispose]: async () => void (await run("umount", ["-l", place])),
  };
}

test("what is read-only or gone is told to clients without its place, and to the log with it", {
  timeout: 120_000,
}, async (context) => {
  const place = join(folder, "mounted");
  await using disk = await mountIn(place);
  const storage = join(disk === undefined ? folder : place, "storage");
  await using serving = await startServing(["acme"], { more: ["--storage", storage, "--workers", "0"] });
  const acme = serving.client("acme");
  const upload = async () =>
    acme.files.create({
      file: await toFile(Buffer.from('{"prompt":"a","completion":"b"}\n'), "a.jsonl"),
      purpose: "fine-tune",
    });
  const ready = async () => {
    const answer = await fetch(`${serving.address}/ready`);
    const { reason } = (await answer.json()) as { readonly reason?: string };
    return [answer.status, reason];
  };
  /** A line of the log comes by another pipe than the answer. */
  const expectLogged = (message: string, reason: string): Promise<void> =>
    vi.waitFor(
      () => expect(serving.lines).toContainEqual(expect.stringMatching(`${reason}.*"msg":"${message}"`)),
      { timeout: 20_000 },
    );
  const expectProblem = async (reason: string, logged: string): Promise<void> => {
    expect(await ready()).toEqual([503, reason]);
    await expectLogged("the server is not ready", logged);
  };
  const expectRefusal = async (reason: string, logged: string): Promise<void> => {
    const refusal = { status: 503, code: "storage_unavailable" };
    const message = expect.stringContaining(`${reason}; retry the request`);
    await expect(upload()).rejects.toMatchObject({ ...refusal, message });
    await expectLogged("a request failed", logged);
    await expectProblem(reason, logged);
  };
  const READY = [200, undefined];

  await upload();
  expect(await ready()).toEqual(READY);
  if (disk !== undefined) {
    await disk.mode("ro");
    await expectRefusal("the server's storage is read-only", `${storage}.*: the file system is read-only`);
    await disk.mode("rw");
    expect(await ready()).toEqual(READY);
  }
  const AWAY = "the server's storage is missing";
  await rename(storage, `${storage}.away`);
  await expectRefusal(AWAY, `${storage}: the storage folder is missing`);
  await rename(`${storage}.away`, storage);
  expect(await ready()).toEqual(READY);
  const adapters = join(storage, "adapters");
  await rename(adapters, `${adapters}.away`);
  await expectProblem(AWAY, `${adapters}: the folder of models is missing`);
  await sleep(6000); // longer than between two looks at models
  await expect(access(adapters)).rejects.toMatchObject({ code: "ENOENT" });
  await rename(`${adapters}.away`, adapters);
  expect(await ready()).toEqual(READY);
  const database = join(serving.folder, "state", "database");
  await rename(database, `${database}.away`);
  await sleep(1100); // for which it counts as there
  await expectRefusal(AWAY, `${database}: the database was removed`);
  if (disk === undefined) context.skip();
});

test("a state that is removed is noticed, and not made again", { timeout: 60_000 }, async () => {
  const place = join(folder, "removed");
  const database = await openPglite(place);
  await database.query("create table kept (number integer)");
  await rename(place, `${place}.away`);
  await sleep(1100);
  const message = expect.stringMatching(`${place}: the database was removed`);
  await expect(database.query("insert into kept values (1)", [])).rejects.toMatchObject({
    code: "storage",
    message,
  });
  await expect(database.transaction(async () => 1)).rejects.toMatchObject({ code: "storage", message });
  await expect(access(place)).rejects.toMatchObject({ code: "ENOENT" });
  await rename(`${place}.away`, place);
  // it is not gone on with
  await expect(database.query("select 1")).rejects.toMatchObject({ code: "storage" });
  await database[Symbol.asyncDispose]();
});
