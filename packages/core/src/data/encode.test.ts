import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ChatTemplate, chatTemplate, type Tokenizer } from "#text";
import { encodeAnswers, encodeExample, encodeExamples } from "./encode.ts";
import type { ChatExample, CompletionExample, Example, Message } from "./example.ts";
import type { PromptFormatOptions } from "./prompt-formats.ts";

const SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
const MERGED = ["\n\n", "\na", "ab", "ed", "> "];
const TOKENS = [...SPECIAL, ...MERGED];

/** One token a character, but for the special tokens and a few pairs, which let tokens straddle a cut. */
function fakeTokenizer({ addsBos = false }: { readonly addsBos?: boolean } = {}): Tokenizer {
  const idToToken = (id: number) => TOKENS[id] ?? String.fromCodePoint(id - 100);
  return {
    vocabularySize: 100 + 0x110000,
    bosToken: 0,
    eosTokens: [1],
    strippedBlanks: 0,
    encode(text, { addSpecialTokens = true } = {}) {
      const pieces = text.match(/<s>|<\/s>|<\|im_start\|>|<\|im_end\|>|\n\n|\na|ab|ed|> |./gsu) ?? [];
      const ids = pieces.map((piece) =>
        TOKENS.includes(piece) ? TOKENS.indexOf(piece) : 100 + piece.codePointAt(0)!,
      );
      return addsBos && addSpecialTokens ? [0, ...ids] : ids;
    },
    decode: (ids) => ids.map(idToToken).join(""),
    idToToken,
    tokenToId: (token) => (TOKENS.includes(token) ? TOKENS.indexOf(token) : undefined),
    isSpecial: (id) => id < SPECIAL.length,
    idToBytes: (id) => new TextEncoder().encode(idToToken(id)),
  };
}

/** "<s>user:Hi|assistant:Hello</s>|", with a default system message, as some real templates have. */
const template: ChatTemplate = {
  source: "model",
  render: () => "",
  renderTurns: (messages, { lastOnly = false } = {}) => [
    { text: messages[0]?.role === "system" ? "<s>" : "<s>system:default|", isAnswer: false },
    ...messages.flatMap(({ role, content }, i) => [
      { text: `${role}:`, isAnswer: false },
      {
        text: role === "assistant" ? `${content}</s>` : content,
        isAnswer: role === "assistant" && (!lastOnly || i === messages.length - 1),
      },
      { text: "|", isAnswer: false },
    ]),
  ],
  answerLayout: () => expect.fail("no answer is read"),
};

const turn = (role: Message["role"], content: string, isTarget = role === "assistant"): Message => ({
  role,
  content,
  isTarget,
});
const chat = (...turns: readonly Message[]): ChatExample => ({ kind: "chat", line: 7, turns });
const completion = (prompt: string, continuation: string): CompletionExample => ({
  kind: "completion",
  line: 7,
  prompt,
  completion: continuation,
});

const tokenizer = fakeTokenizer();
const base: PromptFormatOptions = { tokenizer, template, maxLength: 10_000 };
const read = (example: Example, options: Partial<PromptFormatOptions> = {}) => {
  const { ids, labels } = encodeExample(example, { ...base, ...options });
  for (const [i, label] of labels.entries()) if (label !== -100) expect(label).toBe(ids[i]);
  expect(labels).toHaveLength(ids.length);
  return {
    text: tokenizer.decode([...ids]),
    targets: tokenizer.decode([...labels].filter((label) => label !== -100)),
    ids: [...ids],
  };
};

const short = chat(turn("user", "Hi"), turn("assistant", "Yo"));

describe("a text", () => {
  test.each(["template", "chatml", "plain", "open-instruct"] as const)(
    "is learnt as a whole, with its end, in the %s format",
    (promptFormat) => {
      const text = { kind: "text", line: 7, text: "abc" } as const;
      const options = { promptFormat, system: "Be kind" };
      expect(read(text, options)).toMatchObject({ text: "abc</s>", targets: "abc</s>" });
      const bos = fakeTokenizer({ addsBos: true });
      expect(read(text, { ...options, tokenizer: bos })).toMatchObject({
        text: "<s>abc</s>",
        targets: "abc</s>",
      });
      expect(read({ ...text, text: "abc</s>" }, options).text).toBe("abc</s>");
      expect(encodeExample(text, { ...base, ...options }).targetTokens).toBe(2); // nothing predicts the first
    },
  );
});

