// The chat templates of model families, written anew with the same behaviours.
import { describe, expect, test } from "vitest";
import { type ChatTemplate, chatTemplate, withVariables } from "./chat-template.ts";
import type { ChatMessage } from "./messages.ts";

const names = ["<bos>", "<eos>"];
const tokenizer = {
  bosToken: 0,
  eosTokens: [1],
  idToToken: (id: number) => names[id],
  tokenToId: (token: string) => (names.includes(token) ? names.indexOf(token) : undefined),
};
const from = (template: string, now?: Date): ChatTemplate =>
  chatTemplate({ template, name: "test.jinja", tokenizer, now });

const system = (content: string): ChatMessage => ({ role: "system", content });
const user = (content: string): ChatMessage => ({ role: "user", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });
const talk = [user("Hi"), assistant("Hello"), user("Bye"), assistant("See you")];
/** Text that a template asks the model to write. */
const answers = (template: ChatTemplate, messages: readonly ChatMessage[], lastOnly = false) =>
  template.renderTurns(messages, { lastOnly }).flatMap(({ text, isAnswer }) => (isAnswer ? [text] : []));
const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

const GEMMA_TURNS =
  "{% for m in messages[skip:] %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}" +
  "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (lead if loop.first else '') + m.content | trim + '<end_of_turn>\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
const gemma2 = from(
  "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}" +
    `{% set skip = 0 %}{% set lead = '' %}${GEMMA_TURNS}`,
);
const gemma3 = from(
  "{{ bos_token }}{% set skip = 0 %}{% set lead = '' %}{% if messages[0].role == 'system' %}" +
    `{% set skip = 1 %}{% set lead = messages[0].content + '\n\n' %}{% endif %}${GEMMA_TURNS}`,
);

describe("Gemma", () => {
  test("a turn ends with its own token, and the text begins with BOS", () => {
    expect(gemma2.render(talk.slice(0, 1), { addGenerationPrompt: true })).toBe(
      "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    );
    expect(answers(gemma2, talk)).toEqual(["Hello<end_of_turn>\n", "See you<end_of_turn>"]);
  });

  test("Gemma 2 says itself that it has no system role", () => {
    expect(() => gemma2.render([system("Be brief."), ...talk])).toThrowError(
      refused("bad_data", /^test\.jinja refuses these messages: there is no system role/),
    );
  });

  test("the first template of Gemma 3 has contents in parts", () => {
    const inParts = from(
      "{{ bos_token }}{% set lead = messages[0]['content'][0]['text'] + '\n\n' if messages[0]['role'] == 'system' else '' %}" +
        "{% for m in (messages[1:] if lead else messages) %}{{ '<start_of_turn>' + m['role'] + '\n' + (lead if loop.first else '') }}" +
        "{% if m['content'] is string %}{{ m['content'] | trim }}{% elif m['content'] is iterable %}{% for item in m['content'] %}{{ item['text'] | trim }}{% endfor %}{% endif %}" +
        "{{ '<end_of_turn>\n' }}{% endfor %}",
    );
    expect(inParts.render([system("Be brief."), user(" Hi ")])).toBe(
      "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n",
    );
    expect(inParts.render([user(" Hi ")])).toBe("<bos><start_of_turn>user\nHi<end_of_turn>\n");
  });

  test("Gemma 3 puts it in front of the first message", () => {
    const [shown] = gemma3.renderTurns([system("Be brief."), ...talk]);
    expect(shown?.text).toBe(
      "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n",
    );
  });
});

/** Earlier answers lose their reasoning; the last one has some, if only none. */
const qwen3 = from(
  "{% set last = namespace(user=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}" +
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% set said = m.content.split('</think>')[-1].lstrip('\n') %}" +
    "{% if m.role == 'assistant' and loop.index0 > last.user %}" +
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m.content else '' %}" +
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ said + '<|im_end|>\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and enable_thinking is false %}" +
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
);

