import { relative } from "node:path";
import { type LiveLine, openLiveLine } from "./progress.ts";

/** Writes text to stdout, whole lines or parts of one. */
export const say = (text: string): void => {
  process.stdout.write(text);
};

export const sayLine = (text = ""): void => say(`${text}\n`);

/** One JSON value on a line of its own. */
export const sayJson = (value: unknown): void => sayLine(JSON.stringify(value));

/** A note that is no part of the result: stderr. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** Columns of the terminal, or what fits everywhere; some terminals say 0. */
export const columnsOf = (stream: { readonly columns?: number } = process.stdout): number =>
  stream.columns || 80;

/** The live line on stderr, so that stdout can go to a file; none where `silent`. */
export function liveLine({ silent = false }: { readonly silent?: boolean } = {}): LiveLine {
  const sink = { write: () => undefined };
  return openLiveLine(silent ? sink : process.stderr, { now: () => performance.now() });
}

/** Rows of a name and a text, the texts in one column: "model   SmolLM2". */
export function labelled(rows: readonly (readonly [label: string, text: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length)) + 3;
  return rows.map(([label, text]) => `${label.padEnd(width)}${text}`.trimEnd()).join("\n");
}

/** A word as a POSIX shell takes it. */
export const shellWord = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** `1 example`, `2 examples`. */
export const counted = (count: number, noun: string): string =>
  `${Math.round(count).toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;

/** What a model wrote, for a terminal: without the control characters that would steer it. */
export const shown = (text: string): string =>
  process.stdout.isTTY === true ? text.replace(/(?![\n\t])\p{Cc}/gu, "\ufffd") : text;

/** How to write a next command: from a clone npm runs the program, else it is on the path. */
export const MOS = process.env["npm_execpath"] === undefined ? "mos" : "npx mos";

/** A path as seen from here, where that is shorter. */
export function nearPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near !== "" && near.length < path.length ? near : path;
}
