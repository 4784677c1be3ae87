// A command's terminal: lines on stdout and stderr, and one live line.
import { availableParallelism, cpus } from "node:os";
import { basename, relative } from "node:path";
import {
  breakColumns,
  breakLines,
  commandText,
  displayWidth,
  isTerminal,
  labelled,
  paint,
  type Row,
  type TerminalStream,
  terminalColumns,
} from "./format.ts";

export { terminalColumns } from "./format.ts";

/** Writes text to stdout, whole lines or parts of one. */
export const print = (text: string): void => {
  process.stdout.write(text);
};

/** A line on stdout; on a terminal, lines that are too long are broken between words. */
export const printLine = (text = ""): void => print(`${breakLines(text, breakColumns())}\n`);

/** One JSON value on a line of its own, which is never broken. */
export const printJson = (value: unknown): void => print(`${JSON.stringify(value)}\n`);

/** A note that is not part of the result: stderr. */
export const warn = (text: string): void => {
  process.stderr.write(`${breakLines(text, breakColumns(process.stderr))}\n`);
};

/** Heading of a part of the result on stdout. */
export const heading = (text: string): string => paint("bold", text);

/** A warning, for stderr. */
export const warningText = (message: string): string =>
  paint("yellow", `warning: ${message}`, process.stderr);

/** Next steps, as commands to copy. */
export const nextText = (commands: readonly string[]): string =>
  [heading("Next:"), ...commands.map((command) => commandText(command))].join("\n");

/** A command's result: rows, and the commands that may follow. */
export const resultText = (rows: readonly (Row | false)[], next: readonly string[]): string =>
  `${labelled(rows)}\n\n${nextText(next)}`;

/** The result of a command: JSON for programs, a text for people. */
export const printResult = (json: boolean, value: unknown, text: () => string): void =>
  json ? printJson(value) : printLine(text());

/**
 * Shows the events of a long operation on a live line, or prints them as JSON.
 *
 * @returns The last event.
 */
export async function watchEvents<E extends { readonly type: string }>(
  events: AsyncIterable<E>,
  {
    json,
    silent,
    show,
  }: {
    readonly json: boolean;
    readonly silent: boolean;
    readonly show: (event: E, line: LiveLine) => void;
  },
): Promise<Extract<E, { readonly type: "finish" }> | undefined> {
  using line = liveLine({ silent });
  let last: E | undefined;
  for await (const event of events) {
    if (json) printJson(event);
    show(event, line);
    last = event;
  }
  return last as Extract<E, { readonly type: "finish" }> | undefined;
}

/** The live line on stderr, so that stdout can go to a file; none where `silent`. */
export function liveLine({ silent = false }: { readonly silent?: boolean } = {}): LiveLine {
  const sink = { write: () => undefined };
  return openLiveLine(silent ? sink : process.stderr, { now: () => performance.now() });
}

/** A word as a POSIX shell takes it. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** Output of a model for a terminal, without control characters. */
export const printable = (text: string): string =>
  process.stdout.isTTY === true ? text.replace(/(?![\n\t])\p{Cc}/gu, "\ufffd") : text;

/** A path as seen from here, where that is shorter. */
export function nearPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near !== "" && near.length < path.length ? near : path;
}

/**
 * The program as a shell finds it again: by its name on the path, through npx where npm ran it or it is a package's, or as a
 * file of a clone.
 *
 * @param script The first argument of Node.
 */
export function programName(
  script: string,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const name = basename(script);
  if (/node_modules[\\/]\.bin[\\/]/.test(script)) return "npx mixture-of-shards";
  if (name === "mos" || name === "mixture-of-shards") return name;
  if (name !== "main.js") return "mos"; // a source, or a program that calls `run`
  if (environment["npm_command"] !== undefined) return "npx mixture-of-shards";
  return /node_modules/.test(script) ? "mos" : `node ${shellWord(nearPath(script))}`;
}

/** The program in a suggested command. */
export const MOS = programName(process.argv[1] ?? "", process.env);

