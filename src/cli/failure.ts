import { CommanderError } from "commander";
import { errorText, MosError, oneLine } from "#core";
import { breakColumns, paint } from "./colour.ts";
import { breakLines } from "./tables.ts";

/** Result of a failed command: a line for people, a code for programs, a status for the shell. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

const CANCELLED = 130; // 128 + SIGINT, as shells have it
const USAGE = 2;

const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";

/** Commander words its errors "error: unknown option '--foo'\n(Did you mean --bar?)". */
function usageMessage({ message }: CommanderError, command: string): string {
  const text = message
    .replace(/^error: |\.$/g, "")
    .replace(/\n\((D|d)id you mean (.*)\?\)$/, "; did you mean $2?");
  return `${text}${text.endsWith("?") ? "" : `; see ${command} --help`}`;
}

/**
 * Settings are camelCase below this room, options are not: `learningRate: 50 is …` becomes `--learning-rate: 50 is …`.
 * The leading name is one, and later ones are where they are said to be.
 *
 * @param options Attribute names and flags of the command that failed.
 */
function inOptionTerms(message: string, options: ReadonlyMap<string, string>): string {
  return message.replace(
    /^(?:adapter[.:] ?)?([a-z][A-Za-z0-9]*)(?=[: ])|\b(?:settings|adapter)\.([a-z][A-Za-z0-9]*)/g,
    (whole, first?: string, later?: string) => options.get(first ?? later ?? "") ?? whole,
  );
}

export interface FailedCommand {
  /** As the user writes it: `mos train`. */
  readonly command: string;
  /** Attribute names and flags of its options. */
  readonly options: ReadonlyMap<string, string>;
}

/** Turns whatever was thrown into what is shown. */
export function describeFailure(error: unknown, { command, options }: FailedCommand): Failure {
  if (error instanceof CommanderError)
    return { code: "bad_option", message: usageMessage(error, command), exitCode: USAGE };
  if (error instanceof MosError) {
    const { code } = error;
    const named =
      code === "bad_option" || code === "bad_config" ? inOptionTerms(error.message, options) : error.message;
    const exitCode = code === "cancelled" ? CANCELLED : code === "bad_option" ? USAGE : 1;
    return { code, message: named, exitCode };
  }
  if (isAbort(error)) return { code: "cancelled", message: "stopped", exitCode: CANCELLED };
  const reason = errorText(error);
  return {
    code: "unexpected",
    message: `unexpected error: ${oneLine(reason.trim())}; run again with --verbose for a stack trace`,
    exitCode: 1,
  };
}

/** The text for stderr. */
export function failureText(
  failure: Failure,
  { error, json, verbose }: { readonly error: unknown; readonly json: boolean; readonly verbose: boolean },
): string {
  const stack = verbose ? errorStack(error) : undefined;
  const { code, message } = failure;
  if (json)
    return `${JSON.stringify({ error: { code, message, ...(stack === undefined ? {} : { stack }) } })}\n`;
  const said = `${paint(["bold", "red"], "mos:", process.stderr)} ${message}`;
  return `${breakLines(said, breakColumns(process.stderr))}\n${stack === undefined ? "" : `${stack}\n`}`;
}

function errorStack(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const cause = error.cause === undefined ? undefined : errorStack(error.cause);
  return cause === undefined ? error.stack : `${error.stack}\ncaused by ${cause}`;
}
