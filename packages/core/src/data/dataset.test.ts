import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MosError } from "#common";
import { checkDataset, parseColumns, readDataset, splitValidation } from "./dataset.ts";
import { placeText } from "./example.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-dataset-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function parse(...lines: readonly string[]) {
  const path = join(folder, "train.jsonl");
  await writeFile(path, lines.join("\n"));
  const { forms, examples } = await readDataset(path);
  return { form: forms[0], examples };
}

const chat = (...messages: readonly object[]) => JSON.stringify({ messages });
const user = { role: "user", content: "Hi" };
const assistant = { role: "assistant", content: "Hello" };

describe("accepted forms", () => {
  test("messages with weights, which are kept where they are neither 0 nor 1", async () => {
    const turns = [user, { ...assistant, weight: 0.25 }, user, { ...assistant, weight: 1 }];
    const { examples } = await parse(chat(...turns));
    expect(examples).toMatchObject([
      { turns: [{}, { isTarget: true, weight: 0.25 }, {}, { ...assistant, isTarget: true }] },
    ]);
    expect(examples).not.toMatchObject([{ turns: [{}, {}, {}, { weight: 1 }] }]);
  });

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

  test("conversations of ShareGPT, with a system message of their own", async () => {
    const { form, examples } = await parse(
      '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "id": "x"}',
      '{"system": "Be brief", "conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Hm", "weight": 0}, {"from": "human", "value": "?"}, {"from": "gpt", "value": "Yes"}]}',
    );
    expect(form).toBe("sharegpt");
    expect(examples).toEqual([
      {
        kind: "chat",
        line: 1,
        turns: [
          { role: "user", content: "Hi", isTarget: false },
          { role: "assistant", content: "Hello", isTarget: true },
        ],
      },
      {
        kind: "chat",
        line: 2,
        turns: [
          { role: "system", content: "Be brief", isTarget: false },
          { role: "user", content: "Hi", isTarget: false },
          { role: "assistant", content: "Hm", isTarget: false },
          { role: "user", content: "?", isTarget: false },
          { role: "assistant", content: "Yes", isTarget: true },
        ],
      },
    ]);
  });

  test("text, where no other form has its fields", async () => {
    const { form, examples } = await parse('{"text": " All of it.\\n", "meta": {}}');
    expect(form).toBe("text");
    expect(examples).toEqual([{ kind: "text", line: 1, text: " All of it.\n" }]);
    expect((await parse('{"text": "Add\\n5", "instruction": "Add", "output": "5"}')).form).toBe(
      "instruction",
    );
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
    ["an empty file", [], /train\.jsonl: the file holds no examples\.\nAccepted formats/],
    ["only blank lines", ["", "  "], /the file holds no examples/],
    ["a list of examples", [`[${good}]`], /train\.jsonl:1: this line is a list.*jq -c/],
    ["a number", ["17"], /train\.jsonl:1: this line is 17, but an object was expected/],
    ["null on a later line", [good, "null"], /train\.jsonl:2: this line is null/],
    ["unknown fields", ['{"body": "abc"}'], /train\.jsonl:1: no known format has these fields: "body"/],
    ["no fields", ["{}"], /no known format has these fields: no fields/],
    [
      "mixed forms",
      [good, "", '{"prompt": "a", "completion": "b"}'],
      /train\.jsonl:3: there is no field "messages" \(found: "prompt", "completion"\); like line 1, every line needs "messages"/,
    ],
    ["messages that are text", ['{"messages": "Hi"}'], /messages is "Hi"; expected a list of messages/],
    ["no messages", ['{"messages": []}'], /messages is an empty list; expected at least one message/],
    [
      "an unknown role",
      [good, chat(user, { role: "bot", content: "x" })],
      /train\.jsonl:2: messages\[1\]\.role is "bot"; expected "system", "user", "assistant" or "tool"/,
    ],
    [
      "content that is a number",
      [chat({ role: "user", content: 3 }, assistant)],
      /messages\[0\]\.content is 3; expected a string/,
    ],
    [
      "an image",
      [
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}, {"type": "image_url", "image_url": {"url": "a.png"}}]}]}',
      ],
      /messages\[0\]\.content\[1\] is an image \(type "image_url"\); models are trained on text only/,
    ],
    [
      "content that is null",
      [chat(user, { role: "assistant", content: null })],
      /messages\[1\]\.content is null; expected a string/,
    ],
    [
      "a message without content",
      [chat(user, { role: "assistant", text: "x" })],
      /messages\[1\] has no field "content" \(found: "role", "text"\)/,
    ],
    [
      "a message that is text",
      ['{"messages": ["Hi"]}'],
      /messages\[0\] is "Hi"; expected an object with role and content/,
    ],
    [
      "a weight of 101",
      [chat(user, { ...assistant, weight: 101 })],
      /messages\[1\]\.weight is 101; expected a number from 0 to 100/,
    ],
    [
      "a weight below 0",
      [chat(user, { ...assistant, weight: -0.5 })],
      /messages\[1\]\.weight is -0.5; expected a number from 0 to 100/,
    ],
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
    [
      "a speaker that nobody knows",
      ['{"conversations": [{"from": "bot", "value": "x"}]}'],
      /conversations\[0\]\.from is "bot"; expected "human", "gpt" or "system", or in data with tools "function_call" or "observation"/,
    ],
    [
      "a conversation that gpt begins, after a system message",
      ['{"system": "x", "conversations": [{"from": "gpt", "value": "Hi"}]}'],
      /conversations\[0\] is an assistant message with no user message before it/,
    ],
    [
      "a message of ShareGPT without a text",
      ['{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": " "}]}'],
      /conversations\[1\]\.value is empty, so there is nothing to learn/,
    ],
    ["an empty text", ['{"text": "  "}'], /text is empty, so there is nothing to learn/],
    ["a text that is a list", ['{"text": ["a"]}'], /text is a list; expected a string/],
    ["an empty completion", ['{"prompt": "a", "completion": ""}'], /completion is empty/],
    [
      "a prompt that is a list",
      ['{"prompt": [], "completion": "b"}'],
      /prompt is an empty list; expected a string/,
    ],
    ["an empty output", ['{"instruction": "a", "output": ""}'], /output is empty/],
    ["an empty instruction", ['{"instruction": " ", "input": "", "output": "b"}'], /instruction is empty/],
    [
      "an input that is a number",
      ['{"instruction": "a", "input": 1, "output": "b"}'],
      /input is 1; expected a string/,
    ],
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
      /messages is "y{59}…; expected a list of messages/,
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

  test("too many messages are refused by their number, without a look at each", async () => {
    let looks = 0;
    const messages = new Proxy(Array(10_001).fill(user), {
      get: (list, key) => {
        if (typeof key === "string" && /^\d+$/.test(key)) looks++;
        return Reflect.get(list, key);
      },
    });
    for (const value of [{ messages }, { conversations: messages }])
      await expect(readDataset([value])).rejects.toThrow(
        /is a list; expected a list of at most 10000 messages/,
      );
    expect(looks).toBeLessThan(4000);
  });

  test("the message shows every accepted form", async () => {
    await expect(parse("{}")).rejects.toThrowError(
      /"messages".*\n.*"conversations".*\n.*"prompt".*\n.*"instruction".*\n.*"question".*\n.*"text"/,
    );
  });
});

