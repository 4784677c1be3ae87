import fc from "fast-check";
import { expect, test } from "vitest";
import { MosError } from "#common";
import {
  answerOf,
  arrangeLessons,
  type Lesson,
  lessonId,
  parseLesson,
  promptKey,
  promptOf,
} from "./lesson.ts";

const lesson = (question: string, answer?: string, more: Partial<Lesson> = {}): Lesson =>
  parseLesson({
    messages: [
      { role: "user", content: question },
      ...(answer === undefined ? [] : [{ role: "assistant", content: answer }]),
    ],
    ...more,
  });
const ids = (lessons: readonly Lesson[]): readonly string[] => lessons.map(lessonId).sort();
const ALL = { heldOut: 0 };

test("a lesson has an answer, a remark or a grader, and says what is missing", () => {
  const taught = lesson("When?", "At ten.", { hint: "Be short." });
  expect(answerOf(taught)).toBe("At ten.");
  expect(promptOf(taught)).toEqual([{ role: "user", content: "When?" }]);
  const refused = (value: unknown): string => {
    try {
      parseLesson(value, "lessons.jsonl:3");
    } catch (error) {
      if (error instanceof MosError && error.code === "bad_data") return error.message;
    }
    throw new Error("it was accepted");
  };
  const messages = [{ role: "user", content: "When?" }];
  expect(refused({ messages })).toBe(
    'lessons.jsonl:3: field "messages" is a list; expected an assistant message at the end, or a hint beside them',
  );
  expect(refused({ messages: [{ role: "assistant", content: "Ten." }] })).toContain(
    "a prompt that ends with a user message",
  );
  expect(refused({ messages, hint: " " })).toContain('field "hint" is " "; expected text that is not blank');
  expect(refused({ messages, hint: "Be short.", remark: "no" })).toContain('"remark" is not a known field');
  const answered = [...messages, { role: "assistant", content: "Ten." }];
  expect(refused({ messages: answered, rejected_response: "Ten." })).toContain(
    "another answer than the wanted one",
  );
  expect(refused({ messages: answered, weight: 0 })).toContain("expected more than 0");
  expect(
    parseLesson({ messages, grader: { type: "string_check", operation: "eq", input: "a", reference: "b" } }),
  );
});

test("duplicates are merged with the largest weight, whatever their sources", () => {
  const source = { kind: "vote", id: "v1" } as const;
  const { train, duplicates } = arrangeLessons(
    [lesson("a?", "x"), lesson("a?", "x", { weight: 3, source }), lesson("b?", "x", { weight: 0.5 })],
    ALL,
  );
  expect(duplicates).toBe(1);
  expect(train.map(({ weight }) => weight)).toEqual([3, 0.5]);
  expect(lessonId(lesson("a?", "x"))).not.toBe(lessonId(lesson("a?", "x", { hint: "h" })));
});

test("contradictions are neither trained nor asked: other answers to one prompt, whatever its case and punctuation", () => {
  const [one, other] = [lesson("When do you open?", "At ten."), lesson("when do you  open", "At nine.")];
  const third = lesson("Who is there?", "Clara.");
  const found = arrangeLessons([one, third, other], ALL);
  expect(ids(found.train)).toEqual([lessonId(third)]);
  expect(found.contradictions).toEqual([
    {
      prompt: promptOf(one),
      lessons: [
        { id: lessonId(one), answer: "At ten." },
        { id: lessonId(other), answer: "At nine." },
      ],
    },
  ]);
  // the same in other letters is none; refusing what another one wants is one
  expect(arrangeLessons([one, lesson("When do you open?", "at ten")], ALL).contradictions).toEqual([]);
  const refusal = lesson("When do you open?", "at ten", { rejected_response: "At ten." });
  expect(arrangeLessons([one, refusal], ALL).contradictions).toHaveLength(1);
  expect(
    arrangeLessons([one, lesson("When do you open?", undefined, { hint: "no" })], ALL).train,
  ).toHaveLength(2);
});

const anyLesson = fc
  .tuple(
    fc.integer({ min: 0, max: 30 }),
    fc.integer({ min: 0, max: 2 }),
    fc.option(fc.boolean(), { nil: undefined }),
  )
  .map(([q, a, isOut]) =>
    lesson(`question ${q}?`, a === 2 ? undefined : `answer ${a}`, {
      ...(a === 2 ? { hint: "remark" } : {}),
      ...(isOut === undefined ? {} : { held_out: isOut }),
    }),
  );

test("no prompt is on two sides, nothing is lost, and the order does not matter", () => {
  fc.assert(
    fc.property(
      fc.array(anyLesson, { maxLength: 40 }),
      fc.double({ min: 0, max: 0.9, noNaN: true }),
      (all, heldOut) => {
        const { train, heldOut: out, contradictions, duplicates } = arrangeLessons(all, { heldOut });
        const trained = new Set(train.map(promptKey));
        expect(out.some((one) => trained.has(promptKey(one)))).toBe(false);
        const contradicted = new Set(contradictions.flatMap(({ lessons }) => lessons.map(({ id }) => id)));
        for (const id of ids([...train, ...out])) expect(contradicted.has(id)).toBe(false);
        expect(new Set(all.map(lessonId)).size).toBe(all.length - duplicates);
        for (const one of out) expect(answerOf(one)).toBeDefined();
      },
    ),
  );
});

test("a prompt keeps its side when lessons come and go, and about the share is held out", () => {
  const all = Array.from({ length: 2000 }, (_, i) => lesson(`question ${i}?`, `answer ${i}`));
  const out = ids(arrangeLessons(all, { heldOut: 0.25 }).heldOut);
  expect(out.length).toBeGreaterThan(440);
  expect(out.length).toBeLessThan(560);
  const half = arrangeLessons(all.filter((_, i) => i % 2 === 0).reverse(), { heldOut: 0.25 });
  expect(ids(half.heldOut).every((id) => out.includes(id))).toBe(true);
  expect(ids(half.train).some((id) => out.includes(id))).toBe(false);
  expect(arrangeLessons([lesson("a?", "b", { held_out: true })], ALL).heldOut).toHaveLength(1);
});
