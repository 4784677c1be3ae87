// Calls of training data beside the schemas of their tools: what a grammar would not let the model write should not be learnt.
import { CompiledGrammar, GrammarError, grammarFromSource, Vocabulary } from "mixture-of-shards-grammar";
import { argumentsSource, INPUT_KEY, type Tool, type ToolCall } from "#text";
import { inSchemaOrder } from "./argument-order.ts";
import { type ChatExample, type Example, wantedAnswer } from "./example.ts";

/** Compiled tools that are kept; data sets often repeat them. */
const MAX_TOOLS = 256;
const END = 256;

/** Checks calls with the grammars that constrain answers. */
export class CallChecker {
  readonly #bytes = Vocabulary.buildSync({
    size: END + 1,
    bytesOf: (id) => (id === END ? new Uint8Array() : Uint8Array.of(id)),
    specialName: () => undefined,
    endTokens: [END],
  });
  /** Grammars by their tools as JSON, or why there is none. */
  readonly #grammars = new Map<string, CompiledGrammar | string>();

  /** The first call to be learnt that its tool does not allow, in a sentence without a full stop; undefined where all are fine. */
  findProblem(example: Example): string | undefined {
    const answer = wantedAnswer(example);
    if (answer?.kind !== "chat" || answer.tools === undefined) return undefined;
    for (const [i, { isTarget, toolCalls = [] }] of answer.turns.entries())
      for (const call of isTarget ? toolCalls : []) {
        const problem = this.#findCallProblem(call, answer);
        if (problem !== undefined) return `message ${i + 1}: ${problem}`;
      }
    return undefined;
  }

  #findCallProblem(call: ToolCall, { tools = [] }: ChatExample): string | undefined {
    const tool = tools.find(({ type, name }) => type === call.type && name === call.name);
    if (tool === undefined) return undefined; // the reader of lines has refused it
    const grammar = this.#grammarOf(tool);
    if (typeof grammar === "string")
      return `the parameters of "${tool.name}" cannot be enforced when the model is served: ${grammar}`;
    const text = argumentsOf(call, tool);
    const taken = matchedLength(grammar, text);
    if (taken === undefined) return undefined;
    const found = taken === text.length ? "they end" : `comes ${clip(text.slice(taken))}`;
    return `the arguments of "${tool.name}" do not match its schema: after ${clip(text.slice(0, taken).trimEnd(), "end")} ${found}`;
  }

  #grammarOf(tool: Tool): CompiledGrammar | string {
    const key = JSON.stringify(tool);
    const known = this.#grammars.get(key);
    if (known !== undefined) return known;
    if (this.#grammars.size >= MAX_TOOLS) this.#grammars.clear();
    const grammar = compile(tool, this.#bytes);
    this.#grammars.set(key, grammar);
    return grammar;
  }
}

function compile(tool: Tool, bytes: Vocabulary): CompiledGrammar | string {
  try {
    return new CompiledGrammar(grammarFromSource(argumentsSource(tool)), bytes);
  } catch (error) {
    if (error instanceof GrammarError) return error.message;
    throw error;
  }
}

function argumentsOf(call: ToolCall, tool: Tool): string {
  if (call.type === "custom") return `{"${INPUT_KEY}": ${JSON.stringify(call.input)}}`;
  return inSchemaOrder(call.arguments, tool.type === "function" ? tool.parameters : undefined);
}

/** The number of characters up to where a text leaves the grammar; undefined where it is one of its texts. */
function matchedLength(grammar: CompiledGrammar, text: string): number | undefined {
  const matcher = grammar.matcher();
  let length = 0;
  for (const char of text) {
    if (!matcher.acceptBytes(new TextEncoder().encode(char))) return length;
    length += char.length;
  }
  return matcher.canEnd ? undefined : length;
}

const SHOWN = 40;

const clip = (text: string, part: "start" | "end" = "start"): string => {
  if (text.length <= SHOWN) return text;
  return part === "start" ? `${text.slice(0, SHOWN)}…` : `…${text.slice(-SHOWN)}`;
};

/** Tests whether an example has tools that what is learnt of it may call. */
export function hasTools(example: Example): boolean {
  const answer = wantedAnswer(example);
  return answer?.kind === "chat" && answer.tools !== undefined;
}
