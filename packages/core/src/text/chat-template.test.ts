import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { type ChatTemplate, chatTemplate, defaultSystem } from "./chat-template.ts";
import type { ChatMessage } from "./messages.ts";

const names = ["<s>", "</s>"];
const plain = {
  bosToken: 0,
  eosTokens: [1],
  idToToken: (id: number) => names[id],
  tokenToId: (token: string) => (names.includes(token) ? names.indexOf(token) : undefined),
};
const chatMl = { ...plain, tokenToId: (token: string) => ["<|im_start|>", "<|im_end|>"].indexOf(token) };
const from = (template: string, now?: Date): ChatTemplate =>
  chatTemplate({ template, name: "test.jinja", tokenizer: plain, now });

const user = (content: string): ChatMessage => ({ role: "user", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });
const talk = [user("Hi"), assistant("Hello"), user("Bye"), assistant("See you")];

// The layouts of well-known families, written anew
const header = from(
  "{% for message in messages %}{{ (bos_token if loop.first else '') + '<|h|>' + message.role + '<|/h|>\n\n' + message.content | trim + '<|eot|>' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\n\n' }}{% endif %}",
);
const instruct = from(`
{%- for message in messages %}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('roles must alternate user/assistant') }}
  {%- endif %}
  {%- if message['role'] == 'user' %}
    {{- bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}
  {%- else %}
    {{- ' ' + message['content'].strip() + ' ' + eos_token }}
  {%- endif %}
{%- endfor %}`);

test("a model's own template gets bos_token, eos_token and add_generation_prompt", () => {
  expect(instruct.source).toBe("model");
  expect(instruct.render(talk.slice(0, 3))).toBe("<s>[INST] Hi [/INST] Hello </s><s>[INST] Bye [/INST]");
  expect(header.render([user(" Hi ")], { addGenerationPrompt: true })).toBe(
    "<s><|h|>user<|/h|>\n\nHi<|eot|><|h|>assistant<|/h|>\n\n",
  );
});

test("the system message of a template is found where it gives one", () => {
  const given = from(
    "{% if messages[0].role != 'system' %}<s>system\nBe brief.</s>{% endif %}{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>{% endfor %}",
  );
  expect(defaultSystem(given)).toBe("Be brief.");
  expect(defaultSystem(header)).toBeUndefined();
  // it refuses a system message, or has no role for one
  expect(defaultSystem(instruct)).toBeUndefined();
});

test("without a template: ChatML where its tokens exist, else Tulu", () => {
  const chat = chatTemplate({ tokenizer: chatMl });
  expect(chat.source).toBe("default");
  expect(chat.render([{ role: "tool", content: "x" }], { addGenerationPrompt: true })).toBe(
    "<|im_start|>tool\nx<|im_end|>\n<|im_start|>assistant\n",
  );
  const tulu = chatTemplate({ tokenizer: plain });
  const messages = [{ role: "system", content: " s " }, user(" u "), assistant(" a \n")];
  expect(tulu.render(messages, { addGenerationPrompt: true })).toBe(
    "<|system|>\n s \n<|user|>\n u \n<|assistant|>\na</s>\n<|assistant|>\n",
  );
  expect(() => tulu.render([{ role: "tool", content: "x" }])).toThrowError(
    expect.objectContaining({
      code: "bad_data",
      message:
        "the default chat template (Tulu) refuses these messages: the role must be system, user or assistant, not tool",
    }),
  );
});

describe("a last message that is continued:", () => {
  const prefill = [user("Hi"), assistant("Sure, ")];
  test("the text ends with its content, without an end of turn", () => {
    const chat = chatTemplate({ tokenizer: chatMl });
    expect(chat.render(prefill, { continueFinalMessage: true })).toBe(
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSure, ",
    );
    const empty = chat.render([user("Hi"), assistant("")], { continueFinalMessage: true });
    expect(empty).toBe("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  });

  test("blanks at its end are left out where the template trims", () => {
    expect(header.render(prefill, { continueFinalMessage: true })).toBe(
      "<s><|h|>user<|/h|>\n\nHi<|eot|><|h|>assistant<|/h|>\n\nSure,",
    );
  });

  test("also where its words stand earlier, or in the end of turn", () => {
    const chat = from("{% for message in messages %}{{ message.content }}[end]{% endfor %}");
    const text = chat.render([user("end"), assistant("end")], { continueFinalMessage: true });
    expect(text).toBe("end[end]end");
  });

  test("is refused where the template leaves it out", () => {
    const silent = from("{{ messages[0].content }}");
    expect(() => silent.render(prefill, { continueFinalMessage: true })).toThrowError(
      expect.objectContaining({ code: "bad_data", message: expect.stringMatching(/cannot be continued/) }),
    );
    expect(() => silent.render([], { continueFinalMessage: true })).toThrowError(/no message to continue/);
  });
});

describe("variables of the caller", () => {
  const thinking = from(
    "{{ bos_token }}{{ messages[0].content }}{% if enable_thinking is defined and not enable_thinking %}/no_think{% endif %}" +
      "{% if options %}{{ options.names | join('+') }}{% endif %}",
  );
  test("reach the template", () => {
    expect(thinking.render([user("a")])).toBe("<s>a");
    expect(thinking.render([user("a")], { variables: { enable_thinking: false } })).toBe("<s>a/no_think");
    expect(thinking.render([user("a")], { variables: { options: { names: ["b", "c"] } } })).toBe("<s>ab+c");
  });

  test.each([
    "messages",
    "tools",
    "add_generation_prompt",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
  ])("are not %s", (name) => {
    expect(() => thinking.render([user("a")], { variables: { [name]: "x" } })).toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: expect.stringContaining(`${name} cannot be set`),
      }),
    );
  });
});

