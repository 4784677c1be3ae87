import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { text as readAll } from "node:stream/consumers";
import {
  checkBase,
  describeTrainedOn,
  readAdapterBase,
  type TrainedOn,
} from "mixture-of-shards-core/adapters";
import {
  flag,
  MosError,
  omitUndefined,
  pick,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { storageError } from "mixture-of-shards-core/files";
import {
  answerSettings,
  baseSettings,
  batchSettings,
  type Engine,
  type EngineEvent,
  type EngineUsage,
  type FinishReason,
  openEngine,
  type Prompt,
  samplingSettings,
  type TextRequest,
} from "mixture-of-shards-core/inference";
import { templateSettings } from "mixture-of-shards-core/text";
import { z } from "zod";
import { runChat, startClock } from "./chat.ts";
import { defineCommand, group } from "./command.ts";
import { device, model, threads, unescaped } from "./common-options.ts";
import { counted, paint, sideBySide } from "./format.ts";
import {
  type GrammarFile,
  grammarOptions,
  grammarRequest,
  readGrammarFile,
  withOrigin,
} from "./grammar-file.ts";
import { EXIT_INTERRUPTED, type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { engineProgress, findModel, usableAdapter, userPlaces } from "./loading.ts";
import { defaultsText } from "./model-text.ts";
import { liveLine, print, printable, printJson, printLine, terminalColumns, warn } from "./terminal.ts";

/** One or two answers have more room than the many of a server. */
const maxLength = setting(z.int().min(2), {
  default: 8192,
  placeholder: "tokens",
  defaultText: "the model's limit, at most 8192",
  help: "maximum length of prompt and output together, in tokens",
});

/** How the engine computes. */
const engineOptions = { ...baseSettings, cacheDtype: batchSettings.cacheDtype, device, threads };

const options = {
  ...group("Model", {
    model,
    adapter: setting(z.array(z.string()).readonly(), {
      common: true,
      placeholder: "folder",
      help: "adapter that was trained on this model: a folder, or org/name of the Hub",
    }),
    compare: flag({ help: "show the base model's answer beside the adapter's" }),
  }),
  ...group("Prompt", {
    prompt: setting(z.string(), {
      common: true,
      help: "user message; read from stdin if neither this nor --prompt-file is given",
    }),
    promptFile: setting(z.string(), { placeholder: "file", help: "file with the user message" }),
    chat: flag({ common: true, help: "chat interactively" }),
    system: setting(z.string(), { help: "system message" }),
    ...templateSettings,
    raw: flag({ help: "continue the text without the chat template" }),
  }),
  ...group("Answer", grammarOptions),
  ...group("Sampling", { ...answerSettings, maxLength }),
  ...group("Machine", engineOptions),
};
type Given = SettingValues<typeof options> & { readonly json: boolean };
type Values = Omit<Given, "adapter"> & {
  readonly adapter: string | undefined;
  readonly grammarFile: GrammarFile | undefined;
};

export const command = defineCommand({
  description: "Answers a prompt or chats, with or without an adapter. Output is streamed.",
  usage: "--model <model> [--adapter <folder>] [--prompt <text> | --chat] [options]",
  options,
  conflicts: [
    ["prompt", "promptFile", "chat"],
    ["chat", "raw"],
    ["chat", "compare"],
    ["chat", "json"],
    ["system", "raw"],
    ["chatTemplateKwargs", "raw"],
    ["jsonSchema", "grammar"],
  ],
  examples: `
Examples:
  mos generate --model org/name --prompt "What is a lighthouse?"
  mos generate --model org/name --adapter adapters/acme --chat
  mos generate --model org/name --adapter adapters/acme --compare --prompt "When can I come in?"
      base and adapter side by side
  mos generate --model org/name --json-schema person.schema.json --prompt "Ada Lovelace, born in 1815"
      an answer in JSON that matches the schema
  mos generate --model org/name --grammar move.gbnf --prompt "Your move?"
  echo "Once upon a time" | mos generate --model org/name --raw --temperature 0.8 --top-p 0.95

In --chat: /reset clears the conversation, /system TEXT sets the system message, Ctrl-C stops an answer, /exit or Ctrl-D exits.`,
  run,
});

/** Converts the command line's answer options to an engine's request. */
function answerOptions(options: Values): TextRequest {
  const { maxTokens, seed, stop = [] } = options;
  return { sampling: pick(samplingSettings, options), maxTokens, stop: stop.map(unescaped), seed };
}

const PROMPT_SOURCES = "pass --prompt TEXT, --prompt-file FILE or --chat, or pipe text in";

/** The prompt of the options, or else of stdin. */
async function readPrompt(options: Values): Promise<string> {
  if (options.prompt !== undefined) return options.prompt;
  const { promptFile } = options;
  if (promptFile !== undefined)
    return readFile(promptFile, "utf8").catch((error) => {
      throw storageError(error, `--prompt-file ${promptFile}`);
    });
  if (process.stdin.isTTY === true) throw new MosError("bad_option", `no prompt; ${PROMPT_SOURCES}`);
  const text = await readAll(process.stdin);
  return options.raw ? text : text.trimEnd();
}

function asPrompt(text: string, { raw, system }: Values): Prompt {
  if (text.trim() === "") throw new MosError("bad_option", `the prompt is empty; ${PROMPT_SOURCES}`);
  if (raw) return text;
  const messages = system === undefined ? [] : [{ role: "system", content: system }];
  return [...messages, { role: "user", content: text }];
}

/**
 * The prompt for a model that has no chat template, and no adapter that was trained with the one that stands in for it: the
 * text is continued then, since role tags that a model does not know make it write nonsense.
 */
function fittingPrompt({ text }: Engine, asked: Prompt | undefined, options: Values): Prompt | undefined {
  const { adapter, system, json } = options;
  if (typeof asked === "string" || adapter !== undefined || text.template.source !== "fallback") return asked;
  if (asked === undefined) throw withoutTemplate(options.model, "--chat");
  if (system !== undefined) throw withoutTemplate(options.model, "--system");
  if (!json)
    warn(
      `${options.model} has no chat template, so it was probably not trained to chat: continuing the prompt as with --raw`,
    );
  return asked.at(-1)?.content ?? "";
}

const withoutTemplate = (model: string, option: string): MosError =>
  new MosError(
    "bad_option",
    `${option} requires a chat template, and ${model} has none; use a chat model, an --adapter, or --raw`,
  );

/** The adapter. A second one is an error, rather than the one that silently counts. */
async function chosenAdapter({ adapter: [adapter, second] = [] }: Given): Promise<string | undefined> {
  if (second !== undefined)
    throw new MosError(
      "bad_option",
      `--adapter is given twice: ${adapter} and ${second}; give one at a time`,
    );
  return adapter && (await usableAdapter(adapter));
}

async function run(given: Given): Promise<number> {
  const grammarFile = await readGrammarFile(given);
  const options: Values = { ...given, adapter: await chosenAdapter(given), grammarFile };
  if (options.compare && options.adapter === undefined)
    throw new MosError("bad_option", "--compare requires --adapter FOLDER");
  const asked = options.chat ? undefined : asPrompt(await readPrompt(options), options);
  using interrupt = listenForInterrupt("stopping", { silent: options.json });
  using line = liveLine({ silent: options.json || process.stderr.isTTY !== true });
  const { signal } = interrupt;
  const path = await findModel(options.model, { signal, silent: options.json });
  const { adapter, compare } = options;
  await using engine = await openEngine({
    model: path,
    inProcess: !options.chat, // an answer in a chat can be stopped while it is computed
    ...pick({ ...engineOptions, maxLength }, options),
    signal,
    defaults: { generationConfig: options.generationConfig },
    chatTemplateKwargs: options.chatTemplateKwargs,
    cacheFolder: (await userPlaces()).weights,
    // two requests at most run side by side
    maxBatch: 2,
    onProgress: engineProgress(line),
    ...(compare && adapter !== undefined ? { adapters: { [adapter]: adapter } } : { mergedAdapter: adapter }),
  });
  const trainedOn =
    adapter === undefined ? undefined : checkBase(adapter, await readAdapterBase(adapter), engine.model);
  line.clear();
  const prompt = fittingPrompt(engine, asked, options);
  const isSaid = !options.json && process.stderr.isTTY === true;
  if (isSaid && Object.keys(engine.defaults.sources).length > 0)
    warn(`sampling defaults of the model: ${defaultsText(engine.defaults)}; options override them`);
  if (trainedOn !== undefined && !options.json) warn(`${adapter}: ${describeTrainedOn(trainedOn)}`);
  if (prompt === undefined) {
    interrupt[Symbol.dispose](); // the chat has its own meaning of Ctrl-C
    await runChat(engine, {
      title: basename(path).replace(/\.gguf$/i, ""),
      adapter: adapter ?? null,
      system: options.system,
      answer: { ...answerOptions(options), ...grammarRequest(options.grammarFile) },
    });
    return 0;
  }
  return await answerOnce({ engine, prompt, options, interrupt, trainedOn }).catch((error: unknown) => {
    throw withOrigin(error, grammarFile);
  });
}

interface Once {
  readonly engine: Engine;
  readonly prompt: Prompt;
  readonly options: Values;
  readonly interrupt: Interrupt;
  readonly trainedOn: TrainedOn | undefined;
}

interface Answer {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly usage: Pick<EngineUsage, "promptTokens" | "completionTokens">;
}

async function answerOnce(once: Once): Promise<number> {
  const { options, interrupt, trainedOn } = once;
  const streams = !options.compare && !options.json;
  const clock = startClock();
  const answers = await collect(once, { streams, clock });
  if (options.json) printJson({ ...answerJson(answers, options), ...omitUndefined({ trainedOn }) });
  else if (!streams) print(`${compareText(answers, options)}\n`);
  else if (!(answers[0]?.text ?? "").endsWith("\n")) printLine();
  if (!options.json && process.stderr.isTTY === true)
    warn(paint("dim", clock.summary(answers), process.stderr));
  return interrupt.signal.aborted ? EXIT_INTERRUPTED : 0;
}

/** Writes the answers out as they come where they are streamed, and gives them. */
async function collect(
  once: Once,
  { streams, clock }: { readonly streams: boolean; readonly clock: ReturnType<typeof startClock> },
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  using line = liveLine({ silent: once.options.json || process.stderr.isTTY !== true });
  line.show("reading the prompt");
  const write = (text: string): void => {
    if (streams) {
      line.clear();
      print(printable(text));
    } else line.update(`writing  ${counted(clock.tokens(), "token")}`);
  };
  for (const events of submitted(once)) {
    let text = "";
    for await (const event of events) {
      if (event.type !== "token" && event.type !== "finish") continue;
      text += event.text;
      if (event.type === "token") clock.token();
      write(event.text);
      if (event.type === "finish") {
        const { finishReason, usage } = event;
        const { promptTokens, completionTokens } = usage;
        answers.push({ text, finishReason, usage: { promptTokens, completionTokens } });
      }
    }
  }
  return answers;
}

/** One request, or two at once: they share steps, and with one seed they differ by their adapters alone. */
function submitted({ engine, prompt, options, interrupt }: Once): readonly AsyncIterable<EngineEvent>[] {
  const { compare, adapter = null } = options;
  return (compare ? [null, adapter] : [null]).map((name) => {
    const request = { ...answerOptions(options), adapter: name, signal: interrupt.signal };
    return typeof prompt === "string"
      ? engine.complete(prompt, { ...request, grammar: options.grammarFile?.source })
      : engine.chat(prompt, { ...request, ...grammarRequest(options.grammarFile) });
  });
}

function answerJson(answers: readonly Answer[], { compare, adapter }: Values): object {
  const adapters = compare ? [null, adapter] : [adapter ?? null];
  return { answers: answers.map((answer, i) => ({ adapter: adapters[i], ...answer })) };
}

function compareText([base, adapted]: readonly Answer[], { adapter = "" }: Values): string {
  return sideBySide(
    { title: "base", text: printable(base?.text.trim() ?? "") },
    { title: adapter, text: printable(adapted?.text.trim() ?? ""), style: "cyan" },
    terminalColumns(),
  );
}
