// The prompt formats: how an example reads to the model, and which parts of that are targets of the loss.
//
//   template       the model's own chat template; an instruction, a question or a prompt becomes a user message
//   chatml         ChatML without the default system message that some templates add
//   plain          prompt and completion as they are, then the end-of-text token
//   open-instruct  the layout and the masking of open-instruct's training script
import { errorText, MosError } from "#core";
import {
  type ChatMessage,
  type ChatTemplate,
  pythonStrip,
  type RenderedPiece,
  type Tokenizer,
  type Tool,
  type ToolCall,
} from "#text";
import { inSchemaOrder } from "./argument-order.ts";
import {
  type ChatExample,
  type CompletionExample,
  type Example,
  type Message,
  type Place,
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
}

/** The token ids of an example in its prompt format, and which of them are targets. */
export function labelledTokens(example: Example, options: PromptFormatOptions): Labelled {
  const { tokenizer, template, promptFormat = "template", system } = options;
  if (example.kind === "text") return textTokens(example, tokenizer);
  if (promptFormat !== "template") refuseTools(example, promptFormat);
  switch (promptFormat) {
    case "template":
      return tokenizePieces(templatePieces(example, { template, system }), tokenizer);
    case "chatml":
      return tokenizePieces(chatmlPieces(example, { system }), tokenizer);
    case "plain":
      return withEndOfText(tokenizePieces(plainPieces(example), tokenizer), tokenizer);
    case "open-instruct":
      return openInstruct(example, options);
  }
}

/** Only a chat template has a place for tools. */
function refuseTools(example: LaidOut, promptFormat: PromptFormat): void {
  if (example.kind === "chat" && example.tools !== undefined)
    throw new MosError(
      "bad_data",
      `${placeText(example)}: the ${promptFormat} prompt format has no place for tools; use the template format`,
    );
}

/** The end-of-text token is a target, too: a model that does not learn to stop never does. */
function withEndOfText({ ids, isTarget }: Labelled, { eosTokens }: Tokenizer): Labelled {
  const eos = eosTokens[0];
  return eos === undefined ? { ids, isTarget } : { ids: [...ids, eos], isTarget: [...isTarget, true] };
}

/** A text as it is, in every prompt format; all of it and the end-of-text token are targets, as in TRL and mlx-lm. */
function textTokens({ text }: TextExample, tokenizer: Tokenizer): Labelled {
  const tokens = tokenizePieces([{ text, isTarget: true }], tokenizer);
  const last = tokens.ids.at(-1);
  const isEnded = last !== undefined && tokenizer.eosTokens.includes(last);
  return isEnded ? tokens : withEndOfText(tokens, tokenizer);
}

/** An example that a prompt format lays out. */
type LaidOut = ChatExample | CompletionExample;

interface SystemOption {
  readonly system: string | undefined;
}

/** An example as a conversation, with the system message unless it has its own. */
function toTurns(example: LaidOut, { system }: SystemOption): readonly Message[] {
  const turns = example.kind === "chat" ? example.turns : asTurns(example);
  return system === undefined || turns[0]?.role === "system"
    ? turns
    : [{ role: "system", content: system, isTarget: false }, ...turns];
}

const asTurns = ({ prompt, completion }: CompletionExample): readonly Message[] => [
  { role: "user", content: prompt, isTarget: false },
  { role: "assistant", content: completion, isTarget: true },
];

interface TemplateOptions extends SystemOption {
  readonly template: ChatTemplate;
}

/** The conversation in the model's own chat template. */
function templatePieces(example: LaidOut, { template, system }: TemplateOptions): readonly Piece[] {
  const turns = toTurns(example, { system });
  const lastOnly = turns.at(-1)?.isTarget === true && turns.filter(({ isTarget }) => isTarget).length === 1;
  const tools = example.kind === "chat" ? example.tools : undefined;
  const rendered = renderTurns(template, { turns, tools, lastOnly }, example);
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
    isTarget: isAnswer && answers[k++]?.isTarget === true,
  }));
}

interface LocatedTurns {
  readonly turns: readonly Message[];
  readonly tools: readonly Tool[] | undefined;
  /** Only the last one is trained on. */
  readonly lastOnly: boolean;
}

