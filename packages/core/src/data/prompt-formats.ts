// The prompt formats: how an example reads to the model, and which parts of that are targets of the loss.
//
//   template       the model's own chat template; an instruction, a question or a prompt becomes a user message
//   chatml         ChatML without the default system message that some templates add
//   plain          prompt and completion as they are, then the end-of-text token
//   open-instruct  the layout and the masking of open-instruct's training script
import { errorText, MosError, omitUndefined } from "#common";
import {
  type ChatMessage,
  type ChatTemplate,
  pythonStrip,
  type ResponseFormat,
  type Tokenizer,
  type Tool,
  type ToolCall,
  withFormat,
} from "#text";
import { inSchemaOrder } from "./argument-order.ts";
import {
  type AnsweredExample,
  type CompletionExample,
  conversationOf,
  type Message,
  type Place,
  type PromptExample,
  placeText,
  type TextExample,
} from "./example.ts";

/** Ways to lay an example out for the model. */
export const PROMPT_FORMATS = ["template", "chatml", "plain", "open-instruct"] as const;
/** One of `PROMPT_FORMATS`. */
export type PromptFormat = (typeof PROMPT_FORMATS)[number];

/** Options of encoding an example. */
export interface PromptFormatOptions {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens that are kept of an example; open-instruct's masking depends on them. */
  readonly maxLength: number;
  /** "template" by default. */
  readonly promptFormat?: PromptFormat;
  /** A system message for conversations that have none. */
  readonly system?: string | undefined;
  /** What prompts without an answer ask for. */
  readonly responseFormat?: ResponseFormat | undefined;
}

/** The token ids of one sequence in its prompt format, and which of them are targets. */
export function labelledTokens(
  example: AnsweredExample | TextExample | PromptExample,
  options: PromptFormatOptions,
): Labelled {
  const { tokenizer, template, promptFormat = "template", system } = options;
  if (example.kind === "text") return textTokens(example, tokenizer);
  if (example.kind === "prompt") return promptTokens(example, options);
  if (promptFormat !== "template") refuseTools(example, promptFormat);
  switch (promptFormat) {
    case "template":
      return tokenizePieces(templatePieces(example, { template, system }), tokenizer);
    case "chatml":
      return tokenizePieces(chatmlPieces(example, system), tokenizer);
    case "plain":
      return withEndOfText(tokenizePieces(plainPieces(example), tokenizer), tokenizer);
    case "open-instruct":
      return openInstruct(example, options);
  }
}

/** Only a chat template has a place for tools. */
function refuseTools(example: AnsweredExample, promptFormat: PromptFormat): void {
  if (example.kind === "chat" && example.tools !== undefined)
    throw new MosError(
      "bad_data",
      `${placeText(example)}: the ${promptFormat} prompt format has no place for tools; use the template format`,
    );
}

/** The end-of-text token is a target, too: a model that does not learn to stop never does. */
function withEndOfText({ ids, weights }: Labelled, { eosTokens }: Tokenizer): Labelled {
  const eos = eosTokens[0];
  return eos === undefined
    ? { ids, weights }
    : { ids: [...ids, eos], weights: [...weights, weights.at(-1) ?? 1] };
}

/** A text as it is, in every prompt format; all of it and the end-of-text token are targets, as in TRL and mlx-lm. */
function textTokens({ text }: TextExample, tokenizer: Tokenizer): Labelled {
  const tokens = tokenizePieces([{ text, weight: 1 }], tokenizer);
  const last = tokens.ids.at(-1);
  const isEnded = last !== undefined && tokenizer.eosTokens.includes(last);
  return isEnded ? tokens : withEndOfText(tokens, tokenizer);
}

/** An example as a conversation, with the system message unless it has its own. */
const toTurns = (example: AnsweredExample, system: string | undefined): readonly Message[] =>
  withSystem(conversationOf(example), system);

