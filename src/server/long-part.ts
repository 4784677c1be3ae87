import { setImmediate as nextTurn } from "node:timers/promises";
import { Refusal } from "./refusal.ts";

/** Parts of a form: three count, and a parser would work through millions. */
const MOST_PARTS = 8;

/** Bytes that are searched in one turn of the event loop. */
const AT_ONCE = 1 << 23;

/** A part that is longer than this is taken out before the rest is parsed. */
const LONG = 1 << 16;

const invalid = (message: string): Refusal =>
  new Refusal(message, { status: 400, reason: "invalid_multipart" });

/** Where the lines between the parts of a form begin; the last one stands behind them all. */
async function linesOf(body: Buffer, line: string): Promise<readonly number[]> {
  const found: number[] = [];
  for (let from = 0; from < body.length; from += AT_ONCE) {
    // a line that begins in this piece may end in the next one
    const piece = body.subarray(from, from + AT_ONCE + line.length - 1);
    for (let at = piece.indexOf(line); at >= 0; at = piece.indexOf(line, at + line.length)) {
      found.push(from + at);
      if (found.length > MOST_PARTS + 1)
        throw invalid(`the form has more than ${MOST_PARTS} parts; send name and the two files`);
    }
    await nextTurn();
  }
  return found.filter((at) => at === 0 || body.toString("latin1", at - 2, at) === "\r\n");
}

/** A form in two. */
export interface LiftedPart {
  /** The form with a placeholder where the part's content was. */
  readonly rest: Buffer;
  readonly content: Buffer | undefined;
}

/**
 * Takes the content of the first long part out of a form, for a parser reads letter by letter.
 *
 * @throws Refusal 400 for a form of many parts.
 */
export async function liftLongPart(body: Buffer, type: string, placeholder: string): Promise<LiftedPart> {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw invalid("the form's content-type names no boundary");
  const lines = await linesOf(body, `--${boundary}`);
  for (const [i, line] of lines.entries()) {
    const end = (lines[i + 1] ?? 0) - 2;
    if (end - line < LONG) continue;
    const head = body.subarray(line, line + LONG).indexOf("\r\n\r\n");
    if (head < 0) throw invalid("the head of a part of the form is too long");
    const start = line + head + 4;
    const rest = [body.subarray(0, start), Buffer.from(placeholder), body.subarray(end)];
    return { rest: Buffer.concat(rest), content: body.subarray(start, end) };
  }
  return { rest: body, content: undefined };
}
