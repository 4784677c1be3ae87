// What an answer may be, as a grammar, and how it is read: tools, a JSON schema, and reasoning before both.
import type { GrammarSource, JsonWhitespace, Notation } from "mixture-of-shards-grammar";
import { isRecord, MosError } from "#common";
import { type AnswerParser, type AnswerParts, LayoutParser } from "./answer-parser.ts";
import { type CallSyntax, callHead, callTail } from "./call-syntax.ts";
import type { AnswerLayout, ChatTemplate } from "./chat-template.ts";
import type { CallLayout } from "./detokenizer.ts";
import { spacedJson } from "./json-text.ts";
import type { LoadedText } from "./load-text.ts";
import type { ChatMessage, CustomTool, FunctionTool, ResponseFormat, Tool, ToolChoice } from "./messages.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { withInstruction } from "./tool-messages.ts";
import { INPUT_KEY, typesIn } from "./tool-schemas.ts";
import { byName, writeArguments } from "./written-values.ts";

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
    typesOf: typesIn(tools),
    isAllCalls: request.toolChoice?.mode === "required",
  };
  const enforced = tools.map(
    (tool): Tool =>
      tool.type === "function" && request.unenforced?.has(tool.name) === true
        ? { ...tool, parameters: { type: "object" } }
        : tool,
  );
  const hasSeveral = tools.length > 0 && !syntax.isSingle && request.parallel !== false;
  return {
    grammar: answerGrammar({ ...request, tools: enforced }, { layout, tokenizer, reasoning }),
    calls: hasSeveral ? { reasoning, tags, syntax, tools } : undefined,
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
  return text.endsWith(reasoning.begin.trimEnd()) ? "open" : "optional";
}

/** What is asked of an answer. */
export interface AnswerRequest {
  readonly tools?: readonly Tool[] | undefined;
  /** Names of functions whose arguments are any object, as far as the grammar goes. */
  readonly unenforced?: ReadonlySet<string> | undefined;
  /** (auto) */
  readonly toolChoice?: ToolChoice | undefined;
  /** An answer may have several calls (true); some models never write several. */
  readonly parallel?: boolean | undefined;
  /** Form of an answer that calls no tool (text). */
  readonly responseFormat?: ResponseFormat | undefined;
  /** Form of an answer as a grammar, in place of `responseFormat`; without tools. */
  readonly grammar?: GrammarSource | undefined;
  /** White space of JSON (compact, as chat templates write arguments). */
  readonly whitespace?: JsonWhitespace | undefined;
}

interface GrammarContext {
  readonly layout: AnswerLayout;
  readonly tokenizer: Pick<Tokenizer, "tokenToId" | "isSpecial">;
  /** Where the answer begins: it cannot reason, may, or does already. */
  readonly reasoning: "none" | "optional" | "open";
}

type Parts = readonly GrammarSource[];

/** The grammar of an answer with calls of these tools; undefined where it may be any text. */
export function answerGrammar(
  request: AnswerRequest & { readonly tools: readonly Tool[] },
  context: GrammarContext,
): GrammarSource | undefined {
  const alternatives = answers(request, context);
  const [first, ...others] = alternatives.map((parts) => sequence([...reasoningParts(context), ...parts]));
  if (first === undefined) return undefined;
  return others.length === 0 ? first : { type: "any_of", options: [first, ...others] };
}

/** What may follow the reasoning. Each alternative is whole, so that a grammar's lexer sees a tag with the text before it. */
function answers(request: Parameters<typeof answerGrammar>[0], context: GrammarContext): readonly Parts[] {
  const { tools, toolChoice, responseFormat, grammar, parallel = true, whitespace } = request;
  const { syntax, reasoning } = context.layout;
  const format = grammar ?? formatSource(responseFormat, whitespace);
  if (tools.length === 0) return format === undefined ? [] : [[format]];
  const calls = callParts(tools, { ...context, syntax, isSingle: syntax.isSingle || !parallel, whitespace });
  if (toolChoice?.mode === "required") return [calls];
  if (format !== undefined) return [[format], syntax.trigger === "" ? [callSchema(tools, syntax)] : calls];
  const opening = context.reasoning === "optional" && reasoning !== undefined ? [reasoning.begin] : [];
  if (syntax.trigger === "")
    return [[{ type: "regex", pattern: notBeginningWith(['{"name"', ...opening]) }], calls];
  const text: GrammarSource = { type: "free_text", without: [syntax.trigger, ...opening] };
  return [[text], context.layout.showsContent ? [text, ...calls] : calls];
}

/** The grammar of a form: compact, since small models like to fill up answers with blanks. */
export function formatSource(
  format: ResponseFormat | undefined,
  whitespace: JsonWhitespace = "compact",
): GrammarSource | undefined {
  if (format?.type === "json_schema") return { type: "json_schema", schema: format.schema, whitespace };
  return format?.type === "json_object" ? { type: "json_object", whitespace } : undefined;
}

