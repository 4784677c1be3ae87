import { MosError } from "#core";
import { compileTemplate } from "./template-engine.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool" | (string & {});
  readonly content: string;
}

/** A stretch of a rendered conversation. */
export interface RenderedPiece {
  readonly text: string;
  /** The assistant says it: content and end of turn. */
  readonly trained: boolean;
}

/** Lays out a conversation as the text that a model was trained on. */
export interface ChatTemplate {
  readonly source: "model" | "default";
  /** `addGenerationPrompt` (default false) ends the text where the assistant begins to speak. */
  render(messages: readonly ChatMessage[], options?: { readonly addGenerationPrompt?: boolean }): string;
  /**
   * The same text as `render(messages)`, cut where the assistant speaks: one trained piece for each assistant
   * message. It begins where the generation prompt ends (for a first message, where its content begins) and runs to the end of the turn, with the end-of-turn token
   * and the line break after it, if there is one; but a line break after the last end-of-turn token of all is not
   * trained, since generation stops before it.
   *
   * @throws MosError `bad_config` when the template writes earlier turns otherwise once later ones follow.
   */
  renderTurns(messages: readonly ChatMessage[]): RenderedPiece[];
}

export interface ChatTemplateOptions {
  /** The model's own Jinja template; without one a default is taken. */
  readonly template?: string | undefined;
  /** Where the template was found. */
  readonly name?: string;
  readonly tokenizer: Pick<Tokenizer, "bosToken" | "eosTokens" | "idOf" | "tokenOf">;
  /** The time for templates that print the date (in UTC). Without it they print the date they carry, or none. */
  readonly now?: Date | undefined;
}

/** OpenAI's ChatML, without any system message of its own. */
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Tulu's layout, as open-instruct evaluates with it. The tags are ordinary text. */
const TULU =
  "{% for message in messages %}{% if message['role'] in ['system', 'user'] %}" +
  "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '\\n' }}{% elif message['role'] == 'assistant' %}" +
  "{{ '<|assistant|>\\n' + message['content'].strip() + eos_token + '\\n' }}{% else %}" +
  "{{ raise_exception('the role must be system, user or assistant, not ' + message['role']) }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

/**
 * The model's chat template; where it has none, ChatML if the tokenizer has `<|im_start|>` and `<|im_end|>`, else
 * Tulu's layout.
 *
 * @throws MosError `bad_model` when the template does not parse.
 * @example
 * const chat = chatTemplate({ tokenizer });
 * const prompt = chat.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: true });
 */
export function chatTemplate(options: ChatTemplateOptions): ChatTemplate {
  const { source, name, template } = choose(options);
  const run = compileTemplate(template, { name, now: options.now });
  const { bosToken, eosTokens, tokenOf } = options.tokenizer;
  const textOf = (id: number | undefined): string => (id === undefined ? "" : (tokenOf(id) ?? ""));
  const tokens = { bos_token: textOf(bosToken), eos_token: textOf(eosTokens[0]) };
  const render: ChatTemplate["render"] = (messages, { addGenerationPrompt = false } = {}) =>
    run({ ...tokens, messages, add_generation_prompt: addGenerationPrompt });
  return { source, render, renderTurns: (messages) => renderTurns(messages, { name, render }) };
}

interface Chosen {
  readonly source: ChatTemplate["source"];
  readonly name: string;
  readonly template: string;
}

function choose({ template, name = "the model's chat template", tokenizer }: ChatTemplateOptions): Chosen {
  if (template !== undefined) return { source: "model", name, template };
  const hasChatMl = ["<|im_start|>", "<|im_end|>"].every((token) => tokenizer.idOf(token) !== undefined);
  return hasChatMl
    ? { source: "default", name: "the default chat template (ChatML)", template: CHATML }
    : { source: "default", name: "the default chat template (Tulu)", template: TULU };
}

function renderTurns(
  messages: readonly ChatMessage[],
  { name, render }: { readonly name: string } & Pick<ChatTemplate, "render">,
): RenderedPiece[] {
  const whole = render(messages);
  const pieces: RenderedPiece[] = [];
  let done = 0;
  for (const [index, message] of messages.entries()) {
    if (message.role !== "assistant") continue;
    const after = render(messages.slice(0, index + 1));
    const before =
      index === 0
        ? untilContent(message, render)
        : render(messages.slice(0, index), { addGenerationPrompt: true });
    if (before.length < done || !after.startsWith(before) || !whole.startsWith(after))
      throw new MosError(
        "bad_config",
        `${name}: message ${index + 1} is not written after the messages before it, as they are written alone; ` +
          "it cannot be told what the assistant says, so train with another template",
      );
    const end = after.length === whole.length ? spokenEnd(after, message.content) : after.length;
    pieces.push({ text: whole.slice(done, before.length), trained: false });
    pieces.push({ text: whole.slice(before.length, Math.max(end, before.length)), trained: true });
    done = Math.max(end, before.length);
  }
  pieces.push({ text: whole.slice(done), trained: false });
  return pieces.filter(({ text, trained }) => trained || text !== "");
}

/**
 * What stands before the content of a first message. Templates treat the first message apart (BOS, a system text),
 * so there is no generation prompt to ask for: it is what stays when the content begins with another letter.
 */
function untilContent(message: ChatMessage, render: ChatTemplate["render"]): string {
  const text = render([message]);
  const other = render([{ ...message, content: message.content.trimStart().startsWith("A") ? "B" : "A" }]);
  let length = 0;
  while (length < text.length && text[length] === other[length]) length++;
  return text.slice(0, length);
}

/** Blanks at the end are left out when an end-of-turn token stands before them; else they are the end of turn. */
function spokenEnd(text: string, content: string): number {
  const trimmed = text.trimEnd();
  return trimmed.endsWith(content.trimEnd()) ? text.length : trimmed.length;
}
