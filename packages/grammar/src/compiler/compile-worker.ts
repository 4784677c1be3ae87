// The thread that compiles sources for compile-thread.ts: hostile ones may take all of its time, memory and stack.
import { readlinkSync } from "node:fs";
import { serialize } from "node:v8";
import { parentPort } from "node:worker_threads";
import { GrammarError } from "#grammar";
import { prepareGrammar } from "#matcher";
import { grammarFromSource, toGrammarError } from "./assemble.ts";

/** To read a larger grammar would hold up the thread that receives it. */
const MAX_BYTES = 2_500_000;
/** Characters of a message, which may quote the source. */
const MAX_MESSAGE = 2000;

export type FromWorker =
  | { readonly type: "ready"; readonly thread: string | undefined }
  | { readonly type: "grammar"; readonly bytes: Uint8Array }
  /** As a clone, a GrammarError would lose all but its message. */
  | ({ readonly type: "refusal" } & Pick<GrammarError, "code" | "message" | "pointer" | "keyword">)
  | { readonly type: "failure"; readonly message: string };

function compile(source: string): Uint8Array {
  const bytes = serialize(prepareGrammar(grammarFromSource(JSON.parse(source))));
  if (bytes.length <= MAX_BYTES) return bytes;
  const megabytes = (count: number): string => `${Math.round(count / 1e6)} MB`;
  throw new GrammarError(
    "limit",
    `the compiled grammar takes ${megabytes(bytes.length)}, more than ${megabytes(MAX_BYTES)}`,
  );
}

function answer(source: string): FromWorker {
  try {
    return { type: "grammar", bytes: compile(source) };
  } catch (thrown) {
    const error = toGrammarError(thrown);
    if (!(error instanceof GrammarError))
      return {
        type: "failure",
        message: error instanceof Error ? (error.stack ?? error.message) : String(error),
      };
    const { code, message, pointer, keyword } = error;
    const short = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message;
    return { type: "refusal", code, message: short, pointer, keyword };
  }
}

/** This thread as /proc names it, where there is one. */
function ownThread(): string | undefined {
  try {
    return readlinkSync("/proc/thread-self");
  } catch {
    return undefined;
  }
}

// the first source pays for code that has not run yet: its time is not counted
compile('{"type":"json_object"}');
parentPort?.on("message", (source: string) => parentPort?.postMessage(answer(source)));
parentPort?.postMessage({ type: "ready", thread: ownThread() } satisfies FromWorker);
