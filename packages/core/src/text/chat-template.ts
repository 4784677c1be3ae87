// Chat templates, with the variables that callers set and the globals that templates have: Jinja's and the functions that transformers adds.
import { Environment, parse, tokenize } from "@huggingface/jinja";
import { z } from "zod";
import { errorText, MosError, setting } from "#common";
import { boundedInterpreter, MAX_STEPS } from "./bounded-interpreter.ts";
import type { ChatMessage, Tool } from "./messages.ts";
import {
  type LocateOptions,
  type NamedRender,
  type Render,
  type RenderedPiece,
  renderTurns,
} from "./render-turns.ts";
import type { Tokenizer } from "./tokenizer.ts";
import {
  plainMessage,
  type TemplateMessage,
  type ToolLayout,
  templateInput,
  usesTools,
} from "./tool-messages.ts";
import { probeLayout, type ReasoningTags, type RenderInput, reasoningTags } from "./tool-probe.ts";

/** By name: `enable_thinking` of Qwen3 and SmolLM3, `thinking` of Granite. */
export type TemplateVariables = Readonly<Record<string, unknown>>;

/** Settings of rendering conversations. The name is that of vLLM's and llama.cpp's APIs. */
export const templateSettings = {
  chatTemplateKwargs: setting(z.record(z.string(), z.unknown()), {
    help: 'variables for the chat template, such as {"enable_thinking": false}',
  }),
};

/** Variables set by the messages, other options and the tokenizer, by transformers' names. */
const OWN_VARIABLES: readonly string[] = [
  ...["messages", "tools", "add_generation_prompt", "continue_final_message"],
  ...["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"],
  "additional_special_tokens",
];

/** @throws MosError `bad_option` for a reserved variable, or a boolean written as a string. */
function checkVariables(variables: TemplateVariables, name: string): void {
  if (Object.keys(variables).length === 0) return;
  const names = [...OWN_VARIABLES, ...Object.keys(globals(name, new Date(0)))];
  const own = Object.keys(variables).find((key) => names.includes(key));
  if (own !== undefined)
    throw new MosError("bad_option", `${own} cannot be set, because ${name} already defines it; omit it`);
  for (const [key, value] of Object.entries(variables))
    if (typeof value === "string" && /^(true|false)$/i.test(value))
      throw new MosError(
        "bad_option",
        `${key} is the text "${value}", which counts as true in a template; write true or false without quotes`,
      );
}

/** @param now The time for `strftime_now` (in UTC); undefined leaves that function out. */
function globals(name: string, now: Date | undefined): Record<string, unknown> {
  const shared = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    raise_exception: (message: unknown) => {
      throw new MosError("bad_data", `${name} refuses these messages: ${String(message)}`);
    },
  };
  return now === undefined
    ? shared
    : { ...shared, strftime_now: (format: unknown) => strftime(String(format), now) };
}

function range(first: number, stop?: number, step = 1): number[] {
  const from = stop === undefined ? 0 : first;
  const to = stop ?? first;
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= MAX_STEPS)) throw new Error(`range() of ${length} items exceeds the limit`);
  return Array.from({ length }, (_, i) => from + i * step);
}