describe("files", () => {
  const readFile = async (content: string | Uint8Array) => {
    await writeFile(join(folder, "data.jsonl"), content);
    return readDataset(join(folder, "data.jsonl"));
  };
  const good = '{"question": "2 + 2?", "answer": "4"}';

  test("a byte order mark, CRLF, blank lines and a missing last line end are fine", async () => {
    const { examples } = await readFile(`\uFEFF${good}\r\n\r\n${good}`);
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

describe("tables and lists", () => {
  const write = async (name: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  const question = '{"question": "2 + 2?", "answer": "4"}';
  const dialogue = [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello" },
  ];
  const turns = [
    { role: "user", content: "Hi", isTarget: false },
    { role: "assistant", content: "Hello", isTarget: true },
  ];
  /** A list of messages, as the hub writes it. */
  const parquet = (rows: number): Uint8Array =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: "messages", data: Array.from({ length: rows }, () => dialogue) },
          { name: "id", data: Array.from({ length: rows }, (_, i) => BigInt(i)) },
        ],
        schema: [
          { name: "root", num_children: 2 },
          { name: "messages", converted_type: "LIST", num_children: 1, repetition_type: "OPTIONAL" },
          { name: "list", num_children: 1, repetition_type: "REPEATED" },
          { name: "element", num_children: 2, repetition_type: "OPTIONAL" },
          { name: "role", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
          { name: "content", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
          { name: "id", type: "INT64", repetition_type: "OPTIONAL" },
        ],
        rowGroupSize: 100,
      }),
    );

  test("a list of examples in one JSON file, or lines in a file that is called so", async () => {
    const list = await readDataset(await write("list.json", `\uFEFF\n [\n${question},\n${question}\n]`));
    expect(list.forms).toEqual(["question"]);
    expect(list.examples.map(placeText)).toEqual(["example 1", "example 2"]);
    const lines = await readDataset(await write("lines.json", `${question}\n${question}`));
    expect(lines.examples.map(placeText)).toEqual(["line 1", "line 2"]);
    await expect(readDataset(await write("pretty.json", '{\n  "question": "a"\n}'))).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(
        /pretty\.json:1.*\na \.json file holds .*or one object per line; jq -c \. FILE/,
      ),
    });
    await expect(readDataset(await write("bad.json", `[${question}, {}]`))).rejects.toThrow(
      /bad\.json: example 2: there is no field "question" \(found: no fields\); like example 1, every example needs/,
    );
    await expect(readDataset(await write("cut.json", `[${question},`))).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(/cut\.json/),
    });
    await expect(readDataset(await write("empty.json", "[]"))).rejects.toThrow(/no examples/);
  });

  test("CSV, with messages as JSON", async () => {
    const cell = JSON.stringify(dialogue).replaceAll('"', '""');
    const { forms, examples } = await readDataset(await write("chat.csv", `id,messages\n1,"${cell}"\n`));
    expect(forms).toEqual(["messages"]);
    expect(examples).toEqual([{ kind: "chat", line: 2, turns }]);
    await expect(readDataset(await write("chat.csv", "messages\nHi\n"))).rejects.toThrow(
      /chat\.csv:2: column messages/,
    );
  });

  test("Parquet, with nested messages, over several row groups", async () => {
    const { forms, examples } = await readDataset(await write("chat.parquet", parquet(250)));
    expect(forms).toEqual(["messages"]);
    expect(examples).toHaveLength(250);
    expect(examples.at(-1)).toEqual({ kind: "chat", line: 250, source: { unit: "row" }, turns });
  });

  test("a Parquet file that was cut off, or is none", { tags: "thorough" }, async () => {
    const whole = parquet(250);
    for (const end of [0, 3, 100, whole.length - 8, whole.length - 1])
      await expect(readDataset(await write("cut.parquet", whole.subarray(0, end)))).rejects.toMatchObject({
        code: "bad_data",
        message: expect.stringMatching(/cut\.parquet/),
      });
    const holed = Uint8Array.from(whole).fill(0xff, 4, 60);
    await expect(readDataset(await write("holed.parquet", holed))).rejects.toMatchObject({
      code: "bad_data",
    });
  });

  test("a packed file says what to do", async () => {
    await expect(readDataset(await write("a.jsonl.gz", ""))).rejects.toMatchObject({ code: "unsupported" });
  });

  test("several files, each in a form of its own, in the order given", async () => {
    const [first, second] = [await write("z.jsonl", question), await write("a.parquet", parquet(2))];
    const { forms, examples } = await readDataset([first, second]);
    expect(forms).toEqual(["question", "messages"]);
    expect(examples.map(placeText)).toEqual([`${first}:1`, `${second}: row 1`, `${second}: row 2`]);
  });

  test("examples of an iterable, which need not be there at once", async () => {
    const lines = [{ text: "one" }, { text: "two" }];
    async function* later() {
      yield* lines;
    }
    for (const data of [lines, new Set(lines), later()])
      expect((await readDataset(data)).examples).toEqual([
        { kind: "text", line: 1, source: { unit: "example" }, text: "one" },
        { kind: "text", line: 2, source: { unit: "example" }, text: "two" },
      ]);
    await expect(readDataset([])).rejects.toThrow(/^data: there are no examples/);
    await expect(readDataset([...lines, "train.jsonl"])).rejects.toThrow(
      /^data: example 3: this line is "train\.jsonl", but an object was expected/,
    );
    await expect(readDataset([{ text: "one" }, { texts: "two" }])).rejects.toThrow(
      /^data: example 2: there is no field "text" \(found: "texts"\)/,
    );
  });

  test("fields of other names", async () => {
    const columns = parseColumns(["instruction=task", "input=context", "output=response"]);
    const text = "task,context,response,messages\nAdd,,5,no JSON\n";
    const { forms, examples } = await readDataset(await write("other.csv", text), { columns });
    expect(forms).toEqual(["instruction"]);
    expect(examples[0]).toMatchObject({ line: 2, turns: [{ content: "Add" }, { content: "5" }] });
    await expect(readDataset([{ task: "a", response: "b" }], { columns })).resolves.toBeDefined();
    await expect(readDataset([{ task: "a" }], { columns })).rejects.toThrow(
      /data: example 1: there is no "response" \(found: "task"\), which --data-columns maps to output/,
    );
    await expect(readDataset(["a"].map(String).values(), { columns })).rejects.toThrow(/there is no "task"/);
    expect(() => parseColumns(["prompt=a", "prompt=b"])).toThrow(/two columns are mapped to one field/);
  });

  test("a check goes on after wrong lines for as long as it is asked to", async () => {
    const path = await write("a.jsonl", [question, "{", question, '{"question":1}', "[]", ""].join("\n"));
    const wrong: number[] = [];
    expect(await checkDataset(path, { onProblem: (_, line) => wrong.push(line) < 2 })).toBe(2);
    expect(wrong).toEqual([2, 4]);
    expect(await checkDataset(path, { onProblem: (_, line) => wrong.push(line) > 0 })).toBe(2);
    expect(wrong).toEqual([2, 4, 2, 4, 5]);
    await expect(checkDataset(path)).rejects.toThrow(/a\.jsonl:2:/);
    await expect(checkDataset(await write("a.jsonl", "\n"))).rejects.toThrow(/the file holds no examples/);
  });

  test("uploads of the fine-tuning service keep their forms", async () => {
    expect(await checkDataset(await write("a.jsonl", question))).toBe(1);
    const call = { id: "a", type: "function", function: { name: "f", arguments: "{}" } };
    const tools = [
      { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } },
    ];
    const calling = {
      messages: [user, { role: "assistant", tool_calls: [call] }],
      tools,
      parallel_tool_calls: false,
    };
    expect(await checkDataset(await write("a.jsonl", JSON.stringify(calling)))).toBe(1);
    await expect(
      checkDataset(await write("a.jsonl", JSON.stringify({ ...calling, tools: [] }))),
    ).rejects.toThrow(/a\.jsonl:1: messages\[1\] calls "f"; the line has no functions/);
    for (const line of ['{"text": "x"}', '{"conversations": [{"from": "gpt", "value": "x"}]}'])
      await expect(checkDataset(await write("a.jsonl", line))).rejects.toMatchObject({
        message: expect.not.stringMatching(/"text": "All|"conversations": \[\{|--data-columns/),
      });
  });
});

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i);

