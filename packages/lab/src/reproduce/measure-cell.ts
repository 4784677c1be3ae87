// Cost of training a cell, and quality of its adapter on the evaluation file.
import { text } from "node:stream/consumers";
import {
  type BaseModel,
  type Engine,
  type Example,
  encodeExample,
  type FinetuneSettings,
  type LoadedText,
  loadAdapter,
  MosError,
  readDataset,
  textStream,
  validationLoss,
} from "mixture-of-shards";
import { toBaseShapes } from "mixture-of-shards-core/models";
import { readMeasurements } from "mixture-of-shards-core/training";
import { runPath, sessionOptions, type TrialSpec } from "./cell.ts";
import type { Settings } from "./settings.ts";
import { median } from "./statistics.ts";

/** Context of a running cell. */
export interface RunningTrial {
  readonly spec: TrialSpec;
  readonly base: BaseModel;
  readonly settings: FinetuneSettings & Pick<Settings["training"], "batchSize" | "maxLength">;
  readonly signal: AbortSignal;
  /** Milliseconds since the process started. */
  readonly now: () => number;
  /** Bytes of memory that the process has had at most. */
  readonly peakMemory: () => number;
}

/** Sums of the run's metrics, including those of earlier processes. Throws `bad_data` for lines that are none. */
export async function trainedPart(
  spec: Pick<TrialSpec, "folder" | "adapter">,
  resumedAt: number | undefined,
) {
  if (spec.adapter === null) return { losses: [], tokens: 0, seconds: { training: 0, step: 0 } };
  const [losses, durations]: [number[], number[]] = [[], []];
  let tokens = 0;
  // the first update of a process compiles the program
  const compiled: number[] = [];
  for await (const { measurement } of readMeasurements(runPath(spec))) {
    if (measurement.type !== "step") continue;
    if (measurement.step === 1 || measurement.step === (resumedAt ?? 0) + 1) compiled.push(losses.length);
    losses.push(measurement.loss);
    durations.push(measurement.seconds);
    tokens += measurement.tokens;
  }
  const step = median(durations);
  for (const i of compiled) durations[i] = step;
  return { losses, tokens, seconds: { training: durations.reduce((sum, one) => sum + one, 0), step } };
}

/** The validation loss, and what is to be answered. */
export async function measure(running: RunningTrial) {
  const { spec, base, now, peakMemory, settings } = running;
  const { evaluation } = spec;
  const started = now();
  const examples = (await readDataset(evaluation.file)).examples.slice(0, evaluation.examples);
  const { config, fingerprint } = base.model;
  const adapter =
    spec.adapter === null
      ? undefined
      : await loadAdapter(runPath(spec), { shapes: toBaseShapes(base.model), fingerprint });
  const measured = await validationLoss(base, examples, {
    adapter,
    settings,
    session: sessionOptions(spec),
    signal: running.signal,
  });
  if (!Number.isFinite(measured.loss))
    throw new MosError("diverged", `the validation loss is ${measured.loss}; use a lower --learning-rate`);
  const { promptFormat, system } = settings;
  const { maxPositions: maxLength } = config;
  return {
    result: {
      validationLoss: measured.loss,
      validationExamples: measured.examples,
      peakMemoryBytes: peakMemory(),
    },
    questions: examples
      .slice(0, evaluation.answers)
      .map((example) => toQuestion(example, { text: base.text, promptFormat, system, maxLength })),
    seconds: (now() - started) / 1000,
  };
}

// --- answers

/** A prompt as training shows it, and what should follow. */
export interface Question {
  readonly ids: readonly number[];
  readonly reference: string;
}

type EncodeOptions = Parameters<typeof encodeExample>[1];

/** Labels of tokens that the loss leaves out are negative. */
const isTarget = (label = -1): boolean => label >= 0;

/** Everything before the last stretch that training counts, which is the reference. */
export function toQuestion(
  example: Example,
  { text, ...settings }: { readonly text: LoadedText } & Omit<EncodeOptions, keyof LoadedText>,
): Question {
  const { ids, labels } = encodeExample(example, { ...text, ...settings });
  let start = labels.length;
  while (start > 0 && !isTarget(labels[start - 1])) start--;
  while (start > 0 && isTarget(labels[start - 1])) start--;
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
    default:
      throw new MosError("bad_data", `a ${example.kind} has no answer to compare with`);
  }
}

export interface AnswerSettings {
  readonly engine: Engine;
  /** Its name in the engine; null for the base as it is. */
  readonly adapter: string | null;
  readonly maxTokens: number;
  readonly signal: AbortSignal | undefined;
}

const answerTo = ({ ids }: Question, { engine, ...settings }: AnswerSettings): Promise<string> => {
  const request = { ...settings, prompt: ids, seed: 0, tenant: "answers", sampling: { temperature: 0 } };
  return text(textStream(engine.submit(request)));
};

/** Number of greedy answers that equal the reference. All are submitted at once; the engine queues them. Throws `cancelled`. */
export async function countCorrect(questions: readonly Question[], settings: AnswerSettings) {
  const room = settings.engine.model.maxLength - settings.maxTokens;
  // a question without room for an answer counts as unanswered, and so does an empty one
  const fitting = questions.filter(({ ids }) => ids.length > 0 && ids.length <= room);
  const marks = await Promise.all(
    fitting.map(async (question) => isCorrectAnswer(await answerTo(question, settings), question.reference)),
  );
  return { correct: marks.filter((isCorrect) => isCorrect).length, total: questions.length };
}

/** Text after the last "####" of an answer of GSM8K, without commas, which only group digits there. */
function resultNumber(text: string): string | undefined {
  const at = text.lastIndexOf("####");
  return at < 0
    ? undefined
    : text
        .slice(at + 4)
        .replaceAll(",", "")
        .trim();
}

/**
 * Tests whether an answer equals the reference. If the reference has a line that starts with "####" (GSM8K), the texts after
 * the last "####" are compared, trimmed and without commas; an answer without one is wrong. Else the whole texts are,
 * trimmed.
 *
 * @example
 * isCorrectAnswer("So it is 1,000.\n#### 1,000", "#### 1000"); // true
 */
export const isCorrectAnswer = (answer: string, reference: string): boolean =>
  /^####/m.test(reference)
    ? resultNumber(answer) === resultNumber(reference)
    : answer.trim() === reference.trim();
