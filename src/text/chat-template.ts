import { Environment, parse, tokenize } from "@huggingface/jinja";
import { MosError, reasonOf } from "#core";
import { boundedInterpreter, MOST_STEPS } from "./bounded-interpreter.ts";
import {
  type ChatMessage,
  type Render,
  type RenderedPiece,
  type RenderTurnsOptions,
  renderTurns,
} from "./render-turns.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Lays out a conversation as the text that a model was trained on. */
export interface ChatTemplate {
  readonly source: "model" | "default";
  /**
   * @throws MosError `bad_data` when the template refuses the messages, or the last one cannot be continued; `bad_option`
   * for a variable that is not the caller's.
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /**
   * The same text as `render(messages)` in pieces, one for each assistant message. It begins where the generation prompt
   * ends (for a first message, where its content begins) and runs to the end of the turn, with the end-of-turn token and
   * a line break after it; but not a line break at the end of the conversation, since generation stops before it.
   *
   * @throws MosError `bad_config` when the template renders earlier turns differently once later ones follow.
   */
  renderTurns(messages: readonly ChatMessage[]): RenderedPiece[];
}

/** How a conversation is laid out. */
export interface RenderOptions {
  /** Ends the text where the assistant's answer begins (false). */
  readonly addGenerationPrompt?: boolean;
  /** Ends the text with the content of the last message, so that an answer continues it (false). */
  readonly continueFinalMessage?: boolean;
  /** Further variables for the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A template, and what it needs to be rendered. */
export interface ChatTemplateOptions {
  /** The model's own Jinja template; without one, a default is used. */
  readonly template?: string | undefined;
  /** Where the template was found, for messages. */
  readonly name?: string;
  readonly tokenizer: Pick<Tokenizer, "bosToken" | "eosTokens" | "idOf" | "tokenOf">;
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
 * @example
 * const chat = chatTemplate({ tokenizer });
 * const prompt = chat.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: true });
 */
export function chatTemplate(options: ChatTemplateOptions): ChatTemplate {
  const { source, name, template } = choose(options);
  const run = compileTemplate(template, { name, now: options.now });
  const { bosToken, eosTokens, tokenOf } = options.tokenizer;
  const textOf = (id: number | undefined): string => (id === undefined ? "" : (tokenOf(id) ?? ""));
  const tokens = { bos_token: textOf(bosToken), eos_token: textOf(eosTokens[0]) };
  const render = (messages: readonly ChatMessage[], given: RenderOptions = {}): string => {
    const { addGenerationPrompt = false, continueFinalMessage = false, variables = {} } = given;
    checkVariables(variables, name);
    const layOut: Render = (all) =>
      run({ ...variables, ...tokens, messages: all, add_generation_prompt: addGenerationPrompt });
    return continueFinalMessage ? untilEnd(messages, { name, render: layOut }) : layOut(messages);
  };
  return { source, render, renderTurns: (messages) => renderTurns(messages, { name, render }) };
}

/** What the messages, other options and the tokenizer decide, by transformers' names. */
const OWN_VARIABLES: readonly string[] = [
  ...["messages", "tools", "add_generation_prompt", "continue_final_message"],
  ...["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"],
  "additional_special_tokens",
];

function checkVariables(variables: Readonly<Record<string, unknown>>, name: string): void {
  const names = [...OWN_VARIABLES, ...Object.keys(globals(name, new Date(0)))];
  const own = Object.keys(variables).find((key) => names.includes(key));
  if (own !== undefined)
    throw new MosError("bad_option", `${own} cannot be set, since ${name} has it already; leave it out`);
}

/** Marks the end of a content; the blank tells whether the template trims contents. */
const END_MARK = "<|content-ends-here|> ";

/** The text up to the end of the last message's content, without its end of turn. */
function untilEnd(messages: readonly ChatMessage[], { name, render }: RenderTurnsOptions): string {
  const last = messages.at(-1);
  if (last === undefined) throw new MosError("bad_data", "there is no message to continue; give one");
  const text = render([...messages.slice(0, -1), { ...last, content: last.content + END_MARK }]);
  const end = text.lastIndexOf(END_MARK.trimEnd());
  if (end < 0)
    throw new MosError("bad_data", `${name} leaves out the last message's end: it cannot be continued`);
  const untrimmed = text.slice(0, end);
  return text.startsWith(END_MARK, end) ? untrimmed : untrimmed.trimEnd();
}

interface Chosen {
  readonly source: ChatTemplate["source"];
  readonly name: string;
  readonly template: string;
}

function choose({ template, name = "the model's chat template", tokenizer }: ChatTemplateOptions): Chosen {
  if (template !== undefined) return { source: "model", name, template };
  const hasChatMl = ["<|im_start|>", "<|im_end|>"].every((token) => tokenizer.idOf(token) !== undefined);
  return hasChatMl
    ? { source: "default", name: "the default chat template (ChatML)", template: CHATML }
    : { source: "default", name: "the default chat template (Tulu)", template: TULU };
}

/** Runs one compiled template with the given variables. */
type RunTemplate = (variables: Readonly<Record<string, unknown>>) => string;

interface CompileTemplateOptions {
  /** The template's name in messages. */
  readonly name: string;
  /** The time for `strftime_now` (in UTC); undefined leaves that function out. */
  readonly now: Date | undefined;
}

/**
 * Compiles a Jinja chat template with the settings of transformers: trim_blocks, lstrip_blocks, `raise_exception`.
 *
 * @throws MosError `bad_model` when it does not parse, fails, or takes too many steps; `bad_data` when it raises an exception for the messages.
 */
function compileTemplate(template: string, { name, now }: CompileTemplateOptions): RunTemplate {
  const program = attempt(`${name} does not parse`, () =>
    parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })),
  );
  return (variables) => {
    const environment = new Environment();
    for (const [key, value] of Object.entries({ ...globals(name, now), ...variables }))
      environment.set(key, value);
    const result = attempt(`${name} fails`, () => boundedInterpreter(environment).run(program));
    if (typeof result.value !== "string") throw new MosError("bad_model", `${name} gives no text`);
    return result.value;
  };
}

function attempt<Result>(what: string, action: () => Result): Result {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof MosError) throw cause;
    // the parser throws a TypeError where a template ends too early
    const reason = cause instanceof TypeError ? "it ends too early, or is damaged" : reasonOf(cause);
    throw new MosError("bad_model", `${what}: ${reason}`, { cause });
  }
}

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
  if (!(length <= MOST_STEPS)) throw new Error(`range of ${length} numbers`);
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
    if (write === undefined) throw new Error(`strftime_now does not know ${directive}`);
    return write();
  });
}
