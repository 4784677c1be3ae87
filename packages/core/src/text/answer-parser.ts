// What a model writes, taken apart while it comes: reasoning, text, and calls of tools.

import { type CallSyntax, callHead } from "./call-syntax.ts";
import { type CallReader, NamedCallParser, ToolCallParser, ToolInputParser } from "./tool-call-parser.ts";
import type { ReasoningTags } from "./tool-probe.ts";
import type { ValueTypes } from "./written-values.ts";

/** A part of an answer. */
export type AnswerDelta =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  /** A call begins; its name is complete. `id` is there if the parser was given a source of ids. */
  | {
      readonly type: "call";
      readonly index: number;
      readonly id?: string;
      readonly kind: "function" | "custom";
      readonly name: string;
    }
  /** More of a call's arguments, as JSON text, or of the text that a custom tool takes. */
  | { readonly type: "arguments"; readonly index: number; readonly text: string }
  /** A call has ended; `isCut`: before its arguments were complete. */
  | { readonly type: "call_end"; readonly index: number; readonly isCut?: true };

/** Takes an answer apart while it comes. However a text is split, the same deltas come out, joined. */
export interface AnswerParser {
  push(text: string): readonly AnswerDelta[];
  /** The rest, when the answer has ended or was cut. */
  finish(): readonly AnswerDelta[];
}

/** What an answer may consist of. */
export interface AnswerParts {
  /** Where the answer begins: it cannot reason, may, or does already. */
  readonly reasoning: "none" | "optional" | "open";
  readonly tags: ReasoningTags | undefined;
  /** How calls are written; undefined where all is text. */
  readonly syntax: CallSyntax | undefined;
  /** Tools that may be called, by name. */
  readonly kinds: ReadonlyMap<string, "function" | "custom">;
  /** The kinds of values that a parameter of a tool may have, for calls that write texts without quotes (any). */
  readonly typesOf?: (tool: string, parameter: string) => ValueTypes;
  /** The answer, after reasoning, is calls and nothing else, so that the beginning of a tag is no text. */
  readonly isAllCalls?: boolean;
  readonly nextId: (() => string) | undefined;
}

type Mode = "begin" | "reasoning" | "gap" | "first" | "text" | "calls" | "call";

/** Characters of a call before its arguments: what is longer is text, and is looked through again for calls within. */
const LONGEST_HEAD = 1024;

/** White space, `[`, `]` and `,` around calls. */
const AROUND = /^[\s[\],]/;

/** Reads answers as a model's layout has them. */
export class LayoutParser implements AnswerParser {
  readonly #parts: AnswerParts;
  readonly #callTags: readonly string[];
  #mode: Mode;
  #held = "";
  /** The end of the text that was taken, with which what follows a tag could make another. */
  #shown = "";
  #deltas: AnswerDelta[] = [];
  #hasReasoned = false;
  #reader: CallReader | undefined;
  #input: ToolInputParser | undefined;
  /** Text of a call that may turn out to be none. */
  #raw = "";
  #isAnnounced = false;
  #index = -1;

  constructor(parts: AnswerParts) {
    this.#parts = parts;
    this.#callTags = parts.syntax === undefined ? [] : tagsOf(parts.syntax);
    this.#mode =
      parts.reasoning === "open" ? "reasoning" : parts.reasoning === "optional" ? "begin" : "first";
  }