describe("template", () => {
  test("targets are assistant tokens and their end of turn", () => {
    const two = chat(...short.turns, turn("user", "And?"), turn("assistant", "So"));
    expect(read(two)).toMatchObject({
      text: "<s>system:default|user:Hi|assistant:Yo</s>|user:And?|assistant:So</s>|",
      targets: "Yo</s>So</s>",
    });
  });

  test("an assistant message of weight 0 is shown, not learned", () => {
    const two = chat(
      turn("user", "a"),
      turn("assistant", "No", false),
      turn("user", "b"),
      turn("assistant", "Yes"),
    );
    expect(read(two)).toMatchObject({ text: expect.stringContaining("No</s>"), targets: "Yes</s>" });
  });

  describe("that lays out earlier answers anew, without what their first line says", () => {
    const forgetful = chatTemplate({
      template:
        "{% for m in messages %}{{ '>' + (m.content if m.role == 'user' or loop.last else m.content.split('~')[-1]) + '</s>' }}{% endfor %}" +
        "{% if add_generation_prompt %}{{ '>' }}{% endif %}",
      tokenizer,
    });
    const options = { ...base, template: forgetful };
    const turns = [
      turn("user", "a"),
      turn("assistant", "why~x"),
      turn("user", "b"),
      turn("assistant", "y~z"),
    ];
    const shown = ({ ids, labels }: { readonly ids: Int32Array; readonly labels: Int32Array }) => [
      tokenizer.decode([...ids]),
      tokenizer.decode([...labels].filter((label) => label >= 0)),
    ];

    test("each answer is an example of its own", async () => {
      expect(encodeAnswers(chat(...turns), options).map(shown)).toEqual([
        [">a</s>>why~x</s>", "why~x</s>"],
        [">a</s>>x</s>>b</s>>y~z</s>", "y~z</s>"],
      ]);
      const { report } = await encodeExamples([chat(...turns)], { ...options, maxLength: 10 });
      expect(report).toMatchObject({ examples: 1, dropped: 1 });
    });

    test("also where only a prompt shows the system message, as Mistral NeMo's", () => {
      const template = chatTemplate({
        template:
          "{% for m in messages %}{% if m.role == 'user' %}{{ '[' + (messages[0].content + '|' if loop.last and messages[0].role == 'system' else '') + m.content + ']' }}" +
          "{% elif m.role == 'assistant' %}{{ m.content + '</s>' }}{% endif %}{% endfor %}",
        tokenizer,
      });
      const encoded = (...given: readonly Message[]) =>
        encodeAnswers(chat(turn("system", "s"), ...given), { ...options, template }).map(shown);
      expect(encoded(...turns)).toEqual([
        ["[s|a]why~x</s>", "why~x</s>"],
        ["[a]why~x</s>[s|b]y~z</s>", "y~z</s>"],
      ]);
      expect(encoded(...turns.slice(0, 3))).toEqual([["[s|a]why~x</s>", "why~x</s>"]]);
      expect(() => encoded(...turns.slice(0, 2), turn("system", "t"), ...turns.slice(2))).toThrowError(
        /omits message 4 \(role system\); move its content into a user message/,
      );
    });

    test("one of weight 0 is none", () => {
      const silent = turns.map((one, i) => ({ ...one, isTarget: i === 1 }));
      expect(encodeAnswers(chat(...silent), options).map(shown)).toEqual([[">a</s>>why~x</s>", "why~x</s>"]]);
    });

    test("other conversations stay whole", () => {
      expect(encodeAnswers(chat(...turns.slice(0, 2)), options)).toHaveLength(1);
      expect(encodeAnswers(chat(...turns), base)).toHaveLength(1);
    });
  });

  test("prompt and completion become a conversation", () => {
    expect(read(completion("Hi", "Yo"))).toEqual(read(short));
  });

  test("the system option applies where there is no system message", () => {
    expect(read(short, { system: "S" }).text).toBe("<s>system:S|user:Hi|assistant:Yo</s>|");
    expect(read(chat(turn("system", "Own"), ...short.turns), { system: "S" }).text).toMatch(
      /^<s>system:Own\|/,
    );
  });

  test("BOS is added where the tokenizer adds one and the text has none", () => {
    const bare = {
      ...template,
      renderTurns: () => [
        { text: "x", isAnswer: false },
        { text: "y", isAnswer: true },
      ],
    };
    const ids = (options: Partial<PromptFormatOptions>) => read(short, options).ids;
    expect(ids({ template: bare })[0]).not.toBe(0);
    expect(ids({ template: bare, tokenizer: fakeTokenizer({ addsBos: true }) }).slice(0, 2)).toEqual([
      0, 220,
    ]);
    expect(ids({ tokenizer: fakeTokenizer({ addsBos: true }) })).toEqual(ids({}));
  });

  test("a real template: ChatML's last line end is not learned, since generation stops before it", () => {
    const real = chatTemplate({ tokenizer });
    const two = chat(
      turn("user", "a"),
      turn("assistant", "No", false),
      turn("user", "b"),
      turn("assistant", "Yes"),
    );
    expect(read(two, { template: real })).toMatchObject({
      text: "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nNo<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
      targets: "Yes<|im_end|>",
    });
  });

  test("a template that refuses is quoted with the line", () => {
    const refusing: ChatTemplate = {
      ...template,
      renderTurns: () => {
        throw new Error("roles must alternate");
      },
    };
    expect(() => read(short, { template: refusing })).toThrowError(
      "line 7: the chat template refuses this conversation: roles must alternate",
    );
  });

  test("a template that hides an answer is refused", () => {
    const hiding: ChatTemplate = { ...template, renderTurns: () => [{ text: "x", isAnswer: false }] };
    expect(() => read(short, { template: hiding })).toThrowError(
      /line 7: the chat template does not show every/,
    );
  });
});

