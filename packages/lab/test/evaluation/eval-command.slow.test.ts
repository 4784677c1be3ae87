// The command itself, on the bundled model: what is left where it is killed.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines } from "../../../mos/test/bad-input/run-mos.ts";
import { DATA, ended, MODEL, start, timeless, writeAdapter, writeSums } from "./bundled.ts";

let folder: string;
let sums: string;
let adapters: readonly string[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-eval-"));
  sums = await writeSums(join(folder, "sums"), 120);
  adapters = [
    await writeAdapter(join(folder, "lora")),
    await writeAdapter(join(folder, "mos"), { method: "mos", rank: 6, equivalentRank: 2 }),
  ];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const evalArgs = (out: string, ...more: readonly string[]): readonly string[] => [
  ...["eval", "--model", MODEL, "--data", DATA, "--out", join(folder, out), "--threads", "1", ...more],
];
const plain = ["--chat-format", "none", "--shots", "0"];
const read = async (out: string) => JSON.parse(await readFile(join(folder, out), "utf8"));

test("a run that is killed and then interrupted resumes to the same result, without asking twice", async () => {
  const chosen = [
    "--tasks",
    "gsm8k",
    "--base",
    "--adapter",
    adapters[0]!,
    "--json",
    ...plain,
    "--data",
    sums,
  ];
  expect(await ended(start(evalArgs("whole.json", ...chosen)))).toMatchObject({
    code: 0,
    answers: 240,
    stderr: "",
  });
  expect((await read("whole.json")).command).toMatch(
    /^(npx mixture-of-shards|mos) eval --model assets\/tiny-english --data /,
  );
  const args = evalArgs("broken.json", ...chosen);
  // anywhere, so that repeated runs of this test meet different moments
  const after = 1 + Math.floor(Math.random() * 100);
  const killed = await ended(start(args), { signal: "SIGKILL", after });
  expect(killed, `${after} answers`).toMatchObject({ signal: "SIGKILL" });
  const stopped = await ended(start(args), { signal: "SIGINT", after: 10 });
  expect(stopped.code).toBe(130);
  expect(JSON.parse(stopped.stderr.trimEnd())).toMatchObject({ error: { code: "cancelled" } });
  expect(await ended(start(args))).toMatchObject({ code: 0, stderr: "" });
  expect(timeless(await read("broken.json"))).toEqual(timeless(await read("whole.json")));
  expect(await readdir(join(folder, "broken.answers"))).toEqual(["base.gsm8k.jsonl", "lora.gsm8k.jsonl"]);
  for (const name of ["base", "lora"]) {
    const [logged, expected] = await Promise.all(
      ["broken", "whole"].map(async (run) => {
        const samples = jsonLines(
          await readFile(join(folder, `${run}.answers`, `${name}.gsm8k.jsonl`), "utf8"),
        );
        return samples
          .slice(1)
          .map(({ seconds: _, ...sample }) => sample)
          .toSorted((a, b) => (a.id < b.id ? -1 : 1));
      }),
    );
    expect(logged).toHaveLength(120);
    expect(logged).toEqual(expected);
  }
}, 300_000);
