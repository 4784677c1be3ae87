// Conversion of examples from any format that is read to JSON Lines of another.
import { MosError, omitUndefined } from "#common";
import { pathExists, writeJsonLines } from "#files";
import { resolve } from "#platform";
import { type Tool, writeCall } from "#text";
import { type ReadExamplesOptions, readExamples } from "./dataset.ts";
import {
  type AnsweredExample,
  conversationOf,
  type Example,
  type ExampleInput,
  type Message,
  type MessageInput,
  type PairExample,
  placeText,
  type TextExample,
  type ToolInput,
} from "./example.ts";

/** Formats that are written. */
export const WRITTEN_FORMATS = ["messages", "completion", "text", "preference", "openai-preference"] as const;
/** One of `WRITTEN_FORMATS`. */
export type WrittenFormat = (typeof WRITTEN_FORMATS)[number];

/** Options of a conversion. */
export interface ConvertDatasetOptions extends ReadExamplesOptions {
  /** File of JSON Lines. */
  readonly out: string;
  readonly to: WrittenFormat;
  /** Replace `out`. */
  readonly overwrite?: boolean;
  /** Told the number of examples so far. */
  readonly onExample?: (count: number) => void;
}

/**
 * Converts files of examples to one file of JSON Lines, which appears when it is complete, and returns the number of its
 * examples.
 *
 * @throws MosError as `readDataset`; `bad_data` for an example that the format cannot hold; `bad_option` where `out` exists.
 */
export async function convertDataset(
  paths: readonly string[],
  { out, to, overwrite = false, onExample, ...options }: ConvertDatasetOptions,
): Promise<number> {
  async function* records(): AsyncGenerator<ExampleInput, void> {
    let count = 0;
    for (const path of paths)
      for await (const { example } of readExamples(path, options)) {
        if (example instanceof MosError) throw example;
        yield toRecord(example, to);
        onExample?.(++count);
      }
  }
  await checkOutput(out, { overwrite });
  return await writeJsonLines(out, records());
}

/** Refuses an output that is not JSON Lines by its name, or that would replace something unasked. Throws `bad_option`. */
export async function checkOutput(
  out: string,
  { overwrite }: { readonly overwrite: boolean },
): Promise<void> {
  if (!/\.(jsonl|ndjson)$/i.test(out))
    throw new MosError("bad_option", `${out}: JSON Lines are written; give a name that ends in .jsonl`);
  if (!overwrite && (await pathExists(resolve(out))))
    throw new MosError("bad_option", `${out} already exists; add --overwrite to replace it`);
}

/**
 * An example as a line of a format. Messages of weight 0 keep it. Of a pair, formats of examples have the chosen answer.
 *
 * @throws MosError `bad_data` where the format cannot say what the example says.
 */
export function toRecord(example: Example, to: WrittenFormat): ExampleInput {
  const one = example.kind === "pair" ? example.chosen : example;
  if (one.kind === "rated" || one.kind === "prompt")
    throw refusal(example, `${one.kind === "rated" ? "a rated answer" : "a prompt"} is not converted`);
  switch (to) {
    case "text":
      return toText(one);
    case "completion":
      return toCompletion(one);
    case "messages":
      return toMessages(one);
    default:
      if (example.kind === "pair") return to === "preference" ? toPreference(example) : toOpenai(example);
      throw refusal(example, `only pairs of answers are written as ${to}; convert it with --to messages`);
  }
}

const refusal = (example: Example, problem: string): MosError =>
  new MosError("bad_data", `${placeText(example)}: ${problem}`);

const textRefusal = (example: Example): MosError =>
  refusal(example, "a text has neither a question nor an answer; convert it with --to text");

/** An example that has something to learn. */
type Learnt = AnsweredExample | TextExample;

function toText(example: Learnt): ExampleInput {
  if (example.kind === "text") return { text: example.text };
  if (example.kind === "completion") return { text: example.prompt + example.completion };
  throw refusal(
    example,
    "only a model's chat template makes a text of a conversation, and training applies it; convert it with --to messages",
  );
}

function toCompletion(example: Learnt): ExampleInput {
  if (example.kind === "text") throw textRefusal(example);
  if (example.kind === "completion") return { prompt: example.prompt, completion: example.completion };
  const { turns, tools } = example;
  const [user, assistant, ...more] = turns;
  const isPair = user?.role === "user" && assistant?.isTarget === true && more.length === 0;
  if (isPair && tools === undefined) return { prompt: user.content, completion: assistant.content };
  const roles = turns.map(({ role }) => role).join(", ");
  throw refusal(
    example,
    `a prompt with its completion holds one user message and its answer, but this conversation has ${roles}${tools === undefined ? "" : ", and tools"}; convert it with --to messages`,
  );
}

function toMessages(example: Learnt): ExampleInput {
  if (example.kind === "text") throw textRefusal(example);
  return { messages: conversationOf(example).map(toMessageInput), ...toolInputs(example) };
}

function toolInputs(example: AnsweredExample) {
  const { tools, parallel, variables, hint } = example.kind === "chat" ? example : {};
  return omitUndefined({
    hint,
    tools: tools?.map(toToolInput),
    parallel_tool_calls: parallel,
    chat_template_kwargs: variables,
  });
}

/** TRL's format, in which texts stay texts. */
function toPreference(pair: PairExample): ExampleInput {
  const { chosen, rejected } = pair;
  if (chosen.kind === "completion" && rejected.kind === "completion")
    return { prompt: chosen.prompt, chosen: chosen.completion, rejected: rejected.completion };
  const [prompt, better, worse] = pairMessages(pair);
  return { prompt, chosen: better, rejected: worse, ...toolInputs(chosen) };
}

function toOpenai(pair: PairExample): ExampleInput {
  const [messages, preferred, other] = pairMessages(pair);
  const input = { messages, ...toolInputs(pair.chosen) };
  return { input, preferred_output: preferred, non_preferred_output: other };
}

/** The messages before both answers, and those of each: what is learnt begins the answer. Preferences have no weights. */
function pairMessages({ chosen, rejected }: PairExample) {
  const [one, other] = [conversationOf(chosen), conversationOf(rejected)];
  const from = one.findIndex(({ isTarget }) => isTarget);
  const write = (turns: readonly Message[]): readonly MessageInput[] =>
    turns.map((turn) => toMessageInput({ ...turn, isTarget: true }));
  return [write(one.slice(0, from)), write(one.slice(from)), write(other.slice(from))] as const;
}

function toMessageInput(message: Message): MessageInput {
  const { role, content, isTarget, weight, toolCalls, toolCallId = "" } = message;
  if (role === "tool") return { role, tool_call_id: toolCallId, content };
  if (role !== "assistant") return { role, content };
  return {
    role,
    content: content === "" && toolCalls !== undefined ? null : content,
    ...(toolCalls === undefined ? {} : { tool_calls: toolCalls.map(writeCall) }),
    ...(isTarget ? omitUndefined({ weight }) : { weight: 0 }),
  };
}

function toToolInput(tool: Tool): ToolInput {
  if (tool.type === "function") {
    const { type, ...rest } = tool;
    return { type, function: rest };
  }
  const { type, grammar, ...rest } = tool;
  return {
    type,
    custom: { ...rest, ...(grammar === undefined ? {} : { format: { type: "grammar", grammar } }) },
  };
}
