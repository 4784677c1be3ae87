// A data set is one or more files, or an iterable of examples. The first example of a file decides the form, and every other
// one must have the same: a mixture of forms is most likely a mistake.
import { setImmediate as nextTurn } from "node:timers/promises";
import { MosError } from "#core";
import { readJsonLines } from "#files";
import { type Columns, FIELDS, withColumns } from "./columns.ts";
import {
  acceptedForms,
  describeValue,
  type Example,
  FORM_NAMES,
  FORMS,
  type FormName,
  findForm,
  listFields,
  missingField,
  type NumberedRecord,
  placeText,
  readForm,
  type Source,
} from "./forms.ts";
import { countedRecords, type Records, readRecords, withLists } from "./records.ts";

/** The examples of a data set. */
export interface Dataset {
  /** Form of each file that is read. */
  readonly forms: readonly FormName[];
  /** At least one, in the order of the files. */
  readonly examples: readonly Example[];
}

/** Files that are here, or the examples themselves, each as a line of a file would have it. */
export type DataSource = readonly string[] | Iterable<unknown> | AsyncIterable<unknown>;

/** Options of reading examples. */
export interface ReadDatasetOptions {
  /** Names of a form's fields in the data: `{ prompt: "question" }`. */
  readonly columns?: Columns | undefined;
  /** Examples that are read; what comes after them is neither read nor checked. */
  readonly limit?: number | undefined;
}

/** A line of an untrusted file, which is parsed as a whole. */
const MAX_LINE_BYTES = 16_000_000;

/** More text than any context window holds: such a line means a broken file, which would be slow to tokenise. */
const MAX_CHARACTERS = 4_000_000;

/** Forms that the fine-tuning service accepts. */
const UPLOADED: readonly FormName[] = ["messages", "completion", "instruction", "question"];

const COLUMNS_HINT =
  "\nFields of other names, such as text and summary: --data-columns prompt=text,completion=summary";

/**
 * Reads conversations, prompts, instructions, questions or texts from files of JSON Lines, JSON, CSV or Parquet, in their
 * order, or from an iterable.
 *
 * @throws MosError `bad_data` with file and line for a value that is not JSON, does not have the form of the file's first
 * one, or holds nothing to learn from; and for a file without examples.
 *
 * @example
 * const { examples } = await readDataset(["train.jsonl", "more.parquet"]);
 */
export async function readDataset(
  data: string | DataSource,
  { columns, limit = Number.POSITIVE_INFINITY }: ReadDatasetOptions = {},
): Promise<Dataset> {
  const examples: Example[] = [];
  const use = (example: Example): boolean => examples.push(example) < limit;
  const hint = acceptedForms(FORM_NAMES) + (columns === undefined ? COLUMNS_HINT : "");
  const read = async (path: string, records: Records, file?: string): Promise<FormName> => {
    const { unit, isTable = false } = records;
    const renamed = withColumns(records.values, columns, { path, unit });
    const values = isTable ? withLists(renamed, path) : renamed;
    const source = file === undefined ? (unit === "line" ? undefined : { unit }) : { unit, file };
    return await eachExample(values, { path, unit, source, use, names: FORM_NAMES, hint });
  };
  const paths = typeof data === "string" ? [data] : dataPaths(data);
  if (paths === undefined) {
    const records: Records = { unit: "example", values: countedRecords(data) };
    return { forms: [await read("data", records)], examples };
  }
  const forms: FormName[] = [];
  const names = columns === undefined ? FIELDS : Object.values(columns);
  for (const path of paths) {
    if (examples.length >= limit) break;
    forms.push(await read(path, await readRecords(path, names), paths.length === 1 ? undefined : path));
  }
  return { forms, examples };
}

/** The files that data name, if they are files. */
export function dataPaths(data: string | DataSource): readonly string[] | undefined {
  if (typeof data === "string") return [data];
  return Array.isArray(data) && data.length > 0 && data.every((one) => typeof one === "string")
    ? data
    : undefined;
}

/**
 * Checks all lines of a JSONL file of the forms that the fine-tuning service takes, and keeps none of them: the number of
 * examples.
 *
 * @throws MosError `bad_data` as `readDataset`.
 */
