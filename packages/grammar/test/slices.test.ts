import fc from "fast-check";
import { expect, it } from "vitest";
import {
  CompiledGrammar,
  type Grammar,
  GrammarError,
  grammarFromSource,
  type Matcher,
} from "../src/index.ts";
import { bundledVocabulary } from "./vocabularies.ts";

const vocabulary = bundledVocabulary();

const names = Array.from({ length: 40 }, (_, i) => `name ${i}`);
const grammars: readonly Grammar[] = [
  {
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, { type: ["string", "integer"] }])),
    additionalProperties: { pattern: "^[a-z]+(-[a-z]+)*$", maxLength: 20, type: "string" },
  },
  { type: "array", items: { enum: names }, minItems: 2 },
  { type: "string", pattern: "(a|b)*a(a|b){6}$", maxLength: 30 },
  { type: "object", patternProperties: { "^a.*z$": { type: "null" }, "b{2,5}": { type: "number" } } },
].map((schema) => grammarFromSource({ type: "json_schema", schema }));

/** Texts of these words can be read in more ways the longer they are. */
const ambiguous = grammarFromSource({
  type: "lark",
  text: `start: x
x: ${Array.from({ length: 20 }, (_, i) => "x ".repeat(i + 2)).join(" | ")} | "a" | "b" | /[ab]c/ | "the" y
y: | y y | y " "
%ignore " "`,
});

/** Whether each look at the clock finds that the time is over, again and again. */
const clocks = fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }).map((answers) => ({ answers, at: 0 }));

/** Does work however often it is paused, and counts that. */
function finish<Result>(
  matcher: Matcher,
  clock: { answers: readonly boolean[]; at: number },
  work: () => Result,
) {
  const isOver = (): boolean => clock.answers[clock.at++ % clock.answers.length] ?? true;
  for (let pauses = 0; pauses < 1e6; pauses++) {
    const done = matcher.attempt(isOver, work);
    if (done) return { ...done, pauses };
    // what is asked in between is answered at once, and changes nothing
    if (pauses % 7 === 0) matcher.allows(pauses % vocabulary.size);
  }
  throw new Error("the work does not get further");
}