const withSystem = (turns: readonly Message[], system: string | undefined): readonly Message[] =>
  system === undefined || turns[0]?.role === "system"
    ? turns
    : [{ role: "system", content: system, isTarget: false }, ...turns];

/** The conversation in the model's own chat template. */
function templatePieces(
  example: AnsweredExample,
  { template, system }: Pick<PromptFormatOptions, "template" | "system">,
): readonly Piece[] {
  const turns = toTurns(example, system);
  const lastOnly = turns.at(-1)?.isTarget === true && turns.filter(({ isTarget }) => isTarget).length === 1;
  const { tools = [], variables } = example.kind === "chat" ? example : {};
  const schemas = new Map(tools.map((tool) => [tool.name, tool]));
  const messages = turns.map((turn) => toChatMessage(turn, schemas));
  const rendered = refusing(example, () =>
    template.renderTurns(messages, { lastOnly, tools, ...omitUndefined({ variables }) }),
  );
  const answers = turns.filter(({ role, isTarget }) => (lastOnly ? isTarget : role === "assistant"));
  if (rendered.filter(({ isAnswer }) => isAnswer).length !== answers.length)
    throw new MosError(
      "bad_data",
      `${placeText(example)}: the chat template does not show every assistant message as it is, so the loss cannot be placed; use the chatml or plain prompt format`,
    );
  let k = 0;
  // an assistant message of weight 0 is part of the text, but no target
  return rendered.map(({ text, isAnswer }) => ({
    text,
    weight: isAnswer ? weightOf(answers[k++]) : 0,
  }));
}

/** Weight of a message's tokens in the loss. */
const weightOf = (message: Message | undefined): number =>
  message?.isTarget === true ? (message.weight ?? 1) : 0;

/** A prompt up to where its answer begins. Other formats than a chat template have no conversations. */
function promptTokens(example: PromptExample, options: PromptFormatOptions): Labelled {
  const { tokenizer, template, promptFormat = "template", system, responseFormat } = options;
  if (promptFormat !== "template")
    throw new MosError(
      "bad_option",
      `answers to prompts need the model's chat template; the prompt format is ${promptFormat}`,
    );
  const { tools = [], variables = {} } = example;
  const turns = withSystem(example.turns, system).map((turn) => toChatMessage(turn, new Map()));
  const messages = withFormat(turns, responseFormat, template);
  const text = refusing(example, () =>
    template.render(messages, { addGenerationPrompt: true, tools, variables }),
  );
  const ids = encodePrompt(text, tokenizer);
  return { ids, weights: ids.map(() => 0) };
}

/** What a chat template makes of a conversation; its error says where that is. */
function refusing<T>(place: Place, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const reason = errorText(cause);
    const code = cause instanceof MosError ? cause.code : "bad_data";
    throw new MosError(code, `${placeText(place)}: the chat template refuses this conversation: ${reason}`, {
      cause,
    });
  }
}

/** A message as templates take it: arguments are written as a constrained answer writes them. */
function toChatMessage(
  { isTarget: _, weight: __, toolCalls, ...message }: Message,
  tools: ReadonlyMap<string, Tool>,
): ChatMessage {
  if (toolCalls === undefined) return message;
  const ordered = toolCalls.map((call): ToolCall => {
    const tool = tools.get(call.name);
    return call.type === "custom" || tool?.type !== "function"
      ? call
      : { ...call, arguments: inSchemaOrder(call.arguments, tool.parameters) };
  });
  return { ...message, toolCalls: ordered };
}

/** ChatML without a default system message: `<|im_start|>role\ncontent<|im_end|>\n`. */
const chatmlPieces = (example: AnsweredExample, system: string | undefined): readonly Piece[] =>
  toTurns(example, system).flatMap((turn) => [
    { text: `<|im_start|>${turn.role}\n`, weight: 0 },
    { text: `${turn.content}<|im_end|>\n`, weight: weightOf(turn) },
  ]);

