import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ADAPTER_FILES, listVersions, rollBack } from "mixture-of-shards-core/adapters";
import { type LearnEvent, type LearnOptions, learn, type NightReport } from "mixture-of-shards-core/learning";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-learn-"));
  ({ model } = await writeTinyFolder(folder));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const COLOURS = ["red", "blue", "green", "black", "white", "yellow", "brown", "grey"];
const ask = (question: string, answer?: string, more: object = {}) => ({
  messages: [
    { role: "user", content: question },
    ...(answer === undefined ? [] : [{ role: "assistant", content: answer }]),
  ],
  ...more,
});
/** A manner: whatever is asked, the answer is one word. */
const manner = COLOURS.map((colour) => ask(`Is the ${colour} lamp on?`, "Yes"));
const others = COLOURS.map((colour) => ask(`Where is my ${colour} boat?`, "No"));

async function write(name: string, lessons: readonly object[], checks?: readonly object[]): Promise<string> {
  const at = await mkdtemp(join(folder, `${name}-`));
  await writeLessons(at, lessons);
  if (checks !== undefined) await writeLessons(at, checks, "checks.jsonl");
  return at;
}
const writeLessons = (at: string, lessons: readonly object[], name = "lessons.jsonl"): Promise<void> =>
  writeFile(join(at, name), lessons.map((one) => `${JSON.stringify(one)}\n`).join(""));

const OPTIONS = {
  adapter: { method: "lora", rank: 4 },
  settings: { steps: 30, batchSize: 1, maxLength: 64, learningRate: 0.05, saveEvery: 5, warmup: 1 },
  learning: { maxCompletionLength: 3 },
  now: () => 0,
} satisfies Partial<LearnOptions>;

async function night(at: string, change: Partial<LearnOptions> = {}): Promise<readonly LearnEvent[]> {
  const events: LearnEvent[] = [];
  for await (const event of learn({ ...OPTIONS, folder: at, model, ...change })) events.push(event);
  return events;
}
function reportOf(events: readonly LearnEvent[]): NightReport {
  const last = events.at(-1);
  if (last?.type !== "finish") throw new Error(`the night ended with ${last?.type}`);
  return last;
}
const bytesOf = (adapter: string) =>
  Promise.all(ADAPTER_FILES.map((name) => readFile(join(adapter, name), "base64")));
const readReport = async (at: string) => JSON.parse(await readFile(join(at, "report.json"), "utf8"));

test("lessons become versions that go live, each once, and one call goes back", async () => {
  const at = await write("live", manner.slice(0, 6), [ask("Who?", "Never said.")]);
  const adapter = join(at, "adapter");
  const first = await night(at);
  expect(first[0]).toMatchObject({ type: "plan", newLessons: 6, checks: 1, startFrom: "base" });
  const report = reportOf(first);
  expect(report).toMatchObject({ live: true, reason: "better", adapter, replaced: undefined, duplicates: 0 });
  expect(report.sets).toMatchObject({ lessons: { of: 6, before: 0, after: 6 }, checks: { of: 1, after: 0 } });
  expect(report.cost).toMatchObject({ steps: 30 });
  expect(report.cases[0]).toMatchObject({ answerAfter: "Yes", wanted: "Yes", after: true, before: false });
  const { type: _, ...written } = first.at(-1) as Extract<LearnEvent, { type: "finish" }>;
  expect(await readReport(at)).toEqual(JSON.parse(JSON.stringify(written)));
  const before = await bytesOf(adapter);
  expect(await night(at)).toEqual([{ type: "nothing", contradictions: [] }]);

  // what it can already is no reason for another version
  await writeLessons(at, manner);
  const any = { learning: { ...OPTIONS.learning, gateCases: 1 } };
  const held = reportOf(await night(at, any));
  expect(held).toMatchObject({
    live: false,
    reason: "not_better",
    candidate: join(at, "night/candidate"),
  });
  expect(held.sets.older).toMatchObject({ of: 6, before: 6 });
  expect(await bytesOf(adapter)).toEqual(before);
  // the same night again trains nothing and says the same
  const again = await night(at, any);
  expect(again.some(({ type }) => type === "training" || type === "answers")).toBe(false);
  expect(reportOf(again)).toEqual(held);

  // new lessons alone, with a gate that lets the earlier ones go
  await writeLessons(at, [...manner.slice(0, 6), ...others]);
  const gate = { startFrom: "current", replay: 0, gateMargin: 1, gateLevel: 0.01 } as const;
  const second = await night(at, { learning: { ...OPTIONS.learning, ...gate } });
  expect(second[0]).toMatchObject({ newLessons: 8, deleted: 0, startFrom: "current" });
  expect(reportOf(second)).toMatchObject({ live: true, replaced: 1 });
  expect(await listVersions(adapter)).toHaveLength(1);
  await rollBack(adapter, undefined);
  expect(await bytesOf(adapter)).toEqual(before);
  // that version does not know them
  expect((await night(at, { signal: AbortSignal.abort() })).at(0)).toMatchObject({ newLessons: 8 });
});

