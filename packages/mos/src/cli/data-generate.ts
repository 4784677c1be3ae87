// `mos data generate`: the teacher, what it costs, and the progress.
import { once } from "node:events";
import { extname } from "node:path";
import { createInterface } from "node:readline/promises";
import { flag, MosError, setting } from "mixture-of-shards-core/common";
import {
  askForQuestions,
  type ChatClient,
  countWords,
  endpointUrl,
  findDocuments,
  type GenerateEvent,
  type GenerationCounts,
  type GenerationPlan,
  generateExamples,
  openChatClient,
  planGeneration,
  readPassages,
  type SourcedPassage,
} from "mixture-of-shards-core/data";
import { openEngine } from "mixture-of-shards-core/inference";
import { loadText } from "mixture-of-shards-core/models";
import { z } from "zod";
import type { Given } from "./data.ts";
import { counted, formatBar, formatDuration, formatInteger, labelled } from "./format.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { engineProgress, type FindModelOptions, findModel, userPlaces } from "./loading.ts";
import { keyVariable, retryNotice, teacherKey } from "./teacher-access.ts";
import { type LiveLine, liveLine, MOS, nextText, printJson, printLine, shellWord, warn } from "./terminal.ts";

/** Options of the teacher, all for `generate`. */
export const teacherOptions = {
  teacher: setting(z.string(), {
    placeholder: "url",
    help: "base URL of an OpenAI-compatible API, such as http://127.0.0.1:8080/v1; required unless --model is the teacher",
  }),
  teacherModel: setting(z.string(), { placeholder: "name", help: "the model's name there" }),
  keyVariable,
  questions: setting(z.int().min(1).max(50), { default: 3, help: "questions per passage" }),
  instructions: setting(z.string(), {
    help: 'more instructions for the teacher, such as "Answer in French."',
  }),
  answerTokens: setting(z.int().min(16), {
    default: 1024,
    help: "maximum length of the teacher's answer, in tokens",
  }),
  concurrency: setting(z.int().min(1).max(256), { default: 4, help: "requests at a time" }),
  priceIn: setting(z.number().min(0), {
    placeholder: "price",
    help: "price of a million prompt tokens, to show the cost",
  }),
  priceOut: setting(z.number().min(0), {
    placeholder: "price",
    help: "price of a million tokens of answers",
  }),
  yes: flag({ help: "do not ask before the first request" }),
  dryRun: flag({ help: "show the cost and the first request, and ask nothing" }),
};

type Values = Given & { readonly out: string };

/** Reads the passages, shows the cost, and writes the examples; the exit code. */
export async function generateFrom(values: Values): Promise<number> {
  const { json, quiet } = values;
  const silent = json || quiet;
  const teacherName = checkTeacher(values);
  const key = values.dryRun ? undefined : teacherKey(values);
  using interrupt = listenForInterrupt("stopping; what was answered is kept", { silent });
  const { signal } = interrupt;
  const documents = await openDocuments(values, { signal, silent });
  const passages: SourcedPassage[] = [];
  for await (const passage of documents.passages) passages.push(passage);
  const { out, overwrite, questions, instructions, answerTokens: maxTokens, concurrency } = values;
  const request = { out, overwrite, questions, instructions, maxTokens, concurrency, teacherName };
  const plan = await planGeneration(passages, request);
  if (json) printJson({ type: "plan", ...plan, cost: costOf(plan, values) });
  else if (!quiet || values.dryRun || asksFirst(values)) printLine(planText(plan, values));
  if (values.dryRun) {
    const [first] = passages;
    if (first !== undefined && !json) printLine(`\n${askForQuestions(first, request)[0]?.content}`);
    return 0;
  }
  if (plan.requests > 0 && !(await isConfirmed(values, interrupt)))
    throw new MosError("cancelled", "nothing was asked");
  using line = liveLine({ silent: silent || process.stderr.isTTY !== true });
  await using teacher = await openTeacher(values, { signal, line, key });
  const events = generateExamples(passages, { ...request, teacher: teacher.ask, signal });
  await show(events, line, values);
  return 0;
}

/** Documents, what lies beside them and is not read, which a warning names, and their passages. */
export async function openDocuments(
  { files, ...length }: Pick<Values, "files" | "model" | "maxWords" | "maxTokens">,
  find: FindModelOptions,
) {
  const { paths, leftOut } = await findDocuments(files);
  if (leftOut.length > 0 && find.silent !== true) warn(`left out: ${leftOutText(leftOut)}`);
  const fits = await passageTest(length, find);
  return { paths, leftOut, passages: readPassages(paths, { fits, signal: find.signal }) };
}

/** "3 files (.png, .pdf)". */
function leftOutText(paths: readonly string[]): string {
  const kinds = new Set(paths.map((path) => extname(path).toLowerCase() || "no extension"));
  return `${counted(paths.length, "file")} (${[...kinds].slice(0, 8).join(", ")}); text and Markdown are read`;
}

/** The length of passages that the options ask for, as a test of a text. */
async function passageTest(
  { model, maxWords, maxTokens }: Pick<Values, "model" | "maxWords" | "maxTokens">,
  find: FindModelOptions,
): Promise<(text: string) => boolean> {
  if (maxTokens === undefined) return (text) => countWords(text) <= maxWords;
  if (model === undefined)
    throw new MosError("bad_option", "--max-tokens requires --model MODEL, whose tokenizer counts");
  const { tokenizer } = await loadText(await findModel(model, find));
  return (text) => tokenizer.encode(text, { addSpecialTokens: false }).length <= maxTokens;
}