test.each(["true", "false", "False"])("the text %j is no truth value", (enable_thinking) => {
  expect(() => instruct.render([user("a")], { variables: { enable_thinking } })).toThrowError(
    expect.objectContaining({
      code: "bad_option",
      message: expect.stringMatching(/^enable_thinking is the text "\w+".*without quotes$/),
    }),
  );
});

test("a template's own text is stripped each time as the first time", () => {
  const template = from(
    "{% for m in messages %}{{ ' .a. '.strip().strip(m.content) }}{{ '..b'.lstrip('.') }}{% endfor %}",
  );
  expect(template.render([user("."), user("a"), user(".")])).toBe("ab.a.bab");
});

test("tags take their line with them (trim_blocks, lstrip_blocks)", () => {
  expect(from("{% if true %}\na\n  {% endif %}\nb\n").render([])).toBe("a\nb");
});

describe("turns", () => {
  test("ChatML: the answer includes its end of turn, but not the last line break", () => {
    expect(chatTemplate({ tokenizer: chatMl }).renderTurns(talk)).toEqual([
      { text: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", isAnswer: false },
      { text: "Hello<|im_end|>\n", isAnswer: true },
      { text: "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n", isAnswer: false },
      { text: "See you<|im_end|>", isAnswer: true },
      { text: "\n", isAnswer: false },
    ]);
  });

  test("a template without generation prompt", () => {
    expect(instruct.renderTurns(talk.slice(0, 2))).toEqual([
      { text: "<s>[INST] Hi [/INST]", isAnswer: false },
      { text: " Hello </s>", isAnswer: true },
    ]);
  });

  test("a conversation that the assistant begins", () => {
    expect(header.renderTurns([assistant("Yes"), user("So?")])).toEqual([
      { text: "<s><|h|>assistant<|/h|>\n\n", isAnswer: false },
      { text: "Yes<|eot|>", isAnswer: true },
      { text: "<|h|>user<|/h|>\n\nSo?<|eot|>", isAnswer: false },
    ]);
  });

  test("where a line break is the end of turn, it belongs to the answer", () => {
    const lines = from(
      "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    );
    expect(lines.renderTurns(talk.slice(0, 2)).at(-1)).toEqual({ text: "Hello\n", isAnswer: true });
  });

  test("joined they are the whole text, one piece for each answer", () => {
    const message = fc.record({
      role: fc.constantFrom("system", "user", "assistant"),
      content: fc.string({ unit: fc.constantFrom("a", " ", "\n", "é"), maxLength: 5 }),
    });
    const templates = [header, chatTemplate({ tokenizer: chatMl }), chatTemplate({ tokenizer: plain })];
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 6 }),
        fc.constantFrom(...templates),
        (messages, template) => {
          const pieces = template.renderTurns(messages);
          expect(pieces.map((piece) => piece.text).join("")).toBe(template.render(messages));
          expect(pieces.filter((piece) => piece.isAnswer).length).toBe(
            messages.filter(({ role }) => role === "assistant").length,
          );
        },
      ),
    );
  });

  test("in a long conversation an answer ends where the text up to it does", () => {
    const templates = [
      header,
      instruct,
      chatTemplate({ tokenizer: chatMl }),
      chatTemplate({ tokenizer: plain }),
    ];
    const content = fc.string({ unit: fc.constantFrom("a", " ", "\n", "é"), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(content, { minLength: 9, maxLength: 40 }),
        fc.constantFrom(...templates),
        (contents, template) => {
          const messages = contents.map((text, i) =>
            i % 2 === 0 ? user(`${text}.`) : assistant(`${text}.`),
          );
          let length = 0;
          let index = 1;
          for (const { text, isAnswer } of template.renderTurns(messages)) {
            length += text.length;
            if (!isAnswer) continue;
            const upTo = template.render(messages.slice(0, index + 1));
            if (index < messages.length - 1) expect(length).toBe(upTo.length);
            index += 2;
          }
          expect(length).toBe(template.render(messages).length);
        },
      ),
    );
  });

  test("four thousand turns take four times as long as a thousand, not sixteen times", () => {
    const measure = (turns: number): number => {
      const messages = Array.from({ length: turns }, (_, i) =>
        i % 2 === 0 ? user("Why?") : assistant("So."),
      );
      const spent = startCpuTimer();
      const pieces = chatTemplate({ tokenizer: chatMl }).renderTurns(messages);
      const milliseconds = spent();
      expect(pieces.filter(({ isAnswer }) => isAnswer)).toHaveLength(turns / 2);
      return milliseconds;
    };
    measure(500); // compiles
    expect(measure(4000) / measure(1000)).toBeLessThan(8);
  });

  test("a template that rewrites earlier turns cannot be used for training", () => {
    const forgets = from(
      "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content + '|' }}{% endif %}{% endfor %}",
    );
    expect(() => forgets.renderTurns(talk)).toThrowError(
      expect.objectContaining({
        code: "bad_config",
        message: expect.stringMatching(/^test\.jinja: the text up to message 2 changes/),
      }),
    );
  });
});