function renderTurns(
  template: ChatTemplate,
  { turns, tools = [], lastOnly }: LocatedTurns,
  place: Place,
): readonly RenderedPiece[] {
  const schemas = new Map(tools.map((tool) => [tool.name, tool]));
  const messages = turns.map((turn) => toChatMessage(turn, schemas));
  try {
    return template.renderTurns(messages, { lastOnly, tools });
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
  { isTarget: _, toolCalls, ...message }: Message,
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
const chatmlPieces = (example: LaidOut, options: SystemOption): readonly Piece[] =>
  toTurns(example, options).flatMap(({ role, content, isTarget }) => [
    { text: `<|im_start|>${role}\n`, isTarget: false },
    { text: `${content}<|im_end|>\n`, isTarget },
  ]);

/**
 * Prompt and completion as they are; a question and its answer on two lines. A longer conversation has no plain format.
 */
function plainPieces(example: LaidOut): readonly Piece[] {
  if (example.kind === "completion")
    return [
      { text: example.prompt, isTarget: false },
      { text: example.completion, isTarget: true },
    ];
  const [user, assistant, more] = example.turns;
  if (user?.role !== "user" || assistant?.role !== "assistant" || more !== undefined)
    throw new MosError(
      "bad_data",
      `${placeText(example)}: the plain prompt format takes one user message and its answer, but this conversation has ${example.turns.map(({ role }) => role).join(", ")}; use the template format`,
    );
  return [
    { text: `${user.content}\n`, isTarget: false },
    { text: assistant.content, isTarget: assistant.isTarget },
  ];
}

// open-instruct's fine-tuning script, of the MoS paper's experiments, reproduced exactly: role tags are ordinary text,
// contents are stripped, and the targets begin at the length of a prefix that is tokenised separately, even where a
// token of the whole text straddles that boundary.

type OpenInstructOptions = Pick<PromptFormatOptions, "tokenizer" | "maxLength" | "system">;

/** All ids of the text, with the targets that the script sees in the first `maxLength` of them. */
function openInstruct(example: LaidOut, options: OpenInstructOptions): Labelled {
  return example.kind === "chat"
    ? openInstructChat(toTurns(example, { system: options.system }), options)
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
  const isTarget = ids.map(() => true);
  for (const [i, turn] of turns.entries()) {
    if (turn.role === "assistant" && turn.isTarget) continue;
    const from = i === 0 ? 0 : countTokens(layOut(turns.slice(0, i), eos));
    const answered = turn.role !== "assistant" && turns[i + 1]?.role === "assistant";
    const to = countTokens(layOut(turns.slice(0, i + 1), eos) + (answered ? "<|assistant|>\n" : ""));
    isTarget.fill(false, from, to);
    if (to >= maxLength) break;
  }
  return { ids, isTarget };
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
  return { ids, isTarget: ids.map((_, i) => i >= masked) };
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
  readonly isTarget: boolean;
}

/** Token ids, and whether each is a target. */
export interface Labelled {
  readonly ids: readonly number[];
  readonly isTarget: readonly boolean[];
}

/** Encodes pieces as one text, with a BOS token first if the tokenizer adds one and the text does not begin with it. */
export function tokenizePieces(pieces: readonly Piece[], tokenizer: Tokenizer): Labelled {
  const encode = (text: string): readonly number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const merged = mergeEqual(pieces);
  const texts = merged.map(({ text }) => text);
  const whole = encode(texts.join(""));
  const parts = tokensByBytes(texts, whole, tokenizer) ?? tokensByPrefix(texts, whole, encode);
  const ids = parts.flat();
  const isTarget = parts.flatMap((part, k) => part.map(() => merged[k]?.isTarget === true));
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? { ids, isTarget } : { ids: [bos, ...ids], isTarget: [false, ...isTarget] };
}

function mergeEqual(pieces: readonly Piece[]): readonly Piece[] {
  const merged: Piece[] = [];
  for (const { text, isTarget } of pieces) {
    if (text === "") continue;
    const last = merged.at(-1);
    if (last?.isTarget === isTarget) merged[merged.length - 1] = { text: last.text + text, isTarget };
    else merged.push({ text, isTarget });
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