/** The allowed tokens, in their order. */
const idsOf = ({ words }: { readonly words: Uint32Array }): readonly number[] =>
  Array.from({ length: vocabulary.size }, (_, id) => id).filter(
    (id) => (((words[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1,
  );

it("masks and all else are the same in any slices", () => {
  let paused = 0;
  const choices = fc.array(fc.nat(1e6), { minLength: 1, maxLength: 6 });
  const property = (
    grammar: Grammar,
    clock: { answers: readonly boolean[]; at: number },
    chosen: readonly number[],
  ) => {
    // caches of its own, so that there is something to pause
    const whole = new CompiledGrammar(grammar, vocabulary).matcher();
    const sliced = new CompiledGrammar(grammar, vocabulary).matcher();
    for (const choice of chosen) {
      const mask = whole.mask();
      const { result, pauses } = finish(sliced, clock, () => sliced.mask());
      paused += pauses;
      expect(result).toEqual(mask);
      const ids = idsOf(mask);
      const id = ids[choice % ids.length];
      if (id === undefined || vocabulary.endTokens.includes(id)) break;
      expect(finish(sliced, clock, () => sliced.allows(choice % vocabulary.size)).result).toBe(
        whole.allows(choice % vocabulary.size),
      );
      finish(sliced, clock, () => sliced.accept(id));
      whole.accept(id);
      expect(finish(sliced, clock, () => sliced.mustEnd).result).toBe(whole.mustEnd);
      expect(finish(sliced, clock, () => sliced.forcedBytes()).result).toEqual(whole.forcedBytes());
    }
  };
  fc.assert(fc.property(fc.constantFrom(...grammars), clocks, choices, property), { seed: 34, numRuns: 12 });
  expect(paused).toBeGreaterThan(1000);
});

it("an ambiguous grammar's masks and all else are the same in any slices", () => {
  const whole = new CompiledGrammar(ambiguous, vocabulary).matcher();
  const sliced = new CompiledGrammar(ambiguous, vocabulary).matcher();
  const clock = { answers: [true], at: 0 };
  let most = 0;
  for (let i = 0; i < 40; i++) {
    const ids = idsOf(whole.mask());
    const id = ids[(7 * i) % ids.length] ?? -1;
    if (vocabulary.endTokens.includes(id)) continue;
    // as a sampler does it: the likeliest token first, then all
    const found = finish(sliced, clock, () => [sliced.allows(id), sliced.allows(i), sliced.mask()] as const);
    expect(found.result).toEqual([true, whole.allows(i), whole.mask()]);
    finish(sliced, clock, () => sliced.accept(id));
    whole.accept(id);
    most = Math.max(most, found.pauses);
    if (i % 5 === 0) {
      for (const matcher of [whole, sliced]) matcher.rollback(1);
      whole.accept(id);
      finish(sliced, clock, () => sliced.accept(id));
    }
    expect(finish(sliced, clock, () => sliced.mustEnd).result).toBe(whole.mustEnd);
    expect(finish(sliced, clock, () => sliced.canEnd).result).toBe(whole.canEnd);
  }
  // thousands of items, some hundreds in each slice
  expect(most).toBeGreaterThan(100);
});

it("matchers of one grammar take turns with their masks", () => {
  for (const grammar of grammars) {
    const compiled = new CompiledGrammar(grammar, vocabulary);
    const expected = new CompiledGrammar(grammar, vocabulary).matcher().mask();
    const matchers = [compiled.matcher(), compiled.matcher(), compiled.matcher({ strippedBlanks: 1 })];
    const found = matchers.map(() => undefined as ReturnType<Matcher["mask"]> | undefined);
    while (found.includes(undefined))
      matchers.forEach((matcher, i) => {
        found[i] ??= matcher.attempt(
          () => true,
          () => matcher.mask(),
        )?.result;
      });
    expect(found[0]).toEqual(expected);
    expect(found[1]).toEqual(expected);
    expect(found[2]?.count).toBeGreaterThan(expected.count);
  }
});

it("masks are finished that need more states than an automaton should have", () => {
  const schema = { type: "string", pattern: "^([a-z][0-9])+$", minLength: 600 };
  const grammar = grammarFromSource({ type: "json_schema", schema });
  const few = new CompiledGrammar(grammar, vocabulary, { cacheBytes: 100_000 });
  const whole = new CompiledGrammar(grammar, vocabulary).matcher();
  const matchers = [few.matcher(), few.matcher()];
  for (const text of ['"', "a1b2", "c3"]) {
    for (const matcher of [...matchers, whole]) matcher.acceptBytes(Buffer.from(text));
    const found = matchers.map(() => undefined as ReturnType<Matcher["mask"]> | undefined);
    for (let turn = 0; turn < 20_000 && found.includes(undefined); turn++)
      matchers.forEach((matcher, i) => {
        found[i] ??= matcher.attempt(
          () => true,
          () => matcher.mask(),
        )?.result;
      });
    expect(found).toEqual([whole.mask(), whole.mask()]);
  }
});

it("a grammar and its matchers are the same whether they are made at once or in slices", async () => {
  for (const grammar of grammars) {
    const built = await (await CompiledGrammar.build(() => grammar, vocabulary)).buildMatcher();
    expect(built.mask()).toEqual(new CompiledGrammar(grammar, vocabulary).matcher().mask());
  }
  const nothing: Grammar = {
    lexemes: [{ name: "none", regex: { type: "either", options: [] } }],
    rules: [{ name: "start", alternatives: [[{ lexeme: 0 }]] }],
    start: 0,
  };
  await expect(CompiledGrammar.build(() => nothing, vocabulary)).rejects.toThrow(GrammarError);
});
