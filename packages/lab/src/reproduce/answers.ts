// Greedy answers to validation prompts, and how many of them are the reference.
import {
  type Engine,
  type Example,
  encodeExample,
  IGNORED,
  type LoadedText,
  MosError,
  type PromptFormat,
} from "mixture-of-shards";

/** Settings of rendering examples as prompts, as in training. */
export interface QuestionSettings {
  readonly text: LoadedText;
  readonly promptFormat: PromptFormat;
  readonly system: string | undefined;
  /** The model's longest sequence. */
  readonly maxLength: number;
}

/** A prompt as training shows it, and what should follow. */
export interface Question {
  readonly ids: readonly number[];
  readonly reference: string;
}

/** Everything before the last stretch that training counts, which is the reference. */
export function toQuestion(
  example: Example,
  { text: { tokenizer, template }, promptFormat, system, maxLength }: QuestionSettings,
): Question {
  const { ids, labels } = encodeExample(example, { tokenizer, template, promptFormat, system, maxLength });
  let start = labels.length;
  while (start > 0 && labels[start - 1] === IGNORED) start--;
  while (start > 0 && labels[start - 1] !== IGNORED) start--;
  return { ids: [...ids.subarray(0, start)], reference: referenceAnswer(example) };
}

function referenceAnswer(example: Example): string {
  switch (example.kind) {
    case "completion":
      return example.completion;
    case "text":
      return example.text;
    case "chat":
      return example.turns.findLast(({ isTarget }) => isTarget)?.content ?? "";
  }
}

export interface AnswerSettings {
  readonly engine: Engine;
  /** Its name in the engine; null for the base as it is. */
  readonly adapter: string | null;
  readonly maxTokens: number;
  readonly signal: AbortSignal | undefined;
}

async function answerTo(
  { ids }: Question,
  { engine, adapter, maxTokens, signal }: AnswerSettings,
): Promise<string> {
  const request = { prompt: ids, adapter, maxTokens, seed: 0, tenant: "answers", signal };
  let text = "";
  for await (const event of engine.submit({ ...request, sampling: { temperature: 0 } })) {
    if (event.type === "token" || event.type === "finish") text += event.text;
    if (event.type === "finish" && event.finishReason === "cancelled")
      throw new MosError("cancelled", "the answers were stopped");
  }
  return text;
}

/** Number of greedy answers that equal the reference. All are submitted at once; the engine queues them. Throws `cancelled`. */
export async function countCorrect(
  questions: readonly Question[],
  settings: AnswerSettings,
): Promise<{ readonly correct: number; readonly total: number }> {
  const room = settings.engine.model.maxLength - settings.maxTokens;
  // a question without room for an answer counts as unanswered, and so does an empty one
  const fitting = questions.filter(({ ids }) => ids.length > 0 && ids.length <= room);
  const marks = await Promise.all(
    fitting.map(async (question) => isCorrectAnswer(await answerTo(question, settings), question.reference)),
  );
  return { correct: marks.filter((isCorrect) => isCorrect).length, total: questions.length };
}

/** Marker of the number in GSM8K's answers. */
const MARK = "####";

const hasMarkedLine = (text: string): boolean => text.split("\n").some((line) => line.startsWith(MARK));

/** Text after the last "####", without commas, which only group digits there. */
const afterMark = (text: string): string | undefined => {
  const at = text.lastIndexOf(MARK);
  return at < 0
    ? undefined
    : text
        .slice(at + MARK.length)
        .replaceAll(",", "")
        .trim();
};

/**
 * Tests whether an answer equals the reference. If the reference has a line that starts with "####" (GSM8K), the texts after
 * the last "####" are compared, trimmed and without commas; an answer without one is wrong. Else the whole texts are,
 * trimmed.
 *
 * @example
 * isCorrectAnswer("So it is 1,000.\n#### 1,000", "#### 1000"); // true
 */
export function isCorrectAnswer(answer: string, reference: string): boolean {
  if (!hasMarkedLine(reference)) return answer.trim() === reference.trim();
  return afterMark(answer) === afterMark(reference);
}