/** Name of the teacher. Throws `bad_option` where the options name none. */
function checkTeacher({ teacher, teacherModel, model, keyVariable }: Values): string {
  if (teacher === undefined) {
    if (model === undefined)
      throw new MosError(
        "bad_option",
        "a teacher is required: --teacher URL --teacher-model NAME of an OpenAI-compatible API, or --model MODEL to run one here",
      );
    if (teacherModel !== undefined || keyVariable !== undefined)
      throw new MosError("bad_option", "--teacher-model and --key-variable require --teacher URL");
    return model;
  }
  endpointUrl(teacher, "chat/completions");
  if (teacherModel === undefined)
    throw new MosError("bad_option", "--teacher-model NAME is required: the model's name at --teacher");
  return teacherModel;
}

interface OpenOptions {
  readonly signal: AbortSignal;
  readonly line: LiveLine;
  readonly key: string | undefined;
}

async function openTeacher(values: Values, options: OpenOptions) {
  const { teacher: url, json, quiet } = values;
  if (url === undefined) return await openOwnTeacher(values, options);
  const { key, line } = options;
  const print = (reason: string): void => {
    line.clear();
    warn(reason);
  };
  const onRetry = retryNotice({ json, quiet, print });
  const ask = openChatClient({ url, key, onRetry });
  return { ask, [Symbol.asyncDispose]: async () => undefined };
}

/** A teacher that runs in this process. */
async function openOwnTeacher(
  { model = "", concurrency, json, quiet }: Values,
  { signal, line }: OpenOptions,
) {
  const engine = await openEngine({
    model: await findModel(model, { signal, silent: json || quiet }),
    inProcess: true,
    maxBatch: concurrency,
    signal,
    cacheFolder: (await userPlaces()).weights,
    onProgress: engineProgress(line),
  });
  const ask: ChatClient = async ({ messages, max_tokens: maxTokens }, signal) => {
    let text = "";
    for await (const event of engine.chat(messages, { maxTokens, signal })) {
      if (event.type === "token" || event.type === "finish") text += event.text;
      if (event.type !== "finish") continue;
      if (event.finishReason === "cancelled") break;
      const { promptTokens, completionTokens } = event.usage;
      return {
        choices: [{ message: { content: text } }],
        usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens },
      };
    }
    throw new MosError("cancelled", "stopped asking the model; the same command goes on from here");
  };
  return { ask, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() };
}

const MILLION = 1e6;

/** The most that a run costs, where its prices are known. */
const costOf = (
  { promptTokens, maxCompletionTokens }: GenerationPlan,
  { priceIn, priceOut }: Values,
): number | undefined =>
  priceIn === undefined && priceOut === undefined
    ? undefined
    : (promptTokens * (priceIn ?? 0) + maxCompletionTokens * (priceOut ?? 0)) / MILLION;

function planText(plan: GenerationPlan, values: Values): string {
  const { passages, done, requests, promptTokens, maxCompletionTokens } = plan;
  const cost = costOf(plan, values);
  const before = done === 0 ? "" : `, ${formatInteger(done)} of them asked about before`;
  return labelled([
    ["passages", `${formatInteger(passages)}${before}`],
    ["requests", `${formatInteger(requests)} to ${values.teacherModel ?? values.model}`],
    [
      "tokens",
      `about ${formatInteger(promptTokens)} of prompts, at most ${formatInteger(maxCompletionTokens)} of answers`,
    ],
    cost !== undefined && ["cost", `at most about ${cost < 1 ? cost.toPrecision(2) : cost.toFixed(2)}`],
  ]);
}

/** Tests whether a person at a terminal is to confirm the cost of a teacher elsewhere. */
const asksFirst = ({ teacher, yes, json }: Values): boolean =>
  teacher !== undefined && !yes && !json && process.stdin.isTTY === true && process.stderr.isTTY === true;

async function isConfirmed(values: Values, { signal }: Interrupt): Promise<boolean> {
  if (!asksFirst(values)) return true;
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    const ended = once(lines, "close").then(() => ""); // Ctrl-D, after which no answer comes
    const answer = await Promise.race([lines.question("Ask the teacher now? [y/N] ", { signal }), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

async function show(
  events: AsyncIterable<GenerateEvent>,
  line: LiveLine,
  { json, quiet, out }: Values,
): Promise<void> {
  const started = performance.now();
  let first = 0;
  let pairs = 0;
  for await (const event of events) {
    if (json) printJson(event);
    if (event.type === "finish") {
      line.clear();
      if (!json && !quiet) printLine(finishText(event, out));
      continue;
    }
    const { done, total } = event;
    if (first === 0) first = done - 1;
    pairs += event.pairs;
    const seconds = (performance.now() - started) / 1000;
    const left = (seconds * (total - done)) / (done - first);
    line.update([
      `asking ${formatBar(done / total, 10)} ${done} of ${total}`,
      counted(pairs, "pair"),
      `${formatDuration(left)} left`,
    ]);
  }
}

function finishText(counts: GenerationCounts, out: string): string {
  const { examples, dropped, unread, promptTokens, completionTokens } = counts;
  return [
    labelled([
      ["written", `${out}: ${counted(examples, "example")}, messages`],
      [
        "dropped",
        `${dropped.unsupported} not supported by their passage, ${dropped.duplicate} asked before, ${dropped.empty} empty; ${counted(unread, "answer")} could not be read`,
      ],
      promptTokens + completionTokens > 0 && [
        "tokens",
        `${formatInteger(promptTokens)} of prompts, ${formatInteger(completionTokens)} of answers`,
      ],
    ]),
    "",
    "Read some of the examples before you train on them.",
    "",
    nextText([
      `${MOS} data inspect ${shellWord(out)} --model org/name`,
      `${MOS} train --model org/name --data ${shellWord(out)} --out adapters/mine`,
    ]),
  ].join("\n");
}
