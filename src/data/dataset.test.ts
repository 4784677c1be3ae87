import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MosError } from "#core";
import { type JsonLines, parseDataset, readDataset } from "./dataset.ts";

/** Text as the reader of JSON lines gives it: numbered from 1, blank lines left out. */
async function* linesOf(...lines: readonly string[]): JsonLines {
  for (const [i, text] of lines.entries())
    if (text.trim() !== "") yield { line: i + 1, value: JSON.parse(text) as unknown };
}
const parse = (...lines: readonly string[]) => parseDataset(linesOf(...lines), "train.jsonl");

const chat = (...messages: readonly object[]) => JSON.stringify({ messages });
const user = { role: "user", content: "Hi" };
const assistant = { role: "assistant", content: "Hello" };

describe("accepted forms", () => {
  test("messages, with OpenAI's weight", async () => {
    const { form, examples } = await parse(
      chat({ role: "system", content: "Be brief" }, user, assistant),
      "",
      chat(user, { ...assistant, weight: 0 }, user, { ...assistant, weight: 1 }),
    );
    expect(form).toBe("messages");
    expect(examples.map(({ line }) => line)).toEqual([1, 3]);
    expect(examples.map((e) => e.kind === "chat" && e.turns.map(({ isTarget }) => isTarget))).toEqual([
      [false, false, true],
      [false, false, false, true],
    ]);
  });

  test("prompt and completion, kept as they are", async () => {
    const { form, examples } = await parse('{"prompt": "2 + 2 =", "completion": " 4\\n", "id": 7}');
    expect(form).toBe("completion");
    expect(examples).toEqual([{ kind: "completion", line: 1, prompt: "2 + 2 =", completion: " 4\n" }]);
  });

  test("instruction, input and output", async () => {
    const { form, examples } = await parse(
      '{"instruction": "Add", "input": "2, 3", "output": "5"}',
      '{"instruction": "Greet", "input": "", "output": "Hi"}',
      '{"instruction": "Part", "output": "Bye"}',
    );
    expect(form).toBe("instruction");
    expect(examples.map((e) => e.kind === "chat" && e.turns.map(({ content }) => content))).toEqual([
      ["Add\n\n2, 3", "5"],
      ["Greet", "Hi"],
      ["Part", "Bye"],
    ]);
  });

  test("question and answer", async () => {
    const { form, examples } = await parse('{"question": "2 + 2?", "answer": "4"}');
    expect(form).toBe("question");
    expect(examples).toEqual([
      {
        kind: "chat",
        line: 1,
        turns: [
          { role: "user", content: "2 + 2?", isTarget: false },
          { role: "assistant", content: "4", isTarget: true },
        ],
      },
    ]);
  });

  test("messages go before prompt and completion where a line has both", async () => {
    const { form } = await parse(
      JSON.stringify({ prompt: "a", completion: "b", messages: [user, assistant] }),
    );
    expect(form).toBe("messages");
  });
});