describe("Qwen3", () => {
  const brief = withVariables(qwen3, { enable_thinking: false });

  test("thinking is off for all, or for one request", () => {
    const off = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
    const options = { addGenerationPrompt: true };
    expect(brief.render([user("Hi")], options)).toBe(off);
    expect(qwen3.render([user("Hi")], { ...options, variables: { enable_thinking: false } })).toBe(off);
    const on = brief.render([user("Hi")], { ...options, variables: { enable_thinking: true } });
    expect(on).toBe(qwen3.render([user("Hi")], options));
    expect(on).not.toContain("<think>");
  });

  test("the answer begins where the model does: with no reasoning, or behind that", () => {
    expect(answers(qwen3, talk.slice(0, 2))).toEqual(["<think>\n\n</think>\n\nHello<|im_end|>"]);
    expect(answers(brief, talk.slice(0, 2))).toEqual(["Hello<|im_end|>"]);
  });

  test("earlier answers are laid out anew, so that only the last one is located", () => {
    expect(() => brief.renderTurns(talk)).toThrowError(
      refused("bad_config", /the text up to message 2 changes.*make each answer a separate example/),
    );
    const pieces = brief.renderTurns(talk, { lastOnly: true });
    expect(pieces.map(({ text }) => text).join("")).toBe(brief.render(talk));
    expect(answers(brief, talk, true)).toEqual(["See you<|im_end|>"]);
  });

  test("an answer with reasoning does not follow from a prompt without", () => {
    const reasoned = [user("2+2?"), assistant("<think>\neasy\n</think>\n\n4")];
    expect(answers(qwen3, reasoned)).toEqual(["<think>\neasy\n</think>\n\n4<|im_end|>"]);
    expect(() => brief.renderTurns(reasoned, { lastOnly: true })).toThrowError(
      refused("bad_config", /message 2 changes once that message is added.*--chat-template-kwargs/),
    );
  });

  // as Jinja in Python lays them out: line breaks go, blanks stay
  test.each([
    [" x", " x"],
    ["    return x\n    pass", "    return x\n    pass"],
    ["\n\n  x\n", "  x\n"],
    ["<think>\n\n    so\n</think>\n\n    return x", "    return x"],
  ])("the indentation of %j stays", (content, said) => {
    const thought = content.includes("so") ? "    so" : "";
    expect(answers(qwen3, [user("Code?"), assistant(content)])).toEqual([
      `<think>\n${thought}\n</think>\n\n${said}<|im_end|>`,
    ]);
    expect(brief.render([user(content)])).toBe(`<|im_start|>user\n${said}<|im_end|>\n`);
  });

  test("variables that are not the caller's are refused at once", () => {
    expect(() => withVariables(qwen3, { messages: [] })).toThrowError(
      refused("bad_option", /^messages cannot be set/),
    );
  });
});

describe("SmolLM3", () => {
  const smollm3 = from(
    "{% set mode = '/no_think' if enable_thinking is defined and not enable_thinking else '/think' %}" +
      "{{ '<|im_start|>system\nToday: ' ~ strftime_now('%d %B %Y') ~ '\nMode: ' ~ mode ~ '\n' }}" +
      "{% if messages[0].role == 'system' %}{{ messages[0].content.replace('/no_think', '') }}{% endif %}{{ '<|im_end|>\n' }}" +
      "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}{% elif m.role == 'assistant' %}" +
      "{% generation %}{{ '<|im_start|>assistant\n' + ('<think>\n\n</think>\n' if mode == '/no_think' else '') + m.content + '<|im_end|>\n' }}{% endgeneration %}" +
      "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' + ('<think>\n\n</think>\n' if mode == '/no_think' else '') }}{% endif %}",
  );

  test("the date is left out without a clock", () => {
    expect(smollm3.render([])).toContain("Today: \nMode: /think\n");
  });

  test("answers are located in both modes, in conversations too", () => {
    const expected = ["Hello<|im_end|>\n", "See you<|im_end|>"];
    expect(answers(smollm3, talk)).toEqual(expected);
    expect(answers(withVariables(smollm3, { enable_thinking: false }), talk)).toEqual(expected);
  });

  test("a system message that it shows changed is no role that it leaves out", () => {
    expect(smollm3.render([system("/no_think Be brief."), ...talk])).toContain(" Be brief.");
  });

  test("messages of a role that it leaves out are refused", () => {
    const tool: ChatMessage = { role: "tool", content: "22 °C" };
    expect(() => smollm3.render([...talk, tool])).toThrowError(
      refused("bad_data", /^test\.jinja omits message 5 \(role tool\); move its content into a user message/),
    );
  });
});

