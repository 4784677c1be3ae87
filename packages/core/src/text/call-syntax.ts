// How models write calls of tools. A new way is one more row: the grammar that constrains calls and the parser that reads them
// follow it.
import type { Notation } from "mixture-of-shards-grammar";
import { createHash } from "#platform";
import { writeArguments } from "./written-values.ts";

/** A call that is no JSON object: its name and arguments, with texts around them. */
export interface NamedForm {
  /** Around the name. */
  readonly name: readonly [before: string, after: string];
  /** After the arguments. */
  readonly end: string;
  /** How arguments are written (JSON). */
  readonly notation?: Notation;
}

/** How a model writes the calls of an answer: `begin`, calls within `open` and `close`, with separators, and `end`. */
export interface CallSyntax {
  readonly name: string;
  /** The models that write so, for the documents. */
  readonly models: string;
  readonly begin: string;
  readonly open: string;
  readonly close: string;
  readonly separator: string;
  readonly end: string;
  /** Key of a call's arguments, after `name`, where a call is a JSON object. */
  readonly argumentsKey: "arguments" | "parameters";
  readonly form?: NamedForm;
  /** A call ends with an id of nine letters and digits. */
  readonly hasId: boolean;
  /** An answer has one call at most. */
  readonly isSingle: boolean;
  /** Text that begins a call wherever it stands; "" where only an answer that is nothing else is a call. */
  readonly trigger: string;
  /** Texts in a prompt with tools that tell that calls are to be written in this way. */
  readonly evidence: readonly string[];
}

/** A function with its arguments as JSON text. */
export interface WrittenCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, with one blank after `:` and `,`. */
  readonly arguments: string;
}

const plain: Omit<CallSyntax, "name" | "models" | "trigger"> = {
  ...{ begin: "", open: "", close: "", separator: ", ", end: "" },
  argumentsKey: "arguments",
  hasId: false,
  isSingle: false,
  evidence: [],
};

/** Also ours, where a template knows no calls. */
export const TAGGED: CallSyntax = {
  ...plain,
  name: "hermes",
  models: "Qwen 2.5 and 3, Granite 4, SmolLM3, Hermes, and models whose template knows no tools",
  open: "<tool_call>\n",
  close: "\n</tool_call>",
  separator: "\n",
  trigger: "<tool_call>",
  evidence: ["<tool_call>"],
};

const PYTHON_WORDS = { true: "True", false: "False", null: "None" };

/** All known ways; the first one that a template follows counts. */
export const CALL_SYNTAXES: readonly CallSyntax[] = [
  TAGGED,
  {
    ...plain,
    name: "mistral",
    models: "Mistral NeMo",
    begin: "[TOOL_CALLS][",
    end: "]",
    hasId: true,
    trigger: "[TOOL_CALLS]",
  },
  {
    ...plain,
    name: "mistral-v3",
    models: "Mistral 7B v0.3",
    begin: "[TOOL_CALLS] [",
    end: "]",
    hasId: true,
    trigger: "[TOOL_CALLS]",
  },
  {
    ...plain,
    name: "phi4-mini",
    models: "Phi-4-mini",
    begin: "<|tool_call|>[",
    end: "]<|/tool_call|>",
    trigger: "<|tool_call|>",
    evidence: ["<|/tool|>"],
  },
  {
    ...plain,
    name: "phi4-mini-blocks",
    models: "Phi-4-mini by a template with a block for each call",
    open: "<|tool_call|>",
    close: "<|/tool_call|>",
    separator: "",
    trigger: "<|tool_call|>",
  },
  {
    ...plain,
    name: "granite3",
    models: "Granite 3",
    begin: "<|tool_call|>[",
    end: "]",
    trigger: "<|tool_call|>",
    evidence: ["<|tool_call|>", "available_tools<|end_of_role|>", "tools<|end_of_role|>"],
  },
  {
    ...plain,
    name: "llama3",
    models: "Llama 3.1 and 3.2",
    argumentsKey: "parameters",
    isSingle: true,
    trigger: "",
  },
  {
    ...plain,
    name: "qwen3_5",
    models: "Qwen 3.5 and Qwen 3 Coder",
    open: "<tool_call>\n",
    close: "\n</tool_call>",
    separator: "\n",
    trigger: "<tool_call>",
    form: {
      name: ["<function=", ">"],
      end: "\n</function>",
      notation: {
        quotes: [],
        words: PYTHON_WORDS,
        members: { name: ["\n<parameter=", ">\n"], end: "\n</parameter>", separator: "" },
      },
    },
  },
  {
    ...plain,
    name: "lfm2",
    models: "LFM 2, 2.5 and 3",
    begin: "<|tool_call_start|>[",
    end: "]<|tool_call_end|>",
    trigger: "<|tool_call_start|>",
    evidence: ["<|tool_list_start|>", "List of tools: ["],
    form: {
      name: ["", "("],
      end: ")",
      notation: {
        quotes: [
          { mark: "'", isEscaped: true },
          { mark: '"', isEscaped: true },
        ],
        words: PYTHON_WORDS,
        members: { name: ["", "="], end: "", separator: ", " },
      },
    },
  },
  {
    ...plain,
    name: "gemma4",
    models: "Gemma 4",
    open: "<|tool_call>",
    close: "<tool_call|>",
    separator: "",
    trigger: "<|tool_call>",
    form: {
      name: ["call:", ""],
      end: "",
      notation: { quotes: [{ mark: '<|"|>', isEscaped: false }], words: { null: "None" }, isBare: true },
    },
  },
  {
    ...plain,
    name: "mistral-v13",
    models: "Ministral 3",
    open: "[TOOL_CALLS]",
    separator: "",
    trigger: "[TOOL_CALLS]",
    form: { name: ["", "[ARGS]"], end: "" },
  },
];

/** The text of a call up to its arguments. */
export const callHead = ({ argumentsKey, form }: CallSyntax, name: string): string =>
  form === undefined ? `{"name": ${JSON.stringify(name)}, "${argumentsKey}": ` : form.name.join(name);

/** The text of a call after its arguments. */
export const callTail = ({ form }: CallSyntax): string => form?.end ?? "}";

/** The text of calls as the model writes them. */
export function writeCalls(syntax: CallSyntax, calls: readonly WrittenCall[]): string {
  const { begin, open, close, separator, end, hasId, form } = syntax;
  const texts = calls.map(({ id, name, arguments: given }) => {
    const further = hasId ? `, "id": ${JSON.stringify(shortId(id))}` : "";
    const written = writeArguments(given, form?.notation);
    return open + callHead(syntax, name) + written + further + callTail(syntax) + close;
  });
  return begin + texts.join(separator) + end;
}

/** An id of nine letters and digits, as Mistral's templates demand: itself, or a digest. */
export const shortId = (id: string): string =>
  /^[A-Za-z0-9]{9}$/.test(id) ? id : createHash("sha256").update(id).digest("hex").slice(0, 9);