const two = (value: number): string => String(value).padStart(2, "0");
const inWords = (now: Date, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" }).format(now);

/** The directives of Python's strftime that chat templates use. */
function strftime(format: string, now: Date): string {
  const directives: Readonly<Record<string, () => string>> = {
    "%Y": () => String(now.getUTCFullYear()),
    "%m": () => two(now.getUTCMonth() + 1),
    "%d": () => two(now.getUTCDate()),
    "%-d": () => String(now.getUTCDate()),
    "%b": () => inWords(now, { month: "short" }),
    "%B": () => inWords(now, { month: "long" }),
    "%a": () => inWords(now, { weekday: "short" }),
    "%A": () => inWords(now, { weekday: "long" }),
    "%H": () => two(now.getUTCHours()),
    "%M": () => two(now.getUTCMinutes()),
    "%S": () => two(now.getUTCSeconds()),
    "%%": () => "%",
  };
  return format.replace(/%-?[A-Za-z%]/g, (directive) => {
    const write = directives[directive];
    if (write === undefined) throw new Error(`strftime_now does not support ${directive}`);
    return write();
  });
}

/** Lays out a conversation as the text that a model was trained on. */
export interface ChatTemplate {
  /**
   * "default" is ChatML, where the model has none of its own and its tokenizer has ChatML's tokens; "fallback" Tulu's layout
   * in ordinary text, which means nothing to a model unless it, or its adapter, was trained with it.
   */
  readonly source: "model" | "default" | "fallback";
  /**
   * @throws MosError `bad_data` when the template refuses the messages or leaves out those of a role, or the last one cannot
   * be continued; `bad_option` for a variable that is not the caller's.
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /**
   * The same text as `render(messages)`, but for an end-of-text token that only ends a conversation, in pieces, one for each
   * assistant message. It begins where the generation prompt
   * ends (for a first message, where its content begins) and runs to the end of the turn, with the end-of-turn token and
   * a line break after it; but not a line break at the end of the conversation, since generation stops before it.
   *
   * @throws MosError `bad_config` when the template renders earlier turns differently once later ones follow, as those do
   * that leave out the reasoning of earlier answers; then `lastOnly` locates the last message's.
   */
  renderTurns(
    messages: readonly ChatMessage[],
    options?: LocateOptions & Pick<RenderOptions, "variables" | "tools">,
  ): RenderedPiece[];
  /** How the model calls tools and reasons; found by rendering probes when it is first needed. */
  answerLayout(): AnswerLayout;
}

/** How a model calls tools, and where it reasons. */
export interface AnswerLayout extends ToolLayout {
  /** Undefined where the template knows no reasoning. */
  readonly reasoning: ReasoningTags | undefined;
}

/** Options of rendering a conversation. */
interface RenderOptions {
  /** Ends the text where the assistant's answer begins (false). */
  readonly addGenerationPrompt?: boolean;
  /** Ends the text with the content of the last message, so that an answer continues it (false). */
  readonly continueFinalMessage?: boolean;
  /** Further variables for the template, such as `enable_thinking`; one that it does not read changes nothing. */
  readonly variables?: TemplateVariables;
  /** Tools that the model may call: shown as the template does, or in words of ours where it knows none (none). */
  readonly tools?: readonly Tool[] | undefined;
}

/** A template, and what it needs to be rendered. */
interface ChatTemplateOptions {
  /** The model's own Jinja template; without one, a default is used. */
  readonly template?: string | undefined;
  /** Origin of the template, for messages. */
  readonly name?: string;
  readonly tokenizer: Pick<Tokenizer, "bosToken" | "eosTokens" | "tokenToId" | "idToToken">;
  /** The time for templates that print the date (in UTC); without it they print the date that they contain, or none. */
  readonly now?: Date | undefined;
}

/** OpenAI's ChatML, without any system message of its own. */
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** Tulu's layout, which open-instruct evaluates with. The tags are ordinary text. */
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
 */
export function chatTemplate(options: ChatTemplateOptions): ChatTemplate {
  const { source, name, template } = choose(options);
  const run = compileTemplate(template, name, options.now);
  const { bosToken, eosTokens, idToToken } = options.tokenizer;
  const spelling = (id: number | undefined): string => (id === undefined ? "" : (idToToken(id) ?? ""));
  const tokens = { bos_token: spelling(bosToken), eos_token: spelling(eosTokens[0]) };
  const runWith =
    (variables: TemplateVariables): RenderInput =>
    (input, { addGenerationPrompt = false } = {}) =>
      run({ ...variables, ...tokens, ...input, add_generation_prompt: addGenerationPrompt });
  let layout: AnswerLayout | undefined;
  const answerLayout = (): AnswerLayout => {
    layout ??= { ...probeLayout(runWith({})), reasoning: reasoningTags(template) };
    return layout;
  };
  const layOut = (messages: readonly ChatMessage[], given: RenderOptions): string => {
    const { addGenerationPrompt = false, continueFinalMessage = false, variables = {}, tools } = given;
    checkVariables(variables, name);
    const render: Render = (all) => {
      if (!usesTools(all, tools))
        return runWith(variables)({ messages: all.map(plainMessage) }, { addGenerationPrompt });
      const { input, restore } = templateInput(answerLayout(), all, tools);
      return restore(runWith(variables)(input, { addGenerationPrompt }));
    };
    return continueFinalMessage ? untilEnd(messages, { name, render }) : render(messages);
  };
  const render = (messages: readonly ChatMessage[], given: RenderOptions = {}): string => {
    const text = layOut(messages, given);
    assertAllRendered(messages, { name, render: (all) => layOut(all, given) });
    return text;
  };
  return {
    source,
    render,
    renderTurns: (messages, { lastOnly, variables = {}, tools } = {}) => {
      const full: Render = (all, given) => layOut(all, { ...given, variables, tools });
      const locate = (all: readonly ChatMessage[]): RenderedPiece[] =>
        renderTurns(all, {
          name,
          lastOnly,
          render: withoutEnd(full, all, tokens.eos_token),
          ending: (message) => turnEnding(message, answerLayout),
        });
      const hidden = omittedMarkers(messages, full);
      if (hidden.length === 0) return locate(messages);
      // Mistral's shows the system message only where the last message is the user's: in a prompt, so that is taken
      const isAnswer = messages.at(-1)?.role === "assistant";
      const prompt = isAnswer
        ? render(messages.slice(0, -1), { addGenerationPrompt: true, variables, tools })
        : render(messages, { variables, tools });
      if (lastOnly !== true)
        throw new MosError(
          "bad_config",
          `${name} shows the ${hidden[0]?.role} message only when it prompts for an answer; make each answer a separate example, as the last message`,
        );
      const pieces = locate(messages.filter((one) => !hidden.includes(one)));
      return [{ text: prompt, isAnswer: false }, ...pieces.slice(pieces.findIndex((one) => one.isAnswer))];
    },
    answerLayout,
  };
}

/** The text that an assistant's turn ends with before its end of turn: its content, or its calls. */
function turnEnding(message: ChatMessage, layout: () => ToolLayout): string {
  if ((message.toolCalls ?? []).length === 0) return message.content;
  const { syntax } = layout();
  return syntax.end || syntax.close || "}";
}

/**
 * A template with values for its variables; those of a call come before them.
 *
 * @throws MosError `bad_option` for a variable that is not the caller's, such as `messages`.
 */
export function withVariables(template: ChatTemplate, defaults: TemplateVariables = {}): ChatTemplate {
  checkVariables(defaults, "the chat template");
  const all = <Given extends Pick<RenderOptions, "variables">>(given: Given): Given => ({
    ...given,
    variables: { ...defaults, ...given.variables },
  });
  return {
    ...template,
    render: (messages, given = {}) => template.render(messages, all(given)),
    renderTurns: (messages, given = {}) => template.renderTurns(messages, all(given)),
  };
}

/** Some templates, such as Phi-3's, end a conversation by the end-of-text token, which is no part of its last turn. */
function withoutEnd(render: Render, messages: readonly ChatMessage[], end: string): Render {
  const whole = render(messages);
  if (end === "" || !whole.endsWith(end)) return render;
  if (render(messages, { addGenerationPrompt: true }).startsWith(whole)) return render;
  return (all, given) => {
    const text = render(all, given);
    return given?.addGenerationPrompt !== true && text.endsWith(end) ? text.slice(0, -end.length) : text;
  };
}

/** Marks the end of a content; the blank tells whether the template trims contents. */
const END_MARK = "<|content-ends-here|> ";

/** The text up to the end of the last message's content, without its end of turn. */
function untilEnd(messages: readonly ChatMessage[], { name, render }: NamedRender): string {
  const last = messages.at(-1);
  if (last === undefined)
    throw new MosError("bad_data", "there is no message to continue; send at least one");
  const text = render([...messages.slice(0, -1), { ...last, content: last.content + END_MARK }]);
  const end = text.lastIndexOf(END_MARK.trimEnd());
  if (end < 0)
    throw new MosError("bad_data", `${name} omits the end of the last message, so it cannot be continued`);
  const untrimmed = text.slice(0, end);
  return text.startsWith(END_MARK, end) ? untrimmed : untrimmed.trimEnd();
}

function choose({ template, name = "the model's chat template", tokenizer }: ChatTemplateOptions) {
  if (template !== undefined) return { source: "model" as const, name, template };
  const hasChatMl = ["<|im_start|>", "<|im_end|>"].every((token) => tokenizer.tokenToId(token) !== undefined);
  return hasChatMl
    ? { source: "default" as const, name: "the default chat template (ChatML)", template: CHATML }
    : { source: "fallback" as const, name: "the default chat template (Tulu)", template: TULU };
}

/** Runs one compiled template with the given variables. */
type RunTemplate = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Compiles a Jinja chat template with the settings of transformers: trim_blocks, lstrip_blocks, `raise_exception`. Without the
 * time (in UTC), it has no `strftime_now`.
 *
 * @throws MosError `bad_model` when it does not parse, fails, or takes too many steps; `bad_data` when it raises an exception for the messages.
 */
function compileTemplate(template: string, name: string, now: Date | undefined): RunTemplate {
  const program = attempt(`${name} does not parse`, () =>
    // Jinja in Python takes any line break as this one
    parse(tokenize(template.replace(/\r\n?/g, "\n"), { lstrip_blocks: true, trim_blocks: true })),
  );
  // some templates print the date without asking whether it is known
  const needsDate = now === undefined && !/strftime_now\s+is\s+(not\s+)?defined/.test(template);
  const dateless = needsDate ? { strftime_now: () => "" } : {};
  // made once, since a conversation is rendered once and more for each answer
  const shared = new Environment();
  for (const [key, value] of Object.entries({ ...globals(name, now), ...dateless })) shared.set(key, value);
  const run: RunTemplate = (variables) => {
    const environment = new Environment(shared);
    for (const [key, value] of Object.entries(variables)) environment.set(key, value);
    const result = attempt(`${name} fails`, () => boundedInterpreter(environment).run(program));
    if (typeof result.value !== "string") throw new MosError("bad_model", `${name} produces no text`);
    return result.value;
  };
  if (READS_THOUGHTS.test(template)) return (variables) => run(withThoughts(variables));
  return READS_PARTS.test(template) ? (variables) => withParts(run, variables) : run;
}

/** Some templates, such as Ministral 3's, take reasoning as a part of the content only. */
const READS_THOUGHTS = /(?<!message)\[['"]thinking['"]\]/;

function withThoughts(variables: TemplateVariables): TemplateVariables {
  const { messages } = variables as { readonly messages: readonly TemplateMessage[] };
  const parts = messages.map(({ reasoning_content: thinking, ...one }) => {
    if (thinking === undefined) return one;
    const text = one.content === "" ? [] : [{ type: "text", text: one.content }];
    return { ...one, content: [{ type: "thinking", thinking }, ...text] };
  });
  return { ...variables, messages: parts };
}

/** Some templates, such as Gemma 3's first, take the text of a system message from a list of parts only. */
const READS_PARTS = /content(['"]\])?\[0\]/;

/** Runs a template with contents as strings and, if it fails, with each as a list of one part. */
function withParts(run: RunTemplate, variables: TemplateVariables): string {
  try {
    return run(variables);
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "bad_model") throw error;
    const { messages } = variables as { readonly messages: readonly TemplateMessage[] };
    const parts = messages.map((one) => ({ ...one, content: [{ type: "text", text: one.content }] }));
    return run({ ...variables, messages: parts });
  }
}

function attempt<Result>(what: string, action: () => Result): Result {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof MosError) throw cause;
    // the parser throws a TypeError where a template ends too early
    const reason = cause instanceof TypeError ? "it ends too early, or is damaged" : errorText(cause);
    throw new MosError("bad_model", `${what}: ${reason}`, { cause });
  }
}

// Detection of messages that a chat template silently omits, as some do for roles that they do not know.

/** Replaces a content, to test whether a template renders it; contents may be equal, markers never are. */
const marker = (index: number): string => `is-message-${index}-shown?`;

const isMarked = ({ role, content }: ChatMessage): boolean =>
  role !== "user" && role !== "assistant" && content.trim() !== "";

/** The messages, of other roles than user and assistant, whose content is not in the text. */
function omittedMarkers(messages: readonly ChatMessage[], render: Render): readonly ChatMessage[] {
  if (!messages.some(isMarked)) return [];
  // a template may show a content changed, but hardly a marker
  const text = render(messages.map((one, i) => (isMarked(one) ? { ...one, content: marker(i) } : one)));
  return messages.filter((one, i) => isMarked(one) && !text.includes(marker(i)));
}

/** @throws MosError `bad_data` when the text leaves out a message. */
function assertAllRendered(messages: readonly ChatMessage[], { name, render }: NamedRender): void {
  const [first] = omittedMarkers(messages, render);
  if (first === undefined) return;
  const { role } = first;
  throw new MosError(
    "bad_data",
    `${name} omits message ${messages.indexOf(first) + 1} (role ${role}); move its content into a user message`,
  );
}

const MARK = "<system message>";

/** The system message that a template gives to conversations without one; undefined where it gives none. */
export function defaultSystem({ render }: Pick<ChatTemplate, "render">): string | undefined {
  const ask = (content?: string): string =>
    render([
      ...(content === undefined ? [] : [{ role: "system", content }]),
      { role: "user", content: "Hi" },
    ]);
  try {
    const [plain, [before = "", after = ""]] = [ask(), ask(MARK).split(MARK)];
    const own = plain.slice(before.length, plain.length - after.length);
    return own !== "" && ask(own) === plain ? own : undefined;
  } catch (cause) {
    if (cause instanceof MosError) return undefined; // it refuses such messages
    throw cause;
  }
}
