// What a stream shows: colour, escape codes, and how many columns. Decided for stdout and stderr apart, and by the
// environment.
import { styleText } from "node:util";

/** What text can look like. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** The part of a stream (`process.stdout`) that this depends on. */
export interface ShownStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether a stream is a terminal that takes escape codes: colours, and the ones that move the cursor. */
export const isTerminal = (stream: ShownStream, env: Environment = process.env): boolean =>
  stream.isTTY === true && env["TERM"] !== "dumb";

/** Whether a stream shows colour: a terminal does, unless `NO_COLOR` is set; `FORCE_COLOR` has files and pipes do so too. */
export function hasColour(stream: ShownStream, env: Environment = process.env): boolean {
  if ((env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb") return false;
  const forced = env["FORCE_COLOR"];
  if (forced === "0" || forced === "false") return false;
  return forced !== undefined || isTerminal(stream, env);
}

/**
 * A text in a style where its stream shows colour, else as it is. Widths are counted before: paint last.
 *
 * @example
 * sayLine(paint("bold", "mixture of shards"));
 * note(paint("yellow", "warning: the disk is nearly full", process.stderr));
 */
export const paint = (
  style: Style | readonly Style[],
  text: string,
  stream: ShownStream = process.stdout,
): string =>
  text !== "" && hasColour(stream)
    ? styleText(typeof style === "string" ? style : [...style], text, { validateStream: false })
    : text;

/** Columns of a terminal: its own, or `COLUMNS` where it says 0, or 80. */
export const columnsOf = (stream: ShownStream = process.stdout, env: Environment = process.env): number =>
  stream.columns || Math.max(0, Math.trunc(Number(env["COLUMNS"]))) || 80;

/** Columns that lines are broken to: those of a terminal. In files and pipes lines stay whole, for programs that read them. */
export const breakColumns = (stream: ShownStream = process.stdout): number =>
  stream.isTTY === true ? columnsOf(stream) : Number.POSITIVE_INFINITY;
