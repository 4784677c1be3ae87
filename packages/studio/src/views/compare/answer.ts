// One model's answer to one turn, as it grows from the chunks of a stream of chats or completions.
import { isFields } from "#core";

/** An alternative that a token could have been. */
export interface Alternative {
  readonly text: string;
  readonly logprob: number;
}

/** A token of an answer with its log-probability. */
export interface Token {
  readonly text: string;
  /** Its bytes, which may be part of a character only. Completions have none. */
  readonly bytes?: readonly number[] | undefined;
  readonly logprob: number | null;
  readonly top: readonly Alternative[];
}

/** A call of a tool, with the text of its arguments as far as it has come. */
export interface ToolCall {
  readonly id: string;
  readonly kind: "function" | "custom";
  readonly name: string;
  readonly text: string;
}

/** Why an answer has failed. */
export interface AnswerProblem {
  readonly message: string;
  readonly code?: string | undefined;
}

export interface Answer {
  /** `queued`: not sent yet; `sent`: no token has come; `stopped`: by the reader. */
  readonly status: "queued" | "sent" | "streaming" | "done" | "stopped" | "failed";
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly ToolCall[];
  /** Only where log-probabilities were asked for. */
  readonly tokens: readonly Token[];
  /** The server's reason to finish, such as stop or length. */
  readonly finish: string | null;
  /** Tokens as the server counts them at the end, and chunks before that. */
  readonly count: number;
  /** When it was sent, and when its first and its last tokens came: milliseconds of one clock. */
  readonly sentAt: number;
  readonly firstAt: number | null;
  readonly lastAt: number | null;
  readonly problem: AnswerProblem | null;
}

export const NO_ANSWER: Answer = {
  status: "queued",
  text: "",
  reasoning: "",
  calls: [],
  tokens: [],
  finish: null,
  count: 0,
  sentAt: 0,
  firstAt: null,
  lastAt: null,
  problem: null,
};

/** Something that came of a stream, and when. */
export interface Arrival {
  readonly data: unknown;
  readonly at: number;
}

/** Whether nothing more will come. */
export const isOver = ({ status }: Answer): boolean =>
  status === "done" || status === "stopped" || status === "failed";

/** Whether a conversation can go on after this answer. */
export const isUsable = ({ status, text, calls }: Answer): boolean =>
  status === "done" || (status === "stopped" && (text !== "" || calls.length > 0));

const at = (value: unknown, name: string): unknown => (isFields(value) ? value[name] : undefined);
const listAt = (value: unknown, name: string): readonly unknown[] => {
  const found = at(value, name);
  return Array.isArray(found) ? found : [];
};
const textAt = (value: unknown, name: string): string => {
  const found = at(value, name);
  return typeof found === "string" ? found : "";
};

/** An answer while chunks are added to it. */
type Growing = { -readonly [K in keyof Answer]: Answer[K] } & { calls: ToolCall[]; tokens: Token[] };

/** Adds what has come since the last call. An answer that is over stays as it is. */
export function addArrivals(answer: Answer, arrivals: readonly Arrival[]): Answer {
  if (isOver(answer) || arrivals.length === 0) return answer;
  const growing: Growing = { ...answer, calls: [...answer.calls], tokens: [...answer.tokens] };
  for (const arrival of arrivals) addArrival(growing, arrival);
  return growing;
}

function addArrival(answer: Growing, { data, at: moment }: Arrival): void {
  for (const choice of listAt(data, "choices")) addChoice(answer, choice, moment);
  const tokens = at(at(data, "usage"), "completion_tokens");
  if (typeof tokens === "number") answer.count = tokens;
}

function addChoice(answer: Growing, choice: unknown, moment: number): void {
  const delta = at(choice, "delta");
  const [content, reasoning] = [
    textAt(delta, "content") + textAt(choice, "text"),
    textAt(delta, "reasoning_content"),
  ];
  const calls = listAt(delta, "tool_calls");
  const tokens = readTokens(at(choice, "logprobs"));
  answer.text += content;
  answer.reasoning += reasoning;
  for (const call of calls) addCall(answer.calls, call);
  answer.tokens.push(...tokens);
  const finish = textAt(choice, "finish_reason");
  if (finish !== "") answer.finish = finish;
  if (content === "" && reasoning === "" && calls.length === 0 && tokens.length === 0) return;
  answer.status = "streaming";
  answer.count += Math.max(1, tokens.length);
  answer.firstAt ??= moment;
  answer.lastAt = moment;
}

