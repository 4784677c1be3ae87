// Training data about documents: a teacher is asked about one passage after the other. What it answered is kept beside the
// output, so that no passage is asked for twice, also after a kill.
import { z } from "zod";
import { AsyncQueue, MosError, parseWith, utf8Length } from "#common";
import {
  type JsonLinesWriter,
  lockFolder,
  makeFolder,
  openJsonLinesWriter,
  pathExists,
  readJsonLines,
  writeJsonLines,
} from "#files";
import { createHash, join, rm, setMaxListeners } from "#platform";
import { checkOutput } from "./convert.ts";
import type { SourcedPassage } from "./documents.ts";
import { type ChatClient, stoppedAsking } from "./endpoint.ts";
import {
  askForQuestions,
  type DropReason,
  dropReason,
  type QuestionAnswer,
  type QuestionOptions,
  readQuestionAnswers,
} from "./question-answers.ts";

/** Options of writing questions and answers. */
export interface GenerateExamplesOptions extends QuestionOptions {
  /** File of JSON Lines. */
  readonly out: string;
  readonly overwrite?: boolean;
  readonly teacher: ChatClient;
  /** Name of the teacher, which a run keeps to when it is resumed. */
  readonly teacherName: string;
  /** Tokens of each answer of the teacher at most. */
  readonly maxTokens: number;
  /** Requests at a time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/** What is to be asked, and what that takes. */
export interface GenerationPlan {
  readonly passages: number;
  /** Passages that were asked for before. */
  readonly done: number;
  /** Requests that are left. */
  readonly requests: number;
  /** Estimate: a token is about four bytes. */
  readonly promptTokens: number;
  /** The most tokens that the teacher may write. */
  readonly maxCompletionTokens: number;
}

/** Numbers of what a run has written. */
export interface GenerationCounts {
  readonly examples: number;
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Passages for which the teacher wrote nothing that could be read. */
  readonly unread: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** An event of a run. */
export type GenerateEvent =
  | { readonly type: "passage"; readonly done: number; readonly total: number; readonly pairs: number }
  | ({ readonly type: "finish"; readonly out: string } & GenerationCounts);

const answerSchema = z.object({
  passage: z.string(),
  text: z.string(),
  promptTokens: z.number(),
  completionTokens: z.number(),
});
type StoredAnswer = z.output<typeof answerSchema>;

/** The folder beside the output that holds the teacher's answers until all are there. */
const progressFolder = (out: string): string => `${out}.progress`;
const ANSWERS = "answers.jsonl";

type Asked = Pick<GenerateExamplesOptions, "teacherName" | "questions" | "instructions">;

/** Identifies a request: another question to another teacher is another one. */
const checksum = (
  { headings, text }: SourcedPassage,
  { teacherName, questions, instructions }: Asked,
): string =>
  createHash("sha256")
    .update(JSON.stringify([teacherName, questions, instructions ?? null, headings, text]))
    .digest("hex")
    .slice(0, 32);

type Passages = ReadonlyMap<string, SourcedPassage>;

/** The passages that are asked for, each once, in their order. */
function uniquePassages(passages: readonly SourcedPassage[], asked: Asked): Passages {
  const unique = new Map<string, SourcedPassage>();
  for (const passage of passages) {
    const id = checksum(passage, asked);
    if (!unique.has(id)) unique.set(id, passage);
  }
  return unique;
}

async function readAnswers(out: string): Promise<ReadonlyMap<string, StoredAnswer>> {
  const path = join(progressFolder(out), ANSWERS);
  const found = new Map<string, StoredAnswer>();
  if (!(await pathExists(path))) return found;
  for await (const { line, value } of readJsonLines(path, { wholeLines: true })) {
    const answer = parseWith(answerSchema, value, { code: "bad_data", where: `${path}:${line}` });
    found.set(answer.passage, answer);
  }
  return found;
}

/** The requests that a run would make. Throws as `generateExamples` before it asks. */
export async function planGeneration(
  passages: readonly SourcedPassage[],
  options: Omit<GenerateExamplesOptions, "teacher" | "concurrency">,
): Promise<GenerationPlan> {
  await checkOutput(options.out, { overwrite: options.overwrite ?? false });
  const wanted = uniquePassages(passages, options);
  const answers = await readAnswers(options.out);
  const missing = [...wanted].filter(([id]) => !answers.has(id));
  const bytes = missing.reduce((sum, [, passage]) => sum + promptBytes(passage, options), 0);
  return {
    passages: wanted.size,
    done: wanted.size - missing.length,
    requests: missing.length,
    promptTokens: Math.ceil(bytes / BYTES_PER_TOKEN),
    maxCompletionTokens: missing.length * options.maxTokens,
  };
}

const BYTES_PER_TOKEN = 4;
const promptBytes = (passage: SourcedPassage, options: QuestionOptions): number =>
  askForQuestions(passage, options).reduce((sum, { content }) => sum + utf8Length(content), 0);

/**
 * Writes questions and answers about passages as conversations, each with its source. The output appears when it is complete;
 * after an error, a signal or a kill, the same call goes on where the last one ended.
 *
 * @throws MosError what the teacher throws; `bad_option` where `out` exists or another process writes it; `bad_data` where no
 * pair is left; `storage`, `cancelled`.
 */
export async function* generateExamples(
  passages: readonly SourcedPassage[],
  options: GenerateExamplesOptions,
): AsyncGenerator<GenerateEvent, void> {
  const { out, overwrite = false } = options;
  await checkOutput(out, { overwrite });
  const wanted = uniquePassages(passages, options);
  const folder = progressFolder(out);
  await makeFolder(folder);
  const counts = yield* lockedRun(wanted, { ...options, folder });
  await rm(folder, { recursive: true, force: true });
  yield { type: "finish", out, ...counts };
}

async function* lockedRun(
  wanted: Passages,
  { folder, ...options }: GenerateExamplesOptions & { readonly folder: string },
): AsyncGenerator<GenerateEvent, GenerationCounts> {
  await using _lock = await lockFolder(folder);
  const answers = new Map(await readAnswers(options.out));
  const missing = [...wanted].filter(([id]) => !answers.has(id));
  let done = wanted.size - missing.length;
  await using writer: JsonLinesWriter = await openJsonLinesWriter(join(folder, ANSWERS));
  for await (const answer of askAll(missing, options)) {
    await writer.write(answer);
    answers.set(answer.passage, answer);
    const pairs = readQuestionAnswers(answer.text).length;
    yield { type: "passage", done: ++done, total: wanted.size, pairs };
  }
  return await writeExamples(wanted, { answers, folder, out: options.out });
}

/** The answers of the teacher as they come, some requests at a time. The first failure ends all. */
async function* askAll(
  missing: readonly (readonly [id: string, passage: SourcedPassage])[],
  { teacher, maxTokens, concurrency, signal, ...asked }: GenerateExamplesOptions,
): AsyncGenerator<StoredAnswer, void> {
  const stop = new AbortController();
  const stopped = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const queue = new AsyncQueue<StoredAnswer>(() => stop.abort());
  setMaxListeners(0, stopped); // each request has one
  const waiting = missing.values();
  const ask = async (): Promise<void> => {
    for (const [passage, content] of waiting) {
      const messages = askForQuestions(content, asked);
      const request = { model: asked.teacherName, messages, max_tokens: maxTokens };
      const { choices, usage } = await teacher(request, stopped);
      queue.push({
        passage,
        text: choices[0]?.message.content ?? "",
        promptTokens: usage?.prompt_tokens ?? 0,
        completionTokens: usage?.completion_tokens ?? 0,
      });
      if (stopped.aborted) throw stoppedAsking();
    }
  };
  void Promise.all(Array.from({ length: concurrency }, ask)).then(
    () => queue.close(),
    (error: unknown) => {
      queue.close(error);
      stop.abort();
    },
  );
  yield* queue;
}

interface WriteExamplesOptions {
  readonly answers: ReadonlyMap<string, StoredAnswer>;
  readonly folder: string;
  readonly out: string;
}

/** Writes the pairs that are kept, in the order of the passages: the same answers give the same file. */
async function writeExamples(
  wanted: Passages,
  { answers, folder, out }: WriteExamplesOptions,
): Promise<GenerationCounts> {
  const asked = new Set<string>();
  const dropped = { empty: 0, unsupported: 0, duplicate: 0 };
  const totals = { unread: 0, promptTokens: 0, completionTokens: 0 };
  const lines: object[] = [];
  for (const [id, { source, line, headings, text: content }] of wanted) {
    const passage = [...headings, content].join("\n"); // as the teacher was asked
    const { text = "", promptTokens = 0, completionTokens = 0 } = answers.get(id) ?? {};
    totals.promptTokens += promptTokens;
    totals.completionTokens += completionTokens;
    const pairs = readQuestionAnswers(text);
    if (pairs.length === 0) totals.unread++;
    for (const pair of pairs) {
      const reason = dropReason(pair, { passage, asked });
      if (reason === undefined) lines.push(toLine(pair, `${source}:${line}`));
      else dropped[reason]++;
    }
  }
  if (lines.length === 0)
    throw new MosError(
      "bad_data",
      `no question with an answer is left: of ${wanted.size} answers of the teacher ${totals.unread} could not be read, and ${dropped.unsupported} pairs are not supported by their passage; ${join(folder, ANSWERS)} has them all, and without that folder the teacher is asked again`,
    );
  const examples = await writeJsonLines(out, lines);
  return { examples, dropped, ...totals };
}

const toLine = ({ question, answer }: QuestionAnswer, source: string): object => ({
  messages: [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ],
  source,
});
