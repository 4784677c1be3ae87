// What a night trains and asks, as data: which lessons, from where, and the cases that decide afterwards.
import { checkItem, type Grader } from "#graders";
import { evenly, isShort, otherWordings } from "#training";
import type { CaseSet } from "./gate.ts";
import type { LearningSettings } from "./learning-settings.ts";
import {
  type ArrangedLessons,
  answerOf,
  arrangeLessons,
  isGradable,
  type Lesson,
  lessonId,
  promptOf,
} from "./lesson.ts";

/** How a case came about: its prompt was not trained, was trained in other words, or is a check's. */
export type CaseOrigin = "held_out" | "reworded" | "check";

/** A question that both versions answer, and what decides whether an answer is right. */
export interface Case {
  /** Of its lesson. */
  readonly id: string;
  readonly set: CaseSet;
  readonly origin: CaseOrigin;
  readonly messages: Lesson["messages"];
  /** The wanted answer; undefined where the grader alone knows. */
  readonly wanted: string | undefined;
  readonly grader: Grader;
}

/** What a night does. */
export interface NightPlan extends Pick<ArrangedLessons, "contradictions" | "duplicates"> {
  /** Lessons that are trained. */
  readonly train: readonly Lesson[];
  readonly startFrom: LearningSettings["startFrom"];
  readonly cases: readonly Case[];
  /** Identifiers of all lessons that the candidate knows or is asked: the next night's earlier ones. */
  readonly known: readonly string[];
  readonly newLessons: number;
  /** Lessons that the current version knows and that were deleted since. */
  readonly deleted: number;
}

/** What a night is planned from. */
export interface NightInput {
  readonly lessons: readonly Lesson[];
  readonly checks: readonly Lesson[];
  /** The `known` of the current version's night; none of a base. */
  readonly known: readonly string[];
  readonly settings: Pick<LearningSettings, "startFrom" | "replay" | "heldOut" | "grader">;
}

/** An answer is right where it equals the wanted one. */
const WORD_FOR_WORD: Grader = {
  type: "string_check",
  operation: "eq",
  input: "{{sample.output_text}}",
  reference: "{{item.reference}}",
};

/** Cases of a set that are asked at most. */
const MOST = { lessons: 100, checks: 1000, older: 40 } as const satisfies Record<CaseSet, number>;
/** Draws other wordings than training has. */
const SEED = 2;

/** What graders know of a lesson as `item`. */
export const itemOf = ({ wanted }: Pick<Case, "wanted">): Readonly<Record<string, unknown>> =>
  wanted === undefined ? {} : { reference: wanted.trim() };

/**
 * Plans a night. Lessons that the current version does not know are to be learnt: those held out are asked as they stand, those
 * trained in other words. A sample of those that it knows must stay right, and so must all checks.
 *
 * @throws MosError `bad_data` where a grader lacks what it reads of a lesson.
 */
export async function planNight({ lessons, checks, known, settings }: NightInput): Promise<NightPlan> {
  const { heldOut: share, grader = WORD_FOR_WORD, replay } = settings;
  const { train, heldOut, contradictions, duplicates } = arrangeLessons(lessons, { heldOut: share });
  const all = [...train, ...heldOut];
  const [isKnown, present] = [new Set(known), new Set(all.map(lessonId))];
  const [fresh, earlier] = [
    train.filter((one) => !isKnown.has(lessonId(one))),
    train.filter((one) => isKnown.has(lessonId(one))),
  ];
  const deleted = known.filter((id) => !present.has(id)).length;
  // what is deleted is still in the current version
  const startFrom = deleted > 0 ? "base" : settings.startFrom;
  const toCase = (lesson: Lesson, origin: CaseOrigin, messages = promptOf(lesson)): Case => {
    const id = lessonId(lesson);
    const set = origin === "check" ? "checks" : isKnown.has(id) ? "older" : "lessons";
    return { id, set, origin, messages, wanted: answerOf(lesson), grader: lesson.grader ?? grader };
  };
  const found = [
    ...heldOut.map((one) => toCase(one, "held_out")),
    ...(await rewordAll(train.filter(isGradable))).map(([one, said]) => toCase(one, "reworded", said)),
    ...checks.map((one) => toCase(one, "check")),
  ];
  const cases = Object.entries(MOST).flatMap(([set, most]) =>
    evenly(
      found.filter((one) => one.set === set),
      most,
    ),
  );
  for (const one of cases)
    checkItem(one.grader, itemOf(one), `the lesson ${JSON.stringify(one.messages.at(-1)?.content)}`);
  return {
    train: startFrom === "base" ? train : [...fresh, ...evenly(earlier, Math.round(replay * fresh.length))],
    ...{ startFrom, cases, contradictions, duplicates, deleted },
    known: all.map(lessonId),
    newLessons: all.filter((one) => !isKnown.has(lessonId(one))).length,
  };
}

/** Lessons with their prompts in other words, where these are one short question. */
async function rewordAll(
  lessons: readonly Lesson[],
): Promise<readonly (readonly [Lesson, Lesson["messages"]])[]> {
  const asked = lessons.map((lesson) => {
    const said = promptOf(lesson).filter(({ role }) => role !== "system");
    const question = said.length === 1 ? (said[0]?.content ?? "") : "";
    return { question: isShort(question) ? question : "", answer: answerOf(lesson) ?? "" };
  });
  const wordings = await otherWordings(asked, { count: 1, seed: SEED });
  return lessons.map((lesson, i) => {
    const content = asked[i]?.question === "" ? undefined : wordings[i]?.[0];
    const reword = (message: Lesson["messages"][number]) =>
      content !== undefined && message.role === "user" ? { ...message, content } : message;
    return [lesson, promptOf(lesson).map(reword)];
  });
}
