import { createInterface } from "node:readline";
import { MosError } from "mixture-of-shards-core/common";
import type { ChatRequest, Engine, FinishReason } from "mixture-of-shards-core/inference";
import type { ChatMessage } from "mixture-of-shards-core/text";
import { counted, formatDuration, formatRate, isTerminal, paint } from "./format.ts";
import { EXIT_INTERRUPTED } from "./interrupt.ts";
import { liveLine, print, printable, printLine, warn } from "./terminal.ts";

/** Measures the speed of an answer from its first token on: what comes before is the reading of the prompt. */
export function startClock(now: () => number = () => performance.now()) {
  const started = now();
  let first = Number.NaN;
  let last = started;
  let tokens = 0;
  return {
    token: (): void => {
      last = now();
      if (tokens === 0) first = last;
      tokens++;
    },
    tokens: () => tokens,
    /** Summary of the length, the speed and, unless obvious, the end of the answers. */
    summary: (answers: readonly { readonly finishReason: FinishReason }[]): string => {
      const seconds = (last - first) / 1000;
      const speed = tokens > 1 && seconds > 0 ? `, ${formatRate((tokens - 1) / seconds, "tokens")}` : "";
      const wait = tokens > 0 ? `, first after ${formatDuration((first - started) / 1000)}` : "";
      const cut = answers.some(({ finishReason }) => finishReason === "length")
        ? "; cut off at --max-tokens or the end of the context"
        : "";
      return `${counted(tokens, "token")}${wait}${speed}${cut}`;
    },
  };
}

export interface ChatOptions {
  /** The model's name. */
  readonly title: string;
  readonly adapter: string | null;
  readonly system: string | undefined;
  readonly answer: ChatRequest;
}

/** The messages so far. None is dropped unless the user asks for it. */
export interface Conversation {
  readonly system: string | undefined;
  readonly turns: readonly ChatMessage[];
}

const HELP =
  "/reset clears the conversation, /system TEXT sets the system message (alone: removes it), /exit exits";

export const EXITS: readonly (string | undefined)[] = ["exit", "quit", "bye"];

/** Parses a line that the user typed: a message, or a command and its text. A message that begins with a slash is typed with two. */
export function parseLine(line: string): { readonly command: string | undefined; readonly text: string } {
  const text = line.trim();
  if (!text.startsWith("/") || text.startsWith("//"))
    return { command: undefined, text: text.replace(/^\/\//, "/") };
  const [command, rest = ""] = text.slice(1).split(/\s+(.*)/s);
  return { command, text: rest };
}

export const toMessages = ({ system, turns }: Conversation): readonly ChatMessage[] =>
  system === undefined ? turns : [{ role: "system", content: system }, ...turns];

/** Talks with the user until /exit or the end of input. */
export async function runChat(engine: Engine, options: ChatOptions): Promise<void> {
  const person = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const terminal = person && isTerminal(process.stdout);
  const lines = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal,
    prompt: person ? "> " : "",
  });
  if (person)
    warn(
      `${options.title}${options.adapter === null ? "" : ` with ${options.adapter}`}. ${HELP}; Ctrl-C stops an answer, Ctrl-D exits.`,
    );
  // piped input may end while an answer is written, and newer Nodes refuse to ask for more then
  let isOpen = true;
  lines.once("close", () => {
    isOpen = false;
  });
  const askForLine = (): void => {
    if (isOpen) lines.prompt();
  };
  let answering: AbortController | undefined;
  const interrupted = (): void => {
    if (answering === undefined) {
      warn("\n(Ctrl-D or /exit exits)");
      askForLine();
    } else if (answering.signal.aborted) {
      warn("(exiting at once)");
      process.exit(EXIT_INTERRUPTED);
    } else {
      warn("\n(stopping; Ctrl-C again exits at once)");
      answering.abort();
    }
  };
  lines.on("SIGINT", interrupted);
  // readline hears Ctrl-C only where it reads single keys
  if (person && !terminal) process.on("SIGINT", interrupted);
  let conversation: Conversation = { system: options.system, turns: [] };
  askForLine();
  for await (const line of lines) {
    const { command, text } = parseLine(line);
    if (EXITS.includes(command)) break;
    if (command !== undefined) conversation = runCommand(command, text, conversation);
    else {
      answering = new AbortController();
      const request = { ...options.answer, text, signal: answering.signal };
      conversation = await answerTurn(engine, conversation, request);
      answering = undefined;
    }
    askForLine();
  }
  process.off("SIGINT", interrupted);
  lines.close();
  if (person) printLine();
}

function runCommand(command: string, text: string, conversation: Conversation): Conversation {
  if (command === "reset") {
    warn("(conversation cleared)");
    return { ...conversation, turns: [] };
  }
  if (command === "system") {
    const system = text === "" ? undefined : text;
    warn(system === undefined ? "(no system message)" : "(system message set for the whole conversation)");
    return { ...conversation, system };
  }
  warn(command === "help" ? HELP : `(unknown command /${command}; ${HELP})`);
  return conversation;
}

/** One question and its answer; the conversation with both, or as it was where there was no answer. */
async function answerTurn(
  engine: Engine,
  before: Conversation,
  { text, ...answer }: ChatRequest & { readonly text: string },
): Promise<Conversation> {
  if (text === "") return before;
  const asked: Conversation = { ...before, turns: [...before.turns, { role: "user", content: text }] };
  const clock = startClock();
  using line = liveLine({ silent: process.stderr.isTTY !== true });
  line.show("reading the prompt");
  let said = "";
  let finishReason: FinishReason = "end";
  try {
    for await (const event of engine.chat(toMessages(asked), answer)) {
      if (event.type !== "token" && event.type !== "finish") continue;
      if (event.type === "token") clock.token();
      else ({ finishReason } = event);
      said += event.text;
      line.clear();
      print(printable(event.text));
    }
  } catch (error) {
    line.clear();
    if (!(error instanceof MosError) || error.code !== "bad_option" || before.turns.length === 0) throw error;
    warn(`(${error.message}. /reset clears the conversation; it is unchanged)`);
    return before;
  }
  printLine();
  if (finishReason === "cancelled") warn("(stopped)");
  else if (process.stderr.isTTY === true)
    warn(paint("dim", `(${clock.summary([{ finishReason }])})`, process.stderr));
  if (said === "") return before;
  return { ...asked, turns: [...asked.turns, { role: "assistant", content: said }] };
}