export async function checkDataset(path: string): Promise<number> {
  let count = 0;
  const lines = yieldRegularly(readJsonLines(path, { maximumLineBytes: MAX_LINE_BYTES }));
  await eachExample(lines, {
    path,
    unit: "line",
    source: undefined,
    names: UPLOADED,
    hint: acceptedForms(UPLOADED),
    use: () => ++count > 0,
  });
  return count;
}

/** Milliseconds of work after which a server answers other requests. */
const MAX_BUSY_MILLISECONDS = 10;

async function* yieldRegularly<T>(items: AsyncIterable<T>): AsyncGenerator<T, void> {
  let until = performance.now() + MAX_BUSY_MILLISECONDS;
  for await (const item of items) {
    yield item;
    if (performance.now() < until) continue;
    await nextTurn();
    until = performance.now() + MAX_BUSY_MILLISECONDS;
  }
}

interface EachOptions {
  readonly path: string;
  readonly unit: Source["unit"];
  /** Source of the examples. */
  readonly source: Source | undefined;
  /** Forms that are taken. */
  readonly names: readonly FormName[];
  /** Hint that follows an error. */
  readonly hint: string;
  /** Takes an example, and says whether another one is wanted. */
  readonly use: (example: Example) => boolean;
}

async function eachExample(values: AsyncIterable<NumberedRecord>, options: EachOptions): Promise<FormName> {
  const { path, unit, source, names, hint, use } = options;
  let first: FirstLine | undefined;
  for await (const { line, value } of values) {
    const place = placeText({ line, source: { unit, file: path } });
    const refuse = (problem: string): MosError => new MosError("bad_data", `${place}: ${problem}.`, { hint });
    first ??= { line, unit, form: detectForm(value, names, refuse) };
    checkForm(value, first, refuse);
    const example = readForm(first.form, value, { line, ...(source === undefined ? {} : { source }) });
    if (typeof example === "string") throw refuse(example);
    checkSize(example, refuse);
    if (!use(example)) break;
  }
  if (first === undefined)
    throw new MosError(
      "bad_data",
      `${path}: ${unit === "example" ? "there are" : "the file holds"} no examples.`,
      {
        hint,
      },
    );
  return first.form;
}

interface FirstLine {
  readonly line: number;
  readonly unit: Source["unit"];
  readonly form: FormName;
}

type Refuse = (problem: string) => MosError;

function detectForm(value: unknown, names: readonly FormName[], refuse: Refuse): FormName {
  checkObject(value, refuse);
  const form = findForm(value, names);
  if (form === undefined) throw refuse(`no known form has these fields: ${listFields(value)}`);
  return form;
}

function checkObject(value: unknown, refuse: Refuse): void {
  if (Array.isArray(value))
    throw refuse(
      "this line is a list, an object was expected; a file that is one list of examples has a name that ends in .json, or becomes lines by: jq -c '.[]' FILE",
    );
  if (typeof value !== "object" || value === null)
    throw refuse(`this line is ${describeValue(value)}, an object was expected`);
}

function checkForm(value: unknown, { form, line, unit }: FirstLine, refuse: Refuse): void {
  checkObject(value, refuse);
  const missing = missingField(form, value);
  if (missing === undefined) return;
  const expected = FORMS[form].fields.map((field) => `"${field}"`).join(" and ");
  throw refuse(
    `there is no field "${missing}" (found: ${listFields(value)}); ${unit} ${line} made this a file of ${unit}s with ${expected}`,
  );
}

function countCharacters(example: Example): number {
  switch (example.kind) {
    case "chat":
      return example.turns.reduce((sum, { content }) => sum + content.length, 0);
    case "completion":
      return example.prompt.length + example.completion.length;
    case "text":
      return example.text.length;
  }
}

function checkSize(example: Example, refuse: Refuse): void {
  const characters = countCharacters(example);
  if (characters > MAX_CHARACTERS)
    throw refuse(
      `this example has ${characters.toLocaleString("en")} characters, more than the ${MAX_CHARACTERS.toLocaleString("en")} of any model's context; split it`,
    );
}
