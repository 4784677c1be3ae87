// The log of a process that serves: lines of JSON for programs, and of words for people at a terminal.
import type { ServerLog } from "mixture-of-shards-server";
import { formatDuration, isTerminal, paint } from "./format.ts";
import { cutToColumns, print } from "./terminal.ts";

/** Severities by their numbers, which programs that read logs of Node know. */
const LEVELS = { info: 30, warn: 40, error: 50 } as const;
type Level = keyof typeof LEVELS;

interface LogLine {
  readonly level: Level;
  readonly fields: object;
  readonly message: string;
  readonly date: Date;
}

export function jsonLine({ level, fields, message, date }: LogLine): string {
  return JSON.stringify({ level: LEVELS[level], time: date.getTime(), ...fields, msg: message });
}

/** What a person wants to know of a request. */
interface RequestFields {
  readonly key?: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly completionTokens: number;
  readonly seconds: number;
  readonly error?: string;
}
const isRequest = (fields: object, message: string): fields is RequestFields =>
  message === "request" && "path" in fields;

/** `12:04:31 POST /v1/chat/completions 200 acme 19 tok 0.54 s`, and `12:04:31 warning: …` */
export function textLine({ level, fields, message, date }: LogLine): string {
  const text = isRequest(fields, message) ? requestText(fields) : `${message}${detailsText(fields)}`;
  const severity = level === "info" ? "" : `${level === "warn" ? "warning" : "error"}: `;
  // paths and names are what clients wrote
  return cutToColumns(`${date.toTimeString().slice(0, 8)} ${severity}${text}`, Number.POSITIVE_INFINITY);
}

function requestText({ method, path, status, key, completionTokens, seconds, error }: RequestFields): string {
  const tokens = completionTokens > 0 ? `${completionTokens} tok` : "";
  const parts = [method, path, String(status), key, tokens, formatDuration(seconds), error];
  return parts.filter((part) => part !== undefined && part !== "").join(" ");
}

function detailsText(fields: object): string {
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  const details = known.map(
    ([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return details.length === 0 ? "" : ` (${details.join(", ")})`;
}

interface LogOptions {
  /** Errors only. */
  readonly quiet: boolean;
  /** JSON on stdout; else the log is on stderr, in words where that is a terminal. */
  readonly toStdout?: boolean;
}

/** Opens the log of this process. */
export function openLog({ quiet, toStdout = false }: LogOptions): ServerLog {
  const forPeople = !toStdout && isTerminal(process.stderr);
  const write =
    (level: Level) =>
    (fields: object, message: string): void => {
      if (quiet && level !== "error") return;
      const line = { level, fields, message, date: new Date() };
      if (toStdout) print(`${jsonLine(line)}\n`);
      else process.stderr.write(`${forPeople ? coloured(level, textLine(line)) : jsonLine(line)}\n`);
    };
  return { info: write("info"), warn: write("warn"), error: write("error") };
}

const coloured = (level: Level, line: string): string =>
  level === "info" ? line : paint(level === "warn" ? "yellow" : "red", line, process.stderr);
