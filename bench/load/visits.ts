// What clients of a server do, good and bad, and what each of it is intended to end with.
import type { Agent } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "mixture-of-shards-core/common";
import { type Received, readEvents, readJson, send } from "./http.ts";
import type { Tally } from "./tally.ts";

/** A client, and the server that it visits. */
export interface Visitor {
  readonly address: string;
  readonly agent: Agent;
  readonly key: string;
  /** Models that the key may use, the base among them, and adapters that it may not. */
  readonly models: readonly string[];
  readonly foreign: readonly string[];
  readonly random: Random;
  readonly tally: Tally;
}

/** The server has refused a request as busy. */
export class Busy extends Error {
  readonly seconds: number;

  constructor(seconds: number) {
    super(`busy for ${seconds} s`);
    this.seconds = seconds;
  }
}

const pick = <T>(random: Random, values: readonly T[]): T => {
  const value = values[random.below(values.length)];
  if (value === undefined) throw new Error("there is nothing to choose from");
  return value;
};

const LINES = [
  "When can I come in?",
  "Once",
  "What do you sell, and what does it cost? I should like to come by on Monday.",
  "Tell me a story about the old man and his dog.",
];
/** Prompts of many lengths. */
const PROMPTS = Array.from({ length: 12 }, (_, i) =>
  Array.from({ length: 1 + (i % 5) }, (_, k) => LINES[(i + k) % LINES.length]).join(" "),
);
const TEXT = "/v1/completions";
const CHAT = "/v1/chat/completions";

interface Asked {
  readonly path: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** What makes the answer what it is. */
  readonly name: string;
}

/** A greedy request for a text or a chat, of one of the prompts unless another is given. */
function ask({ random, models }: Visitor, given?: string): Asked {
  const number = random.below(PROMPTS.length);
  const prompt = given ?? PROMPTS[number];
  const model = pick(random, models);
  const path = pick(random, [TEXT, CHAT]);
  const content = path === TEXT ? { prompt } : { messages: [{ role: "user", content: prompt }] };
  const fields = { model, ...content, temperature: 0, max_tokens: 8 + 8 * (number % 6) };
  return { path, fields, name: `${path} ${model} prompt ${number}` };
}

const refusalIn = (body: unknown): { readonly message?: string; readonly code?: string } =>
  typeof body === "object" && body !== null && "error" in body ? Object(body.error) : {};

/** Sends a request, and has the answer if its status is the one that is intended. */
async function request(
  { address, agent, key, tally }: Visitor,
  sent: { readonly path: string; readonly body?: string; readonly key?: string },
  { status = 200, signal }: { readonly status?: number; readonly signal?: AbortSignal } = {},
): Promise<Received> {
  tally.requests++;
  const received = await send(
    address,
    { key, ...sent },
    signal === undefined ? { agent } : { agent, signal },
  );
  if (received.status === status) return received;
  const body = await readJson(received);
  const wait = Number(received.headers["retry-after"]);
  if (received.status === 429 && wait >= 1) throw new Busy(wait);
  throw new Error(`status ${received.status}, not ${status}: ${JSON.stringify(body)}`);
}

interface Choice {
  readonly text?: string;
  readonly message?: { readonly content: string };
  readonly delta?: { readonly content?: string };
  readonly finish_reason: string | null;
}

