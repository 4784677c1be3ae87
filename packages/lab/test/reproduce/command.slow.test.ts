// The command itself, and options that are refused.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mos } from "../../../mos/test/bad-input/run-mos.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-reproduce-command-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const model = ["--model", "assets/tiny-english"];
const files = ["--train", "assets/quickstart/train.jsonl", "--eval", "assets/quickstart/validation.jsonl"];
const words = (text: string): readonly string[] => text.split(" ").filter((word) => word !== "");

test("lists the methods at one budget, MoS's ablations and scaling with them", async () => {
  const { stdout } = await mos(["reproduce", "budget", "--list", "--json", ...model]);
  const { rows } = JSON.parse(stdout);
  const of = (key: string) => rows.find((row: { key: string }) => row.key === key);
  const ofMos = ["mos-2", "mos-2-sp", "mos-2-vs", "mos-2-pd", "mos-2-scaled", "mos-2-half-rank"];
  for (const key of ["lora-2", "pure-sharing", ...ofMos])
    expect([key, of(key).trainable]).toEqual([key, 23_360]);
  expect(of("mos-2-sp")).toMatchObject({ ablates: "mos-2", adapter: { privateRank: 0, rank: 6 } });
  expect(of("mos-2-vs").adapter.shardsPerVector).toBe(1);
  expect(of("mos-2-pd").adapter.pairDissociation).toBe(false);
  expect([of("mos-2").adapter.rank, of("mos-2-half-rank").adapter.rank]).toEqual([6, 3]);
  const readScale = (key: string) => of(key).adapter.alpha / of(key).adapter.rank;
  expect([readScale("mos-2-scaled"), readScale("mos-2")]).toEqual([readScale("lora-2"), 16 / 6]);
});

test("runs a cell; the exit code reports missing results", async () => {
  const out = join(folder, "run");
  const args = words(
    "--seeds 1 --steps 1 --max-length 64 --answers 0 --eval-examples 4 --only lora-2 --json",
  );
  const ended = await mos(["reproduce", "table1", ...model, ...files, ...args, "--out", out]);
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  const events = ended.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).type);
  expect(events).toEqual([...["plan", "started", "phase", "phase", "progress", "phase", "result", "finish"]]);
  expect((await readdir(out)).sort()).toEqual(["cells", "table1-loss.svg", "table1.json", "table1.md"]);
  const again = await mos(["reproduce", "table1", ...model, ...files, ...args.slice(0, -1), "--out", out]);
  expect(again.code).toBe(0);
  expect(again.stdout).toContain(join(out, "table1.md"));
});

test.each<[string, RegExp]>([
  ["table3 --list", /'table3' is not a valid experiment; expected one of table1, table2, budget, figure1/],
  ["", /missing required argument 'experiment'/],
  ["table1 --train a.jsonl", /required option '--model' not given/],
  ["table1 MODEL", /required option '--train' not given/],
  ["table1 --model no-such/model FILES", /required option '--out' not given/],
  ["table1 MODEL FILES", /required option '--out' not given/],
  ["table1 MODEL FILES OUT --seeds 0", /--seeds.*'0' is invalid.*a whole number from 1 to 1000/],
  ["table1 MODEL FILES OUT --seeds 5000", /--seeds.*'5000' is invalid.*a whole number from 1 to 1000/],
  ["table1 MODEL FILES OUT --learning-rates 1e-3,fast", /--learning-rates.*Expected a number/],
  [
    "table1 MODEL FILES OUT --learning-rates 1e-3,0.001",
    /--learning-rates.*'1e-3,0.001' is invalid.*several different ones/,
  ],
  ["table1 MODEL FILES OUT --learning-rates 0", /--learning-rates.*'0' is invalid.*a number above 0/],
  ["table1 MODEL FILES OUT --only mos-9", /--only: there is no row "mos-9"; the rows are base, lora-2/],
  ["figure1 MODEL FILES OUT --shards 1,x", /--shards.*'1,x' is invalid.*a whole number from 1/],
  ["table1 MODEL FILES OUT --dropout 1", /--dropout.*'1' is invalid.*a probability/],
  ["table1 MODEL FILES OUT --max-length 100000", /--max-length 100000 is more than the \d+ positions/],
  ["table1 MODEL FILES OUT --steps 5 --warmup 6", /--warmup of 6 updates is more than the 5 updates/],
  [
    "table1 MODEL FILES OUT --batch-size 9999",
    /--batch-size.*'9999' is invalid.*a whole number from 1 to 4096/,
  ],
  ["table1 MODEL FILES OUT --jobs 0", /--jobs.*'0' is invalid.*a whole number from 1/],
  ["table1 MODEL FILES OUT --job 2", /unknown option '--job'; did you mean --jobs\?/],
])("%s", async (text, message) => {
  const filled = text.replace("MODEL", model.join(" ")).replace("FILES", files.join(" "));
  const args = words(filled.replace("OUT", `--out ${join(folder, "none")}`));
  const ended = await mos(["reproduce", ...args]);
  expect(ended.stderr).toMatch(message);
  expect(ended.code).toBe(2);
  expect(await readdir(folder)).not.toContain("none");
});
