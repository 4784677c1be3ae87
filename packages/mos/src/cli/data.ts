import { flag, MosError, type SettingValues, setting, withProgress } from "mixture-of-shards-core/common";
import {
  checkOutput,
  convertDataset,
  type DatasetInspection,
  dataColumns,
  inspectDataset,
  parseColumns,
  WRITTEN_FORMATS,
} from "mixture-of-shards-core/data";
import { writeJsonLines } from "mixture-of-shards-core/files";
import { loadText, readModelConfig } from "mixture-of-shards-core/models";
import { z } from "zod";
import { type Command, defineCommand, group, refuseOthers } from "./command.ts";
import { quiet } from "./common-options.ts";
import { generateFrom, openDocuments, teacherOptions } from "./data-generate.ts";
import { counted, formatInteger, labelled, type Row } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findData, findModel } from "./loading.ts";
import {
  heading,
  liveLine,
  MOS,
  printable,
  printJson,
  printLine,
  printResult,
  resultText,
  shellWord,
} from "./terminal.ts";

const ACTIONS = ["inspect", "convert", "passages", "generate"] as const;

const options = {
  ...group("Data", {
    dataColumns,
    to: setting(z.enum(WRITTEN_FORMATS), { default: "messages", help: "convert: format of the examples" }),
  }),
  ...group("Tokens", {
    model: setting(z.string(), {
      placeholder: "model",
      help: "model whose tokenizer counts, and the teacher of generate without --teacher: a folder, a .gguf file, or org/name",
    }),
    maxLength: setting(z.int().min(2), {
      defaultText: "the positions of the model, which training uses where the data need them",
      placeholder: "tokens",
      help: "inspect: count the examples that are longer than this",
    }),
  }),
  ...group("Passages", {
    maxWords: setting(z.int().min(1), { default: 200, help: "maximum length of a passage in words" }),
    maxTokens: setting(z.int().min(2), {
      defaultText: "--max-words decides",
      help: "maximum length of a passage in tokens of --model",
    }),
  }),
  ...group("Teacher", teacherOptions),
  ...group("Output", {
    limit: setting(z.int().min(1), { default: 20, help: "inspect: problems and duplicates to list" }),
    out: setting(z.string(), {
      placeholder: "file",
      help: "convert, passages, generate: file of JSON Lines to write",
    }),
    overwrite: flag({ help: "replace an existing --out" }),
    quiet,
  }),
};
const positional = {
  action: setting(z.enum(ACTIONS), { required: true, help: ACTIONS.join(", ") }),
  files: setting(z.array(z.string()).readonly(), {
    help: "inspect, convert: files, patterns in quotes, or org/name of a data set of the Hub; passages, generate: .txt and .md files, patterns, and folders; generate: files of passages",
  }),
};
/** What an action gets. */
export type Given = SettingValues<typeof options> & {
  readonly files: readonly string[];
  readonly json: boolean;
};

const teacherNames = Object.keys(teacherOptions) as (keyof typeof teacherOptions)[];

/** The work of each action, and its options beside --quiet. */
const WORK: Readonly<
  Record<
    (typeof ACTIONS)[number],
    readonly [work: (values: Given) => Promise<number>, ...options: (keyof typeof options)[]]
  >
> = {
  inspect: [inspect, "dataColumns", "model", "maxLength", "limit"],
  convert: [convert, "dataColumns", "to", "out", "overwrite"],
  passages: [passages, "model", "maxWords", "maxTokens", "out", "overwrite"],
  generate: [generate, ...teacherNames, "model", "maxWords", "maxTokens", "out", "overwrite"],
};

