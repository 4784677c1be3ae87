// A data set is one or more files, or an iterable of examples. The first example of a file decides its format, and every other
// one must have the same: a mixture of formats is most likely a mistake.
import { attempt, distinct, MosError, matching, omitUndefined, randomStream, setting, show } from "#common";
import { readJsonLines } from "#files";
import { nextTurn } from "#platform";
import { type DataKind, type Example, placeText, type Source, textsOf } from "./example.ts";
import {
  acceptedForms,
  FORM_NAMES,
  FORMS,
  type FormName,
  findForm,
  formsOf,
  likelyForm,
  missingField,
} from "./forms.ts";
import { describeValue, listFields } from "./line-form.ts";
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
  /** Names of a format's fields in the data: `{ prompt: "question" }`. */
  readonly columns?: Columns | undefined;
  /** Examples that are read; what comes after them is neither read nor checked. */
  readonly limit?: number | undefined;
  /** What the data are read for; "examples" by default. */
  readonly kind?: DataKind | undefined;
  /** Keeps with each example all of its line; false. */
  readonly keepsFields?: boolean | undefined;
  /** Says for which runs data of another kind are, in a part of a message. */
  readonly describeUse?: ((kind: DataKind) => string | undefined) | undefined;
}

/** A line of an untrusted file, which is parsed as a whole. */
const MAX_LINE_BYTES = 16_000_000;

/** More text than any context window holds: a longer line means a damaged file, which would be slow to tokenise. */
const MAX_CHARACTERS = 4_000_000;

/** Forms that the fine-tuning service accepts. */
const UPLOADED: readonly FormName[] = FORM_NAMES.filter((name) => !/^(sharegpt|text)/.test(name));

const COLUMNS_HINT =
  "\nFields of other names, such as text and summary: --data-columns prompt=text,completion=summary";

/**
 * Reads conversations, prompts, instructions, questions or texts from files of JSON Lines, JSON, CSV or Parquet, in their
 * order, or from an iterable.
 *
 * @throws MosError `bad_data` with file and line for a value that is not JSON, does not have the format of the file's first
 * one, or holds nothing to learn from; and for a file without examples.
 *
 * @example
 * const { examples } = await readDataset(["train.jsonl", "more.parquet"]);
 */
export async function readDataset(
  data: string | DataSource,
  {
    columns,
    limit = Number.POSITIVE_INFINITY,
    kind = "examples",
    describeUse,
    keepsFields = false,
  }: ReadDatasetOptions = {},
): Promise<Dataset> {
  const examples: Example[] = [];
  const read = async (path: string, records: Records, file?: string): Promise<FormName> => {
    const reading = { path, columns, source: toSource(records, file), kind, describeUse, keepsFields };
    return await eachExample(records, reading, (one) => examples.push(one) < limit);
  };
  const paths = typeof data === "string" ? [data] : dataPaths(data);
  if (paths === undefined) {
    if (!(Symbol.iterator in Object(data) || Symbol.asyncIterator in Object(data)))
      throw new MosError(
        "bad_option",
        `data: ${show(data, 60)} is invalid; give a file, an array of files, or examples: an array or what \`for await\` takes`,
      );
    const records: Records = { unit: "example", values: countedRecords(data) };
    return { forms: [await read("data", records)], examples };
  }
  const forms: FormName[] = [];
  for (const path of paths) {
    if (examples.length >= limit) break;
    const isWhole = kind === "prompts" || keepsFields;
    const records = await readRecords(path, { columns: isWhole ? undefined : columnNames(columns) });
    forms.push(await read(path, records, paths.length === 1 ? undefined : path));
  }
  return { forms, examples };
}

/** Columns of a table that may hold examples. A grader may need the others, too. */
const columnNames = (columns: Columns | undefined): readonly string[] =>
  columns === undefined ? FIELDS : Object.values(columns);

/** Source of the examples; none for the lines of an only file. */
const toSource = ({ unit }: Records, file: string | undefined): Source | undefined =>
  file === undefined ? (unit === "line" ? undefined : { unit }) : { unit, file };

/** The files that data name, if they are files. */
export function dataPaths(data: string | DataSource): readonly string[] | undefined {
  if (typeof data === "string") return [data];
  return Array.isArray(data) && data.length > 0 && data.every((one) => typeof one === "string")
    ? data
    : undefined;
}