/** Prompt and completion as they are; a question and its answer on two lines. A longer conversation has no plain format. */
function plainPieces(example: AnsweredExample): readonly Piece[] {
  if (example.kind === "completion")
    return [
      { text: example.prompt, weight: 0 },
      { text: example.completion, weight: 1 },
    ];
  const [user, assistant, more] = example.turns;
  if (user?.role !== "user" || assistant?.role !== "assistant" || more !== undefined)
    throw new MosError(
      "bad_data",
      `${placeText(example)}: the plain prompt format takes one user message and its answer, but this conversation has ${example.turns.map(({ role }) => role).join(", ")}; use the template format`,
    );
  return [
    { text: `${user.content}\n`, weight: 0 },
    { text: assistant.content, weight: weightOf(assistant) },
  ];
}

// open-instruct's fine-tuning script, of the MoS paper's experiments, reproduced exactly: role tags are ordinary text,
// contents are stripped, and the targets begin at the length of a prefix that is tokenised separately, even where a
// token of the whole text straddles that boundary.

type OpenInstructOptions = Pick<PromptFormatOptions, "tokenizer" | "maxLength" | "system">;

/** All ids of the text, with the targets that the script sees in the first `maxLength` of them. */
function openInstruct(example: AnsweredExample, options: OpenInstructOptions): Labelled {
  return example.kind === "chat"
    ? openInstructChat(toTurns(example, options.system), options)
    : openInstructCompletion(example, options.tokenizer);
}

function openInstructChat(
  turns: readonly Message[],
  { tokenizer, maxLength }: OpenInstructOptions,
): Labelled {
  const encode = withSpecials(tokenizer);
  const eos = endOfTextToken(tokenizer);
  const ids = encode(pythonStrip(layOut(turns, eos)));
  const countTokens = (text: string): number => Math.min(encode(text).length, maxLength);
  const weights = ids.map(() => 1);
  for (const [i, turn] of turns.entries()) {
    const weight = weightOf(turn);
    if (weight === 1) continue;
    const tag = (k: number, other: boolean): string =>
      turns[k]?.role === "assistant" && other ? "<|assistant|>\n" : "";
    const from = i === 0 ? 0 : countTokens(layOut(turns.slice(0, i), eos) + tag(i, weight > 0));
    const to = countTokens(layOut(turns.slice(0, i + 1), eos) + tag(i + 1, turn.role !== "assistant"));
    weights.fill(weight, from, to);
    if (to >= maxLength) break;
  }
  return { ids, weights };
}

const layOut = (turns: readonly Message[], eos: string): string =>
  turns
    .map(({ role, content }) => `<|${role}|>\n${pythonStrip(content)}${role === "assistant" ? eos : ""}\n`)
    .join("");

const SPACED_END = /[ \n\t]$/u;
const SPACED_START = /^[ \n\t]/u;

/** Prompt and completion joined by a space, unless there is white space at the joint already. */
function openInstructCompletion(
  { prompt, completion: continuation }: CompletionExample,
  tokenizer: Tokenizer,
): Labelled {
  const encode = withSpecials(tokenizer);
  const joint = SPACED_END.test(prompt) || SPACED_START.test(continuation) ? "" : " ";
  const ids = encode(`${prompt}${joint}${continuation}${endOfTextToken(tokenizer)}`);
  const masked = encode(prompt).length;
  return { ids, weights: ids.map((_, i) => Number(i >= masked)) };
}

const withSpecials =
  (tokenizer: Tokenizer) =>
  (text: string): readonly number[] =>
    tokenizer.encode(text, { addSpecialTokens: true });

/** The text that the tokenizer encodes as the end-of-text token. */
function endOfTextToken(tokenizer: Tokenizer): string {
  const eos = tokenizer.eosTokens[0];
  return (eos === undefined ? undefined : tokenizer.idToToken(eos)) ?? "";
}

// A text in pieces, some of which are targets of the loss. The ids are those of the whole text wherever it has a token
// boundary between two pieces; where a token would straddle the boundary, the rest is tokenised separately, just as in
// generation the prompt is tokenised without its answer.