export const command: Command = defineCommand({
  description:
    "Inspects files of training data, and converts them to JSON Lines of one format; cuts documents into passages, " +
    "and lets a teacher write questions and answers about them.",
  usage:
    "inspect <file>... [--model <model>] | convert <file>... --out <file> [--to <format>] | passages <document>... --out <file> | generate <file>... (--teacher <url> --teacher-model <name> | --model <model>) --out <file>",
  arguments: positional,
  options,
  examples: `
Examples:
  mos data inspect train.jsonl --model org/name
      format, tokens, all problems, duplicates; the exit code is 1 where there are problems
  mos data convert faq.csv --data-columns question=q,answer=a --out train.jsonl
      a table as conversations
  mos data passages handbook.md notes --out passages.jsonl
      text and Markdown, cut at headings and paragraphs
  mos data generate passages.jsonl --teacher http://127.0.0.1:8080/v1 --teacher-model name --out train.jsonl
      shows the cost first; the same command goes on after an interruption
  mos data generate handbook.md --teacher https://api.openai.com/v1 --teacher-model name --dry-run --out train.jsonl
      the cost and the first request only

A pair is dropped where a part is empty, where its question was asked before, and where its passage does not support the answer:
fewer than half of the words of four letters or more are in it (of the characters, in writing without spaces), or a number is not.`,
  async run({ action, files, ...values }) {
    if (files === undefined || files.length === 0)
      throw new MosError("bad_option", `mos data ${action} needs the names of files; see mos data --help`);
    const [work, ...taken] = WORK[action];
    const isTaken = (name: string): boolean => name === "quiet" || taken.some((one) => one === name);
    refuseOthers(options, values, { isTaken, command: `data ${action}` });
    return await work({ ...values, files });
  },
});

async function inspect({ files, model, json, quiet, ...options }: Given): Promise<number> {
  const silent = json || quiet;
  using interrupt = listenForInterrupt("stopping", { silent });
  const { signal } = interrupt;
  const paths = await findData(files, { signal, silent });
  const path = model === undefined ? undefined : await findModel(model, { signal, silent });
  const text = path === undefined ? undefined : await loadText(path);
  const positions = path === undefined ? 0 : (await readModelConfig(path)).maxPositions;
  const maxLength = options.maxLength ?? positions;
  const { limit } = options;
  const columns = parseColumns(options.dataColumns);
  const found = await withRecords(silent, (show) =>
    withProgress(inspectDataset(paths, { columns, text, maxLength, limit, signal }), show),
  );
  printResult(json, found, () => inspectionText(found, maxLength));
  return found.problemCount === 0 ? 0 : 1;
}

/** Runs work with a live line of the records that it has read. */
async function withRecords<T>(
  silent: boolean,
  work: (show: (count: number) => void) => Promise<T>,
): Promise<T> {
  using line = liveLine({ silent: silent || process.stderr.isTTY !== true });
  const result = await work((count) => line.update(`reading  ${counted(count, "record")}`));
  line.clear();
  return result;
}

const UNKNOWN_FORMAT =
  "no known format (mos train --help shows the formats; --data-columns maps other columns)";

function inspectionText(found: DatasetInspection, maxLength: number): string {
  const { files, tokens, problems, problemCount, emptyAnswers, duplicates } = found;
  const empty = emptyAnswers === 0 ? "" : `, ${formatInteger(emptyAnswers)} of them empty answers`;
  return [
    labelled([
      ...files.map(
        ({ path, format = UNKNOWN_FORMAT, examples }): Row => [
          printable(path),
          `${counted(examples, "example")}, ${format}`,
        ],
      ),
      files.length > 1 && ["examples", formatInteger(found.examples)],
      tokens !== undefined && ["tokens", tokensText(tokens, maxLength)],
      ...preferenceRows(found),
      ["problems", problemCount === 0 ? "none" : `${formatInteger(problemCount)}${empty}`],
      [
        "duplicates",
        `${formatInteger(found.exactDuplicates)} exact, ${formatInteger(found.nearDuplicates)} but for case, spaces and punctuation`,
      ],
      found.toolExamples > 0 && [
        "with tools",
        `${counted(found.toolExamples, "example")}, ${formatInteger(found.callWarningCount)} with calls that the schemas do not allow`,
      ],
    ]),
    ...listed("Problems", problems, problemCount),
    ...listed("Calls that the schemas do not allow", found.callWarnings, found.callWarningCount),
    ...listed(
      "Duplicates",
      duplicates.map(({ place, first, isNear }) => `${place} is ${isNear ? "nearly " : ""}${first}`),
      found.exactDuplicates + found.nearDuplicates,
    ),
  ].join("\n");
}