/** Options of a check. @inline */
interface CheckDatasetOptions {
  /** Takes the error of a wrong line, and says whether to go on. Without it, the first one is thrown. */
  readonly onProblem?: (error: MosError, line: number) => boolean;
}

/**
 * Checks all lines of a JSONL file of the formats that the fine-tuning service accepts, and keeps none of them: the number of
 * examples.
 *
 * @throws MosError `bad_data` as `readDataset`.
 */
export async function checkDataset(
  path: string,
  { onProblem = raise }: CheckDatasetOptions = {},
): Promise<number> {
  let [count, lines] = [0, 0];
  const options = { maximumLineBytes: MAX_LINE_BYTES, yieldsErrors: true };
  const values = yieldRegularly(readJsonLines(path, options));
  for await (const { line, example } of readings({ unit: "line", values }, { path, names: UPLOADED })) {
    lines++;
    if (!(example instanceof MosError)) count++;
    else if (!onProblem(example, line)) break;
  }
  if (lines === 0) throw noExamples("line", { path, names: UPLOADED });
  return count;
}

const raise = (error: MosError): never => {
  throw error;
};

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

interface ReadingOptions extends Pick<ReadDatasetOptions, "kind" | "describeUse" | "keepsFields"> {
  readonly path: string;
  /** Source of the examples. */
  readonly source?: Source | undefined;
  readonly columns?: Columns | undefined;
  /** Forms that are taken; all of its kind by default. */
  readonly names?: readonly FormName[] | undefined;
}

/** A record of a file: its example, or what is wrong with it. */
export interface Reading {
  readonly line: number;
  /** Form of the file, once a record has shown it. */
  readonly form: FormName | undefined;
  readonly example: Example | MosError;
}

