// The formula of a multi grader: numbers, names, + - * / ^, brackets and a few functions.
import { MosError, unknownName } from "#common";

/** Computes the formula's value from those of its names. */
export type Formula = (values: Readonly<Record<string, number>>) => number;

const FUNCTIONS = {
  min: Math.min,
  max: Math.max,
  abs: Math.abs,
  floor: Math.floor,
  ceil: Math.ceil,
  exp: Math.exp,
  sqrt: Math.sqrt,
  log: Math.log,
} satisfies Record<string, (...values: number[]) => number>;
/** Those that take any number of values; the others take one. */
const OF_SEVERAL = ["min", "max"];

type Operators = Readonly<Record<string, (a: number, b: number) => number>>;
const SUMS: Operators = { "+": (a, b) => a + b, "-": (a, b) => a - b };
const PRODUCTS: Operators = { "*": (a, b) => a * b, "/": (a, b) => a / b };

const TOKEN = /\s*((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|[-+*/^(),])/y;
/** A longer formula could be nested too deep for the stack. */
const MAX_LENGTH = 2000;

/**
 * Reads a formula by recursive descent. Powers bind more tightly than signs, and from the right: -2 ^ 2 is -4.
 *
 * @param names that it may use
 * @param where the field of the grader, for errors
 * @throws MosError `bad_option`
 */
export function parseFormula(text: string, names: readonly string[], where: string): Formula {
  if (text.length > MAX_LENGTH)
    throw new MosError("bad_option", `${where}: longer than ${MAX_LENGTH} characters`);
  return new Parser(splitTokens(text, where), names, where).parse();
}

class Parser {
  readonly #tokens: readonly string[];
  readonly #names: readonly string[];
  readonly #where: string;
  #place = 0;

  constructor(tokens: readonly string[], names: readonly string[], where: string) {
    this.#tokens = tokens;
    this.#names = names;
    this.#where = where;
  }

  parse(): Formula {
    const formula = this.#sum();
    if (this.#place < this.#tokens.length) throw this.#expected("an operator");
    return formula;
  }

  #sum(): Formula {
    return this.#chain(SUMS, () => this.#chain(PRODUCTS, () => this.#signed()));
  }

  #chain(operators: Operators, next: () => Formula): Formula {
    let left = next();
    for (;;) {
      const operator = operators[this.#tokens[this.#place] ?? ""];
      if (operator === undefined) return left;
      this.#place++;
      const [first, second] = [left, next()];
      left = (values) => operator(first(values), second(values));
    }
  }

  #signed(): Formula {
    if (this.#skip("+")) return this.#signed();
    if (!this.#skip("-")) return this.#power();
    const value = this.#signed();
    return (values) => -value(values);
  }

  #power(): Formula {
    const base = this.#atom();
    if (!this.#skip("^")) return base;
    const exponent = this.#signed();
    return (values) => base(values) ** exponent(values);
  }

  #atom(): Formula {
    if (this.#skip("(")) return this.#close(this.#sum());
    const token = this.#tokens[this.#place] ?? "";
    if (/^[\d.]/.test(token)) {
      this.#place++;
      return () => Number(token);
    }
    if (!/^\w/.test(token)) throw this.#expected("a number, a name or a bracket");
    this.#place++;
    if (this.#skip("(")) return this.#call(token);
    if (!this.#names.includes(token))
      throw unknownName(`${this.#where}: there is no grader ${token}`, token, this.#names);
    return (values) => values[token] ?? Number.NaN;
  }

  #call(name: string): Formula {
    const entry = Object.entries(FUNCTIONS).find(([known]) => known === name);
    if (entry === undefined)
      throw unknownName(`${this.#where}: there is no function ${name}`, name, Object.keys(FUNCTIONS));
    const call: (...values: number[]) => number = entry[1];
    const values = [this.#sum()];
    while (this.#skip(",")) values.push(this.#sum());
    if (values.length > 1 && !OF_SEVERAL.includes(name))
      throw new MosError("bad_option", `${this.#where}: ${name} takes one value, not ${values.length}`);
    return this.#close((known) => call(...values.map((value) => value(known))));
  }

  #close(inner: Formula): Formula {
    if (!this.#skip(")")) throw this.#expected('")"');
    return inner;
  }

  #skip(token: string): boolean {
    if (this.#tokens[this.#place] !== token) return false;
    this.#place++;
    return true;
  }

  #expected(what: string): MosError {
    const rest = this.#tokens.slice(this.#place).join(" ");
    return new MosError(
      "bad_option",
      `${this.#where}: expected ${what} ${rest === "" ? "at the end" : `before "${rest}"`}`,
    );
  }
}

function splitTokens(text: string, where: string): readonly string[] {
  const tokens: string[] = [];
  for (let end = 0; text.slice(end).trim() !== ""; end = TOKEN.lastIndex) {
    TOKEN.lastIndex = end;
    const [, token] = TOKEN.exec(text) ?? [];
    if (token === undefined)
      throw new MosError("bad_option", `${where}: "${text.slice(end).trim()[0]}" is not part of a formula`);
    tokens.push(token);
  }
  return tokens;
}
