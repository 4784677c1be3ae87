// Runs on data in other shapes than one JSONL file, and their metrics as event files of TensorBoard.
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ExampleInput } from "#data";
import { type BaseModel, loadModel } from "#models";
import {
  type FinetuneEvent,
  type FinetuneOptions,
  finetune,
  metricsToTensorboard,
  previewRun,
} from "#training";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
let tiny: TinyFolder;
let base: BaseModel;
let lines: readonly ExampleInput[];
let out: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-run-data-"));
  tiny = await writeTinyFolder(folder);
  base = await loadModel(tiny.model);
  const text = await readFile(tiny.data, "utf8");
  lines = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ExampleInput);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  out = join(folder, `run-${runs++}`);
});

const settings = {
  steps: 6,
  batchSize: 1,
  maxLength: 64,
  warmup: 1,
  learningRate: 5e-3,
  evaluateEvery: 2,
  saveEvery: 3,
  validationSplit: 4,
} as const;
const makeOptions = (change: Partial<FinetuneOptions> = {}): FinetuneOptions => ({
  model: base,
  data: tiny.data,
  out,
  settings,
  now: () => 0,
  adapter: { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 },
  ...change,
});

/** Runs to the end, or to a step. */
async function run(change: Partial<FinetuneOptions> = {}, last?: number): Promise<readonly FinetuneEvent[]> {
  const controller = new AbortController();
  const events: FinetuneEvent[] = [];
  for await (const event of finetune({ ...makeOptions(change), signal: controller.signal })) {
    events.push(event);
    if (event.type === "step" && event.step === last) controller.abort();
  }
  return events;
}

const readAdapter = (of: string): Promise<Buffer> => readFile(join(of, "adapter_model.safetensors"));

async function* later(examples: readonly ExampleInput[]) {
  for (const example of examples) yield example;
}

describe("data", () => {
  test("an iterable gives the run of the file that holds it, also in pieces and across a stop", {
    tags: "thorough",
  }, async () => {
    await run();
    const whole = await readAdapter(out);
    const [first, second] = [join(folder, "first.jsonl"), join(folder, "second.json")];
    await writeFile(
      first,
      lines
        .slice(0, 10)
        .map((line) => JSON.stringify(line))
        .join("\n"),
    );
    await writeFile(second, JSON.stringify(lines.slice(10)));
    const inputs = [
      () => lines,
      () => later(lines),
      () => [first, second],
      () => [first, join(folder, "secon?.*")],
    ];
    for (const [i, data] of inputs.entries()) {
      const again = `${out}-${i}`;
      await run({ out: again, data: data() }, 4);
      await run({ out: again, data: data(), resume: true });
      expect(await readAdapter(again)).toEqual(whole);
    }
  });

  test("other examples than before are refused when a run resumes", async () => {
    await run({ data: lines }, 4);
    const refused = { code: "bad_option", message: expect.stringMatching(/examples are not the same/) };
    await expect(run({ data: lines.slice(1), resume: true })).rejects.toMatchObject(refused);
    await expect(run({ data: lines.toReversed(), resume: true })).rejects.toMatchObject(refused);
  });

  test("validation examples may be an iterable, too", async () => {
    const given = { data: lines.slice(4), validationData: later(lines.slice(0, 4)) };
    const { validation, lines: shown } = await previewRun({ ...makeOptions(given), lines: [2] });
    expect(validation?.examples).toBe(4);
    expect(shown).toMatchObject([{ line: 2, unit: "example", part: "train" }]);
    expect(shown[0]).not.toHaveProperty("file");
  });

  test("of an endless iterable, and of a file with a wrong line, only the examples asked for are read", async () => {
    async function* endless() {
      for (;;) yield* lines;
    }
    const few = { ...settings, maxExamples: 10 };
    expect((await previewRun(makeOptions({ data: endless(), settings: few }))).train.examples).toBe(6);
    const wrong = join(folder, "wrong.jsonl");
    await writeFile(wrong, [...lines.slice(0, 10).map((line) => JSON.stringify(line)), "{}"].join("\n"));
    expect((await previewRun(makeOptions({ data: wrong, settings: few }))).train.examples).toBe(6);
    await expect(previewRun(makeOptions({ data: wrong }))).rejects.toThrow(/wrong\.jsonl:11/);
  });

  test("a line is shown of each file that has it", async () => {
    const table = join(folder, "table.csv");
    await writeFile(table, "question,answer\nWho?,Me\nWhere?,Here\n");
    const preview = await previewRun(makeOptions({ data: [tiny.data, table] }));
    expect(preview.lines).toHaveLength(3);
    const { lines: shown } = await previewRun({
      ...makeOptions({ data: [tiny.data, table] }),
      lines: [2, 20],
    });
    expect(shown).toMatchObject([
      { file: tiny.data, line: 2, unit: "line" },
      { file: table, line: 2, unit: "line" },
      { file: tiny.data, line: 20 },
    ]);
  });

  test("a message about an example names its file where there are several", async () => {
    const chat = join(folder, "chat.jsonl");
    await writeFile(
      chat,
      '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]}',
    );
    const plain = { ...settings, promptFormat: "plain" } as const;
    await expect(run({ data: [tiny.data, chat], settings: plain })).rejects.toThrow(
      /chat\.jsonl:1: the plain prompt format takes one user message/,
    );
  });
});

