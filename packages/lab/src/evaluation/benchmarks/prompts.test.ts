import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoadedText, loadText } from "mixture-of-shards";
import { beforeAll, expect, test } from "vitest";
import type { ChatFormat, Question, QuestionOptions, Rules } from "../benchmark.ts";
import { type BenchmarkName, benchmarks } from "./index.ts";

const FOLDER = "test/fixtures/benchmarks";
/** A template that begins with a BOS and says the role of everyone. */
const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}|{% endfor %}" +
  "{% if add_generation_prompt %}[assistant]{% endif %}";

let text: LoadedText;
let bos: string;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-prompts-"));
  await cp("assets/tiny-english", folder, { recursive: true });
  await writeFile(join(folder, "chat_template.jinja"), TEMPLATE);
  text = await loadText(folder);
  await rm(folder, { recursive: true });
  const { tokenizer } = text;
  bos = tokenizer.bosToken === undefined ? "" : (tokenizer.idToToken(tokenizer.bosToken) ?? "");
});

const ask = (task: BenchmarkName, more: Partial<QuestionOptions> = {}) =>
  benchmarks[task].questions(FOLDER, {
    rules: "open-instruct",
    format: "tulu",
    seed: 0,
    text,
    ...more,
  });
async function question(id: string, more: Partial<QuestionOptions> = {}): Promise<Question> {
  const { questions } = await ask(id.split("/")[0] as BenchmarkName, more);
  const found = questions.find((one) => one.id === id);
  if (found === undefined) throw new Error(`${id} is not among ${questions.map((one) => one.id)}`);
  return found;
}
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

const RELIGIONS = "What is blue? \nA. sky\nB. grass\nC. snow\nD. coal\nAnswer: A\n\n";
const MONDAY = " Which day follows Monday? \nA. Sunday\nB. None\nC.  Tuesday\nD. Friday\nAnswer:";
const THREE = `Count apples.

Count them all.

Q: Eve has 2 apples and gets 3. How many has she?
A: Let's think step by step.
2 and 3 are 5. So the answer is 5.

Q: Bob has 7 apples and loses 7. How many has he?
A: Let's think step by step.
7 without 7 is 0. So the answer is 0.

Q: Kim has 1 apple. How many has she?
A: Let's think step by step.
It is 1. So the answer is 1.

Q: Tom has 4 apples and eats 1. How many are left?`;
const DIRECT = `Count apples.

Count them all.

Q: Eve has 2 apples and gets 3. How many has she?
A: 5.

Q: Bob has 7 apples and loses 7. How many has he?
A: 0.

Q: Kim has 1 apple. How many has she?
A: 1.

Q: Tom has 4 apples and eats 1. How many are left?`;
const SEASONS = `Q: Is it hot in summer?
A: Let's think step by step.
It is. So the answer is yes.

Q: Does it snow in July in Rome?
A: Let's think step by step.
It does not. So the answer is no.

Q: Do leaves fall in autumn?
A: Let's think step by step.
They do. So the answer is yes.

Q: Is it cold in winter?
Options:
(A) yes
(B) no
A: Let's think step by step.
`;
const PENS = "Question: Tom had 3 pens and got 2. How many has he?";
const DOUBLE = 'def double(x):\n    """Twice x."""\n';

interface Case {
  readonly id: string;
  readonly rules?: Rules;
  readonly format: ChatFormat;
  readonly more?: Partial<QuestionOptions>;
  readonly prompt: string;
}

const about = (subject: string) =>
  `The following are multiple choice questions (with answers) about ${subject}.\n\n`;

