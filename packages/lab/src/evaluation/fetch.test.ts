import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type ParquetWriteOptions, parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { type DatasetHub, startDatasetHub } from "../../../../test/dataset-hub.ts";
import { readBbh } from "./benchmarks/bbh.ts";
import { readGsm8k } from "./benchmarks/gsm8k.ts";
import { readHumanEval } from "./benchmarks/humaneval.ts";
import { benchmarks } from "./benchmarks/index.ts";
import { readMmlu } from "./benchmarks/mmlu.ts";
import { LANGUAGES, readTydiqa } from "./benchmarks/tydiqa.ts";
import { readParquet } from "./data.ts";
import { type FetchBenchmarkOptions, fetchBenchmark } from "./fetch.ts";

type Columns = Omit<ParquetWriteOptions, "writer">["columnData"];
type Schema = NonNullable<ParquetWriteOptions["schema"]>;

const parquet = (columnData: Columns, more: { schema?: Schema; codec?: "UNCOMPRESSED" } = {}): Buffer =>
  Buffer.from(parquetWriteBuffer({ columnData, ...more }));
const texts = (name: string, data: string[]): Columns[number] => ({ name, data, type: "STRING" });
const count = <T>(length: number, make: (index: number) => T): T[] =>
  Array.from({ length }, (_, index) => make(index));

const text = (name: string): Schema[number] => ({ name, type: "BYTE_ARRAY", converted_type: "UTF8" });
const listElement = (name: string, element: Schema[number]): Schema => [
  { name, converted_type: "LIST", num_children: 1, repetition_type: "OPTIONAL" },
  { name: "list", num_children: 1, repetition_type: "REPEATED" },
  { ...element, name: "element", repetition_type: "OPTIONAL" },
];

