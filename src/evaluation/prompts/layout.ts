import { missingBos } from "#data";
import type { ChatMessage, LoadedText, Tokenizer } from "#text";
import type { ChatFormat } from "../types.ts";

/** What a question says, before it is known how the model wants to be spoken to. */
export interface Layout {
  readonly messages: readonly ChatMessage[];
  /** The beginning of the answer, written for the model. */
  readonly leadIn: string;
  /** The whole prompt for a model that is no chat model. */
  readonly plain: string;
}

/** The text that the model sees. */
export function renderLayout(
  { messages, leadIn, plain }: Layout,
  { format, text }: { readonly format: ChatFormat; readonly text: Pick<LoadedText, "template"> },
): string {
  switch (format) {
    case "none":
      return plain;
    case "tulu":
      return withLeadIn(tulu(messages), leadIn);
    case "model":
      return withLeadIn(text.template.render(messages, { addGenerationPrompt: true }), leadIn);
  }
}

/** Role tags are plain text and contents stay as they are: only training strips them. */
const tulu = (messages: readonly ChatMessage[]): string =>
  `${messages.map(({ role, content }) => `<|${role}|>\n${content}\n`).join("")}<|assistant|>\n`;

function withLeadIn(prompt: string, leadIn: string): string {
  if (leadIn === "") return prompt;
  return /[\n ]$/.test(prompt) ? prompt + leadIn : `${prompt} ${leadIn}`;
}

/** Token ids of a prompt. A BOS comes first where the tokenizer begins texts with one, but only once. */
export function encodePrompt(prompt: string, tokenizer: Tokenizer): readonly number[] {
  const ids = tokenizer.encode(prompt, { addSpecialTokens: false });
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? ids : [bos, ...ids];
}
