import { concatBytes, describeEncoding, isUtf16, MosError, parseJson } from "#common";
import { type FileHandle, open } from "#platform";
import { closeOnFailure, openAtomicFile, openForReading, type ReadableFile } from "./atomic-files.ts";
import { storageError, storageFailure } from "./system-error.ts";

/** One value of a JSON Lines file; `line` counts from 1, blank lines included. */
export interface JsonLine {
  readonly line: number;
  readonly value: unknown;
  /** Position in the file behind the line. */
  readonly end: number;
}

/** Options of reading lines. */
export interface ReadJsonLinesOptions {
  /** A longer line is refused, so that a file without line ends cannot fill the memory. */
  readonly maximumLineBytes?: number;
  /** Yields the error of a line that is not UTF-8 or not JSON as its value, in place of throwing it. */
  readonly yieldsErrors?: boolean | undefined;
  /** Leave out a last line without a line end, which a process may have been killed over. */
  readonly wholeLines?: boolean;
  /** Position of the first line to read, from which lines are counted; 0. */
  readonly from?: number;
}

const CHUNK = 1 << 18;
const NEWLINE = 0x0a;

interface RawLine extends Pick<JsonLine, "line" | "end"> {
  readonly bytes: Uint8Array;
}

const isBlank = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => byte === SPACE || (byte >= TAB && byte <= RETURN));
const [TAB, RETURN, SPACE] = [0x09, 0x0d, 0x20];

/** The lines that are not blank, without their ends. Bytes are copied once per line that crosses a chunk. */
async function* rawLines(
  file: ReadableFile,
  { maximumLineBytes: maximum = 1 << 24, wholeLines = false, from = 0 }: ReadJsonLinesOptions,
): AsyncGenerator<RawLine, void> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let line = 1;
  const add = (part: Uint8Array): void => {
    length += part.length;
    if (length > maximum)
      throw new MosError(
        "bad_data",
        `${file.path}:${line}: the line is longer than ${maximum} bytes; is this JSON Lines, one object per line?`,
      );
    if (part.length > 0) parts.push(part);
  };
  const finish = (end: number): RawLine => {
    const bytes = parts.length === 1 && parts[0] ? parts[0] : concatBytes(parts);
    parts = [];
    length = 0;
    return { line: line++, bytes, end };
  };
  for (let position = from; position < file.size; position += CHUNK) {
    const chunk = new Uint8Array(Math.min(CHUNK, file.size - position));
    await file.read(chunk, position);
    let begin = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, begin)) {
      add(chunk.subarray(begin, end));
      const found = finish(position + end + 1);
      if (!isBlank(found.bytes)) yield found;
      begin = end + 1;
      // a file of empty lines would take a minute one by one
      for (; chunk[begin] === NEWLINE; begin++) line++;
    }
    add(chunk.subarray(begin));
  }
  if (length > 0 && !wholeLines) yield finish(file.size);
}

function excerptAround(text: string, position: number): string {
  const begin = Math.max(0, position - 20);
  const end = Math.min(text.length, position + 20);
  return `${begin > 0 ? "…" : ""}${text.slice(begin, end)}${end < text.length ? "…" : ""}`;
}

/** V8's message for text that is not JSON; undefined for valid JSON. */
function findSyntaxError(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
}

/** A longer text is not parsed again and again. */
const MAX_SEARCHED_LENGTH = 1 << 18;

/** Where the text stops being JSON. V8 gives no position for an unexpected token, so prefixes are tried. */
function flawPosition(text: string, flaw: string): number | undefined {
  const told = /at position (\d+)/.exec(flaw)?.[1];
  if (told !== undefined) return Number(told);
  if (text.length > MAX_SEARCHED_LENGTH) return undefined;
  const isToken = (reason: string | undefined): boolean => reason?.startsWith("Unexpected token") === true;
  if (!isToken(flaw)) return text.length;
  let [sound, broken] = [0, text.length];
  while (broken - sound > 1) {
    const middle = (sound + broken) >> 1;
    if (isToken(findSyntaxError(text.slice(0, middle)))) broken = middle;
    else sound = middle;
  }
  return broken - 1;
}

