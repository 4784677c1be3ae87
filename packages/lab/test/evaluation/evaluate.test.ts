// Whole evaluations on the bundled model, through the real engine.
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, type LoadedText, MosError, openEngine } from "mixture-of-shards";
import { lockFolder } from "mixture-of-shards-core/files";
import {
  type EvaluateEvent,
  type EvaluateOptions,
  type EvaluationResult,
  evaluate,
  type ProgramChecker,
  resultTable,
} from "mixture-of-shards-lab";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MODEL, makeOptions, readBundled, timeless, writeAdapter, writeSums } from "./bundled.ts";

let folder: string;
let engine: Engine;
let text: LoadedText;
let sums: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-evaluate-"));
  ({ text } = await readBundled());
  await writeAdapter(join(folder, "adapters", "one"));
  await writeAdapter(join(folder, "adapters", "two"), { method: "mos", rank: 6, equivalentRank: 2 });
  await writeAdapter(join(folder, "adapters", "foreign"), { fingerprint: `sha256:${"0".repeat(64)}` });
  sums = await writeSums(join(folder, "sums"), 40);
  engine = await openEngine({
    model: MODEL,
    adapters: join(folder, "adapters"),
    threads: 1,
    inProcess: true,
  });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

let runs = 0;
const newOut = (): string => join(folder, `out-${runs++}`, "results.json");
/** What opens a checker of this kind. */
const makeChecker =
  (check: ProgramChecker["check"]): EvaluateOptions["openChecker"] =>
  async () => ({ check, [Symbol.asyncDispose]: async () => undefined });
const options = (out: string, more: Partial<EvaluateOptions> = {}) =>
  makeOptions({ engine, text, out }, more);
const subjects = [
  { name: "base", adapter: null },
  { name: "one", adapter: "one" },
  { name: "two", adapter: "two" },
];

async function collectEvents(chosen: EvaluateOptions): Promise<readonly EvaluateEvent[]> {
  const events: EvaluateEvent[] = [];
  for await (const event of evaluate(chosen)) events.push(event);
  return events;
}
const read = async (out: string): Promise<EvaluationResult> => JSON.parse(await readFile(out, "utf8"));
const readIds = async (out: string, log: string): Promise<readonly string[]> =>
  (await readFile(join(out.replace(".json", ".answers"), log), "utf8"))
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => JSON.parse(line).id);

test("several subjects and tasks: events in order, one table, a log for each", async () => {
  const out = newOut();
  const events = await collectEvents(options(out, { subjects, tasks: ["mmlu", "gsm8k"] }));
  const kinds = events.map(({ type }) => type).join(" ");
  expect(kinds).toMatch(/^(task( (progress|score)){12}( difference){2} ?){2}finish$/);
  const scores = events.flatMap((event) => (event.type === "score" ? [event.score] : []));
  expect(scores.map(({ task, asked, tooLong }) => [task, asked, tooLong])).toEqual([
    ...Array(3).fill(["mmlu", 3, 0]),
    ...Array(3).fill(["gsm8k", 3, 0]),
  ]);
  for (const task of ["mmlu", "gsm8k"] as const) {
    const done = events.flatMap((event) =>
      event.type === "progress" && event.task === task ? [event.done] : [],
    );
    expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  }
  const end = events.at(-1);
  if (end?.type !== "finish") throw new Error("no end");
  expect(await read(out)).toEqual(JSON.parse(JSON.stringify(end.result)));
  expect(end.result.subjects.map(({ name, method }) => [name, method])).toEqual([
    ["base", undefined],
    ["one", "lora"],
    ["two", "mos"],
  ]);
  expect(end.result.scores.map(({ task, subject }) => `${task} ${subject}`)).toEqual([
    ...["mmlu base", "mmlu one", "mmlu two", "gsm8k base", "gsm8k one", "gsm8k two"],
  ]);
  for (const { task, subject, metric, difference, questions } of end.result.differences) {
    const score = (name: string) =>
      end.result.scores.find((one) => one.task === task && one.subject === name)?.scores[metric] ??
      Number.NaN;
    expect(difference).toBeCloseTo(score(subject) - score("base"), 12);
    expect(questions).toBe(3);
  }
  expect(end.result.differences.map(({ task, subject, against }) => [task, subject, against])).toEqual([
    ...["mmlu", "gsm8k"].flatMap((task) => ["one", "two"].map((name) => [task, name, "base"])),
  ]);
  const table = resultTable(end.result);
  expect(table.map(([name]) => name)).toEqual(["", "base", "one", "two", "one − base", "two − base"]);
  expect(table[0]).toEqual(["", "mmlu average_acc", "gsm8k exact_match", "mean"]);
  expect((await readdir(out.replace(".json", ".answers"))).toSorted()).toEqual(
    ["base", "one", "two"].flatMap((name) => [`${name}.gsm8k.jsonl`, `${name}.mmlu.jsonl`]),
  );
  expect(await readIds(out, "two.mmlu.jsonl")).toHaveLength(3);
  expect(await readdir(join(out, ".."))).toEqual(["results.answers", "results.json"]);
});