/** A block of reasoning, which has been opened or may be. */
function reasoningParts({ layout, tokenizer, reasoning }: GrammarContext): Parts {
  const tags = layout.reasoning;
  if (reasoning === "none" || tags === undefined) return [];
  const text: GrammarSource = { type: "free_text", without: [tags.end] };
  const rest: Parts = [text, ...tagged(tags.end, tokenizer), { type: "regex", pattern: "[ \\n]{0,4}" }];
  if (reasoning === "open") return rest;
  return [{ type: "repeat", of: sequence([...tagged(tags.begin, tokenizer), ...rest]), min: 0, max: 1 }];
}

/** One call, and more of them unless one is the limit. */
function callParts(
  tools: readonly Tool[],
  context: GrammarContext & {
    readonly syntax: CallSyntax;
    readonly isSingle: boolean;
    readonly whitespace: JsonWhitespace | undefined;
  },
): Parts {
  const { syntax, tokenizer, isSingle } = context;
  const { begin, open, close, separator, end, hasId } = syntax;
  const call: GrammarSource = anyOf(
    tools.map((tool) =>
      sequence([
        ...tagged(callHead(syntax, tool.name), tokenizer),
        argumentsSource(tool, { ...context, notation: syntax.form?.notation }),
      ]),
    ),
  );
  const id: Parts = hasId ? [text(', "id": '), { type: "json_schema", schema: SHORT_ID }] : [];
  const body: Parts = [call, ...id, ...tagged(callTail(syntax) + close, tokenizer)];
  const more: Parts = isSingle
    ? []
    : [{ type: "repeat", of: sequence([...tagged(separator + open, tokenizer), ...body]), min: 0 }];
  // a model that has begun a new line may still end its answer there
  const line: Parts =
    isSingle || separator !== "\n" ? [] : [{ type: "repeat", of: text(separator), min: 0, max: 1 }];
  return [...tagged(begin + open, tokenizer), ...body, ...more, ...line, ...tagged(end, tokenizer)];
}

/** The arguments of a call, as JSON or in a notation, whose marks are special tokens where the tokenizer has them as such. */
export function argumentsSource(
  tool: Tool,
  {
    whitespace = "compact",
    notation,
    tokenizer,
  }: Pick<AnswerRequest, "whitespace"> &
    Partial<Pick<GrammarContext, "tokenizer">> & { readonly notation?: Notation | undefined } = {},
): GrammarSource {
  if (tool.type === "function" || tool.grammar?.syntax !== "lark") {
    const schema = schemaOf(tool);
    if (notation === undefined) return { type: "json_schema", schema, whitespace };
    const quotes = notation.quotes.map((quote) => ({ ...quote, isToken: isSpecial(quote.mark, tokenizer) }));
    const ordered = notation.isBare === true ? sortMembers(schema) : schema;
    return { type: "json_schema", schema: ordered, whitespace, notation: { ...notation, quotes } };
  }
  const lark: GrammarSource = { type: "lark", text: tool.grammar.definition };
  const quotes = notation?.quotes.filter(({ isEscaped }) => isEscaped).map(({ mark }) => mark) ?? ['"'];
  const input =
    quotes.length === 0 ? lark : anyOf(quotes.map((quote) => ({ type: "json_string", of: lark, quote })));
  const [before = "", after = ""] = writeArguments(`{"${INPUT_KEY}": "§"}`, notation).split(
    quotes.length === 0 ? "§" : /["']§["']/,
  );
  return sequence([...tagged(before, tokenizer), input, ...tagged(after, tokenizer)]);
}

/** A schema whose members come by their names. */
function sortMembers(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(sortMembers);
  if (!isRecord(schema)) return schema;
  const entries = Object.entries(schema).map(([key, value]): [string, unknown] => [
    key,
    key === "properties" && isRecord(value)
      ? Object.fromEntries(Object.entries(sortMembers(value) as object).sort(byName))
      : sortMembers(value),
  ]);
  return Object.fromEntries(entries);
}

/** @throws MosError `unsupported` for a tool with a grammar in Lark. */
function schemaOf(tool: Tool): unknown {
  if (tool.type === "function") return argumentsSchema(tool.parameters ?? { properties: {} });
  if (tool.grammar?.syntax === "lark")
    throw new MosError(
      "unsupported",
      `the tool "${tool.name}" has a grammar in Lark, which this model's calls cannot have where the answer has a format, too; ` +
        "leave one of them out",
    );
  const input = { [INPUT_KEY]: { type: "string", ...inputPattern(tool) } };
  return { type: "object", properties: input, required: [INPUT_KEY], additionalProperties: false };
}

/** A custom tool's regular expression, which the whole input matches. */
const inputPattern = ({ grammar }: CustomTool): { readonly pattern?: string } =>
  grammar?.syntax === "regex" ? { pattern: `^(?:${grammar.definition})$` } : {};

/** One call as a schema: beside other JSON, a lexer takes it apart in the same way. */
function callSchema(tools: readonly Tool[], { argumentsKey }: CallSyntax): GrammarSource {
  const calls = tools.map((tool) => ({
    type: "object",
    properties: { name: { const: tool.name }, [argumentsKey]: schemaOf(tool) },
    required: ["name", argumentsKey],
    additionalProperties: false,
  }));
  return { type: "json_schema", schema: { anyOf: calls }, whitespace: "compact" };
}

/** An id as Mistral's models write it. */
const SHORT_ID = { type: "string", pattern: "^[A-Za-z0-9]{9}$" };

/** Keywords beside which further properties may be meant. */
const OPEN_KEYWORDS = [
  "additionalProperties",
  "patternProperties",
  "unevaluatedProperties",
  "$ref",
  "$dynamicRef",
];
const COMBINING = ["allOf", "anyOf", "oneOf", "if"];

/** Arguments are an object, and without further properties where the schema lists all that it knows. */
function argumentsSchema(parameters: NonNullable<FunctionTool["parameters"]>): unknown {
  const isOpen = [...OPEN_KEYWORDS, ...COMBINING].some((keyword) => keyword in parameters);
  return {
    type: "object",
    ...parameters,
    ...(isOpen || parameters["properties"] === undefined ? {} : { additionalProperties: false }),
  };
}

const text = (given: string): GrammarSource => ({ type: "text", text: given });

const anyOf = (options: Parts): GrammarSource => {
  const [first] = options;
  return options.length === 1 && first !== undefined ? first : { type: "any_of", options };
};

/** The parts one after the other, neighbouring texts as one. */
function sequence(parts: Parts): GrammarSource {
  const joined: GrammarSource[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.type === "text" && last?.type === "text")
      joined[joined.length - 1] = text(last.text + part.text);
    else joined.push(part);
  }
  const [only] = joined;
  return joined.length === 1 && only !== undefined ? only : { type: "sequence", parts: joined };
}

