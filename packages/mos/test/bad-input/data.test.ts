// Data files that cannot be read or teach nothing, as `mos train` meets them.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, test } from "vitest";
import { writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { expectRefusal } from "./run-mos.ts";

let folder: string;
let model: string;
let good: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-data-"));
  ({ model, data: good } = await writeTinyFolder(folder));
});
afterEach(() => rm(join(folder, "out"), { recursive: true, force: true })); // of a run that should have been refused
afterAll(() => rm(folder, { recursive: true, force: true }));

const GOOD =
  '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}\n';
const PAIR = '{"prompt": "One, two,", "completion": " three."}\n';
const chat = (...turns: readonly (readonly [string, unknown])[]): string =>
  `${JSON.stringify({ messages: turns.map(([role, content]) => ({ role, content })) })}\n`;

const cases: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
  ["bad JSON on line 3", `${GOOD + GOOD}{"messages": [}\n`, /bad\.jsonl:3:15: not valid JSON near/],
  ["a last line that is cut", `${GOOD}{"messages": [{"role": "us`, /bad\.jsonl:2:\d+: not valid JSON near/],
  [
    "JSON spread over lines",
    `${JSON.stringify(JSON.parse(GOOD), null, 2)}\n`,
    /bad\.jsonl:1:\d+: not valid JSON/,
  ],
  [
    "one list of examples",
    `[${GOOD.trim()}]\n`,
    /bad\.jsonl:1: this line is a list, but an object was expected; .*jq/,
  ],
  [
    "a line that is a text",
    `${GOOD}"hello"\n`,
    /bad\.jsonl:2: this line is "hello", but an object was expected/,
  ],
  ["a line that is null", "null\n", /bad\.jsonl:1: this line is null/],
  [
    "fields of no form",
    '{"story": "Once upon a time"}\n',
    /bad\.jsonl:1: no known format has these fields: "story"/,
  ],
  [
    "a field with a typo",
    '{"prompt": "a", "complation": "b"}\n',
    /bad\.jsonl:1: no known format has these fields/,
  ],
  [
    "two forms",
    GOOD + PAIR,
    /bad\.jsonl:2: there is no field "messages" \(found: "prompt", "completion"\); like line 1, every line needs "messages"/,
  ],
  [
    "a completion that is a number",
    `${PAIR}{"prompt": "a", "completion": 3}\n`,
    /bad\.jsonl:2: completion is 3; expected a string/,
  ],
  [
    "an unknown role",
    chat(["user", "Hi"], ["bot", "Ho"]),
    /bad\.jsonl:1: messages\[1\]\.role is "bot"; expected "system", "user", "assistant" or "tool"/,
  ],
  [
    "a message without content",
    '{"messages": [{"role": "user"}]}\n',
    /bad\.jsonl:1: messages\[0\] has no field "content"/,
  ],
  [
    "messages that are a text",
    '{"messages": "Hello"}\n',
    /bad\.jsonl:1: messages is "Hello"; expected a list of messages/,
  ],
  ["no messages", '{"messages": []}\n', /bad\.jsonl:1: messages is an empty list/],
  [
    "no assistant message",
    chat(["user", "Hi"]),
    /bad\.jsonl:1: there is no assistant message, so there is nothing to learn/,
  ],
  [
    "an empty answer",
    chat(["user", "Hi"], ["assistant", "  "]),
    /bad\.jsonl:1: messages\[1\]\.content is empty/,
  ],
  [
    "an answer without a question",
    chat(["assistant", "Hi"]),
    /bad\.jsonl:1: messages\[0\] is an assistant message with no user message/,
  ],
  [
    "a system message in the middle",
    chat(["user", "a"], ["system", "b"], ["assistant", "c"]),
    /messages\[1\] is a system message; only the first/,
  ],
  ["an empty file", "", /bad\.jsonl: the file holds no examples/],
  ["blank lines only", "\n  \n\r\n\n", /bad\.jsonl: the file holds no examples/],
  [
    "text that is not UTF-8",
    Buffer.concat([Buffer.from(GOOD), Buffer.from('{"prompt": "caf'), Buffer.of(0xe9), Buffer.from('"}\n')]),
    /bad\.jsonl:2: the line is not valid UTF-8; save the file as UTF-8/,
  ],
  ["UTF-16", Buffer.from(`\ufeff${GOOD}`, "utf16le"), /bad\.jsonl: the text is UTF-16; save it as UTF-8/],
  ["a binary file", Buffer.from([0x50, 0x4b, 3, 4, 0, 0, 0xff, 0xd8, 0x0a, 0x80]), /bad\.jsonl:1: /],
];

const train = (data: string, ...more: readonly string[]): readonly string[] => [
  "train",
  "--model",
  model,
  "--data",
  data,
  "--out",
  join(folder, "out"),
  "--rank",
  "3",
  "--shards-per-vector",
  "2",
  "--max-length",
  "64",
  ...more,
];

test.each(cases)("%s", async (_, content, message) => {
  const data = join(folder, "bad.jsonl");
  await writeFile(data, content);
  await expectRefusal(train(data), { code: 1, message, untouched: folder });
});