describe("event files of TensorBoard", () => {
  interface Recorded {
    readonly step: number;
    /** 3: a version, 5: scalars, 7: a restart. */
    readonly field: number;
  }

  /** Events of a file, by the framing of TFRecord. */
  async function eventsIn(path: string): Promise<readonly Recorded[]> {
    const bytes = await readFile(path);
    const events: Recorded[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = Number(bytes.readBigUInt64LE(at));
      const reader = new BinaryReader(bytes.subarray(at + 12, at + 12 + length));
      let [step, last] = [0, 0];
      while (reader.pos < reader.len) {
        const [field, type] = reader.tag();
        last = field;
        if (field === 2) step = Number(reader.int64());
        else reader.skip(type, field);
      }
      events.push({ step, field: last });
      at += 16 + length;
    }
    return events;
  }

  async function recorded(of: string): Promise<readonly (readonly string[])[]> {
    const names = (await readdir(join(of, "tensorboard"))).sort();
    for (const name of names) expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\.mos$/);
    const files = await Promise.all(names.map((name) => eventsIn(join(of, "tensorboard", name))));
    return files.map((events) => events.map(({ step, field }) => `${field}:${step}`));
  }

  const scalars = (...steps: readonly number[]) => steps.map((step) => `5:${step}`);
  const ALL = scalars(0, 1, 2, 2, 3, 4, 4, 5, 6, 6);

  test("a run has one record for each line of its metrics; without the option there are none", async () => {
    await run({ tensorboard: true });
    expect(await recorded(out)).toEqual([["3:0", ...ALL]]);
    await run({ out: `${out}-without` });
    expect(await readdir(`${out}-without`)).not.toContain("tensorboard");
  });

  test("a run that ended between checkpoints says that its first file does not count, and has its steps", async () => {
    for await (const event of finetune(makeOptions({ tensorboard: true })))
      if (event.type === "step" && event.step === 5) break; // as after a kill: the checkpoint is of step 3
    await run({ tensorboard: true, resume: true });
    expect(await recorded(out)).toEqual([
      ["3:0", ...scalars(0, 1, 2, 2, 3, 4, 4, 5)],
      ["3:0", "7:0", ...ALL],
    ]);
    await rm(join(out, "checkpoints"), { recursive: true });
  });

  test("a run without a checkpoint makes everything again", async () => {
    for await (const event of finetune(makeOptions({ tensorboard: true })))
      if (event.type === "step" && event.step === 2) break;
    await run({ tensorboard: true, resume: true });
    expect(await recorded(out)).toEqual([
      ["3:0", ...scalars(0, 1, 2)],
      ["3:0", "7:0", ...ALL],
    ]);
  });

  test("a run that is given the option later has its first part, too, and one that is extended both", {
    tags: "thorough",
  }, async () => {
    await run({}, 4);
    await run({ tensorboard: true, resume: true });
    expect(await recorded(out)).toEqual([["3:0", ...ALL]]);
    await run({ tensorboard: true, resume: true, settings: { ...settings, steps: 7 } });
    expect(await recorded(out)).toEqual([
      ["3:0", ...ALL],
      ["3:0", "7:0", ...ALL, ...scalars(7, 7)],
    ]);
    await run({ overwrite: true });
    expect(await readdir(out)).not.toContain("tensorboard");
  });

  test("steps that were made without the option are in the next file", async () => {
    await run({ tensorboard: true }, 2);
    await run({ resume: true }, 4);
    await run({ tensorboard: true, resume: true });
    expect((await recorded(out)).at(-1)).toEqual(["3:0", "7:0", ...ALL]);
  });

  test("the metrics of a killed run can be written, whose last line is torn", async () => {
    await run();
    await appendFile(join(out, "metrics.jsonl"), '{"type":"step","st');
    await metricsToTensorboard(out, { now: () => 1e12 });
    expect(await recorded(out)).toEqual([["3:0", ...ALL]]);
  });

  test("the metrics of a finished run can be written", async () => {
    const now = () => 1_700_000_000_500;
    await expect(metricsToTensorboard(out, { now })).rejects.toMatchObject({ code: "not_found" });
    await run();
    expect(await metricsToTensorboard(out, { now })).toBe(join(out, "tensorboard"));
    expect(await readdir(join(out, "tensorboard"))).toEqual(["events.out.tfevents.1700000000.mos"]);
    expect(await recorded(out)).toEqual([["3:0", ...ALL]]);
    await expect(metricsToTensorboard(out, { now })).rejects.toMatchObject({ code: "bad_option" });
    const broken = join(folder, "broken");
    await run({ out: broken });
    await writeFile(join(broken, "metrics.jsonl"), '{"type":"step","step":1}\n');
    await expect(metricsToTensorboard(broken, { now })).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(/metrics\.jsonl:1: field "loss" is missing/),
    });
    expect(await readdir(broken)).not.toContain("tensorboard");
  });
});