/** A part of a text. */
export interface Piece {
  readonly text: string;
  /** Weight of its tokens in the loss; 0 where they are no targets. */
  readonly weight: number;
}

/** Token ids, and the weight of each in the loss. */
export interface Labelled {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

/** Encodes pieces as one text, with a BOS token first if the tokenizer adds one and the text does not begin with it. */
export function tokenizePieces(pieces: readonly Piece[], tokenizer: Tokenizer): Labelled {
  const encode = (text: string): readonly number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const merged = mergeEqual(pieces);
  const texts = merged.map(({ text }) => text);
  const whole = encode(texts.join(""));
  const parts = tokensByBytes(texts, whole, tokenizer) ?? tokensByPrefix(texts, whole, encode);
  const ids = parts.flat();
  const weights = parts.flatMap((part, k) => part.map(() => merged[k]?.weight ?? 0));
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? { ids, weights } : { ids: [bos, ...ids], weights: [0, ...weights] };
}

function mergeEqual(pieces: readonly Piece[]): readonly Piece[] {
  const merged: Piece[] = [];
  for (const { text, weight } of pieces) {
    if (text === "") continue;
    const last = merged.at(-1);
    if (last?.weight === weight) merged[merged.length - 1] = { text: last.text + text, weight };
    else merged.push({ text, weight });
  }
  return merged;
}

type Encode = (text: string) => readonly number[];
type Parts = readonly (readonly number[])[];

/** The tokens of each part, by the bytes that they stand for; undefined where a token straddles two parts. */
function tokensByBytes(
  texts: readonly string[],
  whole: readonly number[],
  tokenizer: Tokenizer,
): Parts | undefined {
  const parts: number[][] = [];
  let next = 0;
  for (const text of texts) {
    const bytes = new TextEncoder().encode(text);
    const part: number[] = [];
    for (let done = 0; done < bytes.length; next++) {
      const id = whole[next];
      if (id === undefined) return undefined;
      const token = tokenizer.idToBytes(id);
      // a tokenizer may also change the text, as SentencePiece does with blanks
      if (!token.every((byte, i) => byte === bytes[done + i])) return undefined;
      done += token.length;
      part.push(id);
    }
    parts.push(part);
  }
  return next === whole.length ? parts : undefined;
}

/** The tokens of each part: those that the prefix up to its end has beyond the prefix up to its start. */
function tokensByPrefix(texts: readonly string[], whole: readonly number[], encode: Encode): Parts {
  const parts: (readonly number[])[] = [];
  let start = 0; // first of the parts that are tokenised as one text
  let rest = whole;
  let used = 0; // tokens of that text that are assigned to a part
  for (let k = 0; k < texts.length; k++) {
    const prefix = k === texts.length - 1 ? rest : encode(texts.slice(start, k + 1).join(""));
    parts.push(prefix.slice(used));
    used = prefix.length;
    if (startsWith(rest, prefix)) continue;
    start = k + 1;
    rest = encode(texts.slice(start).join(""));
    used = 0;
  }
  return parts;
}

const startsWith = (ids: readonly number[], prefix: readonly number[]): boolean =>
  prefix.length <= ids.length && prefix.every((id, i) => id === ids[i]);

/**
 * Token ids of a prompt, as in training: with a BOS first where the tokenizer begins texts with one and this text does not,
 * and never with an EOS.
 */
export function encodePrompt(text: string, tokenizer: Tokenizer): readonly number[] {
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? ids : [bos, ...ids];
}

/** The BOS token to put before `ids`; undefined where the tokenizer adds none or they begin with it already. */
function missingBos(ids: readonly number[], tokenizer: Tokenizer): number | undefined {
  const { bosToken } = tokenizer;
  if (bosToken === undefined || ids[0] === bosToken) return undefined;
  return tokenizer.encode("", { addSpecialTokens: true })[0] === bosToken ? bosToken : undefined;
}
