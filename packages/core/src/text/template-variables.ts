// Variables of chat templates: those that callers set, and globals, which are Jinja's and the functions that transformers adds.
import { z } from "zod";
import { MosError, setting } from "#common";
import { MAX_STEPS } from "./bounded-interpreter.ts";

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
export function checkVariables(variables: TemplateVariables, name: string): void {
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
export function globals(name: string, now: Date | undefined): Record<string, unknown> {
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