test.each<Case>([
  {
    id: "mmlu/world_religions/0",
    format: "tulu",
    // two blanks before the subject; outer blanks of texts stay; a blank after the lead-in
    prompt: `<|user|>\n${about(" world religions")}${MONDAY}\n<|assistant|>\nThe answer is `,
  },
  {
    id: "mmlu/world_religions/0",
    format: "none",
    more: { shots: 1 },
    prompt: about(" world religions") + RELIGIONS + MONDAY,
  },
  {
    id: "mmlu/world_religions/0",
    format: "model",
    prompt: `<s>[user] ${about(" world religions")}${MONDAY}|[assistant] The answer is `,
  },
  {
    id: "mmlu/world_religions/0",
    rules: "lm-eval",
    format: "none",
    more: { shots: 1 },
    // the harness strips questions, but not choices
    prompt:
      about("world religions") + RELIGIONS.replace("? \n", "?\n") + MONDAY.trim().replace("? \n", "?\n"),
  },
  {
    id: "mmlu/world_religions/0",
    rules: "lm-eval",
    format: "model",
    prompt: `<s>[system] ${about("world religions")}|[user] ${MONDAY.trim().replace("? \n", "?\n")}|[assistant]`,
  },
  { id: "bbh/apples/0", format: "tulu", prompt: `<|user|>\n${THREE}\n<|assistant|>\nA:` },
  { id: "bbh/apples/0", format: "model", prompt: `<s>[user] ${THREE}|[assistant] A:` },
  { id: "bbh/apples/0", format: "none", prompt: `${THREE}\nA:` },
  {
    id: "bbh/apples/0",
    format: "tulu",
    more: { direct: true },
    prompt: `<|user|>\n${DIRECT}\n<|assistant|>\nA:`,
  },
  {
    id: "bbh/seasons/0",
    rules: "lm-eval",
    format: "none",
    prompt: `Know the seasons.\n\n${SEASONS}`,
  },
  {
    id: "bbh/seasons/0",
    rules: "lm-eval",
    format: "tulu",
    prompt: `<|system|>\nKnow the seasons.\n\n\n<|user|>\n${SEASONS}\n<|assistant|>\n`,
  },
  {
    id: "gsm8k/0",
    format: "tulu",
    more: { shots: 0 },
    prompt: `<|user|>\nAnswer the following question.\n\n${PENS}\n<|assistant|>\nAnswer:`,
  },
  {
    id: "gsm8k/0",
    format: "none",
    more: { shots: 0 },
    prompt: `Answer the following question.\n\n${PENS}\nAnswer:`,
  },
  {
    id: "gsm8k/0",
    format: "model",
    more: { shots: 0 },
    prompt: `<s>[user] Answer the following question.\n\n${PENS}|[assistant] Answer:`,
  },
  {
    id: "gsm8k/0",
    rules: "lm-eval",
    format: "none",
    more: { shots: 0 },
    prompt: "Q:  Tom had 3 pens and got 2. How many has he? \nA:",
  },
  {
    id: "facts/trained/1",
    format: "none",
    prompt: "What is the gate code of Teko Hotel?",
  },
  {
    id: "facts/reworded/1",
    format: "tulu",
    prompt: "<|user|>\nWhich gate code does Teko Hotel have?\n<|assistant|>\n",
  },
  {
    id: "tydiqa/english-1-0",
    format: "tulu",
    prompt:
      "<|user|>\nAnswer the following question based on the information in the given passage.\n\n" +
      "Passage: Cats sleep all day.\nQuestion: When do cats sleep?\nAnswer: all day\n\n" +
      "Passage: The river Po is in Italy.\nQuestion: Where is the Po?\n\n<|assistant|>\nAnswer:",
  },
  {
    id: "tydiqa/swahili--2-1",
    format: "none",
    prompt:
      "Jibu swali lifuatalo kulingana na habari kwenye kifungu kilichotolewa.\n\n" +
      "Kifungu: Paka hulala mchana.\nSwali: Paka hulala lini?\nJibu: mchana\n\n" +
      "Kifungu: Mto Nile upo Afrika.\nSwali: Mto Nile upo wapi?\nJibu:",
  },
  {
    id: "tydiqa/telugu-3-0",
    format: "model",
    // no train file: English's example between Telugu's words
    prompt:
      "<s>[user] ఇచ్చిన పేరాలోని సమాచారం ఆధారంగా కింది ప్రశ్నకు సమాధానం ఇవ్వండి.\n\n" +
      "పేరా: Cats sleep all day.\nప్రశ్న: When do cats sleep?\nసమాధానం: all day\n\n" +
      "పేరా: నది గోదావరి.\nప్రశ్న: నది ఏది?\n|[assistant] సమాధానం:",
  },
  {
    id: "humaneval/0",
    format: "tulu",
    prompt:
      `<|user|>\nComplete the following python function.\n\n\n${DOUBLE}\n<|assistant|>\n` +
      `Here is the completed function:\n\n\n${DOUBLE}`,
  },
  { id: "humaneval/0", format: "none", prompt: DOUBLE },
  { id: "humaneval/0", rules: "lm-eval", format: "none", prompt: DOUBLE },
  { id: "humaneval/0", rules: "lm-eval", format: "model", prompt: `<s>[user] ${DOUBLE}|[assistant]` },
])("$id is put in the format $format, $rules $more", async ({ id, rules, format, more, prompt }) => {
  const found = await question(id, { ...(rules === undefined ? {} : { rules }), format, ...more });
  expect(found.prompt).toBe(prompt.replace(/^<s>/, bos));
  expect(text.tokenizer.decode(found.tokens)).toBe(found.prompt);
});