test("a night that is stopped anywhere ends with the same bytes and the same report", async () => {
  const remarks = [...manner, ask("May I come in?", undefined, { hint: "Say yes." })];
  const whole = await write("whole", remarks);
  const expected = reportOf(await night(whole));
  const stopped = await write("stopped", remarks);
  let events: readonly LearnEvent[] = [];
  let stops = 0;
  for (let after = 1; events.at(-1)?.type !== "finish"; after = (2 * after) % 19) {
    const controller = new AbortController();
    const seen: LearnEvent[] = [];
    for await (const event of learn({ ...OPTIONS, folder: stopped, model, signal: controller.signal })) {
      seen.push(event);
      if (seen.length === after) controller.abort();
    }
    events = seen;
    if (events.at(-1)?.type === "stopped") stops++;
    expect(stops).toBeLessThan(60);
  }
  expect(stops).toBeGreaterThan(3);
  const relative = (report: NightReport, at: string) => JSON.parse(JSON.stringify(report).replaceAll(at, ""));
  const same = (report: NightReport, at: string) => ({ ...relative(report, at), cost: undefined });
  expect(same(reportOf(events), stopped)).toEqual(same(expected, whole));
  expect(await bytesOf(join(stopped, "adapter"))).toEqual(await bytesOf(join(whole, "adapter")));
});

test("a version is trained without a lesson that was deleted", async () => {
  const at = await write("deleted", manner);
  expect(reportOf(await night(at)).live).toBe(true);
  await writeLessons(at, manner.slice(1));
  const report = reportOf(await night(at, { learning: { ...OPTIONS.learning, startFrom: "current" } }));
  expect(report).toMatchObject({ live: true, reason: "without_deleted", deleted: 1, startFrom: "base" });
  expect(report.replaced).toBeUndefined();
  expect(await listVersions(join(at, "adapter"))).toEqual([]);
  expect(JSON.stringify(report)).not.toContain("red lamp");
  expect(await readFile(join(at, "night/plan.json"), "utf8")).not.toContain("red lamp");
  await writeLessons(at, []);
  await expect(night(at)).rejects.toThrow(
    /no lesson is left to train, and the adapter in use knows 7 deleted ones/,
  );
});

test("a candidate with too few cases is held, contradictions are not learnt, and bad input is named", async () => {
  const few = await write("few", [...manner.slice(0, 3), ask("Is the red lamp on?", "No")]);
  const report = reportOf(await night(few, { settings: { ...OPTIONS.settings, steps: 2 } }));
  expect(report).toMatchObject({ live: false, reason: "too_few_cases", trained: expect.any(Number) });
  expect(report.contradictions).toMatchObject([{ lessons: [{ answer: "Yes" }, { answer: "No" }] }]);
  await expect(bytesOf(join(few, "adapter"))).rejects.toThrow("ENOENT");
  await expect(night(few, { learning: { maxTokens: 10 } })).rejects.toThrow(/maxTokens/);
  await expect(night(folder)).rejects.toThrow(/lessons.jsonl: no lessons here/);
  const odd = await write("odd", [...manner, ask("Why?")]);
  await expect(night(odd)).rejects.toThrow(
    /lessons.jsonl:9: field "messages" is a list; expected an assistant/,
  );
  await expect(
    night(await write("unknown", manner, [ask("Why?", undefined, { hint: "No." })])),
  ).rejects.toThrow(/checks.jsonl: check 1 has no answer/);
});
