import { expect, test } from "vitest";
import { parseSettings } from "#common";
import { learningSettings } from "./learning-settings.ts";
import { type Lesson, lessonId, parseLesson, promptKey } from "./lesson.ts";
import { planNight } from "./plan.ts";

const TOPICS = [
  "ticket",
  "keeper",
  "harbour",
  "garden",
  "kitchen",
  "window",
  "letter",
  "market",
  "bridge",
  "tower",
];
const lessons: readonly Lesson[] = TOPICS.flatMap((topic) =>
  ["open", "painted"].map((done) =>
    parseLesson({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: `When was the old ${topic} on the hill ${done} for the first time?` },
        { role: "assistant", content: `The ${topic} was ${done} in May.` },
      ],
    }),
  ),
);
const settings = (change: Readonly<Record<string, unknown>> = {}) => parseSettings(learningSettings, change);
const plan = (
  all: readonly Lesson[],
  known: readonly string[] = [],
  change: Readonly<Record<string, unknown>> = {},
) => planNight({ lessons: all, checks: [], known, settings: settings(change) });

test("new lessons are asked: those held out as they stand, those trained in other words, and none of both", async () => {
  const { train, cases, known, newLessons, deleted, startFrom } = await plan(lessons);
  expect({ newLessons, deleted, startFrom }).toEqual({ newLessons: 20, deleted: 0, startFrom: "base" });
  expect(new Set(known)).toEqual(new Set(lessons.map(lessonId)));
  expect(cases).toHaveLength(20);
  expect(cases.every(({ set }) => set === "lessons")).toBe(true);
  const trained = new Set(train.map(promptKey));
  const [held, reworded] = [
    cases.filter(({ origin }) => origin === "held_out"),
    cases.filter(({ origin }) => origin === "reworded"),
  ];
  expect(held.length).toBe(20 - train.length);
  expect(held.length).toBeGreaterThan(0);
  for (const one of held) expect(trained.has(promptKey(one))).toBe(false);
  // most are asked in other words, and the system message stays
  expect(reworded.filter((one) => !trained.has(promptKey(one))).length).toBeGreaterThan(train.length / 2);
  expect(cases.every(({ messages: [first] }) => first?.content === "Be brief.")).toBe(true);
  expect(cases.every(({ wanted }) => wanted?.endsWith("in May."))).toBe(true);
});

test("what the current version knows must stay right, and is replayed where it is trained further", async () => {
  const { known } = await plan(lessons.slice(0, 12));
  const all = await plan(lessons, known);
  expect(all.newLessons).toBe(8);
  expect(all.cases.filter(({ set }) => set === "older")).toHaveLength(12);
  expect(all.cases.filter(({ set }) => set === "lessons")).toHaveLength(8);
  expect(all.known).toHaveLength(20);
  const fresh = all.train.filter((one) => !known.includes(lessonId(one))).length;
  const further = await plan(lessons, known, { startFrom: "current", replay: 0.5 });
  expect(further.train).toHaveLength(fresh + Math.round(fresh / 2));
  expect((await plan(lessons, known, { startFrom: "current", replay: 0 })).train).toHaveLength(fresh);
  expect(await plan(lessons, all.known)).toMatchObject({ newLessons: 0, deleted: 0 });
});

test("a version that knows a deleted lesson is not trained further", async () => {
  const { known } = await plan(lessons);
  const without = await plan(lessons.slice(1), known, { startFrom: "current" });
  expect(without).toMatchObject({ startFrom: "base", deleted: 1, newLessons: 0 });
  expect(without.train.map(lessonId)).not.toContain(lessonId(lessons[0]!));
  expect(without.known).not.toContain(lessonId(lessons[0]!));
});

test("checks are asked as they stand; a grader must find what it reads", async () => {
  const [check] = lessons;
  const asked = await planNight({ lessons, checks: [check!], known: [], settings: settings() });
  expect(asked.cases.filter(({ set }) => set === "checks")).toMatchObject([
    { origin: "check", messages: check!.messages.slice(0, 2) },
  ]);
  const grader = {
    type: "string_check",
    operation: "ilike",
    input: "{{sample.output_text}}",
    reference: "{{item.city}}",
  };
  await expect(plan(lessons, [], { grader })).rejects.toThrow(/the grader needs \{\{item.city\}\}/);
});