/** Lists, objects and members of one line. Millions of them would take gigabytes, and no record of data has as many. */
const MAX_PARTS = 2_000_000;

function parseLine(text: string, where: string): unknown {
  try {
    return parseJson(text, { code: "bad_data", where, maxParts: MAX_PARTS });
  } catch (error) {
    const flaw = error instanceof MosError ? error.cause : undefined;
    if (!(flaw instanceof SyntaxError)) throw error;
    const position = flawPosition(text, flaw.message);
    if (position === undefined) throw error;
    throw new MosError(
      "bad_data",
      `${where}:${position + 1}: not valid JSON near ${excerptAround(text, position)}`,
      { cause: flaw },
    );
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeLine(bytes: Uint8Array, path: string, line: number): string {
  try {
    const text = decoder.decode(bytes);
    return line === 1 && text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (cause) {
    throw new MosError("bad_data", `${path}:${line}: the line is not valid UTF-8; save the file as UTF-8`, {
      cause,
    });
  }
}

/**
 * Reads a JSON Lines file as a stream: a byte order mark, CRLF and blank lines are tolerated.
 *
 * @throws MosError "bad_data" as `file:line[:column]` for bytes that are not UTF-8, text that is not JSON, and a line of more
 * than two million lists, objects and members; "not_found".
 */
export async function* readJsonLines(
  path: string,
  options: ReadJsonLinesOptions = {},
): AsyncGenerator<JsonLine, void> {
  await using file = await openForReading(path, "bad_data");
  for await (const { line, bytes, end } of rawLines(file, options)) {
    if (line === 1 && isUtf16(bytes)) throw new MosError("bad_data", `${path}: ${describeEncoding(bytes)}`);
    let value: unknown;
    try {
      const text = decodeLine(bytes, path, line);
      if (text.trim() === "") continue;
      value = parseLine(text, `${path}:${line}`);
    } catch (error) {
      if (options.yieldsErrors !== true || !(error instanceof MosError)) throw error;
      value = error;
    }
    yield { line, value, end };
  }
}

/** Appends values to a JSON Lines file; every value is one write, so that readers see whole lines. */
export type JsonLinesWriter = Awaited<ReturnType<typeof openJsonLinesWriter>>;

/** Cuts off a last line without its end, which a killed writer has left. */
async function removeTornLine(handle: FileHandle): Promise<void> {
  const { size } = await handle.stat();
  const buffer = new Uint8Array(1 << 16);
  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - buffer.length);
    const { bytesRead } = await handle.read(buffer, 0, end - begin, begin);
    const last = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (last >= 0) {
      if (begin + last + 1 < size) await handle.truncate(begin + last + 1);
      return;
    }
    end = begin;
  }
  if (size > 0) await handle.truncate(0);
}

/**
 * Opens a JSON Lines file for appending, and makes it if need be. A last line without its end is removed first.
 *
 * @throws MosError "storage" or "not_found" (the folder does not exist).
 */
export async function openJsonLinesWriter(path: string) {
  try {
    const handle = await open(path, "a+");
    await closeOnFailure(handle, removeTornLine);
    return {
      /** Appends one value as a line. Throws "storage". */
      write: async (value: unknown): Promise<void> => {
        await handle.appendFile(`${JSON.stringify(value)}\n`).catch(storageFailure(path));
      },
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    throw storageError(error, path);
  }
}

/** Characters that are written at once. */
const WRITE_LENGTH = 1 << 20;

/**
 * Writes a JSON Lines file that appears when it is complete, and returns the number of its lines.
 *
 * @throws MosError "storage" or "not_found" (the folder does not exist), and what the values throw; nothing is left behind.
 */
export async function writeJsonLines(
  path: string,
  values: Iterable<unknown> | AsyncIterable<unknown>,
): Promise<number> {
  await using file = await openAtomicFile(path);
  let [lines, count] = ["", 0];
  const flush = async (): Promise<void> => {
    await file.write(new TextEncoder().encode(lines));
    lines = "";
  };
  for await (const value of values) {
    lines += `${JSON.stringify(value)}\n`;
    count++;
    if (lines.length >= WRITE_LENGTH) await flush();
  }
  await flush();
  await file.commit();
  return count;
}