/** As many parts as fit, the first ones first: what matters most stays to be seen where there is little room. */
export function fitParts(parts: readonly string[], columns: number): string {
  let text = parts[0] ?? "";
  for (const part of parts.slice(1)) {
    if (displayWidth(text) + 2 + displayWidth(part) > columns) break;
    text += `  ${part}`;
  }
  return text;
}

/** One line that fits: without control characters, and with "…" in place of what is beyond the columns. */
export function cutToColumns(text: string, columns: number): string {
  const line = text.replace(/\p{Cc}+/gu, " ");
  if (displayWidth(line) <= columns) return line;
  let [cut, width] = ["", 0];
  for (const character of line) {
    width += displayWidth(character);
    if (width >= columns) break;
    cut += character;
  }
  return columns < 1 ? "" : `${cut}…`;
}

/** The part of a terminal stream (`process.stderr`) that the live line uses. */
export interface LineStream extends TerminalStream {
  write(text: string): unknown;
}

export interface LiveLineOptions {
  /** Milliseconds, on any clock that does not go back. */
  readonly now: () => number;
  /** Minimum interval between changes of a terminal's line, in milliseconds. */
  readonly refreshMilliseconds?: number;
  /** Interval between lines where the stream is a file or a pipe, in milliseconds. */
  readonly plainMilliseconds?: number;
}

/** One line at the bottom of a terminal that is written over and over; dispose of it to leave the last state. */
export interface LiveLine extends Disposable {
  /** Shows the state, unless it was shown a moment ago: a text, or its parts of which those are shown that fit. */
  readonly update: (state: string | readonly string[]) => void;
  /** Shows the state of a new phase at once on a terminal: what follows may leave no time for it. */
  readonly show: (state: string | readonly string[]) => void;
  /** Writes a line that stays, above the live one. */
  readonly print: (text: string) => void;
  /** Takes the line away, and the state with it: nothing of it is left in front of what comes next. */
  readonly clear: () => void;
}

/**
 * Opens a live line on a stream. Where the stream is not a terminal, states become plain lines at intervals.
 *
 * @example
 * using line = openLiveLine(process.stderr, { now: () => performance.now() });
 * line.update("step 3/100  loss 2.31");
 */
export function openLiveLine(stream: LineStream, options: LiveLineOptions): LiveLine {
  const { now, refreshMilliseconds = 100, plainMilliseconds = 10_000 } = options;
  const rewrites = isTerminal(stream);
  const interval = rewrites ? refreshMilliseconds : plainMilliseconds;
  let printable = "";
  let latest = "";
  /** The last column stays free: some terminals wrap when it is filled. */
  const room = (): number => (rewrites ? terminalColumns(stream) - 1 : Number.POSITIVE_INFINITY);
  let shownAt = Number.NEGATIVE_INFINITY;
  const setState = (state: string | readonly string[]): void => {
    latest = typeof state === "string" ? state : fitParts(state, room());
  };
  const draw = (): void => {
    printable = latest;
    shownAt = now();
    if (rewrites) stream.write(`\r${cutToColumns(latest, room())}\u001b[K`);
    else stream.write(`${latest}\n`);
  };
  return {
    update(state) {
      setState(state);
      if (now() - shownAt >= interval) draw();
    },
    show(state) {
      setState(state);
      if (rewrites || now() - shownAt >= interval) draw();
    },
    print(text) {
      if (rewrites && printable !== "") stream.write("\r\u001b[K");
      stream.write(`${breakLines(text, breakColumns(stream))}\n`);
      if (rewrites && printable !== "") draw();
    },
    clear() {
      if (rewrites && printable !== "") stream.write("\r\u001b[K");
      latest = "";
      printable = "";
    },
    [Symbol.dispose]() {
      if (latest !== printable) draw();
      if (rewrites && printable !== "") stream.write("\n");
      latest = "";
      printable = "";
    },
  };
}

/** Record of a run for its result: the command as it was typed, and the machine. */
export function thisRun() {
  return {
    command: [MOS, ...process.argv.slice(2).map(shellWord)].join(" "),
    environment: {
      node: process.version,
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
    },
  };
}
