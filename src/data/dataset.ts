// A data set is a JSONL file. Its first line decides the form, and every other line must have the same one: a mixture of
// forms is most likely a mistake.
import { setImmediate as nextTurn } from "node:timers/promises";
import { MosError } from "#core";
import { readJsonLines } from "#storage";
import {
  ACCEPTED_FORMS,
  describeValue,
  type Example,
  FORMS,
  type FormName,
  fieldsOf,
  formOf,
  missingField,
  readForm,
} from "./forms.ts";

/** The examples of a file. */
export interface Dataset {
  readonly path: string;
  readonly form: FormName;
  /** At least one, in the file's order. */
  readonly examples: readonly Example[];
}

/** Lines with their numbers from 1, blank lines left out: what `readJsonLines` yields. */
export type JsonLines = AsyncIterable<{ readonly line: number; readonly value: unknown }>;

/** A line of an untrusted file, which is parsed as a whole. */
const MAX_LINE_BYTES = 16_000_000;

/** More text than any context window holds: such a line means a broken file, which would be slow to tokenise. */
const MAX_CHARACTERS = 4_000_000;

/**
 * Reads a JSONL file of conversations, prompts, instructions or questions.
 *
 * @throws MosError `bad_data` with file and line for a line that is not JSON, does not have the form of the first
 * line, or holds nothing to learn from; and for a file without examples.
 *
 * @example
 * const { examples, form } = await readDataset("train.jsonl");
 */
export const readDataset = (path: string): Promise<Dataset> => parseDataset(readJsonLines(path), path);

/** The data set of lines that are parsed already; `path` is for messages only. */
export async function parseDataset(lines: JsonLines, path: string): Promise<Dataset> {
  const examples: Example[] = [];
  const form = await eachExample(lines, { path, use: (example) => examples.push(example) });
  return { path, form, examples };
}

/**
 * Checks all lines of a JSONL file as `readDataset` does, and keeps none of them: the number of examples.
 *
 * @throws MosError `bad_data` as `readDataset`.
 */
export async function checkDataset(path: string): Promise<number> {
  let count = 0;
  const lines = inTurns(readJsonLines(path, { maximumLineBytes: MAX_LINE_BYTES }));
  await eachExample(lines, { path, use: () => count++ });
  return count;
}

/** Milliseconds of work after which a server answers other requests. */
const TURN = 10;

async function* inTurns<T>(items: AsyncIterable<T>): AsyncGenerator<T, void> {
  let until = performance.now() + TURN;
  for await (const item of items) {
    yield item;
    if (performance.now() < until) continue;
    await nextTurn();
    until = performance.now() + TURN;
  }
}

interface EachOptions {
  readonly path: string;
  readonly use: (example: Example) => void;
}

async function eachExample(lines: JsonLines, { path, use }: EachOptions): Promise<FormName> {
  let first: FirstLine | undefined;
  for await (const { line, value } of lines) {
    const refuse = (problem: string): MosError =>
      new MosError("bad_data", `${path}:${line}: ${problem}.`, { hint: ACCEPTED_FORMS });
    first ??= { line, form: detectForm(value, refuse) };
    checkForm(value, first, refuse);
    const example = readForm(first.form, value, line);
    if (typeof example === "string") throw refuse(example);
    checkSize(example, refuse);
    use(example);
  }
  if (first === undefined)
    throw new MosError("bad_data", `${path}: the file holds no examples.`, { hint: ACCEPTED_FORMS });
  return first.form;
}

interface FirstLine {
  readonly line: number;
  readonly form: FormName;
}

type Refuse = (problem: string) => MosError;

function detectForm(value: unknown, refuse: Refuse): FormName {
  checkObject(value, refuse);
  const form = formOf(value);
  if (form === undefined) throw refuse(`no known form has these fields: ${fieldsOf(value)}`);
  return form;
}

function checkObject(value: unknown, refuse: Refuse): void {
  if (Array.isArray(value))
    throw refuse(
      "this line is a list, an object was expected; a list of examples in one JSON file becomes lines by: jq -c '.[]' FILE",
    );
  if (typeof value !== "object" || value === null)
    throw refuse(`this line is ${describeValue(value)}, an object was expected`);
}

function checkForm(value: unknown, first: FirstLine, refuse: Refuse): void {
  checkObject(value, refuse);
  const missing = missingField(first.form, value);
  if (missing === undefined) return;
  const expected = FORMS[first.form].fields.map((field) => `"${field}"`).join(" and ");
  throw refuse(
    `there is no field "${missing}" (found: ${fieldsOf(value)}); line ${first.line} made this a file of lines with ${expected}`,
  );
}

function checkSize(example: Example, refuse: Refuse): void {
  const characters =
    example.kind === "chat"
      ? example.turns.reduce((sum, { content }) => sum + content.length, 0)
      : example.prompt.length + example.completion.length;
  if (characters > MAX_CHARACTERS)
    throw refuse(
      `this example has ${characters.toLocaleString("en")} characters, more than the ${MAX_CHARACTERS.toLocaleString("en")} of any model's context; split it`,
    );
}
