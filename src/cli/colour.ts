// Capabilities of a stream: colour, escape codes, columns. Decided separately for stdout and stderr, and by the
// environment.
import { styleText } from "node:util";

/** Style of text. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** The part of a stream (`process.stdout`) that this depends on. */
export interface TerminalStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Tests whether a stream is a terminal that takes escape codes: colours, and those that move the cursor. */
export const isTerminal = (stream: TerminalStream, env: Environment = process.env): boolean =>
  stream.isTTY === true && env["TERM"] !== "dumb";

/** Tests whether a stream shows colour: a terminal does unless `NO_COLOR` is set; `FORCE_COLOR` enables it for files and pipes. */
export function hasColour(stream: TerminalStream, env: Environment = process.env): boolean {
  if ((env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb") return false;
  const forced = env["FORCE_COLOR"];
  if (forced === "0" || forced === "false") return false;
  return forced !== undefined || isTerminal(stream, env);
}

/**
 * A text in a style where its stream shows colour, else as it is. Widths are counted before: paint last.
 *
 * @example
 * printLine(paint("bold", "mixture of shards"));
 * note(paint("yellow", "warning: the disk is nearly full", process.stderr));
 */
export const paint = (
  style: Style | readonly Style[],
  text: string,
  stream: TerminalStream = process.stdout,
): string =>
  text !== "" && hasColour(stream)
    ? styleText(typeof style === "string" ? style : [...style], text, { validateStream: false })
    : text;

/** Columns of a terminal: its own, or `COLUMNS` where it says 0, or 80. */
export const terminalColumns = (
  stream: TerminalStream = process.stdout,
  env: Environment = process.env,
): number => stream.columns || Math.max(0, Math.trunc(Number(env["COLUMNS"]))) || 80;

/** Columns that lines are broken to: those of a terminal. In files and pipes lines stay whole, for programs that read them. */
export const breakColumns = (stream: TerminalStream = process.stdout): number =>
  stream.isTTY === true ? terminalColumns(stream) : Number.POSITIVE_INFINITY;