describe("chatml", () => {
  test("has no default system message; targets are the answer, the end of turn and the line end", () => {
    expect(read(short, { promptFormat: "chatml" })).toMatchObject({
      text: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n",
      targets: "Yo<|im_end|>\n",
    });
  });

  test("equals prompt and answer tokenised apart, even where a token would straddle the cut", () => {
    const { ids } = read(chat(turn("user", "ab"), turn("assistant", "ab")), { promptFormat: "chatml" });
    const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
    expect(encode("\nab")).not.toEqual([...encode("\n"), ...encode("ab")]);
    expect(ids).toEqual([
      ...encode("<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"),
      ...encode("ab<|im_end|>\n"),
    ]);
  });
});

describe("plain", () => {
  test("joins nothing in between and ends with the end-of-text token", () => {
    expect(read(completion("2+2=", "4"), { promptFormat: "plain" })).toMatchObject({
      text: "2+2=4</s>",
      targets: "4</s>",
    });
  });

  test("puts an answer on the line after its question", () => {
    expect(read(short, { promptFormat: "plain" })).toMatchObject({ text: "Hi\nYo</s>", targets: "Yo</s>" });
  });

  test("refuses a longer conversation", () => {
    expect(() => read(chat(turn("system", "S"), ...short.turns), { promptFormat: "plain" })).toThrowError(
      "line 7: the plain prompt format takes one user message and its answer, but this conversation has system, user, assistant; use the template format",
    );
  });
});

describe("open-instruct", () => {
  const rules = { promptFormat: "open-instruct", tokenizer: fakeTokenizer({ addsBos: true }) } as const;

  test("lays a conversation out and masks all but the answers, their end and the line end between turns", () => {
    const two = chat(
      turn("system", " S "),
      turn("user", "Q\n"),
      turn("assistant", " x "),
      turn("user", "R"),
      turn("assistant", "y"),
    );
    expect(read(two, rules)).toMatchObject({
      text: "<s><|system|>\nS\n<|user|>\nQ\n<|assistant|>\nx</s>\n<|user|>\nR\n<|assistant|>\ny</s>",
      targets: "x</s>\ny</s>",
    });
  });

  test("the tag of a second answer in a row is a target, as in the original", () => {
    const two = chat(...short.turns, turn("assistant", "z"));
    expect(read(two, rules).targets).toBe("Yo</s>\n<|assistant|>\nz</s>");
  });

  test("a cut conversation is masked by its cut prefixes", () => {
    const whole = read(short, rules);
    const firstTarget = whole.ids.length - 3; // Y, o, </s>
    expect(read(short, { ...rules, maxLength: firstTarget }).targets).toBe("");
    expect(read(short, { ...rules, maxLength: firstTarget + 1 }).targets).toBe("Y");
  });

  test("the mask ends where the prompt tokenised by itself ends, also inside a straddling token", () => {
    // alone: "\n" is one token; in the text "\na" is one: the mask takes it whole
    expect(read(chat(turn("user", "Hi"), turn("assistant", "ant")), rules).targets).toBe("nt</s>");
  });

  test.each([
    ["Hi", "Yo", "<s>Hi Yo</s>", " Yo</s>"],
    ["Hi ", "Yo", "<s>Hi Yo</s>", "Yo</s>"],
    ["Hi", "\nYo", "<s>Hi\nYo</s>", "\nYo</s>"],
    ["Hi\t", "Yo", "<s>Hi\tYo</s>", "Yo</s>"],
  ])("joins %j and %j", (prompt, continuation, text, targets) => {
    expect(read(completion(prompt, continuation), rules)).toMatchObject({ text, targets });
  });

  test("strips as Python does", () => {
    const odd = chat(turn("user", "\u001c\u0085Q\ufeff\u3000"), turn("assistant", "y"));
    expect(read(odd, rules).text).toBe("<s><|user|>\nQ\ufeff\n<|assistant|>\ny</s>");
  });
});