function preferenceRows({ pairs, rated }: DatasetInspection): readonly Row[] {
  const rows: Row[] = [];
  if (pairs !== undefined) {
    const { count, unit, chosenLonger, repeatedPrompts } = pairs;
    rows.push([
      "pairs",
      `${formatInteger(chosenLonger)} of ${formatInteger(count)} with a longer chosen answer; ${formatInteger(repeatedPrompts)} with the prompt of another`,
    ]);
    for (const name of ["prompt", "chosen", "rejected"] as const)
      rows.push([name, `${lengthsText(pairs[name])} ${unit}`]);
  }
  if (rated !== undefined)
    rows.push(["rated", `${formatInteger(rated.desirable)} of ${formatInteger(rated.count)} desirable`]);
  return rows;
}

const lengthsText = (of: Omit<NonNullable<DatasetInspection["pairs"]>["prompt"], "total">): string =>
  `${of.min} to ${of.max}, median ${of.median}, 95% at most ${of.p95}`;

const tokensText = (
  { total, truncated, ...lengths }: NonNullable<DatasetInspection["tokens"]>,
  maxLength: number,
): string =>
  `${formatInteger(total)}; per example ${lengthsText(lengths)}; ` +
  `${formatInteger(truncated)} longer than ${maxLength}`;

/** A heading, the first lines, and how many are left out. */
function listed(title: string, lines: readonly string[], count: number): readonly string[] {
  if (count === 0) return [];
  const rest = count - lines.length;
  return [
    "",
    heading(`${title}:`),
    ...lines.map((line) => `  ${printable(line)}`),
    ...(rest > 0 ? [`  … and ${formatInteger(rest)} more (--limit)`] : []),
  ];
}

async function convert({ files, out, to, overwrite, json, quiet, ...options }: Given): Promise<number> {
  if (out === undefined) throw missingOut();
  const silent = json || quiet;
  using interrupt = listenForInterrupt("stopping", { silent });
  const { signal } = interrupt;
  const paths = await findData(files, { signal, silent });
  const columns = parseColumns(options.dataColumns);
  const count = await withRecords(silent, (onExample) =>
    convertDataset(paths, { out, to, columns, overwrite, signal, onExample }),
  );
  if (json) printJson({ out, format: to, examples: count });
  else if (!quiet) {
    const next = `${MOS} train --model org/name --data ${shellWord(out)} --out adapters/mine`;
    printLine(resultText([["written", `${out}: ${counted(count, "example")}, ${to}`]], [next]));
  }
  return 0;
}

const missingOut = (): MosError =>
  new MosError("bad_option", "--out FILE is required: the file of JSON Lines to write");

async function passages({ files, out, overwrite, json, quiet, ...options }: Given): Promise<number> {
  if (out === undefined) throw missingOut();
  await checkOutput(out, { overwrite });
  using interrupt = listenForInterrupt("stopping", { silent: json || quiet });
  const { signal } = interrupt;
  const find = { signal, silent: json || quiet };
  const { paths, leftOut, passages: found } = await openDocuments({ files, ...options }, find);
  const count = await writeJsonLines(out, found);
  if (json) printJson({ out, documents: paths.length, passages: count, leftOut });
  else if (!quiet)
    printLine(
      labelled([["written", `${out}: ${counted(count, "passage")} of ${counted(paths.length, "document")}`]]),
    );
  return 0;
}

async function generate({ files, out, ...options }: Given): Promise<number> {
  if (out === undefined) throw missingOut();
  return await generateFrom({ ...options, files, out });
}