describe("refused", () => {
  const good = chat(user, assistant);
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["an empty file", [], /^train\.jsonl: the file holds no examples\.\nAccepted forms/],
    ["only blank lines", ["", "  "], /the file holds no examples/],
    ["a list of examples", [`[${good}]`], /train\.jsonl:1: this line is a list.*jq -c/],
    ["a number", ["17"], /train\.jsonl:1: this line is 17, an object was expected/],
    ["null on a later line", [good, "null"], /train\.jsonl:2: this line is null/],
    ["unknown fields", ['{"text": "abc"}'], /train\.jsonl:1: no known form has these fields: "text"/],
    ["no fields", ["{}"], /no known form has these fields: no fields/],
    [
      "mixed forms",
      [good, "", '{"prompt": "a", "completion": "b"}'],
      /train\.jsonl:3: there is no field "messages" \(found: "prompt", "completion"\); line 1 made this a file of lines with "messages"/,
    ],
    ["messages that are text", ['{"messages": "Hi"}'], /messages is "Hi"; a list of messages was expected/],
    ["no messages", ['{"messages": []}'], /messages is an empty list; at least one message was expected/],
    [
      "an unknown role",
      [good, chat(user, { role: "bot", content: "x" })],
      /train\.jsonl:2: messages\[1\]\.role is "bot"; "system", "user" or "assistant" was expected/,
    ],
    [
      "content that is a number",
      [chat({ role: "user", content: 3 }, assistant)],
      /messages\[0\]\.content is 3; text was expected/,
    ],
    [
      "content that is null",
      [chat(user, { role: "assistant", content: null })],
      /messages\[1\]\.content is null; text was expected/,
    ],
    [
      "a message without content",
      [chat(user, { role: "assistant", text: "x" })],
      /messages\[1\] has no field "content" \(found: "role", "text"\)/,
    ],
    [
      "a message that is text",
      ['{"messages": ["Hi"]}'],
      /messages\[0\] is "Hi"; an object with role and content was expected/,
    ],
    ["a weight of 2", [chat(user, { ...assistant, weight: 2 })], /messages\[1\]\.weight is 2; 0 or 1/],
    ["no assistant message", [chat(user)], /there is no assistant message, so there is nothing to learn/],
    ["all weights 0", [chat(user, { ...assistant, weight: 0 })], /every assistant message has weight 0/],
    [
      "an empty answer",
      [chat(user, { ...assistant, content: " \n" })],
      /messages\[1\]\.content is empty, so there is nothing to learn/,
    ],
    [
      "a late system message",
      [chat(user, { role: "system", content: "x" }, assistant)],
      /messages\[1\] is a system message; only the first one may be/,
    ],
    [
      "an assistant who begins",
      [chat(assistant, user, assistant)],
      /messages\[0\] is an assistant message with no user message before it/,
    ],
    ["an empty completion", ['{"prompt": "a", "completion": ""}'], /completion is empty/],
    ["a prompt that is a list", ['{"prompt": [], "completion": "b"}'], /prompt is an empty list; text was/],
    ["an empty output", ['{"instruction": "a", "output": ""}'], /output is empty/],
    ["an empty instruction", ['{"instruction": " ", "input": "", "output": "b"}'], /instruction is empty/],
    ["an input that is a number", ['{"instruction": "a", "input": 1, "output": "b"}'], /input is 1; text/],
    ["an empty question", ['{"question": "", "answer": "b"}'], /question is empty/],
    ["an empty answer to a question", ['{"question": "a", "answer": ""}'], /answer is empty/],
    [
      "an example as large as a book",
      [good, JSON.stringify({ messages: [user, { ...assistant, content: "x".repeat(4_000_001) }] })],
      /train\.jsonl:2: this example has 4,000,003 characters/,
    ],
    [
      "a long field, which the message clips",
      ['{"messages": "'.concat("y".repeat(500), '"}')],
      /messages is "y{59}…; a list of messages was expected/,
    ],
  ];

  test.each(cases)("%s", async (_, lines, message) => {
    const error = await parse(...lines).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(MosError);
    expect(error).toMatchObject({ code: "bad_data", message: expect.stringMatching(message) });
  });

  test("the message shows every accepted form", async () => {
    await expect(parse("{}")).rejects.toThrowError(
      /"messages".*\n.*"prompt".*\n.*"instruction".*\n.*"question"/,
    );
  });
});

describe("files", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-dataset-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const readFile = async (content: string | Uint8Array) => {
    await writeFile(join(folder, "data.jsonl"), content);
    return readDataset(join(folder, "data.jsonl"));
  };
  const good = '{"question": "2 + 2?", "answer": "4"}';

  test("a byte order mark, CRLF, blank lines and a missing last line end are fine", async () => {
    const { path, examples } = await readFile(`\uFEFF${good}\r\n\r\n${good}`);
    expect(path).toBe(join(folder, "data.jsonl"));
    expect(examples.map(({ line }) => line)).toEqual([1, 3]);
  });

  test.each<readonly [string, string | Uint8Array, RegExp]>([
    ["broken JSON", `${good}\n${good}\n{"question": "2`, /data\.jsonl:3:.*not valid JSON/],
    [
      "another encoding",
      Buffer.from(`${good}\n{"question": "caf\u00e9", "answer": "x"}`, "latin1"),
      /data\.jsonl:2:.*UTF-8/,
    ],
    ["an empty file", "", /data\.jsonl: the file holds no examples/],
    ["only line ends", "\n\r\n\n", /data\.jsonl: the file holds no examples/],
    ["no line ends for ever", "x".repeat(17_000_000), /data\.jsonl:1: the line is longer than/],
    ["a pretty-printed file", JSON.stringify([JSON.parse(good)], null, 2), /data\.jsonl:1:.*not valid JSON/],
  ])("refuses %s", async (_, content, message) => {
    const reading = readFile(content);
    await expect(reading).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(message),
    });
  });

  test("says which file does not exist", async () => {
    const reading = readDataset(join(folder, "absent.jsonl"));
    await expect(reading).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("absent.jsonl"),
    });
  });
});
