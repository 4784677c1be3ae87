import type { GrammarSymbol, Rule } from "./grammar.ts";

/**
 * The least set of rules that have an alternative whose symbols are all in it, lexemes by `holds`; 1 for each rule in it. A rule that
 * joins is counted off in the alternatives that wait for it, so that the work is linear in the grammar.
 */
export function leastRules(
  rules: readonly Rule[],
  holds: (lexeme: number) => boolean = () => true,
): Uint8Array {
  const isIn = new Uint8Array(rules.length);
  const waiting = rules.map((): { readonly rule: number; missing: number }[] => []);
  const joined: number[] = [];
  const join = (rule: number): void => {
    if (isIn[rule] === 0) joined.push(rule);
    isIn[rule] = 1;
  };
  const consider = (rule: number, alternative: readonly GrammarSymbol[]): void => {
    if (!alternative.every((symbol) => "rule" in symbol || holds(symbol.lexeme))) return;
    const entry = { rule, missing: 0 };
    for (const symbol of alternative) {
      if (!("rule" in symbol)) continue;
      entry.missing++;
      waiting[symbol.rule]?.push(entry);
    }
    if (entry.missing === 0) join(rule);
  };
  for (const [rule, { alternatives }] of rules.entries())
    for (const alternative of alternatives) consider(rule, alternative);
  for (let rule = joined.pop(); rule !== undefined; rule = joined.pop())
    for (const entry of waiting[rule] ?? []) if (--entry.missing === 0) join(entry.rule);
  return isIn;
}
