// What an answer may be, as a grammar, and how it is read: tools, a JSON schema, and reasoning before both.
import type { GrammarSource } from "mixture-of-shards-grammar";
import { type AnswerRequest, answerGrammar } from "./answer-grammar.ts";
import { type AnswerParser, type AnswerParts, LayoutParser } from "./answer-parser.ts";
import type { AnswerLayout } from "./chat-template.ts";
import type { LoadedText } from "./load-text.ts";
import type { Tool } from "./messages.ts";
import type { CallLayout } from "./repeated-calls.ts";

/** How an answer is constrained and read. */
export interface AnswerFormat {
  /** Undefined: any text. */
  readonly grammar: GrammarSource | undefined;
  /** Where its calls stand; undefined where it has one at most. */
  readonly calls: CallLayout | undefined;
  /** A parser for one answer. Without a source of ids, its calls have none. */
  parser(options?: Partial<Pick<AnswerParts, "nextId">>): AnswerParser;
}

/**
 * The format of an answer to a prompt. What the model writes after the beginning of a call is always constrained, so that calls are
 * well formed and name a tool that is there.
 *
 * @param prompt The text that the answer follows: it may have opened or closed a block of reasoning.
 */
export function answerFormat(
  { template, tokenizer }: Pick<LoadedText, "template" | "tokenizer">,
  request: AnswerRequest,
  prompt: string,
): AnswerFormat {
  const layout = template.answerLayout();
  const tools = callableTools(request);
  const reasoning = reasoningAt(prompt, layout);
  const { syntax, reasoning: tags } = layout;
  const parts: Omit<AnswerParts, "nextId"> = {
    reasoning,
    tags,
    syntax: tools.length === 0 ? undefined : syntax,
    kinds: new Map(tools.map(({ name, type }) => [name, type])),
    isAllCalls: request.toolChoice?.mode === "required",
  };
  const hasSeveral = tools.length > 0 && !syntax.isSingle && request.parallel !== false;
  return {
    grammar: answerGrammar({ ...request, tools }, { layout, tokenizer, reasoning }),
    calls: hasSeveral ? { reasoning, tags, syntax } : undefined,
    parser: ({ nextId } = {}) => new LayoutParser({ ...parts, nextId }),
  };
}

function callableTools({ tools = [], toolChoice }: AnswerRequest): readonly Tool[] {
  if (toolChoice?.mode === "none") return [];
  const names = toolChoice?.names;
  return names === undefined ? tools : tools.filter(({ name }) => names.includes(name));
}

function reasoningAt(prompt: string, { reasoning }: AnswerLayout): AnswerParts["reasoning"] {
  const text = prompt.trimEnd();
  if (reasoning === undefined || text.endsWith(reasoning.end)) return "none";
  return text.endsWith(reasoning.begin) ? "open" : "optional";
}
