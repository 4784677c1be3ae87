// JSON values as models write them that do not write JSON: by a notation, which the grammar of an answer follows, too.
import { type Notation, spellText } from "mixture-of-shards-grammar";
import { isRecord, tryJson } from "#common";
import { spacedJson } from "./json-text.ts";

/** JSON, as a notation. */
const JSON_NOTATION: Notation = { quotes: [{ mark: '"', isEscaped: true }] };

/** Arguments of a call, an object as JSON text, in a notation. */
export function writeArguments(json: string, notation?: Notation): string {
  const given = notation && tryJson(json);
  if (notation === undefined || !isRecord(given)) return json;
  const { members } = notation;
  if (members === undefined) return writeValue(given, notation);
  const { name, end, separator } = members;
  // where values have a text after them, strings stand as they are, and what is within others is JSON
  const write = (value: unknown): string => {
    if (end === "") return writeValue(value, notation);
    if (typeof value === "string") return value;
    return (
      (typeof value === "object" && value !== null ? undefined : notation.words?.[String(value)]) ??
      spacedJson(value)
    );
  };
  const written = Object.entries(given).map(([key, value]) => name.join(key) + write(value) + end);
  return written.join(separator);
}

function writeValue(value: unknown, notation: Notation): string {
  const { quotes, isBare, words = {} } = notation;
  const [comma, colon] = isBare === true ? [",", ":"] : [", ", ": "];
  const mark = quotes[0]?.mark ?? "";
  const quote = (text: string): string =>
    mark + (quotes[0]?.isEscaped === true ? spellText(text, mark) : text) + mark;
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `[${value.map((one) => writeValue(one, notation)).join(comma)}]`;
  if (!isRecord(value)) return (isBare === true ? undefined : words[String(value)]) ?? JSON.stringify(value);
  const entries = Object.entries(value);
  const written = (isBare === true ? entries.sort(byName) : entries).map(
    ([key, one]) => (isBare === true ? key : quote(key)) + colon + writeValue(one, notation),
  );
  return `{${written.join(comma)}}`;
}

/** The order of members in which templates write them in a notation without quotes. */
export const byName = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one.toLowerCase() < other.toLowerCase() ? -1 : Number(one.toLowerCase() > other.toLowerCase());

/** A character in a JSON string. */
const escaped = (char: string): string =>
  char < " " || char === '"' || char === "\\" ? JSON.stringify(char).slice(1, -1) : char;

/** What a character did: the value goes on, ends with it, has ended before it, or is none. */
type ValueStep = "more" | "last" | "after" | "bad";

/** Reads a value that is written in a notation, character by character, as JSON with one blank after `:` and `,`. */
class ValueReader {
  readonly #notation: Notation;
  readonly #open: ("{" | "[")[] = [];
  #step: "value" | "mark" | "text" | "escape" | "word" | "name" | "colon" | "after" = "value";
  #isFirst = false;
  #isName = false;
  #mark = "";
  #held = "";
  #json = "";

