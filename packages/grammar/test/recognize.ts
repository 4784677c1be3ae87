import { Automaton } from "#automaton";
import type { Grammar, GrammarSymbol } from "#grammar";

/** A place in an alternative of a rule, and the position where the rule began. */
interface Item {
  readonly rule: number;
  readonly alternative: number;
  readonly dot: number;
  readonly origin: number;
}

/** The items at one position of the text. */
class Row {
  readonly items: Item[] = [];
  readonly #keys = new Set<string>();
  readonly #waiting = new Map<number, Item[]>();
  readonly empty = new Set<number>();

  add(item: Item): void {
    const key = `${item.rule} ${item.alternative} ${item.dot} ${item.origin}`;
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    this.items.push(item);
  }

  /** Items that wait for a rule. */
  waiting(rule: number): Item[] {
    const known = this.#waiting.get(rule) ?? [];
    this.#waiting.set(rule, known);
    return known;
  }
}

interface Live {
  readonly lexeme: number;
  readonly node: number;
}

/** Recognizers that share an automaton, since most lexemes of JSON are the same. */
const SHARED = 40;
let uses = 0;
let shared = new Automaton({ nodes: 2_000_000 });

function shareAutomaton(): Automaton {
  if (++uses % SHARED === 0) shared = new Automaton({ nodes: 2_000_000 });
  return shared;
}

/**
 * A plain Earley recognizer, as an oracle for short texts. It is greedy as the real lexer is: a lexeme ends where no byte can
 * continue any that is possible there.
 */
export class Recognizer {
  readonly #grammar: Grammar;
  readonly #automaton = shareAutomaton();
  readonly #nodes = new Map<number, number>();

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
  }

  accepts(text: string): boolean {
    const bytes = new TextEncoder().encode(text);
    const { start } = this.#grammar;
    const rows = new Map<number, Row>([[0, new Row()]]);
    this.#predict(start, rows.get(0)!, 0);
    for (let position = 0; position <= bytes.length; position++) {
      const row = rows.get(position);
      if (row === undefined) continue;
      // the list grows while it is read
      for (const item of row.items) this.#advance(item, { rows, row, position });
      if (position < bytes.length) this.#scan(bytes, { rows, row, position });
    }
    const last = rows.get(bytes.length)?.items ?? [];
    return last.some((item) => item.rule === start && item.origin === 0 && this.#next(item) === undefined);
  }

  #next({ rule, alternative, dot }: Item): GrammarSymbol | undefined {
    return this.#grammar.rules[rule]!.alternatives[alternative]![dot];
  }

  #predict(rule: number, row: Row, origin: number): void {
    for (const alternative of this.#grammar.rules[rule]!.alternatives.keys())
      row.add({ rule, alternative, dot: 0, origin });
  }

  #advance(
    item: Item,
    { rows, row, position }: { rows: Map<number, Row>; row: Row; position: number },
  ): void {
    const symbol = this.#next(item);
    if (symbol === undefined) {
      if (item.origin === position) row.empty.add(item.rule);
      for (const parent of [...(rows.get(item.origin)?.waiting(item.rule) ?? [])])
        row.add({ ...parent, dot: parent.dot + 1 });
    } else if ("rule" in symbol) {
      row.waiting(symbol.rule).push(item);
      this.#predict(symbol.rule, row, position);
      if (row.empty.has(symbol.rule)) row.add({ ...item, dot: item.dot + 1 });
    }
  }

  #scan(
    bytes: Uint8Array,
    { rows, row, position }: { rows: Map<number, Row>; row: Row; position: number },
  ): void {
    const waiting = new Map<number, Item[]>();
    for (const item of row.items) {
      const symbol = this.#next(item);
      if (symbol === undefined || "rule" in symbol) continue;
      waiting.set(symbol.lexeme, [...(waiting.get(symbol.lexeme) ?? []), item]);
    }
    let live: readonly Live[] = Array.from(waiting.keys(), (lexeme) => ({
      lexeme,
      node: this.#node(lexeme),
    }));
    let end = position;
    for (; end < bytes.length; end++) {
      const next = this.#step(live, bytes[end]!);
      if (next.length === 0) break;
      live = next;
    }
    const ended = live.filter(({ node }) => this.#automaton.accepts(node));
    if (ended.length === 0 || end === position) return;
    const target = rows.get(end) ?? new Row();
    rows.set(end, target);
    for (const { lexeme } of ended)
      for (const item of waiting.get(lexeme) ?? []) target.add({ ...item, dot: item.dot + 1 });
  }

  #step(live: readonly Live[], byte: number): readonly Live[] {
    return live
      .map(({ lexeme, node }) => ({ lexeme, node: this.#automaton.derive(node, byte) }))
      .filter(({ node }) => node !== 0 && !this.#automaton.isNothing(node));
  }

  #node(lexeme: number): number {
    const node = this.#nodes.get(lexeme) ?? this.#automaton.intern(this.#grammar.lexemes[lexeme]!.regex);
    this.#nodes.set(lexeme, node);
    return node;
  }
}