/** What may be a special token within the text around calls. */
const TAG = /(<[|/]*["a-z_]+\|?>|\[[A-Z_]+\])/;

/** A text whose tags are special tokens where the tokenizer has them as such. */
function tagged(given: string, tokenizer: GrammarContext["tokenizer"] | undefined): Parts {
  return given
    .split(TAG)
    .filter((piece) => piece !== "")
    .map(
      (piece): GrammarSource =>
        TAG.test(piece) && isSpecial(piece, tokenizer)
          ? { type: "special_token", token: piece }
          : text(piece),
    );
}

function isSpecial(piece: string, tokenizer: GrammarContext["tokenizer"] | undefined): boolean {
  const id = tokenizer?.tokenToId(piece);
  return id !== undefined && tokenizer?.isSpecial(id) === true;
}

/** A pattern for all texts that do not begin with one of these. */
function notBeginningWith(prefixes: readonly string[]): string {
  const chars = [...new Set(prefixes.map((prefix) => prefix.charAt(0)))];
  const escaped = (char: string): string => char.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
  const longer = chars.flatMap((char) => {
    const rests = prefixes.filter((one) => one.startsWith(char)).map((one) => one.slice(1));
    return rests.includes("") ? [] : [`|${escaped(char)}${notBeginningWith(rests)}`];
  });
  return `(?:[^${chars.map(escaped).join("")}][\\s\\S]*${longer.join("")})?`;
}

/**
 * Messages that ask for an answer of this format: a sentence, and the schema as JSON, at the end of the system message, or in front of the
 * first message of the user where the template has no system role. A grammar alone makes an answer valid, but not sensible.
 */
export function withFormat(
  messages: readonly ChatMessage[],
  format: ResponseFormat | undefined,
  template: Pick<ChatTemplate, "answerLayout">,
): readonly ChatMessage[] {
  const request = describeFormat(format);
  if (request === undefined) return messages;
  return withInstruction(messages, request, template.answerLayout().system !== "first_user");
}

function describeFormat(format: ResponseFormat | undefined): string | undefined {
  if (format?.type === "json_object") return "Answer with a JSON object only.";
  if (format?.type !== "json_schema") return undefined;
  const { name, description, schema } = format;
  const named = name === undefined ? "" : ` of "${name}"`;
  const described = description === undefined ? "" : ` (${description})`;
  return `Answer with JSON only, which matches this JSON Schema${named}${described}:\n${spacedJson(schema)}`;
}