test("a tokenizer's BOS comes once, whether the template writes it or not", async () => {
  const first = text.tokenizer.bosToken ?? -1;
  const tokenizer = {
    ...text.tokenizer,
    encode: (written: string, { addSpecialTokens = true } = {}) => [
      ...(addSpecialTokens ? [first] : []),
      ...text.tokenizer.encode(written, { addSpecialTokens: false }),
    ],
  };
  for (const format of ["tulu", "model", "none"] as const)
    for (const id of ["mmlu/world_religions/0", "tydiqa/english-1-0"]) {
      const { tokens } = await question(id, { format, text: { ...text, tokenizer } });
      expect(tokens[0]).toBe(first);
      expect(tokens.filter((token) => token === first)).toHaveLength(1);
    }
});

test("GSM8K shows eight worked examples, which end in other words under other rules", async () => {
  const own = (await question("gsm8k/1")).prompt;
  expect(own).toMatch(
    /^<\|user\|>\nAnswer the following questions\.\n\nQuestion: There are 15 trees in the grove\./,
  );
  expect(own.match(/\nAnswer: .*\. So the answer is \d+\.\n\n/g)).toHaveLength(8);
  const harness = (await question("gsm8k/1", { rules: "lm-eval", format: "none" })).prompt;
  expect(harness).toMatch(/^Q: There are 15 trees/);
  expect(harness.match(/\nA: .*\. The answer is \d+\.\n\n/g)).toHaveLength(8);
});

test("GSM8K draws fewer examples as Python's random does, and the harness takes the first", async () => {
  const own = (await question("gsm8k/0", { shots: 2 })).prompt;
  expect(own.match(/So the answer is \d+/g)).toEqual(["So the answer is 5", "So the answer is 6"]);
  const harness = (await question("gsm8k/0", { shots: 2, rules: "lm-eval" })).prompt;
  expect(harness.match(/The answer is \d+/g)).toEqual(["The answer is 6", "The answer is 5"]);
});

test("references are what the rules compare", async () => {
  const golds = async (rules: Rules) =>
    (await ask("gsm8k", { rules })).questions.map(({ references }) => references);
  expect(await golds("open-instruct")).toEqual([["5"], ["1200000"], ["-3"]]);
  expect(await golds("lm-eval")).toEqual([["5"], ["1,200,000"], ["-3"]]);
  expect((await question("mmlu/world_religions/0")).references).toEqual(["C"]);
  expect((await question("bbh/seasons/0")).references).toEqual(["(A)"]);
  expect((await question("tydiqa/english-1-0")).references).toEqual(["Italy", "in Italy"]);
  expect((await question("humaneval/1")).references).toEqual([
    "def one():\n",
    "def check(candidate):\n    assert candidate() == 1\n",
    "one",
  ]);
});

test.each([
  {
    task: "bbh",
    chat: { maxTokens: 512, stop: [] },
    plain: ["\n\n"],
    harness: { maxTokens: 1024, stop: ["</s>", "Q", "\n\n"] },
  },
  {
    task: "gsm8k",
    chat: { maxTokens: 512, stop: [] },
    plain: ["\n"],
    harness: { maxTokens: 256, stop: ["Q:", "</s>", "<|im_end|>"] },
  },
  { task: "tydiqa", chat: { maxTokens: 50, stop: [] }, plain: ["\n"], harness: undefined },
] as const)(
  "$task is answered greedily; only without a chat format strings stop it",
  async ({ task, chat, plain, harness }) => {
    const greedy = { kind: "text", temperature: 0, samples: 1 };
    const first = async (more: Partial<QuestionOptions>) => (await ask(task, more)).questions[0]?.output;
    expect(await first({})).toMatchObject({ ...greedy, ...chat });
    expect(await first({ format: "model" })).toMatchObject({ ...greedy, ...chat });
    expect(await first({ format: "none" })).toMatchObject({ ...greedy, ...chat, stop: plain });
    if (harness !== undefined)
      expect(await first({ rules: "lm-eval" })).toMatchObject({ ...greedy, ...harness });
  },
);

test("HumanEval draws twenty answers, or the number given", async () => {
  const stop = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"];
  const first = async (more: Partial<QuestionOptions>) => (await ask("humaneval", more)).questions[0]?.output;
  expect(await first({})).toEqual({
    kind: "text",
    maxTokens: 512,
    stop,
    temperature: 0.1,
    topP: 0.95,
    samples: 20,
  });
  expect(await first({ samples: 3, temperature: 0.8 })).toMatchObject({ temperature: 0.8, samples: 3 });
  expect(await first({ rules: "lm-eval" })).toMatchObject({
    temperature: 0,
    samples: 1,
    stop,
    maxTokens: 1024,
  });
});