function addCall(calls: ToolCall[], part: unknown): void {
  const index = numberOrNull(at(part, "index")) ?? calls.length;
  const [custom, named] = [at(part, "custom"), at(part, "function")];
  const before = calls[index];
  const kind = before?.kind ?? (textAt(part, "type") === "custom" ? "custom" : "function");
  calls[Math.min(index, calls.length)] = {
    id: before?.id ?? textAt(part, "id"),
    kind,
    name: before?.name ?? (textAt(named, "name") || textAt(custom, "name")),
    text: (before?.text ?? "") + textAt(named, "arguments") + textAt(custom, "input"),
  };
}

/** Tokens of a chat, which are objects, or of a completion, which are lists side by side. */
function readTokens(logprobs: unknown): readonly Token[] {
  const content = listAt(logprobs, "content");
  if (content.length > 0) return content.map(readChatToken);
  const [values, tops] = [listAt(logprobs, "token_logprobs"), listAt(logprobs, "top_logprobs")];
  return listAt(logprobs, "tokens").map((token, i) => ({
    text: typeof token === "string" ? token : "",
    logprob: numberOrNull(values[i]),
    top: readRecord(tops[i]),
  }));
}

const numberOrNull = (value: unknown): number | null => (typeof value === "number" ? value : null);

function readChatToken(entry: unknown): Token {
  const bytes = listAt(entry, "bytes").filter((byte) => typeof byte === "number");
  return {
    text: textAt(entry, "token"),
    bytes,
    logprob: numberOrNull(at(entry, "logprob")),
    top: listAt(entry, "top_logprobs").flatMap((other) => {
      const logprob = numberOrNull(at(other, "logprob"));
      return logprob === null ? [] : [{ text: textAt(other, "token"), logprob }];
    }),
  };
}

const readRecord = (record: unknown): readonly Alternative[] =>
  Object.entries(isFields(record) ? record : {})
    .flatMap(([text, logprob]) => (typeof logprob === "number" ? [{ text, logprob }] : []))
    .sort((a, b) => b.logprob - a.logprob);

/** The answer once its stream has ended; without a reason to finish it was cut off. */
export function endAnswer(answer: Answer): Answer {
  if (isOver(answer)) return answer;
  if (answer.finish !== null) return { ...answer, status: "done" };
  return failAnswer(answer, {
    message: "the stream ended before the answer did; the server may have been restarted",
  });
}

export const failAnswer = (answer: Answer, problem: AnswerProblem): Answer =>
  isOver(answer) ? answer : { ...answer, status: "failed", problem };

export const stopAnswer = (answer: Answer): Answer =>
  isOver(answer) ? answer : { ...answer, status: "stopped" };

/** Milliseconds until the first token; undefined before it. */
export const firstTokenTime = ({ sentAt, firstAt }: Answer): number | undefined =>
  firstAt === null ? undefined : firstAt - sentAt;

/** Milliseconds in which tokens say how fast they come: in fewer, several came in one piece of the stream. */
const SHORTEST_SPAN = 10;

/** Tokens per second after the first one, undefined where there are too few to say. */
export function tokensPerSecond({ count, firstAt, lastAt }: Answer): number | undefined {
  if (firstAt === null || lastAt === null || count < 3 || lastAt - firstAt < SHORTEST_SPAN) return undefined;
  return (1000 * (count - 1)) / (lastAt - firstAt);
}

/** The text that each token adds: one that ends within a character adds nothing, and the one that completes it all of it. */
export function tokenTexts(tokens: readonly Token[]): readonly string[] {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return tokens.map(({ text, bytes }) =>
    bytes === undefined ? text : decoder.decode(Uint8Array.from(bytes), { stream: true }),
  );
}