test("an adapter's answers are its own", async () => {
  const out = newOut();
  await collectEvents(options(out, { subjects, dataFolder: () => sums, limit: 1 }));
  const answers = await Promise.all(
    ["base", "one", "two"].map(async (name) => {
      const lines = await readFile(join(out.replace(".json", ".answers"), `${name}.gsm8k.jsonl`), "utf8");
      const samples = lines
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => JSON.parse(line));
      return samples
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .flatMap((sample) => sample.answers)
        .join("|");
    }),
  );
  expect(new Set(answers).size).toBe(3);
});

test("the result is there after each task, before the next begins", async () => {
  const out = newOut();
  for await (const event of evaluate(options(out, { tasks: ["mmlu", "gsm8k"] }))) {
    if (event.type !== "task" || event.task.task !== "gsm8k") continue;
    const result = await read(out);
    expect(result.scores.map(({ task }) => task)).toEqual(["mmlu"]);
  }
});

test("a larger limit keeps what is there, and a smaller one counts only its own", async () => {
  const out = newOut();
  const known: number[] = [];
  for (const limit of [5, 12, 5]) {
    const events = await collectEvents(options(out, { dataFolder: () => sums, limit }));
    for (const event of events) if (event.type === "task") known.push(event.done);
    expect((await read(out)).scores[0]?.questions).toBe(limit);
  }
  expect(known).toEqual([0, 5, 5]);
  const ids = await readIds(out, "base.gsm8k.jsonl");
  expect([ids.length, new Set(ids).size]).toEqual([12, 12]);
});

test("a loop that is left early can be resumed, to the same result as without a break", async () => {
  const [whole, broken] = [newOut(), newOut()];
  const chosen = { subjects, dataFolder: () => sums, limit: 2 };
  await collectEvents(options(whole, chosen));
  let left = 0;
  for await (const event of evaluate(options(broken, chosen)))
    if (event.type === "progress" && ++left === 3) break;
  const [, rest] = [
    await readdir(broken.replace(".json", ".answers")),
    await collectEvents(options(broken, chosen)),
  ];
  expect(rest[0]).toMatchObject({ type: "task", done: 3, total: 6 });
  expect(timeless(await read(broken))).toEqual(timeless(await read(whole)));
  for (const name of ["base", "one", "two"]) {
    const ids = await readIds(broken, `${name}.gsm8k.jsonl`);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toHaveLength(2);
  }
});

test("the signal stops it with `cancelled`, and what was answered stays", async () => {
  const out = newOut();
  const controller = new AbortController();
  const stopped = (async () => {
    for await (const event of evaluate(options(out, { dataFolder: () => sums, signal: controller.signal })))
      if (event.type === "progress" && event.done === 3) controller.abort();
  })();
  await expect(stopped).rejects.toMatchObject({ code: "cancelled" });
  const ids = await readIds(out, "base.gsm8k.jsonl");
  expect(ids.length).toBeGreaterThanOrEqual(3);
  expect(ids.length).toBeLessThan(40);
  expect(await readdir(out.replace(".json", ".answers"))).toEqual(["base.gsm8k.jsonl"]);
  expect(await engine.stats()).toMatchObject({ running: 0, waiting: 0 });
});

