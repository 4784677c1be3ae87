// What a service leaves on the disk: who may read it, and what stays readable to nobody else while it runs.
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type OpenAI from "openai";
import { toFile } from "openai";
import { afterAll, expect, test } from "vitest";
import { databases } from "./databases.ts";
import { startServing } from "./serving.ts";

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), "mos-files-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** All that is in a folder, with its modes. */
async function modesIn(root: string): Promise<ReadonlyMap<string, string>> {
  const modes = new Map<string, string>();
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const found = await stat(path).catch(() => undefined); // temporary, and gone
    if (found !== undefined) modes.set(path, (found.mode & 0o777).toString(8));
  }
  return modes;
}

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

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
      const state = join(serving.folder, "state");
      for (const place of name === "PGlite" ? [state, storage] : [storage]) {
        expect(await modeOf(place)).toBe("700");
        const modes = await modesIn(place);
        expect(modes.size).toBeGreaterThan(5);
        expect([...modes].filter(([, mode]) => mode !== "700" && mode !== "600")).toEqual([]);
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
