import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkDataset, parseColumns, readDataset, readExamples } from "./dataset.ts";
import type { AnsweredExample, DataKind, Example } from "./example.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-preferences-"));
});
afterAll(() => rm(folder, { recursive: true }));

const read = async (kind: DataKind, ...lines: readonly object[]): Promise<readonly Example[]> =>
  (await readDataset(lines, { kind })).examples;
const refusal = (kind: DataKind, ...lines: readonly object[]) =>
  read(kind, ...lines).then(
    () => expect.fail("it was read"),
    (error: Error) => error.message.split("\n")[0],
  );

const user = (content: string) => ({ role: "user", content });
const said = (content: string) => ({ role: "assistant", content });
const [hi, yo, hm] = [user("Hi"), said("Yo"), said("Hm")];

/** "user: Hi / assistant: Yo*", where an asterisk marks what is learnt. */
const show = (example: AnsweredExample): string =>
  example.kind === "completion"
    ? `${example.prompt}|${example.completion}`
    : example.turns.map((turn) => `${turn.role}: ${turn.content}${turn.isTarget ? "*" : ""}`).join(" / ");
const showAll = (examples: readonly Example[]) =>
  examples.map((one) => {
    if (one.kind === "pair") return [show(one.chosen), show(one.rejected)];
    return one.kind === "rated" ? [show(one.answer), one.isDesirable] : expect.fail(`a ${one.kind}`);
  });

const CHAT_PAIR = [["user: Hi / assistant: Yo*", "user: Hi / assistant: Hm*"]];