describe("errors are one message", () => {
  test("the template's own refusal", () => {
    expect(() => instruct.render([assistant("Hi")])).toThrowError(
      expect.objectContaining({
        code: "bad_data",
        message: "test.jinja refuses these messages: roles must alternate user/assistant",
      }),
    );
  });

  test.each([
    ["does not parse", "{% if %}", /^test\.jinja does not parse: /],
    ["unknown filter", "{{ 'a' | frobnicate }}", /^test\.jinja fails: .*frobnicate/],
    [
      "an endless loop",
      "{% for i in range(1000000000) %}x{% endfor %}",
      /^test\.jinja fails: range\(\) of 1000000000 items/,
    ],
    [
      "nested loops",
      "{% for i in range(5000) %}{% for j in range(5000) %}{% endfor %}{% endfor %}",
      /^test\.jinja fails: more than 500000 steps; it may not terminate/,
    ],
    [
      "a text that doubles",
      "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
      /^test\.jinja fails: (more than 500000 steps|its output exceeds)/,
    ],
  ])("%s", (_, template, message) => {
    expect(() => from(template).render([])).toThrowError(
      expect.objectContaining({ code: "bad_model", message: expect.stringMatching(message) }),
    );
  });
});

test.each([
  "{{ n.a }}",
  "{{ n.a | string }}",
  "{{ n.a | tojson }}",
  "{{ n.a | join }}",
  "{{ 'x' ~ n.a }}",
  "{{ 'x' + n.a }}",
  "{{ n.a == 'x' }}",
])("a list that has one part a million times is not written by %s", (end) => {
  const loop = "{% for i in range(20) %}{% set n.a = [n.a, n.a] %}{% endfor %}";
  const spent = startCpuTimer();
  expect(() => from(`{% set n = namespace(a=['x']) %}${loop}${end}`).render([])).toThrowError(
    /more than 500000 steps/,
  );
  expect(spent()).toBeLessThan(2000);
});

test("the date is the one given", () => {
  const dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}no date{% endif %}";
  expect(from(dated, new Date("2024-07-26T23:59:59Z")).render([])).toBe("26 Jul 2024");
  expect(from(dated).render([])).toBe("no date");
});

test("values are printed as Python prints them", () => {
  const v = [1, "it's", 'a"b', "both '\"", true, null, { k: "x\n\u001f\u00a0\u{1f600}" }, [], 0.5];
  const python = `[1, "it's", 'a"b', 'both \\'"', True, None, {'k': 'x\\n\\x1f\\xa0\u{1f600}'}, [], 0.5]`;
  const template = from(
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(v) }}|{{ v | string }}|{% for x in [true, none] %}{{ x }}{% endfor %}|{{ x.y }}" +
      "{{ ('a', 1) }}{{ 'a' ~ none ~ ('b', [1.5]) }}|{% if v %}{{ false }}{% else %}{{ none }}{% endif %}|{% set t %}{{ none }}{% endset %}{{ t }}|{{ ' \\x1f\ufeff ' | trim }}|{{ 'a' if false }}",
  );
  expect(template.render([], { variables: { v } })).toBe(
    [python, python, "TrueNone", "('a', 1)aNone('b', [1.5])", "False", "None", "\ufeff", ""].join("|"),
  );
});

test("filters of texts take any value as Python prints it", () => {
  const template = from(
    "{{ x.type | upper }}|{{ v | upper }}|{{ none | lower }}|{{ true | capitalize }}|{{ ['b c'] | title }}|{{ v | map('upper') | list }}|{{ 'aB cD' | capitalize }}|{{ \"aB-cD (eF)\" | title }}",
  );
  expect(template.render([], { variables: { x: {}, v: ["string", null, 1] } })).toBe(
    "|['STRING', NONE, 1]|none|True|['b C']|['STRING', 'NONE', '1']|Ab cd|Ab-Cd (Ef)",
  );
});

test("reasoning is a part of the content where a template takes it so only", () => {
  const template = from(
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for b in m.content %}{{ b['thinking'] | upper if b.type == 'thinking' else b.text }};{% endfor %}{% endif %}{% endfor %}",
  );
  const answer: ChatMessage = { role: "assistant", content: "yes", reasoning: "hm" };
  expect(template.render([user("Hi "), answer, { ...answer, content: "" }])).toBe("Hi HM;yes;HM;");
  const apart = from(
    "{% for message in messages %}{{ message['thinking'] }}:{{ message.content }};{% endfor %}",
  );
  expect(apart.render([answer])).toBe("hm:yes;");
});
