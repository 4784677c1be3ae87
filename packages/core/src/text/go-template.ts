// A chat template in Go's language, which Ollama reads, where it is one text before each message by the role before it. It is found
// by rendering conversations, whatever the Jinja template does.
import { MosError } from "#common";
import type { ChatTemplate } from "./chat-template.ts";
import type { Tokenizer } from "./tokenizer.ts";

const MARK = "[the content of a message]";

/** The texts before each message of these roles and after the last one; undefined where the template refuses or moves messages. */
function textsBetween(
  { render }: Pick<ChatTemplate, "render">,
  roles: readonly string[],
): readonly string[] | undefined {
  const messages = roles.map((role, i) => ({ role, content: `${i}${MARK}` }));
  let rest: string;
  try {
    rest = render(messages, { addGenerationPrompt: true });
  } catch (cause) {
    if (cause instanceof MosError) return undefined;
    throw cause;
  }
  const texts: string[] = [];
  for (const { content } of messages) {
    const [before = "", ...after] = rest.split(content);
    if (after.length !== 1) return undefined;
    texts.push(before);
    rest = after.join("");
  }
  return [...texts, rest];
}

const TALK = ["user", "assistant", "user", "assistant", "user"];

/**
 * The template for Ollama; null where no such one says the same, as of a template that refuses system messages or moves them. A token
 * that begins texts is left out where programs add it. Tools have no place in it.
 */
export function goTemplate(
  template: Pick<ChatTemplate, "render">,
  tokenizer: Pick<Tokenizer, "bosToken" | "encode" | "idToToken">,
): string | null {
  const plain = textsBetween(template, TALK);
  const withSystem = textsBetween(template, ["system", ...TALK]);
  if (plain === undefined || withSystem === undefined) return null;
  // with a default system message, the first text has it
  const [alone = "", answer = "", question = "", , , end = ""] = plain;
  const [system = "", first = "", ...rest] = withSystem;
  const expected = [answer, question, answer, question, end].join(MARK);
  const isRegular = [plain.slice(1), rest].every((texts) => texts.join(MARK) === expected);
  if (!isRegular || [alone, system, first, expected].some((text) => /"""|\{\{/.test(text))) return null;
  const { bosToken } = tokenizer;
  const begin = bosToken === undefined ? "" : (tokenizer.idToToken(bosToken) ?? "");
  const isAdded = begin !== "" && tokenizer.encode("a")[0] === bosToken;
  const start = (text: string): string =>
    isAdded && text.startsWith(begin) ? text.slice(begin.length) : text;
  return [
    '{{ $last := "" }}{{ range .Messages }}',
    `{{ if eq .Role "system" }}${start(system)}{{ .Content }}`,
    `{{ else if eq .Role "user" }}{{ if eq $last "" }}${start(alone)}{{ else if eq $last "system" }}${first}`,
    `{{ else }}${question}{{ end }}{{ .Content }}`,
    `{{ else if eq .Role "assistant" }}${answer}{{ .Content }}{{ end }}`,
    `{{ $last = .Role }}{{ end }}{{ if ne $last "assistant" }}${end}{{ end }}`,
  ].join("");
}