  push(text: string): readonly AnswerDelta[] {
    this.#held += text;
    while (this.#held !== "" && this.#step());
    return this.#take();
  }

  finish(): readonly AnswerDelta[] {
    const rest = this.#held;
    this.#held = "";
    if (this.#mode === "call") this.#endCall("cut");
    else if (this.#mode === "reasoning") this.#emit("reasoning", rest);
    else if (this.#mode !== "calls" && !this.#isTag(rest)) this.#emit("text", rest);
    this.#mode = "text";
    return this.#take();
  }

  /** Whether a text is the beginning of an answer of calls that was cut within its first tag. */
  #isTag(text: string): boolean {
    const { isAllCalls, syntax } = this.#parts;
    if (isAllCalls !== true || syntax === undefined) return false;
    const heads = syntax.trigger === "" ? this.#heads(syntax).map(({ head }) => head) : [];
    return [syntax.trigger, ...heads].some((tag) => tag.startsWith(text));
  }

  /** How a call of each tool begins where no text marks calls. */
  #heads(syntax: CallSyntax): readonly { readonly name: string; readonly head: string }[] {
    return [...this.#parts.kinds.keys()].map((name) => ({ name, head: callHead(syntax, name) }));
  }

  #take(): readonly AnswerDelta[] {
    const deltas = this.#deltas;
    this.#deltas = [];
    return deltas;
  }

  #emit(type: "text" | "reasoning", text: string): void {
    if (text === "") return;
    const last = this.#deltas.at(-1);
    if (last?.type === type) this.#deltas[this.#deltas.length - 1] = { type, text: last.text + text };
    else this.#deltas.push({ type, text });
  }

  /** Takes something from the held text; false if more of it is needed. */
  #step(): boolean {
    switch (this.#mode) {
      case "begin":
        return this.#begin();
      case "reasoning":
        return this.#reason();
      case "gap":
        this.#held = this.#held.trimStart();
        if (this.#held !== "") this.#mode = "first";
        return true;
      case "first":
        return this.#first();
      case "text":
        return this.#text();
      case "calls":
        return this.#betweenCalls();
      case "call":
        return this.#call();
    }
  }

  /** Enters a mode after a part of the held text. */
  #enter(mode: Mode, used = 0): true {
    this.#held = this.#held.slice(used);
    this.#mode = mode;
    return true;
  }

