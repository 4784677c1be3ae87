import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mos } from "../../../mos/test/bad-input/run-mos.ts";

const model = ["--model", "assets/tiny-english"];

test("lists the rows on a model, and runs nothing", async () => {
  const { code, stdout } = await mos(["reproduce", "table2", "--list", ...model]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^mos-2 +MoS +6 +23,360 +rank 6, the most that fits, instead of 8$/m);
  expect(stdout).toMatch(/^lora-64 +LoRA +64 +747,520$/m);
  const two = await mos(["reproduce", "table2", "--list", "--only", "lora-2,mos-2", ...model]);
  expect(two.stdout.match(/^(?:lora|mos|vera)-.*?(?= )/gm)).toEqual(["lora-2", "mos-2"]);
  const unknown = await mos(["reproduce", "table2", "--list", "--only", "lora-3", ...model]);
  expect(unknown.stderr).toContain('there is no row "lora-3"; the rows are base, lora-2');
  const json = await mos(["reproduce", "figure1", "--list", "--json", "--shards", "1,3", ...model]);
  const { rows } = JSON.parse(json.stdout);
  expect(rows.map(({ key }: { key: string }) => key)).toContain("mos-p0-l3");
});

/** What pictures need of an experiment's JSON. */
const REPORT = {
  format: 1,
  experiment: "table1",
  files: {
    model: "assets/tiny-english",
    train: "quickstart/train.jsonl",
    evaluation: "quickstart/validation.jsonl",
  },
  settings: { seeds: 1, steps: 2, tuneSteps: 2, learningRates: [1e-3] },
  rows: [
    {
      key: "lora-2",
      label: "LoRA",
      rank: "2",
      adapter: { method: "lora" },
      trainable: 23_360,
      learningRate: 1e-3,
      expected: 1,
      validationLoss: { mean: 2 },
      exactMatch: { mean: 0.5 },
      cells: [{ validationLoss: 2, validationExamples: 4, answers: { correct: 2, total: 4 } }],
    },
  ],
};

test("draws pictures again from their numbers, without model and data", async () => {
  const out = await mkdtemp(join(tmpdir(), "mos-redraw-"));
  try {
    const redraw = (...more: readonly string[]) => mos(["reproduce", "table1", "--redraw", ...more]);
    await writeFile(join(out, "table1.json"), JSON.stringify(REPORT));
    await writeFile(join(out, "table1-benchmarks.svg"), "of other settings");
    const names = ["table1-loss.svg", "table1-answers.svg"];
    expect(await redraw("--out", out)).toEqual({
      code: 0,
      stderr: "",
      stdout: `${names.map((name) => join(out, name)).join("\n")}\n`,
    });
    expect((await readdir(out)).sort()).toEqual([...names, "table1.json"].sort());
    for (const name of names)
      expect(await readFile(join(out, name), "utf8")).toContain("tiny-english, trained");
    expect((await redraw()).stderr).toMatch(/required option '--out' not given/);
    expect((await redraw("--out", join(out, "absent"))).stderr).toMatch(/table1\.json: no such file/);
    await writeFile(join(out, "table1.json"), '{"format":1}');
    const broken = await redraw("--out", out);
    expect(broken.stderr).toMatch(/table1\.json: field "experiment" is missing/);
    expect(broken.code).toBe(1);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
});
