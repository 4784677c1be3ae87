import { expect, test } from "vitest";
import { chatTemplate } from "./chat-template.ts";
import { goTemplate } from "./go-template.ts";

const names = ["<s>", "</s>"];
const tokenizer = {
  bosToken: 0,
  eosTokens: [1],
  idToToken: (id: number) => names[id],
  tokenToId: (token: string) => (names.includes(token) ? names.indexOf(token) : undefined),
  encode: () => [0, 7],
};
const convert = (template: string, encode = tokenizer.encode) =>
  goTemplate(chatTemplate({ template, name: "test.jinja", tokenizer }), { ...tokenizer, encode });

const BLOCK = "'<|' + m.role + '|>\\n' + m.content + '</s>\\n'";
const GENERATE = "{% if add_generation_prompt %}<|assistant|>\n{% endif %}";

test("one text before each message; a default system message is in the first", () => {
  const block = `{% for m in messages %}{{ ${BLOCK} }}{% endfor %}${GENERATE}`;
  const withDefault = `{% if messages[0].role != 'system' %}<|system|>\nBe brief.</s>\n{% endif %}${block}`;
  const between = "</s>\n<|user|>\n";
  const expected = (first: string) =>
    '{{ $last := "" }}{{ range .Messages }}{{ if eq .Role "system" }}<|system|>\n{{ .Content }}' +
    `{{ else if eq .Role "user" }}{{ if eq $last "" }}${first}<|user|>\n{{ else if eq $last "system" }}${between}{{ else }}${between}{{ end }}{{ .Content }}` +
    '{{ else if eq .Role "assistant" }}</s>\n<|assistant|>\n{{ .Content }}{{ end }}{{ $last = .Role }}{{ end }}' +
    '{{ if ne $last "assistant" }}</s>\n<|assistant|>\n{{ end }}';
  expect(convert(block)).toBe(expected(""));
  expect(convert(withDefault)).toBe(expected("<|system|>\nBe brief.</s>\n"));
});

test("the token that begins texts is left to the program that adds it", () => {
  const template = `<s>{% for m in messages %}{{ ${BLOCK} }}{% endfor %}${GENERATE}`;
  expect(convert(template)).not.toContain("<s>");
  expect(convert(template, () => [7])?.match(/<s>/g)).toHaveLength(2);
});

test("a system message in the first question, as Gemma has it", () => {
  const template =
    "{% if messages[0].role == 'system' %}{% set start = messages[0].content + '\\n\\n' %}{% set rest = messages[1:] %}{% else %}{% set start = '' %}{% set rest = messages %}{% endif %}" +
    `{% for m in rest %}{{ '<|' + m.role + '|>' + (start if loop.first else '') + m.content + '</s>' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`;
  expect(convert(template)).toContain(
    '{{ if eq .Role "system" }}<|user|>{{ .Content }}{{ else if eq .Role "user" }}{{ if eq $last "" }}<|user|>{{ else if eq $last "system" }}\n\n{{ else }}</s><|user|>{{ end }}',
  );
});

test.each([
  ["refuses", "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"],
  ["shows twice", "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"],
  ["has braces", "{{ '{{' }}"],
])("a template that %s has none", (_, before) => {
  expect(convert(`${before}{% for m in messages %}{{ ${BLOCK} }}{% endfor %}${GENERATE}`)).toBeNull();
});

test("a template that depends on the place of a message has none", () => {
  const numbered = `{% for m in messages %}{{ loop.index ~ ${BLOCK} }}{% endfor %}${GENERATE}`;
  expect(convert(numbered)).toBeNull();
});
