// Parses one tool call, character by character while the model writes it.
import { tryJson } from "#common";
import type { NamedForm } from "./call-syntax.ts";
import { ArgumentsReader, isBlank, type ValueTypes } from "./written-values.ts";

/** Extent of a JSON value. */
class ValueExtent {
  #depth = 0;
  #isString = false;
  #isEscaped = false;
  #isScalar = false;

  /** Whether the character is part of the value and more follows ("in"), is its last one, or stands after it. */
  feed(char: string): "in" | "last" | "after" {
    if (this.#isString) return this.#inString(char);
    if (this.#isScalar) return /[\s,\]}]/.test(char) ? "after" : "in";
    if (char === '"') this.#isString = true;
    else if (char === "{" || char === "[") this.#depth++;
    else if (char === "}" || char === "]") this.#depth--;
    else if (this.#depth === 0) this.#isScalar = true;
    return this.#depth === 0 && !this.#isString && !this.#isScalar ? "last" : "in";
  }

  #inString(char: string): "in" | "last" {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (char === "\\") this.#isEscaped = true;
    else if (char === '"') this.#isString = false;
    return this.#isString || this.#depth > 0 ? "in" : "last";
  }
}

/** What a character did: the call goes on, its arguments begin, it has ended, or this is no call. */
export type CallStep = "more" | "arguments" | "end" | "bad";

/** Reads one call. */
export interface CallReader {
  /** The function's name, once it is complete. */
  readonly name: string | undefined;
  feed(char: string): CallStep;
  /** Text of the arguments since the last call of this. */
  takeArguments(): string;
}

/** Reads `{"name": …, "arguments": …}`: keys in this order, others are passed over. */
export class ToolCallParser implements CallReader {
  readonly #argumentsKey: string;
  #step: "begin" | "members" | "key" | "colon" | "value" = "begin";
  #name: string | undefined;
  #key = "";
  #buffer = "";
  #extent = new ValueExtent();
  #arguments = "";
  #began = false;

  /** @param name Name of a call of which all before the arguments has been read. */
  constructor(argumentsKey: string, name?: string) {
    this.#argumentsKey = argumentsKey;
    if (name === undefined) return;
    [this.#name, this.#key, this.#step, this.#began] = [name, argumentsKey, "value", true];
  }

  /** The function's name, once it is complete. */
  get name(): string | undefined {
    return this.#name;
  }

  /** Text of the arguments since the last call of this. */
  takeArguments(): string {
    const text = this.#arguments;
    this.#arguments = "";
    return text;
  }

  feed(char: string): CallStep {
    switch (this.#step) {
      case "begin":
        this.#step = "members";
        return char === "{" ? "more" : "bad";
      case "members":
        return this.#member(char);
      case "key":
        return this.#inKey(char);
      case "colon":
        return this.#colon(char);
      case "value":
        return this.#value(char);
    }
  }

  #member(char: string): CallStep {
    if (char === "}") return this.#name === undefined ? "bad" : "end";
    if (char === '"') {
      this.#step = "key";
      this.#buffer = char;
      this.#extent = new ValueExtent();
      this.#extent.feed(char);
    } else if (char !== "," && !isBlank(char)) return "bad";
    return "more";
  }

  #inKey(char: string): CallStep {
    this.#buffer += char;
    if (this.#extent.feed(char) !== "last") return "more";
    this.#key = parsedString(this.#buffer) ?? "";
    this.#step = "colon";
    return "more";
  }

  #colon(char: string): CallStep {
    if (isBlank(char)) return "more";
    if (char !== ":") return "bad";
    this.#step = "value";
    this.#extent = new ValueExtent();
    this.#buffer = "";
    if (this.#key !== this.#argumentsKey) return "more";
    if (this.#name === undefined || this.#began) return "bad";
    this.#began = true;
    return "arguments";
  }

  #value(char: string): CallStep {
    if (this.#buffer === "" && isBlank(char)) return "more";
    const place = this.#extent.feed(char);
    if (place === "after") return this.#endValue() ?? this.#member(char);
    if (this.#key === this.#argumentsKey) this.#arguments += char;
    this.#buffer = this.#key === "name" || this.#buffer === "" ? this.#buffer + char : this.#buffer;
    return place === "last" ? (this.#endValue() ?? "more") : "more";
  }

  #endValue(): "bad" | undefined {
    this.#step = "members";
    if (this.#key !== "name" || this.#began) return undefined;
    this.#name = parsedString(this.#buffer);
    return this.#name === undefined ? "bad" : undefined;
  }
}

/** Reads a call that is no JSON object, and its arguments as JSON. */
export class NamedCallParser implements CallReader {
  readonly #form: NamedForm;
  readonly #typesOf: (tool: string, parameter: string) => ValueTypes;
  #held = "";
  /** What there is of the text after the name. */
  #stop = "";
  #name: string | undefined;
  #arguments: ArgumentsReader | undefined;

  /** @param typesOf The kinds of values that a parameter of a tool may have. */
  constructor(form: NamedForm, typesOf: (tool: string, parameter: string) => ValueTypes) {
    this.#form = form;
    this.#typesOf = typesOf;
  }

  get name(): string | undefined {
    return this.#name;
  }

  takeArguments(): string {
    return this.#arguments?.take() ?? "";
  }

  feed(char: string): CallStep {
    if (this.#arguments !== undefined) return this.#arguments.feed(char);
    const [before, after] = this.#form.name;
    // without a text after it, a name ends where the arguments begin
    const stop = after === "" ? "{" : after;
    if (this.#stop === "" && (this.#held.length < before.length || !stop.startsWith(char))) {
      this.#held += char;
      if (this.#held.length <= before.length) return before.startsWith(this.#held) ? "more" : "bad";
      return /[\n<>()[\]{}]/.test(char) ? "bad" : "more";
    }
    this.#stop += char;
    if (this.#held.length === before.length || !stop.startsWith(this.#stop)) return "bad";
    return this.#stop.length < stop.length ? "more" : this.#begin(this.#held.slice(before.length));
  }

  #begin(name: string): CallStep {
    const { name: around, end, notation } = this.#form;
    this.#name = name;
    this.#arguments = new ArgumentsReader(notation, end, (parameter) => this.#typesOf(name, parameter));
    return around[1] === "" && this.#arguments.feed("{") === "bad" ? "bad" : "arguments";
  }
}

function parsedString(text: string): string | undefined {
  const value = tryJson(text);
  return typeof value === "string" ? value : undefined;
}

const ESCAPES: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** The text of the only string in an object such as `{"input": "…"}`, while that is written. */
export class ToolInputParser {
  #step: "before" | "text" | "escape" | "after" = "before";
  #key = 0;
  #hex = "";

  /** The text that this part of the object completes. */
  push(json: string): string {
    let text = "";
    for (const char of json) text += this.#feed(char);
    return text;
  }

  #feed(char: string): string {
    switch (this.#step) {
      case "before":
        // the key's two quotes, and the one that begins the text
        if (char === '"' && ++this.#key === 3) this.#step = "text";
        return "";
      case "text":
        if (char === '"') this.#step = "after";
        else if (char === "\\") this.#step = "escape";
        else return char;
        return "";
      case "escape":
        return this.#escaped(char);
      case "after":
        return "";
    }
  }

  #escaped(char: string): string {
    if (this.#hex === "" && char !== "u") {
      this.#step = "text";
      return ESCAPES[char] ?? char;
    }
    this.#hex += char;
    if (this.#hex.length < 5) return "";
    const unit = String.fromCharCode(Number.parseInt(this.#hex.slice(1), 16));
    this.#hex = "";
    this.#step = "text";
    return unit;
  }
}
