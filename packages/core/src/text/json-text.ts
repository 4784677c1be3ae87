// JSON as text that goes through a chat template and comes out as it was written.
import { isRecord, MosError, tryJson } from "#common";

/** A string, or what may be a number. */
const TOKEN = /"(?:[^"\\]|\\.)*(?:"(\s*:)?)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Keys that objects of JavaScript would reorder. */
const INDEX = /^"(?:0|[1-9]\d{0,9})"/;

/**
 * JSON values for templates. JavaScript would change numbers such as 1.0 and 12345678901234567890, and the order of keys such as
 * "10": these become texts with a mark, which `restore` takes back in the rendered text.
 */
export class JsonValues {
  readonly #mark: string;
  #isUsed = false;

  /** @param texts All texts of the conversation, in which the mark must not occur. */
  constructor(texts: readonly string[]) {
    // numbered rather than longer: a long mark around each number would let a client fill the memory
    const taken = new Set(texts.flatMap((text) => text.match(/\u{e0f7}\d*(?=\u{e0f7})/gu) ?? []));
    let number = 0;
    while (taken.has(`\u{e0f7}${number}`)) number++;
    this.#mark = `\u{e0f7}${number}\u{e0f7}`;
  }

  /** @throws MosError `bad_data` that begins with `where`, unless the text is a JSON object. */
  parseObject(text: string, where: string): Readonly<Record<string, unknown>> {
    const marked = text.replace(TOKEN, (token, colon?: string) => {
      if (token.startsWith('"')) return colon !== undefined && INDEX.test(token) ? this.#key(token) : token;
      return String(Number(token)) === token ? token : this.#number(token);
    });
    const value = tryJson(text.trim() === "" ? "{}" : marked);
    if (!isRecord(value)) throw new MosError("bad_data", `${where} are no JSON object: ${text.slice(0, 60)}`);
    return value;
  }

  /** A rendered text with all numbers and keys as they were. */
  restore(text: string): string {
    if (!this.#isUsed) return text;
    // the quotes around a number have backslashes where JSON is within JSON, and are others where that is not JSON
    const quote = `(?:\\\\?["']|<\\|"\\|>)?`;
    const number = new RegExp(`${quote}${this.#mark}n([-+.\\deE]+)${this.#mark}${quote}`, "gu");
    return text.replaceAll(number, "$1").replaceAll(` ${this.#mark}k`, "");
  }

  #number(text: string): string {
    this.#isUsed = true;
    return `"${this.#mark}n${text}${this.#mark}"`;
  }

  #key(token: string): string {
    this.#isUsed = true;
    // a blank comes before all digits and letters, so that templates sort keys as they would without the mark
    return token.replace(/"(?=\s*:)/, () => ` ${this.#mark}k"`);
  }
}

/** JSON text with one blank after `:` and `,`, as Python and chat templates write it. */
export function spacedJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value ?? null);
  const entries = Object.entries(value).filter(([, one]) => one !== undefined);
  return `{${entries.map(([key, one]) => `${JSON.stringify(key)}: ${spacedJson(one)}`).join(", ")}}`;
}
