// What a model is to learn from people: a line of training data with where it came from. Some lessons are held out as cases that
// the trained model must answer, by a rule that depends on the prompt alone, so that no lesson ever changes sides.
import { z } from "zod";
import { parseWith } from "#common";
import { normalise } from "#data";
import { graderSchema } from "#graders";
import { createHash } from "#platform";

/** Characters of a text, and messages of a prompt at most. */
const [MAX_TEXT, MAX_MESSAGES] = [32_000, 100];
const text = z
  .string()
  .max(MAX_TEXT)
  .refine((value) => value.trim() !== "", "text that is not blank");

const messageSchema = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: text,
});

/** Where lessons come from. A thumb counts where it came with an answer: thumbs up for one, or a better one. */
const LESSON_SOURCES = ["correction", "remark", "thumb", "vote", "file"] as const;

/**
 * A line of training data with `messages`, whose last one is the wanted answer where it is the assistant's, and what else is
 * known. A lesson has an answer, a remark (`hint`), or both; a check has an answer or a grader.
 */
export const lessonSchema = z
  .strictObject({
    messages: z.array(messageSchema).min(1).max(MAX_MESSAGES),
    /** A remark in words, or a passage, which the teacher reads and the trained model does without. */
    hint: text.optional(),
    /** What the model had answered. */
    rejected_response: text.optional(),
    /** How much it counts in the loss; 1 by default. */
    weight: z.number().gt(0).max(100).optional(),
    /** Grades answers to the prompt, with `item.reference` as the wanted one; by default they must equal it. */
    grader: graderSchema.optional(),
    /** Held out as a case, or trained; by default the prompt decides. */
    held_out: z.boolean().optional(),
    source: z
      .strictObject({
        kind: z.enum(LESSON_SOURCES),
        /** Of the stored response, vote or file that it came from. */
        id: z.string().max(500).optional(),
        /** Seconds since 1970. */
        created_at: z.int().min(0).optional(),
      })
      .optional(),
  })
  .superRefine((lesson, context) => {
    const [field, message] = findFault(lesson) ?? [];
    if (field !== undefined) context.addIssue({ code: "custom", path: [field], message });
  });

/** What people taught a model about one prompt. */
export type Lesson = z.output<typeof lessonSchema>;

/** The field of a lesson that is wrong, and what was expected. */
function findFault(lesson: Lesson): readonly [keyof Lesson, string] | undefined {
  const answer = answerOf(lesson);
  if (promptOf(lesson).at(-1)?.role !== "user")
    return ["messages", "a prompt that ends with a user message, and perhaps its answer"];
  if (answer === undefined && lesson.hint === undefined && lesson.grader === undefined)
    return ["messages", "an assistant message at the end, or a hint beside them"];
  if (lesson.rejected_response !== undefined && lesson.rejected_response === answer)
    return ["rejected_response", "another answer than the wanted one"];
  return undefined;
}

/** Checks a lesson. Throws MosError `bad_data` with `where` and the field. */
export const parseLesson = (value: unknown, where = "lesson"): Lesson =>
  parseWith(lessonSchema, value, { code: "bad_data", where });

/** The wanted answer; undefined where there is a remark alone. */
export function answerOf({ messages }: Pick<Lesson, "messages">): string | undefined {
  const last = messages.at(-1);
  return last?.role === "assistant" ? last.content : undefined;
}

/** The messages that the model answers. */
export const promptOf = ({ messages }: Pick<Lesson, "messages">): Lesson["messages"] =>
  messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;

/** Tests whether answers to it can be graded. */
export const isGradable = (lesson: Lesson): boolean =>
  lesson.grader !== undefined || answerOf(lesson) !== undefined;

const digest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex");

/** Identifier of what a lesson teaches, 32 hexadecimal digits: the same of whatever source and weight. */
export const lessonId = ({ messages, hint, rejected_response: rejected, grader }: Lesson): string =>
  digest([
    messages.map(({ role, content }) => [role, content]),
    hint ?? null,
    rejected ?? null,
    grader ?? null,
  ]).slice(0, 32);

/** Digest of a prompt, whatever its case, spaces and punctuation. */
export const promptKey = (lesson: Pick<Lesson, "messages">): string =>
  digest(promptOf(lesson).map(({ role, content }) => [role, normalise(content)]));

/** Lessons of which not all can be true: they ask the same and answer otherwise. */
export interface Contradiction {
  readonly prompt: Lesson["messages"];
  readonly lessons: readonly { readonly id: string; readonly answer: string }[];
}

/** Lessons by what becomes of them. */
export interface ArrangedLessons {
  readonly train: readonly Lesson[];
  /** Cases for the trained model, none of whose prompts is trained. */
  readonly heldOut: readonly Lesson[];
  /** Neither trained nor asked until a person has removed the wrong ones. */
  readonly contradictions: readonly Contradiction[];
  /** How many said what another one had said. */
  readonly duplicates: number;
}

/**
 * Sorts lessons: duplicates are merged, contradictions taken out, and a share of the prompts is held out. Whether a prompt is held
 * out depends on its text alone, unless a lesson says so, hence never on other lessons or their order.
 */
export function arrangeLessons(
  lessons: readonly Lesson[],
  { heldOut: share }: { readonly heldOut: number },
): ArrangedLessons {
  const distinct = mergeDuplicates(lessons);
  const groups = [...groupBy(distinct, promptKey)];
  const contradictions = groups.flatMap(([, group]) => findContradiction(group));
  const isContradicted = new Set(contradictions.flatMap(({ lessons: all }) => all.map(({ id }) => id)));
  const [train, heldOut]: [Lesson[], Lesson[]] = [[], []];
  for (const [key, group] of groups) {
    const rest = group.filter((one) => !isContradicted.has(lessonId(one)));
    const isOut = rest.some(isGradable) && isHeldOut(key, group, share);
    (isOut ? heldOut : train).push(...rest.filter((one) => !isOut || isGradable(one)));
  }
  return { train, heldOut, contradictions, duplicates: lessons.length - distinct.length };
}

function isHeldOut(key: string, group: readonly Lesson[], share: number): boolean {
  const said = group.find(({ held_out: isOut }) => isOut !== undefined)?.held_out;
  return said ?? Number.parseInt(key.slice(0, 8), 16) / 2 ** 32 < share;
}

/** Each lesson once, with the largest weight that it was given. */
function mergeDuplicates(lessons: readonly Lesson[]): readonly Lesson[] {
  const merged = new Map<string, Lesson>();
  for (const lesson of lessons) {
    const id = lessonId(lesson);
    const known = merged.get(id);
    const weight = Math.max(known?.weight ?? 1, lesson.weight ?? 1);
    merged.set(id, known === undefined ? lesson : { ...known, weight });
  }
  return [...merged.values()];
}

/** The lessons of one prompt whose answers differ in more than case, spaces and punctuation; none where they agree. */
function findContradiction(group: readonly Lesson[]): readonly Contradiction[] {
  const answered = group.flatMap((lesson) => {
    const answer = answerOf(lesson);
    return answer === undefined ? [] : [{ lesson, id: lessonId(lesson), answer }];
  });
  const wanted = new Set(answered.map(({ answer }) => normalise(answer)));
  const refused = answered.some(
    ({ lesson: { rejected_response: rejected } }) =>
      rejected !== undefined && wanted.has(normalise(rejected)),
  );
  const [first] = answered;
  if (first === undefined || (wanted.size < 2 && !(refused && answered.length > 1))) return [];
  return [{ prompt: promptOf(first.lesson), lessons: answered.map(({ id, answer }) => ({ id, answer })) }];
}

function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}