test("other settings do not mix with a log, and are named", async () => {
  const out = newOut();
  await collectEvents(options(out));
  for (const [more, message] of [
    [{ seed: 1 }, /seed was 0, now 1/],
    [{ format: "tulu" }, /format was none, now tulu/],
    [{ shots: 1 }, /shots was 0, now 1/],
    [{ chatTemplateKwargs: {} }, /the chat format none does not use the chat template/],
    [{ dataFolder: () => sums }, /data was [0-9a-f]+, now/],
    [{ subjects: [{ name: "base", adapter: "one" }] }, /adapter was not set, now sha256/],
  ] as const) {
    const error = { code: "bad_option", message: expect.stringMatching(message) };
    await expect(collectEvents(options(out, more as Partial<EvaluateOptions>))).rejects.toMatchObject(error);
  }
});

test("a folder of answers has one user at a time", async () => {
  const out = newOut();
  await collectEvents(options(out));
  {
    await using _lock = await lockFolder(out.replace(".json", ".answers"));
    const error = { code: "bad_option", message: expect.stringMatching(/is in use by process/) };
    await expect(collectEvents(options(out))).rejects.toMatchObject(error);
  }
  await collectEvents(options(out));
});

test("unusable options are reported before anything is asked or written", async () => {
  const twice = [...subjects.slice(0, 1), { name: "base", adapter: "one" }];
  const cases: readonly (readonly [Partial<EvaluateOptions>, string, RegExp])[] = [
    [{ subjects: [] }, "bad_option", /at least one model or adapter, and one task/],
    [{ tasks: [] }, "bad_option", /at least one model or adapter, and one task/],
    [{ tasks: ["gsm8k", "gsm8k"] }, "bad_option", /named twice/],
    [{ subjects: twice }, "bad_option", /base, base have the same name/],
    [{ subjects: [{ name: "x", adapter: "none" }] }, "not_found", /there is no adapter "none"/],
    [
      { subjects: [{ name: "foreign", adapter: "foreign" }] },
      "bad_adapter",
      /"foreign" cannot be used: .*base/,
    ],
    [{ shots: 9 }, "bad_option", /9 shots/],
    [{ limit: 1.5 }, "bad_option", /limit 1.5/],
    [{ tasks: ["humaneval"], shots: undefined, temperature: -1 }, "bad_option", /temperature -1/],
    [
      { tasks: ["humaneval"], shots: undefined, samples: 0 },
      "bad_option",
      /samples must be .* at least 1, not 0/,
    ],
    [{ tasks: ["gsm8k", "mmlu"], dataFolder: () => sums }, "not_found", /mmlu\/test\.jsonl: no such file/],
  ];
  for (const [more, code, message] of cases) {
    const out = newOut();
    const error = { code, message: expect.stringMatching(message) };
    await expect(collectEvents(options(out, more))).rejects.toMatchObject(error);
    await expect(readdir(join(out, "..")), String(message)).rejects.toMatchObject({ code: "ENOENT" });
  }
});

test("an --out that cannot be written is reported before anything is asked", async () => {
  const taken = join(folder, "taken");
  await mkdir(taken);
  const file = join(folder, "file");
  await writeFile(file, "");
  for (const [out, code, message] of [
    [taken, "bad_option", /taken is a folder; name a file/],
    [join(file, "results.json"), "storage", /file\/results\.answers: a part of this path is a file/],
  ] as const) {
    const error = { code, message: expect.stringMatching(message) };
    const events = evaluate(options(out));
    await expect(events.next()).rejects.toMatchObject(error);
  }
  expect(await readdir(folder)).not.toContain("taken.answers");
});

test("another file stays as it is, and a later task's log is checked before the first is asked", async () => {
  const out = newOut();
  const notes = join(folder, "notes.json");
  await writeFile(notes, "my notes");
  await expect(evaluate(options(notes)).next()).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringMatching(/notes\.json exists and is not an evaluation result/),
  });
  expect(await readFile(notes, "utf8")).toBe("my notes");
  await collectEvents(options(out, { tasks: ["gsm8k"] }));
  const later = evaluate(options(out, { tasks: ["mmlu", "gsm8k"], seed: 1 }));
  await expect(later.next()).rejects.toMatchObject({ message: expect.stringMatching(/seed was 0, now 1/) });
  expect(await readdir(out.replace(".json", ".answers"))).toEqual(["base.gsm8k.jsonl"]);
});

