import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finetune } from "#training";
import { killable, killableBy } from "./finetune-options.ts";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-killed-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly events: readonly string[];
  readonly errors: string;
}

/** Runs the child; `milliseconds` after its first step it is killed, if that is given. */
function child(
  out: string,
  { data, resume, killAfter }: { data: string; resume: boolean; killAfter?: number },
): Promise<Ended> {
  const flags = ["--conditions=source", "--import", "tsx", "packages/core/test/finetune-child.ts"];
  const running = spawn(process.execPath, [...flags, tiny.model, data, out, resume ? "resume" : "start"]);
  let output = "";
  let errors = "";
  let isArmed = false;
  running.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (killAfter === undefined || isArmed || !output.includes("step")) return;
    isArmed = true;
    setTimeout(() => running.kill("SIGKILL"), killAfter);
  });
  running.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    running.on("error", reject);
    running.on("close", (code, signal) =>
      resolve({ code, signal, events: output.trim().split("\n"), errors }),
    );
  });
}

/** Every file of a run's folder that decides what comes of it. */
async function readRunFiles(out: string): Promise<Record<string, string>> {
  const names = (await readdir(out, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const contents = await Promise.all(names.map((name) => readFile(name, "base64")));
  return Object.fromEntries(names.map((name, i) => [name.slice(out.length + 1), contents[i]!]).sort());
}

test.each(["examples", ...Object.keys(killableBy)])(
  "a run on %s that is killed twice and resumed leaves the same bytes in every file",
  async (kind) => {
    const whole = join(folder, `whole-${kind}`);
    const data = kind in killableBy ? kind : tiny.data;
    const options = killableBy[kind] ?? { ...killable, data };
    for await (const event of finetune({ ...options, model: tiny.model, out: whole })) void event;
    const killed = join(folder, `killed-${kind}`);
    // moments at random, so that repeated runs of this test meet different ones
    for (const resume of [false, true]) {
      const moment = Math.round(Math.random() * 250);
      const ended = await child(killed, { data, resume, killAfter: moment });
      expect(ended.signal, `${moment} ms: ${ended.errors}`).toBe("SIGKILL");
      expect(ended.events).not.toContain("stopped");
    }
    const last = await child(killed, { data, resume: true });
    expect(last.code, last.errors).toBe(0);
    const expected = await readRunFiles(whole);
    const found = await readRunFiles(killed);
    expect(Object.keys(found)).toEqual(Object.keys(expected));
    const shown = (name: string, content = ""): string =>
      name.endsWith(".json") ? Buffer.from(content, "base64").toString() : content;
    // a difference in JSON says more than that there is one
    for (const [name, content] of Object.entries(expected))
      if (found[name] !== content) expect(shown(name, found[name]), name).toBe(shown(name, content));
  },
);
