import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finetune } from "#training";
import { runs } from "../../../test/runs.ts";
import { killable, killableBy } from "./finetune-options.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-killed-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly events: readonly string[];
  readonly errors: string;
}

interface Child extends TinyFolder {
  readonly resume: boolean;
  /** Milliseconds after its first step; it is not killed without. */
  readonly killAfter?: number;
}

function child(out: string, { model, data, resume, killAfter }: Child): Promise<Ended> {
  const flags = ["--conditions=source", "--import", "tsx", "packages/core/test/finetune-child.ts"];
  const running = spawn(process.execPath, [...flags, model, data, out, resume ? "resume" : "start"]);
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

/** A run that is killed twice and resumed, against one that is not: every file has the same bytes. */
async function expectSameBytes(at: string, { model, data }: TinyFolder): Promise<void> {
  const whole = join(at, "whole");
  const options = killableBy[data] ?? { ...killable, data };
  for await (const event of finetune({ ...options, model, out: whole })) void event;
  const killed = join(at, "killed");
  // moments at random, so that repeated runs of this test meet different ones
  for (const resume of [false, true]) {
    const moment = Math.round(Math.random() * 250);
    const ended = await child(killed, { model, data, resume, killAfter: moment });
    expect(ended.signal, `${moment} ms: ${ended.errors}`).toBe("SIGKILL");
    expect(ended.events).not.toContain("stopped");
  }
  const last = await child(killed, { model, data, resume: true });
  expect(last.code, last.errors).toBe(0);
  const expected = await readRunFiles(whole);
  const found = await readRunFiles(killed);
  expect(Object.keys(found)).toEqual(Object.keys(expected));
  const shown = (name: string, content = ""): string =>
    name.endsWith(".json") ? Buffer.from(content, "base64").toString() : content;
  // a difference in JSON says more than that there is one
  for (const [name, content] of Object.entries(expected))
    if (found[name] !== content) expect(shown(name, found[name]), name).toBe(shown(name, content));
}

async function makeFolder(name: string, family?: object): Promise<TinyFolder & { readonly at: string }> {
  const at = join(folder, name);
  await mkdir(at);
  return { at, ...(await writeTinyFolder(at, family)) };
}

test.each(["examples", ...Object.keys(killableBy)])(
  "a run on %s that is killed twice and resumed leaves the same bytes in every file",
  async (kind) => {
    const { at, model, data } = await makeFolder(kind);
    await expectSameBytes(at, { model, data: kind in killableBy ? kind : data });
  },
);

/** Families whose layers keep what no other's do; with MOS_TEST_RUNS=all every one. */
const FAMILIES = runs(4) === 4 ? Object.keys(TINY_FAMILIES) : ["gemma4", "lfm3", "qwen3_5"];
test.each(FAMILIES.filter((name) => name !== "llama"))(
  "a run on a base of the family %s does, too",
  async (family) => {
    const { at, ...tiny } = await makeFolder(family.replaceAll(" ", "-"), TINY_FAMILIES[family]);
    await expectSameBytes(at, tiny);
  },
);