test("options of other tasks do not matter to a task's log, and neither does naming a default", async () => {
  const out = newOut();
  const countAsked = async (more: Partial<EvaluateOptions>): Promise<readonly number[]> => {
    await collectEvents(options(out, { ...more, openChecker }));
    return (await read(out)).scores.map(({ asked }) => asked);
  };
  const openChecker = makeChecker(async () => ({ passed: true, reason: "passed" }));
  const harness = { rules: "lm-eval", shots: undefined } as const;
  expect(await countAsked({ ...harness, tasks: ["gsm8k"] })).toEqual([3]);
  const both = { ...harness, tasks: ["gsm8k", "humaneval"] } as const;
  expect(await countAsked({ ...both, temperature: 0 })).toEqual([0, 2]);
  expect(await countAsked({ ...both, samples: 1, direct: true })).toEqual([0, 0]);
});

test("questions without room for an answer are counted, and wrong", async () => {
  const out = newOut();
  await collectEvents(options(out, { shots: 8, format: "tulu" }));
  expect((await read(out)).scores[0]).toMatchObject({ tooLong: 3, scores: { exact_match: 0 }, questions: 3 });
});

test("HumanEval's programs go through the checker, which is closed in the end", async () => {
  const out = newOut();
  const programs: string[] = [];
  let closed = 0;
  const openChecker: EvaluateOptions["openChecker"] = async () => ({
    check: async (program) => ({ passed: programs.push(program) % 2 === 0, reason: "passed" }),
    [Symbol.asyncDispose]: async () => void closed++,
  });
  const more = { tasks: ["humaneval"], samples: 2, openChecker, shots: undefined, concurrency: 1 } as const;
  await collectEvents(options(out, more));
  expect([programs.length, closed]).toEqual([4, 1]);
  expect(programs[0]).toMatch(/\ncheck\((one|double)\)$/);
  expect((await read(out)).scores[0]?.scores).toEqual({ "pass@1": 0.5 });
  await collectEvents(options(out, more));
  expect([programs.length, closed]).toEqual([4, 1]);
});

test("programs that ran out of time beside other work are scored again when nothing else runs", async () => {
  const seen = new Map<string, number>();
  const openChecker = makeChecker(async (program) => {
    const times = (seen.get(program) ?? 0) + 1;
    seen.set(program, times);
    return times === 1 ? { passed: false, reason: "timed out" } : { passed: true, reason: "passed" };
  });
  const out = newOut();
  const more = { tasks: ["humaneval"], samples: 1, openChecker, shots: undefined } as const;
  const events = await collectEvents(options(out, more));
  expect([...seen.values()].every((times) => times === 2)).toBe(true);
  expect(events.map(({ type }) => type).filter((type) => type !== "progress")).toEqual([
    "task",
    "score",
    "finish",
  ]);
  expect((await read(out)).scores).toMatchObject([{ scores: { "pass@1": 1 } }]);
  // a later run takes the second score from the log
  await collectEvents(options(out, more));
  expect([...seen.values()].every((times) => times === 2)).toBe(true);
  expect((await read(out)).scores).toMatchObject([{ scores: { "pass@1": 1 } }]);
});

test("a run that is stopped before that scores them later, without asking again", async () => {
  const out = newOut();
  const more = { tasks: ["humaneval"], samples: 1, shots: undefined, concurrency: 1 } as const;
  let checked = 0;
  const stopped = makeChecker(async () => {
    if (++checked > 2) throw new MosError("cancelled", "stopped");
    return { passed: false, reason: "timed out" };
  });
  await expect(collectEvents(options(out, { ...more, openChecker: stopped }))).rejects.toThrow("stopped");
  const openChecker = makeChecker(async () => ({ passed: true, reason: "passed" }));
  const events = await collectEvents(options(out, { ...more, openChecker }));
  expect(events.map(({ type }) => type)).toEqual(["task", "score", "finish"]);
  expect((await read(out)).scores).toMatchObject([{ scores: { "pass@1": 1 }, asked: 0 }]);
});