test("Phi-3: the token that ends a conversation is no part of an answer", () => {
  const phi3 = from(
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
  );
  expect(phi3.render(talk)).toMatch(/See you<\|end\|>\n<eos>$/);
  expect(answers(phi3, talk)).toEqual(["Hello<|end|>\n", "See you<|end|>"]);
});

describe("a message that is left out is refused", () => {
  const later = [system("Be brief."), user("Hi"), assistant("Hello"), system("Be kind."), user("Bye")];
  // as Phi-3.5's; the other one, as SmolLM3's, looks for a system message in the first place only
  const anywhere = from(
    "{% for m in messages %}{% if m.role in ['system', 'user', 'assistant'] %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endif %}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
  );
  const onlyFirst = from(
    "{% if messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{% endif %}" +
      "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}",
  );

  test("also where another one of its role is shown", () => {
    expect(anywhere.render(later)).toContain("Be kind.");
    expect(() => onlyFirst.render(later)).toThrowError(
      refused("bad_data", /omits message 4 \(role system\)/),
    );
    expect(() => onlyFirst.renderTurns(later)).toThrowError(refused("bad_data", /omits message 4/));
  });

  test("also where another message says the same", () => {
    const same = [system("Hi"), user("Hi"), assistant("Hi"), system("Hi"), user("Hi")];
    expect(() => onlyFirst.render(same)).toThrowError(refused("bad_data", /omits message 4/));
    const tool: ChatMessage = { role: "tool", content: "22" };
    expect(() => anywhere.render([user("What is 20 + 2?"), tool, user("22?")])).toThrowError(
      refused("bad_data", /omits message 2 \(role tool\)/),
    );
  });
});

describe("Mistral NeMo shows the system message in front of a last message of the user", () => {
  const nemo = from(
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST]' }}{% if loop.last and messages[0].role == 'system' %}" +
      "{{ messages[0].content + '\n\n' }}{% endif %}{{ m.content + '[/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
  );
  const asked = [system("Be brief."), ...talk];

  test("and roles have to alternate", () => {
    const alternating = from(
      "{% set ns = namespace(i=0) %}{% for m in messages | rejectattr('role', 'equalto', 'tool') | selectattr('tool_calls', 'undefined') %}" +
        "{% if (m.role == 'user') != (ns.i % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}{% set ns.i = ns.i + 1 %}{% endfor %}" +
        "{{ messages | rejectattr('tool_calls', 'undefined') | list | length }}",
    );
    expect(alternating.render(talk)).toBe("0");
    expect(() => alternating.render([user("Hi"), user("Hi")])).toThrowError(
      refused("bad_data", /roles must alternate/),
    );
  });

  test("so an answer is located behind its prompt", () => {
    expect(nemo.renderTurns(asked, { lastOnly: true })).toEqual([
      { text: "<bos>[INST]Hi[/INST] Hello<eos>[INST]Be brief.\n\nBye[/INST]", isAnswer: false },
      { text: " See you<eos>", isAnswer: true },
    ]);
  });

  test("several answers cannot be in one text", () => {
    expect(() => nemo.renderTurns(asked)).toThrowError(
      refused("bad_config", /shows the system message only when it prompts for an answer; make each answer/),
    );
    expect(() => nemo.renderTurns([...asked, user("Hm")])).toThrowError(
      refused("bad_config", /changes once/),
    );
  });
});

test("Mistral and OLMo 2: the token that ends an answer is", () => {
  const mistral = from(
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
  );
  expect(answers(mistral, talk)).toEqual([" Hello<eos>", " See you<eos>"]);
  const olmo2 = from(
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}" +
      "{% if not loop.last or m.role != 'assistant' %}{{ '\n' }}{% endif %}{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
  );
  expect(answers(olmo2, talk, true)).toEqual(["See you<eos>"]);
});

test("Granite: a system text of its own with the date, and a variable thinking", () => {
  const granite = from(
    "{{ '<|start_of_role|>system<|end_of_role|>Today is ' + strftime_now('%B %d, %Y') + '.' + (' Think first.' if thinking else '') + '<|end_of_text|>\n' }}" +
      "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
    new Date("2026-02-03"),
  );
  expect(withVariables(granite, { thinking: true }).render([])).toBe(
    "<|start_of_role|>system<|end_of_role|>Today is February 03, 2026. Think first.<|end_of_text|>\n",
  );
  expect(answers(granite, talk)).toEqual(["Hello<|end_of_text|>\n", "See you<|end_of_text|>"]);
});
