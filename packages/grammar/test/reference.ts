import { Automaton } from "../src/automaton/index.ts";
import type { Grammar, GrammarSymbol } from "../src/grammar/index.ts";

interface Item {
  readonly rule: number;
  readonly symbols: readonly GrammarSymbol[];
  readonly done: number;
  readonly begin: number;
}

const keyOf = ({ rule, symbols, done, begin }: Item): string =>
  `${rule} ${done} ${begin} ${JSON.stringify(symbols)}`;

/**
 * Whether a text is in the language of a grammar where lexemes may end anywhere: Earley's algorithm, as slow and as plain as it
 * can be. What is skipped may not be part of the grammar.
 */
export function isInLanguage({ lexemes, rules, start }: Grammar, text: string | Uint8Array): boolean {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const automaton = new Automaton();
  const nodes = lexemes.map(({ regex }) => automaton.intern(regex));
  const chart = Array.from({ length: bytes.length + 1 }, () => new Map<string, Item>());
  const add = (at: number, item: Item): boolean => {
    const row = chart[at]!;
    const key = keyOf(item);
    if (row.has(key)) return false;
    row.set(key, item);
    return true;
  };
  const predict = (rule: number, at: number): boolean =>
    rules[rule]!.alternatives.map((symbols) => add(at, { rule, symbols, done: 0, begin: at })).some(Boolean);
  const scan = (item: Item, lexeme: number, at: number): void => {
    let node = nodes[lexeme]!;
    for (let end = at; end <= bytes.length; end++) {
      if (automaton.accepts(node)) add(end, { ...item, done: item.done + 1 });
      if (end < bytes.length) node = automaton.derive(node, bytes[end]!);
    }
  };
  const complete = (item: Item, at: number): boolean =>
    [...chart[item.begin]!.values()]
      .filter(({ symbols, done }) => {
        const next = symbols[done];
        return next !== undefined && "rule" in next && next.rule === item.rule;
      })
      .map((waiting) => add(at, { ...waiting, done: waiting.done + 1 }))
      .some(Boolean);
  const step = (item: Item, at: number): boolean => {
    const next = item.symbols[item.done];
    if (next === undefined) return complete(item, at);
    if ("rule" in next) return predict(next.rule, at);
    scan(item, next.lexeme, at);
    return false;
  };
  predict(start, 0);
  for (const [at, row] of chart.entries()) {
    // an item that is complete and empty may have come before those that wait for it
    for (let changed = true; changed; ) {
      const before = row.size;
      for (const item of row.values()) step(item, at);
      changed = row.size !== before;
    }
  }
  return [...chart.at(-1)!.values()].some(
    ({ rule, symbols, done, begin }) => rule === start && begin === 0 && done === symbols.length,
  );
}