  /** @param end Undefined where a value has marks; else a string stands without them up to this text. */
  constructor(notation: Notation, end?: string) {
    this.#notation = notation;
    if (end === undefined) return;
    [this.#step, this.#mark, this.#json] = ["text", end, '"'];
  }

  /** JSON since the last call of this. */
  take(): string {
    const text = this.#json;
    this.#json = "";
    return text;
  }

  feed(char: string): ValueStep {
    switch (this.#step) {
      case "value":
      case "name":
        return this.#begin(char);
      case "mark":
        return this.#inMark(char);
      case "text":
        return this.#inText(char);
      case "escape":
        this.#step = "text";
        if (char === "'") this.#json += char;
        else this.#json += '"\\/bfnrtu'.includes(char) ? `\\${char}` : `\\\\${escaped(char)}`;
        return "more";
      case "word":
        return this.#inWord(char);
      case "colon":
        if (isBlank(char)) return "more";
        return char === ":" ? this.#colon() : "bad";
      case "after":
        return this.#after(char);
    }
  }

  /** The beginning of a value, of a name, or of the bracket that closes an empty list or object. */
  #begin(char: string): ValueStep {
    if (isBlank(char)) return "more";
    if (this.#isFirst && (char === "]" || char === "}")) return this.#close(char);
    this.#isFirst = false;
    this.#isName = this.#step === "name";
    if (!this.#isName && (char === "{" || char === "[")) {
      this.#open.push(char);
      this.#json += char;
      [this.#isFirst, this.#step] = [true, char === "{" ? "name" : "value"];
      return "more";
    }
    [this.#held, this.#step] = ["", "mark"];
    return this.#inMark(char);
  }

  #inMark(char: string): ValueStep {
    const { quotes, isBare } = this.#notation;
    const held = this.#held + char;
    const quote = quotes.find(({ mark }) => mark.startsWith(held));
    if (quote === undefined && (this.#held !== "" || (this.#isName && isBare !== true))) return "bad";
    this.#held = held;
    if (quote === undefined) {
      [this.#held, this.#step] = ["", "word"];
      return this.#inWord(char);
    }
    if (quote.mark !== held) return "more";
    [this.#mark, this.#held, this.#step] = [held, "", "text"];
    this.#json += '"';
    return "more";
  }

  #inText(char: string): ValueStep {
    const isEscaped = this.#notation.quotes.some((one) => one.isEscaped && one.mark === this.#mark);
    if (isEscaped && char === "\\") {
      this.#step = "escape";
      return "more";
    }
    this.#held += char;
    // the mark may begin anew within what seemed to be its beginning
    while (!this.#mark.startsWith(this.#held)) {
      this.#json += escaped(this.#held.charAt(0));
      this.#held = this.#held.slice(1);
    }
    if (this.#held !== this.#mark) return "more";
    this.#held = "";
    this.#json += '"';
    if (!this.#isName) return this.#endValue();
    this.#step = "colon";
    return "more";
  }

  /** A name without quotes, a number, or `true` and the like. */
  #inWord(char: string): ValueStep {
    if (this.#isName && char !== ":") {
      this.#held += char;
      return "more";
    }
    if (this.#isName) {
      this.#json += JSON.stringify(this.#held);
      return this.#colon();
    }
    if (!/[\s,\]})]/.test(char)) {
      this.#held += char;
      return "more";
    }
    const word = this.#held;
    const [known = word] =
      Object.entries(this.#notation.words ?? {}).find(([, spelling]) => spelling === word) ?? [];
    if (tryJson(known) === undefined) return "bad";
    this.#json += known;
    return this.#endValue() === "last" ? "after" : this.#after(char);
  }

  #colon(): ValueStep {
    this.#json += ": ";
    this.#step = "value";
    return "more";
  }

  #endValue(): ValueStep {
    this.#step = "after";
    return this.#open.length === 0 ? "last" : "more";
  }

  #after(char: string): ValueStep {
    if (isBlank(char)) return "more";
    if (char !== ",") return this.#close(char);
    this.#json += ", ";
    this.#step = this.#open.at(-1) === "{" ? "name" : "value";
    return "more";
  }

  #close(char: string): ValueStep {
    this.#isFirst = false;
    if (char !== (this.#open.pop() === "{" ? "}" : "]")) return "bad";
    this.#json += char;
    return this.#endValue();
  }
}

/** White space of JSON. */
export const isBlank = (char: string): boolean => " \n\r\t".includes(char);

/** Kinds of values that a schema allows; undefined where it may allow all. */
export type ValueTypes = ReadonlySet<string> | undefined;

/** Kind of a value, as JSON Schema names it. */
export const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value;

/** A value that stands without quotes, given as a JSON string: what it is as JSON where that is allowed, else the string. */
function readUnquoted(quoted: string, notation: Notation, types: ValueTypes): string {
  const text = String(JSON.parse(quoted));
  const reader = new ValueReader({ ...JSON_NOTATION, words: notation.words ?? {} });
  const steps = `${text} `.split("").map((char) => reader.feed(char));
  const end = steps.findIndex((step) => step !== "more");
  const isWhole = text.slice(steps[end] === "last" ? end + 1 : end).trim() === "";
  const json = reader.take();
  const value = isWhole ? tryJson(json) : undefined;
  // a string would stand there without its quotes
  if (value === undefined || typeof value === "string") return quoted;
  return types?.has(typeOf(value)) === false ? quoted : json;
}

/** Reads the arguments of a call as JSON, up to the end of the call. */
export class ArgumentsReader {
  readonly #notation: Notation;
  readonly #end: string;
  readonly #typesOf: (name: string) => ValueTypes;
  #step: "between" | "name" | "value" | "end";
  #held = "";
  /** The end of what is held. */
  #last = "";
  #json = "";
  #value: ValueReader;
  #types: ValueTypes;
  #isFirst = true;

  /** @param typesOf The kinds of values that an argument may have. */
  constructor(notation: Notation | undefined, end: string, typesOf: (name: string) => ValueTypes) {
    this.#notation = notation ?? JSON_NOTATION;
    this.#end = end;
    this.#typesOf = typesOf;
    this.#step = this.#notation.members === undefined ? "value" : "between";
    this.#value = new ValueReader(this.#notation);
  }

  /** JSON since the last call of this. */
  take(): string {
    const text = this.#json + (this.#isStreamed ? this.#value.take() : "");
    this.#json = "";
    return text;
  }

  /** Whether the value is known to be what is read, before it has ended. */
  get #isStreamed(): boolean {
    return !this.#notation.members?.end || (this.#types?.size === 1 && this.#types.has("string"));
  }

  feed(char: string): "more" | "end" | "bad" {
    switch (this.#step) {
      case "between":
        return this.#between(char);
      case "name":
        return this.#name(char);
      case "value":
        return this.#inValue(char);
      case "end":
        this.#held += char;
        if (this.#held === this.#end) return "end";
        return this.#end.startsWith(this.#held) ? "more" : "bad";
    }
  }

  /** The beginning of the next argument, or the end of the call. */
  #between(char: string): "more" | "end" | "bad" {
    const before = this.#notation.members?.name[0].trimStart() ?? "";
    const end = this.#end.trimStart();
    this.#held = (this.#held + char).replace(/^[\s,]+/, "");
    if (this.#held === end) {
      this.#json += this.#isFirst ? "{}" : "}";
      return "end";
    }
    if (this.#held === "" || end.startsWith(this.#held)) return "more";
    if (!this.#held.startsWith(before)) return before.startsWith(this.#held) ? "more" : "bad";
    this.#held = this.#held.slice(before.length);
    this.#step = "name";
    return "more";
  }

  #name(char: string): "more" | "bad" {
    const { name: [, after] = ["", ""], end } = this.#notation.members ?? {};
    this.#held += char;
    // a few characters are compared, since a text that grows is copied whenever it is looked at
    this.#last = (this.#last + char).slice(-after.length);
    if (this.#last !== after) return "more";
    const name = this.#held.slice(0, -after.length);
    this.#json += `${this.#isFirst ? "{" : ", "}${JSON.stringify(name)}: `;
    this.#types = this.#typesOf(name);
    this.#value = new ValueReader(this.#notation, end === "" ? undefined : end);
    [this.#held, this.#last, this.#isFirst, this.#step] = ["", "", false, "value"];
    return "more";
  }

  #inValue(char: string): "more" | "end" | "bad" {
    const step = this.#value.feed(char);
    if (step === "more" || step === "bad") return step;
    const json = this.#value.take();
    this.#json += this.#isStreamed ? json : readUnquoted(json, this.#notation, this.#types);
    this.#step = this.#notation.members === undefined ? "end" : "between";
    if (step === "after") return this.feed(char);
    return this.#step === "end" && this.#end === "" ? "end" : "more";
  }
}