let hub: DatasetHub;
let folder: string;
let options: FetchBenchmarkOptions;
const publish: DatasetHub["publish"] = (...files) => hub.publish(...files);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "benchmarks-"));
  hub = await startDatasetHub((path) => {
    const prompt = /^\/prompts\/(\w+)\.txt$/.exec(path)?.[1];
    if (prompt === undefined) return undefined;
    return [200, `canary\n-----\nDo ${prompt}.\n\n${"Q: a\nA: So the answer is b.\n\n".repeat(3)}`];
  });
  const { endpoint } = hub;
  options = {
    hub: { cacheFolder: join(folder, "hub"), endpoint, offline: false },
    folder: join(folder, "benchmarks"),
    promptsUrl: `${endpoint}/prompts`,
    sleep: async () => undefined,
  };
});
afterEach(async () => {
  await hub[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function run(task: Parameters<typeof fetchBenchmark>[0], more: Partial<FetchBenchmarkOptions> = {}) {
  const steps = fetchBenchmark(task, { ...options, ...more });
  const types: string[] = [];
  for (;;) {
    const step = await steps.next();
    if (step.done === true) return { place: step.value, types };
    types.push(step.value.type);
  }
}
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

const gsm8k = (rows: number): Buffer =>
  parquet([
    texts(
      "question",
      count(rows, (i) => `How much is ${i}?`),
    ),
    texts(
      "answer",
      count(rows, (i) => `It is.\n#### ${i + 1}`),
    ),
  ]);

test("fetches GSM8K once, and finds it again without the network", async () => {
  publish("openai/gsm8k", {
    "README.md": Buffer.from("about"),
    "main/test-00000-of-00001.parquet": gsm8k(1319),
    "main/train-00000-of-00001.parquet": gsm8k(3),
    "socratic/test-00000-of-00001.parquet": gsm8k(2),
  });
  const { place, types } = await run("gsm8k");
  expect(types).toEqual(["listing", "file", "progress", "progress", "file"]);
  const { test: rows } = await readGsm8k(place);
  expect(rows).toHaveLength(1319);
  expect(rows[7]).toEqual({ question: "How much is 7?", answer: "It is.\n#### 8" });
  expect(JSON.parse(await readFile(join(place, "source.json"), "utf8"))).toEqual({
    repository: "openai/gsm8k",
    commit: "0123456789abcdef0123456789abcdef01234560",
  });
  expect(await readdir(options.hub.cacheFolder)).toEqual(["datasets--openai--gsm8k"]);
  hub.requests.length = 0;
  expect((await run("gsm8k")).place).toBe(place);
  expect((await run("gsm8k", { hub: { ...options.hub, offline: true } })).place).toBe(place);
  expect(hub.requests).toEqual([]);
});

test("a data set of another size is refused, and nothing is kept", async () => {
  publish("openai/gsm8k", { "main/test-00000-of-00001.parquet": gsm8k(1318) });
  await expect(run("gsm8k")).rejects.toThrow(
    failure("bad_data", /openai\/gsm8k: 1318 questions of GSM8K instead of 1319/),
  );
  expect(await readdir(options.folder)).toEqual([]);
});

test("without the network, what is not here is said to be missing", async () => {
  await expect(run("gsm8k", { hub: { ...options.hub, offline: true } })).rejects.toThrow(
    failure("not_found", /network access is disabled/),
  );
  await expect(run("gsm8k")).rejects.toThrow(failure("not_found", /no (revision|data ?set)/));
  await expect(run("gsm8k", { hub: { ...options.hub, endpoint: "http://127.0.0.1:9" } })).rejects.toThrow(
    failure("network", /cannot be reached.*; or pass a folder \(--data\)$/),
  );
});

test("a cancelled download is cancelled", async () => {
  publish("openai/gsm8k", { "main/test-00000-of-00001.parquet": gsm8k(1319) });
  await expect(run("gsm8k", { signal: AbortSignal.abort() })).rejects.toThrow(failure("cancelled", /gsm8k/));
});

test("fetches MMLU with its lists of choices, sorted by subject", { tags: "thorough" }, async () => {
  const subjects = count(
    57,
    (i) => `subject_${String.fromCharCode(97 + (i % 26))}${i < 26 ? "" : i < 52 ? "b" : "c"}`,
  );
  const mmlu = (rows: number): Buffer =>
    parquet(
      [
        { name: "question", data: count(rows, (i) => ` What is ${i}? `) },
        { name: "subject", data: count(rows, (i) => subjects[i % 57] ?? "") },
        { name: "choices", data: count(rows, (i) => ["None", `${i}`, "c", " d"]) },
        { name: "answer", data: count(rows, (i) => BigInt(i % 4)) },
      ],
      {
        schema: [
          { name: "root", num_children: 4 },
          text("question"),
          text("subject"),
          ...listElement("choices", text("element")),
          { name: "answer", type: "INT64" },
        ],
      },
    );
  publish("cais/mmlu", {
    "all/test-00000-of-00001.parquet": mmlu(14_042),
    "all/dev-00000-of-00001.parquet": mmlu(285),
    "all/auxiliary_train-00000-of-00001.parquet": Buffer.from("not wanted"),
  });
  const { place } = await run("mmlu");
  const { test: rows, dev } = await readMmlu(place);
  expect(dev).toHaveLength(285);
  expect(rows.map(({ subject }) => subject)).toEqual(rows.map(({ subject }) => subject).toSorted());
  expect(rows[1]).toEqual({
    subject: "subject_a",
    question: " What is 57? ",
    choices: ["None", "57", "c", " d"],
    answer: 1,
  });
});

test("fetches BBH from the hub's own conversion, and its prompts from elsewhere", {
  tags: "thorough",
}, async () => {
  const files = Object.fromEntries(
    count(27, (i) => {
      const examples = i < 26 ? 250 : 11;
      const table = parquet([
        texts(
          "input",
          count(examples, (k) => `Q${k}`),
        ),
        texts(
          "target",
          count(examples, (k) => `T${k}`),
        ),
      ]);
      return [`task_${String.fromCharCode(97 + i).replace("{", "zz")}/test/0000.parquet`, table];
    }),
  );
  publish("lukaemon/bbh", { "bbh.py": Buffer.from("print()") });
  publish("lukaemon/bbh", files, "refs/convert/parquet");
  const { place } = await run("bbh");
  const { tasks } = await readBbh(place);
  expect(tasks).toHaveLength(27);
  expect(tasks[0]).toMatchObject({ name: "task_a", prompt: expect.stringMatching(/^Do task_a\.\n\nQ: a/) });
  expect(tasks[0]?.examples[3]).toEqual({ input: "Q3", target: "T3" });

  await rm(place, { recursive: true });
  await expect(run("bbh", { promptsUrl: `${options.hub.endpoint}/nowhere` })).rejects.toThrow(
    failure("not_found", /prompts could not be downloaded from .*bbh\/cot-prompts \(--data\)/),
  );
});

test("fetches TyDi QA, whose one table holds all languages", { tags: "thorough" }, async () => {
  const table = (split: "dev" | "train", factor: number): Buffer => {
    const rows = LANGUAGES.flatMap((language) =>
      count(Math.ceil(language[split] * factor), (i) => `${language.name}-${i}-${split}`),
    );
    return parquet(
      [
        { name: "id", data: rows },
        { name: "title", data: rows },
        { name: "context", data: rows.map((id) => `About ${id}.`) },
        { name: "question", data: rows.map((id) => `What of ${id}?`) },
        { name: "answers", data: rows.map((id) => ({ text: [id, "more"], answer_start: [6, 0] })) },
      ],
      {
        schema: [
          { name: "root", num_children: 5 },
          text("id"),
          text("title"),
          text("context"),
          text("question"),
          { name: "answers", num_children: 2, repetition_type: "OPTIONAL" },
          ...listElement("text", text("element")),
          ...listElement("answer_start", { name: "element", type: "INT32" }),
        ],
      },
    );
  };
  publish("google-research-datasets/tydiqa", {
    "secondary_task/train-00000-of-00001.parquet": table("train", 0.01),
    "secondary_task/validation-00000-of-00001.parquet": table("dev", 1),
  });
  const { place } = await run("tydiqa");
  const { languages } = await readTydiqa(place);
  expect(languages.map(({ name, dev }) => [name, dev.length])).toEqual(
    LANGUAGES.map(({ name, dev }) => [name, dev]),
  );
  expect(languages[8]?.train?.at(-1)).toEqual({
    id: "telugu-55-train",
    context: "About telugu-55-train.",
    question: "What of telugu-55-train?",
    answers: ["telugu-55-train", "more"],
  });
});

test("fetches HumanEval", async () => {
  const column = (name: string, make: (index: number) => string) => texts(name, count(164, make));
  publish("openai/openai_humaneval", {
    "openai_humaneval/test-00000-of-00001.parquet": parquet([
      column("task_id", (i) => `HumanEval/${i}`),
      column("prompt", (i) => `def f${i}():\n`),
      column("canonical_solution", () => "    return 1\n"),
      column("test", () => "def check(f):\n    assert f() == 1\n"),
      column("entry_point", (i) => `f${i}`),
    ]),
  });
  const { place } = await run("humaneval");
  expect((await readHumanEval(place)).test[163]).toMatchObject({
    task_id: "HumanEval/163",
    prompt: "def f163():\n",
    canonical_solution: "    return 1\n",
  });
});

test("a Parquet file that cannot be read says so", async () => {
  const path = join(folder, "a.parquet");
  const read = () => readParquet(path, z.object({ a: z.string() }));
  await writeFile(path, "PAR1 but not more than that PAR1");
  await expect(read()).rejects.toThrow(failure("bad_data", /a\.parquet: this is not a Parquet file/));
  await writeFile(path, parquet([{ name: "a", data: [1, 2] }]));
  await expect(read()).rejects.toThrow(
    failure("bad_data", /a\.parquet: row 1: field "a" is 1; expected a string/),
  );
  const lz4 = parquetWriteBuffer({
    columnData: [texts("a", ["x"])],
    codec: "LZ4_RAW",
    compressors: { LZ4_RAW: (bytes) => bytes },
  });
  await writeFile(path, Buffer.from(lz4));
  await expect(read()).rejects.toThrow(failure("unsupported", /compressed with LZ4_RAW/));
  await writeFile(path, parquet([texts("a", ["x", "y"])], { codec: "UNCOMPRESSED" }));
  expect(await read()).toEqual([{ a: "x" }, { a: "y" }]);
});

test("a page packed by gzip is unpacked up to the size that it says", async () => {
  const path = join(folder, "a.parquet");
  const packed = (pack: (bytes: Uint8Array) => Uint8Array) =>
    writeFile(
      path,
      Buffer.from(
        parquetWriteBuffer({
          columnData: [{ ...texts("a", ["x", "y"]), encoding: "PLAIN" }],
          codec: "GZIP",
          compressors: { GZIP: pack },
        }),
      ),
    );
  const read = () => readParquet(path, z.object({ a: z.string() }));
  await packed((bytes) => gzipSync(bytes));
  expect(await read()).toEqual([{ a: "x" }, { a: "y" }]);
  await packed((bytes) => gzipSync(Buffer.concat([bytes, Buffer.alloc(1 << 24)])));
  await expect(read()).rejects.toThrow(failure("bad_data", /Cannot create a Buffer larger than 10 bytes/));
});

test("data that are not on the hub: how to get them", async () => {
  await expect(run("bfcl")).rejects.toThrow(
    failure("not_found", /^bfcl: .*pip download bfcl-eval==.*--data bfcl$/),
  );
});

test("a table of too many rows says so", { tags: "thorough" }, async () => {
  const path = join(folder, "a.parquet");
  const rows = count(500_001, () => "");
  await writeFile(path, parquet([texts("a", rows)]));
  const read = readParquet(path, z.object({ a: z.string() }));
  await expect(read).rejects.toThrow(failure("bad_data", /the table has 500001 rows/));
});

test("a table of more rows than a call takes arguments is copied whole", { tags: "thorough" }, async () => {
  const rows = 150_000;
  const path = join(folder, "a.parquet");
  await writeFile(path, gsm8k(rows));
  const { source } = benchmarks.gsm8k;
  if (!("write" in source)) throw new Error("gsm8k is not on the hub");
  await source.write(new Map([["main/test", [path]]]), folder);
  const written = await readFile(join(folder, "gsm8k/test.jsonl"), "utf8");
  expect(written.split("\n")).toHaveLength(rows + 1);
});