describe("pairs", () => {
  test.each([
    ["TRL, messages", { prompt: [hi], chosen: [yo], rejected: [hm] }],
    ["TRL, a text before messages", { prompt: "Hi", chosen: [yo], rejected: hm }],
    ["TRL, without a prompt", { chosen: [hi, yo], rejected: [hi, hm] }],
    ["whole conversations beside their prompt", { prompt: "Hi", chosen: [hi, yo], rejected: [hi, hm] }],
    ["OpenAI", { input: { messages: [hi] }, preferred_output: [yo], non_preferred_output: [hm] }],
    [
      "ShareGPT",
      {
        conversations: [{ from: "human", value: "Hi" }],
        chosen: { from: "gpt", value: "Yo" },
        rejected: { from: "gpt", value: "Hm" },
      },
    ],
    ["instructions", { instruction: "Hi", input: "", chosen: "Yo", rejected: "Hm" }],
    ["ms-swift", { messages: [hi, yo], rejected_response: "Hm" }],
  ])("%s", async (_, line) => {
    expect(showAll(await read("pairs", line))).toEqual(CHAT_PAIR);
  });

  test("texts stay what they are", async () => {
    const line = { prompt: "2 + 2 =", chosen: " 4", rejected: " 5" };
    expect(showAll(await read("pairs", line))).toEqual([["2 + 2 =| 4", "2 + 2 =| 5"]]);
    const asked = { ...line, system: "Count." };
    expect(showAll(await read("pairs", asked))[0]?.[0]).toBe(
      "system: Count. / user: 2 + 2 = / assistant:  4*",
    );
  });

  test("only what answers is learnt, with the calls before it", async () => {
    const call = { id: "a", type: "function", function: { name: "now", arguments: "{}" } };
    const tools = [{ type: "function", function: { name: "now" } }];
    const calling = { role: "assistant", content: null, tool_calls: [call] };
    const result = { role: "tool", tool_call_id: "a", content: "noon" };
    const asked = [hi, { ...yo, weight: 1 }, user("When?")];
    const line = {
      input: { messages: asked, tools, parallel_tool_calls: false },
      preferred_output: [calling, result, said("At noon.")],
      non_preferred_output: [said("Never.")],
    };
    const [pair] = await read("pairs", line);
    if (pair?.kind !== "pair" || pair.chosen.kind !== "chat") return expect.fail();
    expect(show(pair.chosen)).toBe(
      "user: Hi / assistant: Yo / user: When? / assistant: * / tool: noon / assistant: At noon.*",
    );
    expect(show(pair.rejected)).toBe("user: Hi / assistant: Yo / user: When? / assistant: Never.*");
    expect(pair.chosen).toMatchObject({ parallel: false, tools: [{ name: "now" }] });
  });

  test("variables of the chat template come with a line", async () => {
    const kwargs = { chat_template_kwargs: { enable_thinking: false } };
    const [pair] = await read("pairs", { prompt: "Hi", chosen: "Yo", rejected: "Hm", ...kwargs });
    expect(pair).toMatchObject({ chosen: { kind: "chat", variables: { enable_thinking: false } } });
  });

  test.each([
    ["Is it so? Yes, it is.", "Is it so? Yes, we are.", "Is it so? Yes,"],
    ["Q\nyes", "Q\nno", "Q\n"],
    ["Say: pardon", "Say: paris", "Say:"],
    ["早上好", "早安", "早"],
  ])("the prompt of two texts ends where a word begins: %j, %j", async (chosen, rejected, prompt) => {
    const [pair] = await read("pairs", { chosen, rejected });
    expect(pair).toMatchObject({ chosen: { prompt, completion: chosen.slice(prompt.length) } });
    expect(pair).toMatchObject({ rejected: { prompt, completion: rejected.slice(prompt.length) } });
  });

  test("law: prompts and answers of texts are the texts", async () => {
    const texts = fc.string({ unit: fc.constantFrom("a", "b", " ", "\n"), minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(texts, texts, texts, async (prompt, one, other) => {
        const line = { chosen: prompt + one, rejected: prompt + other };
        const [pair] = await read("pairs", line).catch(() => []);
        if (pair?.kind !== "pair") return;
        for (const side of ["chosen", "rejected"] as const) {
          const example = pair[side];
          if (example.kind !== "completion") throw new Error(example.kind);
          expect(example.prompt + example.completion).toBe(line[side]);
        }
      }),
    );
  });

  test.each([
    [
      { prompt: "Hi", chosen: "Yo", rejected: "Yo" },
      "chosen and rejected are the same, so neither is preferred.",
    ],
    [{ chosen: "Yo", rejected: "Yo" }, "chosen and rejected are the same, so neither is preferred."],
    [{ chosen: [hi, yo], rejected: [hi, yo] }, "chosen and rejected are the same, so neither is preferred."],
    [{ prompt: " ", chosen: "Yo", rejected: "Hm" }, "prompt is empty."],
    [{ prompt: "Hi", chosen: "", rejected: "Hm" }, "chosen is empty, so there is nothing to learn."],
    [
      { prompt: [hi], chosen: [yo], rejected: [said(" ")] },
      "rejected[0].content is empty, so there is nothing to learn.",
    ],
    [{ prompt: "Hi", chosen: "Yo", rejected: 5 }, "rejected is 5; expected a string or a list of messages."],
    [{ prompt: [], chosen: "Yo", rejected: "Hm" }, "prompt is an empty list; expected at least one message."],
    [
      { prompt: [hi, yo], chosen: "Yo", rejected: "Hm" },
      "prompt[1] is an assistant message; a prompt ends with a user message or the result of a call.",
    ],
    [
      { prompt: [hi], chosen: [yo, hi], rejected: "Hm" },
      "chosen[1] is a user message; an answer begins and ends with an assistant message.",
    ],
    [
      { chosen: [hi, yo], rejected: [user("Ho"), hm] },
      "chosen[0] and rejected[0] differ, so there is no prompt; both begin with the same messages.",
    ],
    [{ chosen: [hi, yo], rejected: [hi] }, "rejected has no answer."],
    [
      { chosen: [hi, yo, user("a"), hm], rejected: [hi, yo, user("b"), hm] },
      "chosen[1] is an assistant message; a prompt ends with a user message or the result of a call.",
    ],
    [
      { prompt: "Ho", chosen: [hi, yo], rejected: [hi, hm] },
      "chosen and rejected are conversations that do not begin with the prompt; leave the prompt or these messages out.",
    ],
    [
      { input: { messages: [hi] }, preferred_output: [{ ...yo, role: "bot" }], non_preferred_output: [hm] },
      'preferred_output[0].role is "bot"; expected "system", "user", "assistant" or "tool".',
    ],
    [
      { input: { messages: [] }, preferred_output: [yo], non_preferred_output: [hm] },
      "input.messages is an empty list; expected at least one message.",
    ],
    [
      { input: {}, preferred_output: [yo], non_preferred_output: [hm] },
      'input has no field "messages" (found: no fields).',
    ],
    [
      {
        conversations: [{ from: "human", value: "Hi" }],
        chosen: { from: "gpt", value: "" },
        rejected: { from: "gpt", value: "Hm" },
      },
      "chosen.value is empty, so there is nothing to learn.",
    ],
    [{ messages: [yo], rejected_response: "Hm" }, "there is no prompt before messages[0]."],
    [{ prompt: "Hi", chosen: "Yo" }, "this is a prompt without an answer"],
  ])("refused: %j", async (line, problem) => {
    const found = await refusal("pairs", line);
    expect(found).toContain(`data: example 1: ${problem}`);
  });
});

describe("rated answers", () => {
  test.each([
    ["TRL, texts", { prompt: "Hi", completion: "Yo", label: true }, "Hi|Yo"],
    ["TRL, messages", { prompt: [hi], completion: [yo], label: true }, "user: Hi / assistant: Yo*"],
    ["messages", { messages: [hi, yo], label: true }, "user: Hi / assistant: Yo*"],
    [
      "several answers",
      { messages: [hi, hm, hi, yo], label: true },
      "user: Hi / assistant: Hm / user: Hi / assistant: Yo*",
    ],
  ])("%s", async (_, line, shown) => {
    expect(showAll(await read("rated", line, { ...line, label: false }))).toEqual([
      [shown, true],
      [shown, false],
    ]);
  });

  test("labels of tables are texts and numbers", async () => {
    const path = join(folder, "rated.csv");
    await writeFile(path, "prompt,completion,label\nHi,Yo,True\nHi,Hm,0\n");
    const { examples } = await readDataset(path, { kind: "rated" });
    expect(examples).toMatchObject([{ isDesirable: true }, { isDesirable: false }]);
  });

  test("pairs are answers that are rated, too; but not the other way round", async () => {
    expect(await read("rated", { prompt: "Hi", chosen: "Yo", rejected: "Hm" })).toMatchObject([
      { kind: "pair" },
    ]);
    expect(await refusal("pairs", { prompt: "Hi", completion: "Yo", label: true })).toBe(
      'data: example 1: this is a rated answer (found: "prompt", "completion", "label"), but this run learns from pairs of a preferred and another answer.',
    );
  });

  test.each([
    [{ messages: [hi, yo], label: "good" }, 'label is "good"; expected true or false.'],
    [{ prompt: "Hi", completion: "Yo", label: 2 }, "label is 2; expected true or false."],
    [{ prompt: "Hi", completion: " ", label: true }, "completion is empty, so there is nothing to learn."],
    [{ messages: [hi], label: true }, "there is no prompt before messages[0]."],
  ])("refused: %j", async (line, problem) => {
    expect(await refusal("rated", line)).toBe(`data: example 1: ${problem}`);
  });
});

describe("prompts", () => {
  test("the other fields of a line are its item", async () => {
    const tools = [{ type: "function", function: { name: "now" } }];
    const system = { role: "developer", content: "Count." };
    const lines = [{ messages: [system, hi], tools, reference: "Yo", notes: { a: 1 } }, { messages: [hi] }];
    expect(await read("prompts", ...lines)).toMatchObject([
      {
        kind: "prompt",
        turns: [{ role: "system", content: "Count.", isTarget: false }, hi],
        tools: [{ name: "now" }],
        item: { reference: "Yo", notes: { a: 1 } },
      },
      { kind: "prompt", turns: [hi], item: {} },
    ]);
    expect(await read("prompts", { prompt: "Hi", answer: "Yo" })).toMatchObject([
      { turns: [hi], item: { answer: "Yo" } },
    ]);
  });

  test("columns are mapped, and the others stay", async () => {
    const columns = parseColumns(["prompt=question"]);
    const { examples } = await readDataset([{ question: "Hi", answer: "Yo" }], { kind: "prompts", columns });
    expect(examples).toMatchObject([{ turns: [hi], item: { question: "Hi", answer: "Yo" } }]);
  });

  test("an answer is refused, and so is a result that nothing asked for", async () => {
    expect(await refusal("prompts", { messages: [hi, yo], reference: "Yo" })).toBe(
      "data: example 1: messages[1] is an assistant message; a prompt ends before the answer.",
    );
    expect(await refusal("prompts", { messages: [hi, { role: "tool", content: "5" }] })).toMatch(
      /^data: example 1: messages\[1\] answers an unknown call/,
    );
  });
});

describe("kinds of data", () => {
  const pair = { prompt: "Hi", chosen: "Yo", rejected: "Hm" };
  const describeUse = (kind: DataKind) => `${kind} have a use`;

  test("preferences are not learnt as examples, where a line has the fields of both", async () => {
    for (const [line, found] of [
      [pair, "a pair of answers"],
      [{ ...pair, prompt: "Hi", completion: "Yo" }, "a pair of answers"],
      [{ messages: [hi, yo], label: false }, "a rated answer"],
    ] as const)
      expect(await refusal("examples", line)).toContain(
        `data: example 1: this is ${found} (found: ${Object.keys(line)
          .map((key) => JSON.stringify(key))
          .join(", ")}), but this run learns from examples`,
      );
    await expect(readDataset([pair], { describeUse })).rejects.toThrowError(
      /but this run learns from examples; pairs have a use\.\n/,
    );
    await expect(
      readDataset([{ prompt: "Hi", completion: "Yo" }], { kind: "pairs", describeUse }),
    ).rejects.toThrowError(/this is an example .*; examples have a use\.\nAccepted formats/);
  });

  test("a label that says something else is a column like others", async () => {
    expect(await read("examples", { messages: [hi, yo], label: 1 })).toMatchObject([{ kind: "chat" }]);
    expect(await read("examples", { prompt: "Hi", completion: "Yo", label: "greeting" })).toMatchObject([
      { kind: "completion" },
    ]);
  });

  test("without a kind, a line is what it looks like", async () => {
    const path = join(folder, "any.jsonl");
    const forms = async (line: object) => {
      await writeFile(path, JSON.stringify(line));
      const found = [];
      for await (const { form } of readExamples(path, {})) found.push(form);
      return found[0];
    };
    expect(await forms(pair)).toBe("preference");
    expect(await forms({ chosen: "a b", rejected: "a c" })).toBe("implicit-preference");
    expect(await forms({ messages: [hi, yo], label: true })).toBe("messages-rated");
    expect(await forms({ messages: [hi, yo] })).toBe("messages");
    expect(await forms({ messages: [hi], reference: "Yo" })).toBe("messages-prompt");
    expect(await forms({ messages: [hi] })).toBe("messages");
    expect(await forms({ prompt: "Hi", text: "Yo" })).toBe("text");
    expect(await forms({ prompt: "Hi", reference: "Yo" })).toBe("prompt");
  });

  test("uploads of all kinds are checked by line", async () => {
    const path = join(folder, "upload.jsonl");
    await writeFile(path, [pair, { ...pair, rejected: "Yo" }].map((line) => JSON.stringify(line)).join("\n"));
    await expect(checkDataset(path)).rejects.toThrowError(/:2: chosen and rejected are the same/);
  });
});

describe("hints", () => {
  const line = { messages: [user("Oh"), said("Ah"), hi, yo], hint: "Say yo." };

  test("the last answer is learnt, with the hint; a run without hints learns all of them", async () => {
    const [hinted] = await read("hinted", line);
    expect(hinted).toMatchObject({ kind: "chat", hint: "Say yo." });
    expect(show(hinted as AnsweredExample)).toBe("user: Oh / assistant: Ah / user: Hi / assistant: Yo*");
    const [plain] = await read("examples", line);
    expect(plain).not.toHaveProperty("hint");
    expect(show(plain as AnsweredExample)).toBe("user: Oh / assistant: Ah* / user: Hi / assistant: Yo*");
  });

  test("a line needs an answer and a hint", async () => {
    expect(await refusal("hinted", { ...line, messages: [hi] })).toMatch(/messages\[0\] is a user message/);
    expect(await refusal("hinted", { ...line, hint: " " })).toMatch(/hint is empty/);
    expect(await refusal("hinted", { messages: [hi, yo] })).toMatch(
      /this is an example .*, but this run learns from answers with hints/,
    );
    expect(await refusal("hinted", line, { messages: [hi, yo] })).toMatch(/there is no field "hint"/);
  });
});