test("both parts keep the order and together are the whole", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 200 }), fc.nat(1000), fc.nat(), (n, seed, pick) => {
      const count = 1 + (pick % (n - 1));
      const { train, validation } = splitValidation(numbers(n), { count, seed });
      expect(validation).toHaveLength(count);
      for (const part of [train, validation]) expect(part).toEqual([...part].sort((a, b) => a - b));
      expect([...train, ...validation].sort((a, b) => a - b)).toEqual(numbers(n));
    }),
  );
});

test("the seed decides, and only the seed", () => {
  const split = (seed: number) => splitValidation(numbers(100), { fraction: 0.1, seed }).validation;
  expect(split(1)).toEqual(split(1));
  expect(split(1)).not.toEqual(split(2));
  expect(split(1)).not.toEqual(numbers(10));
});

test("a fraction is rounded, to one at least; 0 holds out nothing", () => {
  const validation = (n: number, fraction: number) =>
    splitValidation(numbers(n), { fraction, seed: 0 }).validation.length;
  expect(validation(100, 0.256)).toBe(26);
  expect(validation(3, 0.01)).toBe(1);
  expect(validation(3, 0)).toBe(0);
});

test.each([
  [{ count: 3 }, "bad_data", /a validation split of 3 of 3 examples leaves none to train on/],
  [{ fraction: 0.9 }, "bad_data", /a validation split of 3 of 3/],
  [{ count: 1.5 }, "bad_option", /cannot hold out 1.5 examples/],
  [{ count: -1 }, "bad_option", /cannot hold out -1 examples/],
  [{ fraction: 1 }, "bad_option", /cannot hold out a fraction of 1;/],
  [{ fraction: Number.NaN }, "bad_option", /cannot hold out a fraction of NaN/],
])("refuses %j", (options, code, message) => {
  const run = () => splitValidation(numbers(3), { seed: 0, ...options });
  expect(run).toThrowError(message);
  expect(run).toThrowError(expect.objectContaining({ code }));
});
