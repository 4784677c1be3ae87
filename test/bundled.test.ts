import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";
import { randomStream } from "mixture-of-shards-core/common";
import { expect, test } from "vitest";
import { trainMerges } from "../scripts/bundled/bpe.ts";
import {
  corpus,
  type Document,
  packRows,
  pretrainingDocuments,
  renderChat,
  renderDocument,
} from "../scripts/bundled/documents.ts";
import { fill, polish } from "../scripts/bundled/grammar.ts";
import { showcase, tenantGrader, tenantHeldout, tenantTraining } from "../scripts/bundled/tenant.ts";
import { tenantPairs, tenantPrompts } from "../scripts/bundled/tenant-pairs.ts";

const json = (path: string) => JSON.parse(readFileSync(`assets/${path}`, "utf8"));
const config = json("tiny-english/config.json");
const tokenizerConfig = json("tiny-english/tokenizer_config.json");
const tokenizer = new Tokenizer(json("tiny-english/tokenizer.json"), tokenizerConfig);
const encode = (text: string): number[] => tokenizer.encode(text).ids;

function documents(seed: number, count: number, label?: string): Document[] {
  const source = corpus(seed, label);
  return Array.from({ length: count }, () => source.next().value);
}

interface Line {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}
const lines = (text: string): Line[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("the same seed and label give the same corpus, another seed or label another one", () => {
  expect(documents(3, 200)).toEqual(documents(3, 200));
  expect(documents(3, 20)).not.toEqual(documents(4, 20));
  expect(documents(3, 20)).not.toEqual(documents(3, 20, "heldout"));
});

test("the corpus has no unfilled places and every sentence starts with a capital letter", () => {
  for (const document of documents(5, 2000)) {
    const texts =
      document.kind === "prose" ? [document.text] : document.messages.map(({ content }) => content);
    for (const text of texts) {
      expect(text).not.toMatch(/[{}[\]|]|undefined| {2}| [.,!?]|\b[Aa] [aeiou]/);
      expect(text).toMatch(/^"?[A-Z].*[.!?]"?$/);
    }
  }
});

test("templates choose variants, fill places and mend articles", () => {
  expect(fill(randomStream(0, "t"), "[a|a] {thing} fell. it broke.", { thing: "egg" })).toBe(
    "An egg fell. It broke.",
  );
  expect(polish('"a dog?" she said.')).toBe('"A dog?" she said.');
  expect(() => fill(randomStream(0, "t"), "{nothing}", {})).toThrowError(/no word for \{nothing\}/);
});

test("the tokenizer gives back any text", () => {
  const odd = "Ahoy! Żółw 漢字 🙂‍↕️\t  tabs\r\n\n   spaces 12345 don't <b>";
  const texts = [odd, ...documents(7, 300).map(renderDocument)];
  for (const text of texts) {
    const ids = encode(text);
    expect(Math.max(...ids)).toBeLessThan(config.vocab_size);
    expect(tokenizer.decode(ids, { skip_special_tokens: false })).toBe(text);
  }
});

test("special tokens have the ids that the configuration names", () => {
  expect(encode("<|endoftext|><|im_start|><|im_end|>")).toEqual([
    config.bos_token_id,
    1,
    config.eos_token_id,
  ]);
});

test("documents are rendered as the chat template renders them", () => {
  const template = new Template(tokenizerConfig.chat_template);
  for (const document of documents(11, 200))
    if (document.kind === "chat")
      expect(renderChat(document.messages)).toBe(template.render({ messages: document.messages }));
  expect(template.render({ messages: [{ role: "user", content: "Hi." }], add_generation_prompt: true })).toBe(
    "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n",
  );
});

test("merges are the most frequent pairs, ties in code unit order", () => {
  expect(trainMerges(["abab abab ab", "cd cd"], 3)).toEqual([
    ["a", "b"],
    ["ab", "ab"],
    ["c", "d"],
  ]);
  expect(() => trainMerges(["aa"], 5)).toThrowError(/only 0 merges; 5 were asked for/);
});

test("documents stop at the number of tokens and rows hold them end to end", () => {
  const docs = [...pretrainingDocuments({ seed: 0, tokens: 5000, encode })];
  const all = docs.flat();
  expect(all.length).toBeGreaterThanOrEqual(5000);
  expect(all.length - (docs.at(-1)?.length ?? 0)).toBeLessThan(5000);
  const rows = [...packRows(docs, 256)];
  expect(rows.flatMap((row) => [...row])).toEqual(all.slice(0, rows.length * 256));
  expect(rows).toHaveLength(Math.floor(all.length / 256));
});

test("the model fits in 4 MB of float16 and its widths divide into 8 shards", () => {
  const { hidden_size: width, intermediate_size: inner, num_hidden_layers: layers } = config;
  const keyValue = config.num_key_value_heads * config.head_dim;
  const layer = 2 * width * width + 2 * width * keyValue + 3 * width * inner + 2 * width;
  const parameters = config.vocab_size * width + layers * layer + width;
  expect(parameters).toBe(1_054_080);
  expect(2 * parameters).toBeLessThan(4e6);
  for (const size of [width, inner, keyValue]) expect(size % 8).toBe(0);
});

test("the committed quickstart data is what its script writes", () => {
  expect(readFileSync("assets/quickstart/train.jsonl", "utf8")).toBe(tenantTraining(0));
  expect(readFileSync("assets/quickstart/validation.jsonl", "utf8")).toBe(tenantHeldout(0));
  expect(json("quickstart/questions.json")).toEqual(showcase);
  for (const [name, lines] of [["pairs", tenantPairs] as const, ["prompts", tenantPrompts] as const]) {
    expect(readFileSync(`assets/quickstart/${name}.jsonl`, "utf8")).toBe(lines());
    expect(readFileSync(`assets/quickstart/${name}-validation.jsonl`, "utf8")).toBe(lines(true));
  }
  expect(json("quickstart/grader.json")).toEqual(tenantGrader);
});

test("held-out questions are not in the training data, their answers are", () => {
  const train = lines(tenantTraining(0));
  const asked = train.map(({ messages }) => messages[0]!.content).join("\n");
  const answers = new Set(train.map(({ messages }) => messages[1]!.content));
  for (const { messages } of lines(tenantHeldout(0))) {
    expect(asked).not.toContain(messages[0]!.content);
    expect(answers).toContain(messages[1]!.content);
  }
  for (const question of showcase) expect(asked).not.toContain(question);
});