test("masking law: under every rule but open-instruct the loss reads as the assistant's own words", () => {
  const words = fc.string({
    unit: fc.constantFrom("a", "b", "\n", " ", "e", "d", ">", "é", "😀"),
    maxLength: 8,
  });
  const dialogue = fc.array(fc.tuple(words, words, fc.boolean()), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(dialogue, fc.boolean(), (exchanges, isChatml) => {
      const turns = exchanges.flatMap(([ask, answer, isTarget]) => [
        turn("user", ask),
        turn("assistant", answer, isTarget),
      ]);
      const end = isChatml ? "<|im_end|>\n" : "</s>";
      const { targets, text } = read(chat(...turns), isChatml ? { promptFormat: "chatml" } : {});
      expect(targets).toBe(exchanges.map(([, answer, counts]) => (counts ? answer + end : "")).join(""));
      const pieces = template.renderTurns(turns).map((piece) => piece.text);
      if (!isChatml) expect(text).toBe(pieces.join(""));
    }),
  );
});

test("ids are those of the whole text where no token straddles a cut", () => {
  const example = chat(
    turn("user", "cab"),
    turn("assistant", "bed"),
    turn("user", "x"),
    turn("assistant", "y"),
  );
  const { ids, text } = read(example);
  expect(ids).toEqual(tokenizer.encode(text, { addSpecialTokens: false }));
});

test("a tokenizer whose tokens are not the text's bytes gives the same", () => {
  const changing: Tokenizer = { ...tokenizer, idToBytes: () => new Uint8Array(1) };
  for (const answer of ["Yo", "\n\nab", "ant"]) {
    const example = chat(
      turn("user", "ab"),
      turn("assistant", answer),
      turn("user", "x"),
      turn("assistant", "y"),
    );
    for (const promptFormat of ["template", "chatml", "plain"] as const) {
      const one = promptFormat === "plain" ? completion("ab ", answer) : example;
      expect(read(one, { promptFormat, tokenizer: changing })).toEqual(read(one, { promptFormat }));
    }
  }
});

describe("truncation", () => {
  test("cuts the end and says what the loss lost", () => {
    const one = encodeExample(completion("abc", "defgh"), { ...base, promptFormat: "plain", maxLength: 5 });
    expect(one).toMatchObject({ truncated: true, targetTokens: 3, truncatedTargets: 3 });
    expect(tokenizer.decode([...one.ids])).toBe("abcdef"); // "ab" is one token
  });

  test.each([1, 0, 2.5, Number.NaN])("refuses a maximum of %d", (maxLength) => {
    expect(() => encodeExample(short, { ...base, maxLength })).toThrowError(/maxLength is .*of at least 2/);
  });

  test("the report counts what was kept, cut and dropped", async () => {
    const examples = [completion("xx", "yy"), completion("x", "yyyyyy"), completion("xxxxx", "y")];
    const { encoded, report } = await encodeExamples(examples, {
      ...base,
      promptFormat: "plain",
      maxLength: 5,
    });
    expect(encoded.map(({ targetTokens }) => targetTokens)).toEqual([3, 4]);
    expect(report).toEqual({
      examples: 2,
      tokens: 10,
      targetTokens: 7,
      truncated: 1,
      truncatedTargets: 3,
      dropped: 1,
      longest: 5,
    });
  });

  test("nothing left is an error", async () => {
    const options = { ...base, promptFormat: "plain", maxLength: 2 } as const;
    await expect(encodeExamples([completion("xxx", "y")], options)).rejects.toThrowError(
      "none of the 1 examples has target tokens left after truncation to 2 tokens; raise --max-length",
    );
    await expect(encodeExamples([], options)).rejects.toThrowError("there are no examples to encode");
  });

  test("a signal stops it", async () => {
    const signal = AbortSignal.abort();
    const encoding = encodeExamples([short], { ...base, signal });
    await expect(encoding).rejects.toMatchObject({ code: "cancelled" });
  });
});
