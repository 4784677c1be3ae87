import { readFile } from "node:fs/promises";
import { text as readAll } from "node:stream/consumers";
import { MosError } from "#core";
import type { FinishReason } from "#generation";
import { type AnswerOptions, openSession, type Prompt, type Session } from "#recipes";
import { storageError } from "#storage";
import { type AnswerClock, startClock } from "./answer-clock.ts";
import { openBase } from "./base-model.ts";
import { runChat } from "./chat.ts";
import type { GenerateOptions } from "./generate-command.ts";
import { type Interrupt, listenForInterrupt } from "./interrupt.ts";
import { given, unescaped } from "./option-values.ts";
import { columnsOf, counted, liveLine, note, say, sayJson, sayLine, shown } from "./terminal.ts";
import { sideBySide } from "./text-columns.ts";

const EXIT_INTERRUPTED = 130;

/** What the answer options of the command line are to a session. */
function answerOptions(options: GenerateOptions): AnswerOptions {
  const { temperature, topP, topK, minP, repetitionPenalty, maxTokens, seed, stop = [] } = options;
  return {
    sampling: { temperature, topP, topK, minP, repetitionPenalty },
    maxTokens,
    stops: stop.map(unescaped),
    seed,
  };
}

/** The prompt of the options, or else of stdin. */
async function readPrompt(options: GenerateOptions): Promise<string> {
  if (options.prompt !== undefined) return options.prompt;
  if (options.promptFile !== undefined) return readPromptFile(options.promptFile);
  if (process.stdin.isTTY === true)
    throw new MosError(
      "bad_option",
      "there is no prompt; give --prompt TEXT, --prompt-file FILE or --chat, or pipe a text in",
    );
  const text = await readAll(process.stdin);
  return options.raw === true ? text : text.trimEnd();
}

function readPromptFile(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error) => {
    throw storageError(error, `--prompt-file ${path}`);
  });
}

function asPrompt(text: string, { raw, system }: GenerateOptions): Prompt {
  if (text.trim() === "")
    throw new MosError("bad_option", "the prompt is empty; write what the model shall answer");
  if (raw === true) return { kind: "text", text };
  const messages = system === undefined ? [] : [{ role: "system", content: system }];
  return { kind: "chat", messages: [...messages, { role: "user", content: text }] };
}

export async function runGenerate(options: GenerateOptions): Promise<number> {
  if (options.compare === true && options.adapter === undefined)
    throw new MosError("bad_option", "--compare shows the base beside an adapter; give --adapter FOLDER too");
  const prompt = options.chat === true ? undefined : asPrompt(await readPrompt(options), options);
  using interrupt = listenForInterrupt();
  const base = await openBase(options.model, { signal: interrupt.signal, silent: options.json === true });
  const adapter = options.adapter ?? null;
  await using session = await openSession(base, {
    adapters: options.compare === true ? [null, adapter] : [adapter],
    ...given({ maxLength: options.maxLength }),
    compile: { device: options.device ?? "cpu", ...given({ threads: options.threads }) },
  });
  if (prompt === undefined) {
    interrupt[Symbol.dispose](); // the chat has its own meaning of Ctrl-C
    await runChat(session, {
      title: base.model.name,
      adapter,
      system: options.system,
      answer: answerOptions(options),
    });
    return 0;
  }
  return await answerOnce({ session, prompt, options, interrupt });
}

interface Once {
  readonly session: Session;
  readonly prompt: Prompt;
  readonly options: GenerateOptions;
  readonly interrupt: Interrupt;
}

interface Answer {
  readonly text: string;
  readonly tokens: number;
  readonly reason: FinishReason;
}

async function answerOnce(once: Once): Promise<number> {
  const { options, interrupt } = once;
  const streams = options.compare !== true && options.json !== true;
  const clock = startClock();
  const answers = await collect(once, { streams, clock });
  if (options.json === true) sayJson(answerJson(answers, options));
  else if (!streams) sayLine(compareText(answers, options));
  else if (!(answers[0]?.text ?? "").endsWith("\n")) sayLine();
  if (options.json !== true && process.stderr.isTTY === true) note(clock.summary(answers));
  return interrupt.signal.aborted ? EXIT_INTERRUPTED : 0;
}

/** Writes the answers out as they come where they are streamed, and gives them. */
async function collect(
  { session, prompt, options, interrupt }: Once,
  { streams, clock }: { readonly streams: boolean; readonly clock: AnswerClock },
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  using line = liveLine({ silent: streams || options.json === true || process.stderr.isTTY !== true });
  for await (const event of session.answer(prompt, { ...answerOptions(options), signal: interrupt.signal })) {
    switch (event.type) {
      case "token":
        clock.token();
        line.update(`writing  ${counted(clock.tokens(), "token")}`);
        break;
      case "text":
        if (streams) say(shown(event.text));
        break;
      case "end":
        answers[event.row] = { text: event.text, tokens: event.ids.length, reason: event.reason };
    }
  }
  return answers;
}

function answerJson(answers: readonly Answer[], { compare, adapter }: GenerateOptions): unknown {
  const adapters = compare === true ? [null, adapter] : [adapter ?? null];
  return { answers: answers.map((answer, row) => ({ adapter: adapters[row], ...answer })) };
}

function compareText([base, adapted]: readonly Answer[], { adapter = "" }: GenerateOptions): string {
  return sideBySide(
    { title: "base", text: shown(base?.text.trim() ?? "") },
    { title: adapter, text: shown(adapted?.text.trim() ?? "") },
    columnsOf(),
  );
}