/** Options of reading the examples of a file one at a time. */
export interface ReadExamplesOptions {
  readonly columns?: Columns | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads all examples of one file, one at a time, and goes on after those that are wrong.
 *
 * @throws MosError `bad_data` where the rest of the file cannot be read, or nothing is in it; `not_found`, `storage`,
 * `cancelled`.
 */
export async function* readExamples(
  path: string,
  { columns, signal }: ReadExamplesOptions,
): AsyncGenerator<Reading, void> {
  const records = await readRecords(path, { columns: columnNames(columns), yieldsErrors: true });
  let count = 0;
  for await (const reading of readings(records, { path, columns, source: toSource(records, path) })) {
    if (signal?.aborted === true)
      throw new MosError("cancelled", `${path}: cancelled after ${count} records`);
    yield reading;
    count++;
  }
  if (count === 0) throw noExamples("line", { path, columns });
}

async function* readings(
  { values, unit, isTable = false }: Records,
  options: ReadingOptions,
): AsyncGenerator<Reading, void> {
  const { path, source, columns, kind, keepsFields = false } = options;
  const hint = formsHint(options);
  const hasShell = options.names === undefined; // who uploads a file may have a browser alone
  let first: FirstLine | undefined;
  for await (const { line, value } of values) {
    const place = placeText({ line, source: { unit, file: path } });
    const refuse = (problem: string, commands = ""): MosError =>
      new MosError("bad_data", `${place}: ${problem}${hasShell ? commands : ""}.`, { hint });
    const toExample = (): Example => {
      if (value instanceof MosError) throw value;
      const renamed = columns === undefined ? value : withColumns(value, columns, { kind, place });
      const record = isTable ? withLists(renamed, place) : renamed;
      first ??= { line, unit, form: detectForm(record, options, refuse) };
      checkForm(record, first, refuse);
      const example = FORMS[first.form].read(record, { line, ...omitUndefined({ source }) });
      if (typeof example === "string") throw refuse(example);
      checkSize(example, refuse);
      // also under the names that its columns have in the data
      return keepsFields ? { ...example, fields: { ...Object(value), ...Object(record) } } : example;
    };
    yield { line, example: attempt(toExample), form: first?.form };
  }
}

/** Gives `use` the examples of records while it wants more, up to the first that is wrong, which it throws. */
async function eachExample(
  records: Records,
  options: ReadingOptions,
  use: (example: Example) => boolean,
): Promise<FormName> {
  let found: FormName | undefined;
  for await (const { form, example } of readings(records, options)) {
    if (example instanceof MosError) throw example;
    found ??= form;
    if (!use(example)) break;
  }
  if (found !== undefined) return found;
  throw noExamples(records.unit, options);
}

function noExamples(unit: Records["unit"], options: ReadingOptions): MosError {
  const what = unit === "example" ? "there are" : "the file holds";
  return new MosError("bad_data", `${options.path}: ${what} no examples.`, { hint: formsHint(options) });
}

/** The forms that are taken. */
const takenForms = ({ names, kind }: Pick<ReadingOptions, "names" | "kind">): readonly FormName[] =>
  names ?? (kind === undefined ? FORM_NAMES : formsOf(kind));

/** The end of a message: the accepted forms, and how columns are mapped where that is possible. */
const formsHint = ({ names, kind, columns }: Pick<ReadingOptions, "names" | "kind" | "columns">): string =>
  acceptedForms(takenForms({ names, kind })) +
  (names === undefined && columns === undefined ? COLUMNS_HINT : "");

interface FirstLine {
  readonly line: number;
  readonly unit: Source["unit"];
  readonly form: FormName;
}

/** The error of a line. Commands that would help are named where there is a shell to type them in. */
type Refuse = (problem: string, commands?: string) => MosError;

function detectForm(value: unknown, options: ReadingOptions, refuse: Refuse): FormName {
  checkObject(value, refuse);
  const { kind, describeUse } = options;
  const names = takenForms(options);
  const likely = likelyForm(value, options.names ?? FORM_NAMES);
  const own = kind === undefined ? likely : findForm(value, names);
  const found = likely === undefined ? undefined : FORMS[likely].kind;
  // preferences are not read as examples: what is rejected would be learnt
  const isOther = own === undefined || (kind === "examples" && (found === "pairs" || found === "rated"));
  if (!isOther) return own;
  const use = found === undefined ? undefined : describeUse?.(found);
  // the answer may be there, under a wrong name
  if (found === undefined || kind === undefined || (found === "prompts" && kind === "examples"))
    throw refuse(
      `no known format has these fields: ${listFields(value)}${use === undefined ? "" : `; without an answer, ${use}`}`,
    );
  throw refuse(
    `this is ${KINDS[found]} (found: ${listFields(value)}), but this run learns from ${PLURALS[kind]}${use === undefined ? "" : `; ${use}`}`,
  );
}

/** What a line of each kind is, in messages. */
const KINDS: Readonly<Record<DataKind, string>> = {
  examples: "an example",
  pairs: "a pair of answers",
  rated: "a rated answer",
  prompts: "a prompt without an answer",
  hinted: "an answer with a hint",
};
const PLURALS: Readonly<Record<DataKind, string>> = {
  examples: "examples",
  pairs: "pairs of a preferred and another answer",
  rated: "rated answers, or pairs of them",
  prompts: "prompts",
  hinted: "answers with hints",
};

function checkObject(value: unknown, refuse: Refuse): void {
  if (Array.isArray(value))
    throw refuse(
      "this line is a list, but an object was expected; write one object per line",
      ": mos data convert reads a list of examples from a file named .json; or use jq -c '.[]' FILE",
    );
  if (typeof value !== "object" || value === null)
    throw refuse(`this line is ${describeValue(value)}, but an object was expected`);
}

function checkForm(value: unknown, { form, line, unit }: FirstLine, refuse: Refuse): void {
  checkObject(value, refuse);
  const missing = missingField(form, value);
  if (missing === undefined) return;
  const expected = FORMS[form].fields.map((field) => `"${field}"`).join(" and ");
  throw refuse(
    `there is no field "${missing}" (found: ${listFields(value)}); like ${unit} ${line}, every ${unit} needs ${expected}`,
  );
}

function checkSize(example: Example, refuse: Refuse): void {
  const characters = textsOf(example).reduce((sum, { length }) => sum + length, 0);
  if (characters > MAX_CHARACTERS)
    throw refuse(
      `this example has ${characters.toLocaleString("en")} characters, more than the ${MAX_CHARACTERS.toLocaleString("en")} of any model's context; split it`,
    );
}

/** Fields of a format, and what they are called in the data. */
export type Columns = Readonly<Record<string, string>>;

/** The fields of all formats. */
export const FIELDS: readonly string[] = [
  ...["messages", "tools", "parallel_tool_calls", "conversations", "system", "prompt", "completion"],
  ...["instruction", "input", "output", "question", "answer", "text", "chosen", "rejected", "label"],
  ...["preferred_output", "non_preferred_output", "rejected_response", "chat_template_kwargs"],
  "hint",
];
const PAIR = new RegExp(`^(?:${FIELDS.join("|")})=[^=]+$`);

/** `--data-columns prompt=question,completion=answer`. */
export const dataColumns = setting(
  distinct(
    matching(PAIR, "field=column, with a field of a format such as prompt, completion, messages or text"),
  ).describe(
    "different pairs field=column, with fields of a format such as prompt, completion, messages or text",
  ),
  {
    placeholder: "pairs",
    help: "columns that hold the fields, such as prompt=article,completion=summary",
  },
);

/** Pairs as `dataColumns` has them. Throws `bad_option` where two are for one field. */
export function parseColumns(pairs: readonly string[] | undefined): Columns | undefined {
  if (pairs === undefined) return undefined;
  const columns = Object.fromEntries(pairs.map((pair) => pair.split("=") as [string, string]));
  if (Object.keys(columns).length < pairs.length)
    throw new MosError("bad_option", `${pairs.join(",")}: two columns are mapped to one field; omit one`);
  return columns;
}

/** Fields that an example may lack. */
const OPTIONAL: readonly string[] = [
  ...["input", "system", "tools", "parallel_tool_calls", "chat_template_kwargs"],
];

/** Only the named fields of a value, under the names of their format; of prompts the others, too, which graders may need. */
function withColumns(
  value: unknown,
  columns: Columns,
  { kind, place }: { readonly kind: DataKind | undefined; readonly place: string },
): unknown {
  const given = Object(value) as Readonly<Record<string, unknown>>;
  const found = Object.entries(columns).filter(([field, column]) => {
    const isThere = Object.hasOwn(given, column);
    if (isThere || OPTIONAL.includes(field)) return isThere;
    throw new MosError(
      "bad_data",
      `${place}: there is no "${column}" (found: ${listFields(value)}), which --data-columns maps to ${field}`,
    );
  });
  const rest = kind === "prompts" ? given : {};
  return { ...rest, ...Object.fromEntries(found.map(([field, column]) => [field, given[column]])) };
}

/** Size of the validation split: a share of the examples, or a number of them. */
export type HoldOutOptions = { readonly seed: number } & (
  | { readonly fraction: number }
  | { readonly count: number }
);

/** Both parts of a data set. */
export interface Split<T> {
  readonly train: readonly T[];
  readonly validation: readonly T[];
}

/**
 * Holds out a random part of the examples, chosen by the seed; both parts keep the order of the whole. A fraction is
 * rounded to the nearest number of examples, at least one; 0 holds out none.
 *
 * @throws MosError `bad_option` for a fraction outside [0, 1) or a count that is not a whole number; `bad_data` when
 * nothing would be left to train on.
 */
export function splitValidation<T>(examples: readonly T[], options: HoldOutOptions): Split<T> {
  const count = validationCount(examples.length, options);
  if (count === 0) return { train: examples, validation: [] };
  if (count >= examples.length)
    throw new MosError(
      "bad_data",
      `a validation split of ${count} of ${examples.length} examples leaves none to train on; lower --validation-split or add examples`,
    );
  const chosen = new Set(
    randomStream(options.seed, "held-out split").permutation(examples.length).subarray(0, count),
  );
  return {
    train: examples.filter((_, i) => !chosen.has(i)),
    validation: examples.filter((_, i) => chosen.has(i)),
  };
}

function validationCount(n: number, options: HoldOutOptions): number {
  if ("count" in options) {
    if (Number.isSafeInteger(options.count) && options.count >= 0) return options.count;
    throw new MosError(
      "bad_option",
      `cannot hold out ${options.count} examples; give a whole number of at least 0`,
    );
  }
  const { fraction } = options;
  if (!(fraction >= 0 && fraction < 1))
    throw new MosError(
      "bad_option",
      `cannot hold out a fraction of ${fraction}; give a number of at least 0 and below 1`,
    );
  return fraction === 0 ? 0 : Math.max(1, Math.round(n * fraction));
}
