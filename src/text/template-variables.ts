// Variables that callers set for a chat template.
import { jsonObject, MosError } from "#core";
import { globals } from "./template-globals.ts";

/** By name: `enable_thinking` of Qwen3 and SmolLM3, `thinking` of Granite. */
export type TemplateVariables = Readonly<Record<string, unknown>>;

/** Settings of rendering conversations. The name is that of vLLM's and llama.cpp's APIs. */
export const templateSettings = {
  chatTemplateKwargs: jsonObject({
    help: 'variables for the chat template, such as {"enable_thinking": false}',
  }),
};

/** Variables set by the messages, other options and the tokenizer, by transformers' names. */
const OWN_VARIABLES: readonly string[] = [
  ...["messages", "tools", "add_generation_prompt", "continue_final_message"],
  ...["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"],
  "additional_special_tokens",
];

/** @throws MosError `bad_option` for a variable that is not the caller's, or a truth value that is written as a text. */
export function checkVariables(variables: TemplateVariables, name: string): void {
  const names = [...OWN_VARIABLES, ...Object.keys(globals(name, new Date(0)))];
  const own = Object.keys(variables).find((key) => names.includes(key));
  if (own !== undefined)
    throw new MosError("bad_option", `${own} cannot be set, since ${name} has it already; leave it out`);
  for (const [key, value] of Object.entries(variables))
    if (typeof value === "string" && /^(true|false)$/i.test(value))
      throw new MosError(
        "bad_option",
        `${key} is the text "${value}", which counts as true in a template; write true or false without quotes`,
      );
}