  #begin(): boolean {
    const tag = this.#parts.tags?.begin ?? "";
    if (this.#held.startsWith(tag)) return this.#enter("reasoning", tag.length);
    return tag.startsWith(this.#held) ? false : this.#enter("first");
  }

  #reason(): boolean {
    if (!this.#hasReasoned) this.#held = this.#held.trimStart();
    const tag = this.#parts.tags?.end ?? "";
    const at = this.#held.indexOf(tag);
    const [certain, used] = at < 0 ? cutBefore(this.#held, tag) : cutAt(this.#held, at);
    this.#hasReasoned ||= certain !== "";
    this.#emit("reasoning", certain);
    if (at >= 0) return this.#enter("gap", at + tag.length);
    this.#held = this.#held.slice(used);
    return false;
  }

  /** Where no text marks calls, an answer is a call if it begins like one of a known tool. */
  #first(): boolean {
    const { syntax } = this.#parts;
    if (syntax === undefined || syntax.trigger !== "") return this.#enter("text");
    const heads = this.#heads(syntax);
    const found = heads.find(({ head }) => this.#held.startsWith(head));
    if (found === undefined)
      return heads.some(({ head }) => head.startsWith(this.#held)) ? false : this.#enter("text");
    this.#beginCall(new ToolCallParser(syntax.argumentsKey, found.name));
    this.#announce(found.name);
    return this.#enter("call", found.head.length);
  }

  #text(): boolean {
    const trigger = this.#parts.syntax?.trigger ?? "";
    if (trigger === "") {
      this.#emit("text", this.#held);
      this.#held = "";
      return false;
    }
    const shown = this.#shown.length;
    const text = this.#shown + this.#held;
    const at = text.indexOf(trigger);
    const [certain] = at < 0 ? cutBefore(text, trigger) : cutAt(text, at);
    this.#emit("text", certain.slice(shown));
    this.#shown = text.slice(0, Math.max(shown, certain.length)).slice(1 - trigger.length);
    if (at >= 0) return this.#enter("calls", at + trigger.length - shown);
    this.#held = text.slice(Math.max(shown, certain.length));
    return false;
  }

  #betweenCalls(): boolean {
    const { argumentsKey = "", form } = this.#parts.syntax ?? {};
    const [before] = form?.name ?? ["{"];
    if (before === "" ? /^[\w-]/.test(this.#held) : this.#held.startsWith(before)) {
      const { typesOf = () => undefined } = this.#parts;
      this.#beginCall(form ? new NamedCallParser(form, typesOf) : new ToolCallParser(argumentsKey));
      return this.#enter("call");
    }
    const tag = this.#callTags.find((one) => this.#held.startsWith(one));
    if (tag !== undefined) return this.#enter("calls", tag.length);
    if ([before, ...this.#callTags].some((one) => one.startsWith(this.#held))) return false;
    return AROUND.test(this.#held) ? this.#enter("calls", 1) : this.#enter("text");
  }

  #beginCall(reader: CallReader): void {
    [this.#reader, this.#input, this.#raw, this.#isAnnounced] = [reader, undefined, "", false];
  }

  #call(): boolean {
    const reader = this.#reader;
    if (reader === undefined) return this.#enter("text");
    let used = 0;
    for (const char of this.#held) {
      used += char.length;
      const step = reader.feed(char);
      if (step === "arguments") this.#announce(reader.name ?? "");
      if (!this.#isAnnounced) this.#raw += char;
      if (!this.#isAnnounced && (step === "bad" || this.#raw.length > LONGEST_HEAD)) {
        this.#held = this.#raw + this.#held.slice(used);
        return this.#enter("text");
      }
      if (step !== "end" && step !== "bad") continue;
      this.#endCall(step);
      return this.#enter("calls", used);
    }
    this.#emitArguments();
    this.#held = "";
    return false;
  }

  #announce(name: string): void {
    this.#isAnnounced = true;
    this.#index++;
    const kind = this.#parts.kinds.get(name) ?? "function";
    if (kind === "custom") this.#input = new ToolInputParser();
    const id = this.#parts.nextId?.();
    this.#deltas.push({ type: "call", index: this.#index, ...(id === undefined ? {} : { id }), kind, name });
  }

  #emitArguments(): void {
    const json = this.#reader?.takeArguments() ?? "";
    const text = this.#input?.push(json) ?? json;
    if (this.#isAnnounced && text !== "") this.#deltas.push({ type: "arguments", index: this.#index, text });
  }

  /** The end of a call: as it should be, where it is no call any more, or where the answer was cut. */
  #endCall(how: "end" | "bad" | "cut"): void {
    const name = this.#reader?.name;
    if (!this.#isAnnounced && how === "end" && name !== undefined) {
      this.#announce(name);
      this.#deltas.push({ type: "arguments", index: this.#index, text: "{}" });
    }
    if (!this.#isAnnounced) return;
    this.#emitArguments();
    const index = this.#index;
    this.#deltas.push(how === "end" ? { type: "call_end", index } : { type: "call_end", index, isCut: true });
  }
}

/** Texts around calls, without white space and brackets. */
const tagsOf = ({ begin, open, close, end }: CallSyntax): readonly string[] =>
  [begin, open, close, end]
    .map((text) => text.replace(/^[\s\],]+|(?<![\s[,])[\s[,]+$/g, "").trim())
    .filter((text) => text !== "");

/** Text up to a tag, without white space before it. */
const cutAt = (text: string, at: number): readonly [certain: string, used: number] => [
  text.slice(0, at).trimEnd(),
  at,
];

/** Text that can be no part of a tag that comes, nor white space before it. */
function cutBefore(text: string, tag: string): readonly [certain: string, used: number] {
  let length = Math.min(tag.length - 1, text.length);
  while (length > 0 && !text.endsWith(tag.slice(0, length))) length--;
  const certain = text.slice(0, text.length - length).trimEnd();
  return [certain, certain.length];
}