const long = chat(["user", "word ".repeat(200)], ["assistant", "Yes."]);
const settings: readonly (readonly [string, string, readonly string[], RegExp])[] = [
  [
    "everything is cut away",
    long.repeat(4),
    [],
    /none of the \d examples has target tokens left after truncation to 64 tokens/,
  ],
  [
    "a single example, which cannot be split",
    GOOD,
    ["--validation-split", "0.05"],
    /--validation-split|held out|hold/,
  ],
  ["everything is held out", GOOD.repeat(4), ["--validation-split", "4"], /leaves none to train on/],
  ["more is held out than there is", GOOD.repeat(4), ["--validation-split", "10"], /leaves none to train on/],
];
test.each(settings)("%s", async (_, content, more, message) => {
  const data = join(folder, "bad.jsonl");
  await writeFile(data, content);
  await expectRefusal(train(data, ...more), { code: 1, message, untouched: folder });
});

const files: readonly (readonly [string, string, string, readonly string[], RegExp])[] = [
  [
    "CSV with a quotation mark too few",
    "bad.csv",
    'prompt,completion\na,"b\n',
    [],
    /bad\.csv:2: a quotation mark opened in the row/,
  ],
  [
    "CSV without the names of columns",
    "bad.csv",
    "Hello,Good day\n",
    [],
    /bad\.csv: the file holds no examples/,
  ],
  [
    "CSV with columns of no form",
    "bad.csv",
    "a,b\n1,2\n",
    [],
    /bad\.csv:2: no known format has these fields: "a", "b"/,
  ],
  ["a Parquet file that is cut", "bad.parquet", "PAR1PAR1", [], /bad\.parquet: this is not a Parquet file/],
  ["a list that is cut", "bad.json", `[${GOOD}`, [], /bad\.json: .*JSON/],
  ["a packed file", "bad.jsonl.gz", "", [], /bad\.jsonl\.gz: the file is compressed; decompress it first/],
  ...(
    [
      ["handbook.pdf", /a PDF; extract its text \(pdftotext/],
      ["handbook.DOCX", /a document; save it as text or Markdown \(pandoc/],
      ["prices.xlsx", /a spreadsheet; save the sheet as CSV in UTF-8/],
      ["notes.txt", /a text without examples; mos data passages .*rename it to \.jsonl/],
      ["notes.md", /a text without examples; mos data passages/],
    ] as const
  ).map(
    ([name, message]) =>
      [
        `a file that is no data: ${name}`,
        name,
        "PK",
        [],
        new RegExp(
          `${name}: the file is ${message.source}.*; examples are read from \\.jsonl, .*\\.csv, .*\\.parquet`,
        ),
      ] as const,
  ),
  [
    "a column that is not there",
    "bad.csv",
    "a,b\n1,2\n",
    ["--data-columns", "prompt=a,completion=c"],
    /bad\.csv:2: there is no "c" \(found: "a", "b"\)/,
  ],
];
test.each(files)("%s", async (_, name, content, more, message) => {
  const data = join(folder, name);
  await writeFile(data, content);
  await expectRefusal(train(data, ...more), { code: 1, message, untouched: folder });
});

test("a document that is not there is no data set of the Hub", async () => {
  const message = /docs\/handbook\.pdf: no such file/;
  await expectRefusal(train("docs/handbook.pdf"), { code: 1, message, untouched: folder });
});

test("a pattern that no file has", async () => {
  await expectRefusal(train(join(folder, "none-*.jsonl")), {
    code: 1,
    untouched: folder,
    message: /none-\*\.jsonl: no file matches/,
  });
});
test("a file that is given twice", async () => {
  await expectRefusal(train(good, "--data", good), {
    code: 2,
    untouched: folder,
    message: /is given twice, so its examples would count twice; omit one/,
  });
});
test("a field that no form has", async () => {
  await expectRefusal(train(good, "--data-columns", "promt=a"), {
    code: 2,
    untouched: folder,
    message: /promt=a/,
  });
});
test("a folder", async () => {
  await expectRefusal(train(folder), {
    code: 1,
    message: /this is a folder|not a regular file/,
    untouched: folder,
  });
});
test("a file that does not exist", async () => {
  await expectRefusal(train(join(folder, "none.jsonl")), {
    code: 1,
    message: /none\.jsonl: no such file/,
    untouched: folder,
  });
});
test("a device that never ends", async () => {
  await expectRefusal(train("/dev/zero"), {
    code: 1,
    message: /\/dev\/zero: this is not a regular file/,
    untouched: folder,
  });
});
test("held-out data that are trained on", async () => {
  await expectRefusal(train(good, "--validation-data", good), {
    code: 2,
    message: /is used for both training and validation/,
    untouched: folder,
  });
});
test("held-out data with a bad line", async () => {
  const data = join(folder, "held.jsonl");
  await writeFile(data, `${GOOD}{\n`);
  await expectRefusal(train(good, "--validation-data", data), {
    code: 1,
    message: /held\.jsonl:2:\d+: not valid JSON/,
    untouched: folder,
  });
});