interface Answer {
  readonly error?: { readonly message: string };
  readonly choices: readonly Choice[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
}

const choiceText = ({ text, message, delta }: Choice): string =>
  text ?? message?.content ?? delta?.content ?? "";

function count({ tally }: Visitor, usage: Answer["usage"], finish: string | null | undefined): void {
  if (finish !== "stop" && finish !== "length") throw new Error(`the answer ends with ${finish}`);
  // an answer may end before its first token, but not by its length
  if (!usage || usage.completion_tokens < (finish === "length" ? 1 : 0))
    throw new Error(`usage is ${JSON.stringify(usage)}`);
  tally.promptTokens += usage.prompt_tokens;
  tally.completionTokens += usage.completion_tokens;
}

async function whole(visitor: Visitor): Promise<void> {
  const { path, fields, name } = ask(visitor);
  const received = await request(visitor, { path, body: JSON.stringify(fields) });
  const { choices, usage } = (await readJson(received)) as Answer;
  const [choice] = choices;
  count(visitor, usage, choice?.finish_reason);
  visitor.tally.answered(name, choice === undefined ? "" : choiceText(choice));
}

interface Streamed {
  readonly text: string;
  readonly usage: Answer["usage"];
  readonly finish: string | null;
  /** When pieces of text came, in milliseconds. */
  readonly times: readonly number[];
}

/** Reads a stream to its end, with pauses or without. */
async function readStream(received: Received, pause?: () => Promise<void>): Promise<Streamed> {
  const answers: Answer[] = [];
  const times: number[] = [];
  let last = "";
  for await (const data of readEvents(received, pause)) {
    last = data;
    if (data === "[DONE]") continue;
    const answer = JSON.parse(data) as Answer;
    if (answer.error !== undefined) throw new Error(`in the middle of the stream: ${answer.error.message}`);
    if (answer.choices.some((choice) => choiceText(choice) !== "")) times.push(performance.now());
    answers.push(answer);
  }
  if (last !== "[DONE]") throw new Error(`the stream broke off after ${last.slice(0, 60)}`);
  const choices = answers.flatMap((answer) => answer.choices);
  return {
    text: choices.map(choiceText).join(""),
    usage: answers.findLast(({ usage }) => usage)?.usage,
    finish: choices.findLast((choice) => choice.finish_reason !== null)?.finish_reason ?? null,
    times,
  };
}

async function stream(visitor: Visitor, pause?: () => Promise<void>): Promise<void> {
  const { tally } = visitor;
  const { path, fields, name } = ask(visitor);
  const body = JSON.stringify({ ...fields, stream: true, stream_options: { include_usage: true } });
  const start = performance.now();
  const { text, usage, finish, times } = await readStream(await request(visitor, { path, body }), pause);
  count(visitor, usage, finish);
  tally.answered(name, text);
  const [first] = times;
  if (pause !== undefined || first === undefined) return;
  tally.firstTokens.push(first - start);
  for (const [i, time] of times.slice(1).entries()) tally.gaps.push(time - (times[i] ?? time));
}

const slowly = (visitor: Visitor): Promise<void> =>
  stream(visitor, () => sleep(50 + visitor.random.below(200)).then(() => undefined));

/** Leaves in the middle of a stream. */
async function leaveStream(visitor: Visitor): Promise<void> {
  const { path, fields } = ask(visitor);
  const body = JSON.stringify({ ...fields, max_tokens: 64, n: 2, stream: true });
  const received = await request(visitor, { path, body });
  let left = visitor.random.below(12);
  for await (const data of readEvents(received)) if (data === "[DONE]" || left-- <= 0) break;
  received.leave();
}

/** Leaves before the answer, or just after it. */
async function leaveEarly(visitor: Visitor): Promise<void> {
  const { path, fields } = ask(visitor);
  const signal = AbortSignal.timeout(20 + visitor.random.below(1500));
  try {
    const received = await request(visitor, { path, body: JSON.stringify(fields) }, { signal });
    await readJson(received);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Scores a prompt, as evaluations do. */
async function score(visitor: Visitor): Promise<void> {
  const model = pick(visitor.random, visitor.models);
  const prompt = pick(visitor.random, PROMPTS);
  const body = { model, prompt, max_tokens: 0, echo: true, logprobs: 1 };
  const received = await request(visitor, { path: TEXT, body: JSON.stringify(body) });
  const { choices } = (await readJson(received)) as Answer;
  if (choices[0]?.text !== prompt) throw new Error(`the echo is ${JSON.stringify(choices[0]?.text)}`);
}

async function listModels(visitor: Visitor): Promise<void> {
  const received = await request(visitor, { path: "/v1/models" });
  const { data } = (await readJson(received)) as { readonly data: readonly { readonly id: string }[] };
  const names = data.map(({ id }) => id);
  if (names.sort().join() !== [...visitor.models].sort().join())
    throw new Error(`the key sees the models ${names.join()}`);
}

interface Bad {
  readonly prompt?: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly body?: string;
  readonly key?: string;
  readonly status: number;
  readonly code: string;
}

/** A request that must be refused, with this status and code. */
async function refused(visitor: Visitor, { prompt, fields, status, code, ...sent }: Bad): Promise<void> {
  const { path, fields: good } = ask(visitor, prompt);
  const isStream = visitor.random.below(2) === 0;
  const body = JSON.stringify({ ...good, ...fields, stream: isStream });
  const received = await request(visitor, { path, body, ...sent }, { status });
  const found = refusalIn(await readJson(received));
  if (found.code !== code) throw new Error(`code ${found.code}, not ${code}: ${found.message}`);
}

/** Sends the beginning of a request and no more: the server must close the connection before the client does. */
async function halfOpen({ address }: Visitor): Promise<void> {
  const { hostname, port } = new URL(address);
  const socket = connect({ host: hostname, port: Number(port) });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  socket.resume();
  socket.write("POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-");
  const outcome = await Promise.race([closed, sleep(40_000, "open", { ref: false })]);
  socket.destroy();
  if (outcome === "open") throw new Error("a connection that sends no request is still open after 40 s");
}

interface Kind {
  /** How often it is chosen, among all. */
  readonly weight: number;
  readonly visit: (visitor: Visitor) => Promise<void>;
}

const bad = (weight: number, of: (visitor: Visitor) => Bad): Kind => ({
  weight,
  visit: (visitor) => refused(visitor, of(visitor)),
});

const LONG_TEXT = "the cat sat on the mat and ".repeat(20_000);

/** All kinds of visits. */
export const KINDS: Readonly<Record<string, Kind>> = {
  stream: { weight: 36, visit: (visitor) => stream(visitor) },
  whole: { weight: 24, visit: whole },
  "slow reader": { weight: 5, visit: slowly },
  score: { weight: 3, visit: score },
  models: { weight: 2, visit: listModels },
  "leaves a stream": { weight: 8, visit: leaveStream },
  "leaves early": { weight: 6, visit: leaveEarly },
  "half open": { weight: 1, visit: halfOpen },
  "unknown adapter": bad(3, () => ({ fields: { model: "nobody" }, status: 404, code: "model_not_found" })),
  "another's adapter": bad(3, ({ random, foreign }) => ({
    fields: { model: pick(random, foreign) },
    status: 404,
    code: "model_not_found",
  })),
  "long answer": bad(2, () => ({
    fields: { max_tokens: 1_000_000 },
    status: 400,
    code: "context_length_exceeded",
  })),
  "long prompt": bad(1, () => ({ prompt: LONG_TEXT, status: 400, code: "context_length_exceeded" })),
  "unknown field": bad(2, () => ({ fields: { nonsense: 1 }, status: 400, code: "unknown_parameter" })),
  "no JSON": bad(2, () => ({ body: '{"model": "', status: 400, code: "invalid_json" })),
  "wrong key": bad(2, () => ({ key: "mos-wrong", status: 401, code: "invalid_api_key" })),
};

/** One kind, by its weight. */
export function draw(random: Random): string {
  const kinds = Object.entries(KINDS);
  let left = random.uniform() * kinds.reduce((sum, [, { weight }]) => sum + weight, 0);
  for (const [name, { weight }] of kinds) {
    left -= weight;
    if (left < 0) return name;
  }
  return "stream";
}