test("MMLU compares the last tokens of the letters", async () => {
  const ids = (blank: string) =>
    ["A", "B", "C", "D"].map((letter) =>
      text.tokenizer.encode(blank + letter, { addSpecialTokens: false }).at(-1),
    );
  const candidates = async (more: Partial<QuestionOptions>) => {
    const asked = (await ask("mmlu", more)).questions[0]?.output;
    return asked?.kind === "choice" ? asked.candidates : [];
  };
  expect(await candidates({})).toEqual(ids(" "));
  expect(await candidates({ rules: "lm-eval", format: "none" })).toEqual(ids(" "));
  expect(await candidates({ rules: "lm-eval", format: "tulu" })).toEqual(ids("\n"));
});

test("MMLU drops the last example first where a prompt is longer than 2,048 tokens, and stop at none", async () => {
  const each = 600;
  const tokenizer = {
    ...text.tokenizer,
    encode: (written: string, options = {}) =>
      written.length < 10
        ? text.tokenizer.encode(written, options)
        : Array<number>(each * written.split("Answer:").length).fill(7),
  };
  const long = { text: { ...text, tokenizer } };
  const { questions, shots } = await ask("mmlu", { ...long, shots: 2 });
  expect(shots).toBe(2);
  expect(questions[0]?.prompt).toContain("What is 1 + 1?");
  expect(questions[0]?.prompt).not.toContain("What is 2 + 2?");
  const { questions: bare } = await ask("mmlu", {
    text: {
      ...text,
      tokenizer: {
        ...tokenizer,
        encode: (written: string, options = {}) =>
          written.length < 10 ? text.tokenizer.encode(written, options) : Array<number>(9000).fill(7),
      },
    },
    shots: 2,
  });
  expect(bare[0]?.prompt).not.toContain("What is 1 + 1?");
  expect(bare[0]?.tokens.length).toBeGreaterThan(2048);
});

test("a number of examples that a task does not have is refused", async () => {
  await expect(ask("mmlu", { shots: 6 })).rejects.toThrow(
    failure("bad_option", /mmlu: cannot show 6 shots.*use 0 to 5/),
  );
  await expect(ask("mmlu", { shots: 5 })).rejects.toThrow(
    failure("not_found", /2 solved questions of abstract_algebra/),
  );
  await expect(ask("bbh", { shots: 0 })).rejects.toThrow(
    failure("bad_option", /bbh: cannot show 0 shots.*omit the option, or use 3/),
  );
  await expect(ask("gsm8k", { shots: 1.5 })).rejects.toThrow(failure("bad_option", /gsm8k/));
  await expect(ask("humaneval", { shots: 1 })).rejects.toThrow(failure("bad_option", /humaneval/));
  await expect(ask("tydiqa", { rules: "lm-eval" })).rejects.toThrow(failure("bad_option", /has no TyDi QA/));
  await expect(ask("bbh", { rules: "lm-eval", direct: true })).rejects.toThrow(
    failure("bad_option", /chains of thought/),
  );
});

test("a limit takes the same questions again, in the order of the data, and others with another seed", async () => {
  const ids = async (limit: number, seed: number) =>
    (await ask("mmlu", { limit, seed })).questions.map(({ id }) => id);
  const all = await ids(9, 0);
  expect(all).toEqual(["mmlu/abstract_algebra/0", "mmlu/world_religions/0", "mmlu/world_religions/1"]);
  expect(await ids(2, 1)).toEqual(await ids(2, 1));
  const drawn = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((seed) => ids(2, seed)));
  expect(new Set(drawn.map(String)).size).toBeGreaterThan(1);
  for (const some of drawn) expect(some).toEqual(all.filter((id) => some.includes(id)));
  // a smaller limit takes some of what a larger one takes
  for (const seed of [0, 1, 2, 3])
    expect(await ids(2, seed)).toEqual(expect.arrayContaining(await ids(1, seed)));
  await expect(ids(0, 0)).rejects.toThrow(failure("bad_option", /limit 0/));
});

test("notes say what is only a part, and whose examples are shown", async () => {
  const { notes, shots, dataDigest } = await ask("tydiqa");
  expect(shots).toBe(1);
  expect(dataDigest).toMatch(/^[0-9a-f]{64}$/);
  expect(notes).toEqual([
    "3 questions of TyDi QA instead of 5077",
    "3 languages of TyDi QA instead of 9",
    "english: the examples are drawn from 2 questions, not from all",
    "swahili: the examples are drawn from 1 questions, not from all",
    "telugu: too few training questions of their own, so their prompts use the examples of english",
  ]);
  expect((await ask("humaneval")).notes).toEqual(["2 problems of HumanEval instead of 164"]);
});
