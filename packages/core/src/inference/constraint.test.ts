import { describe, expect, test } from "vitest";
import type { Tokenizer } from "#text";
import { Constraint, type GrammarMatcher } from "./constraint.ts";
import { GrammarTime } from "./core-grammars.ts";
import { fullRequest } from "./requests.ts";
import { Sequence } from "./sequence.ts";
import type { EngineRequest } from "./types.ts";

const END = 0;

/** Allows these texts, of one byte for each token. */
class ChoiceMatcher implements GrammarMatcher {
  readonly bytes = 0;
  #text = "";
  readonly #choices: readonly string[];
  /** How often each piece of work stops before it is done. */
  readonly #pauses: number;
  #paused = 0;
  constructor(choices: readonly string[], pauses = 0) {
    this.#choices = choices;
    this.#pauses = pauses;
  }
  get canEnd(): boolean {
    return this.#choices.includes(this.#text);
  }
  get mustEnd(): boolean {
    return this.canEnd && this.#next().length === 0;
  }
  allows(id: number): boolean {
    return id === END ? this.canEnd : this.#next().includes(id);
  }
  mask() {
    const ids = [...new Set([...(this.canEnd ? [END] : []), ...this.#next()])];
    const words = new Uint32Array(8);
    for (const id of ids) words[id >>> 5] = (words[id >>> 5] ?? 0) | (1 << (id & 31));
    return { words, count: ids.length };
  }
  accept(id: number): void {
    expect(this.allows(id)).toBe(true);
    this.#text += String.fromCharCode(id);
  }
  attempt<Result>(isOver: () => boolean, work: () => Result): { readonly result: Result } | undefined {
    if (isOver() || this.#paused++ < this.#pauses) return undefined;
    this.#paused = 0;
    return { result: work() };
  }
  rollback(tokens: number): void {
    this.#text = this.#text.slice(0, this.#text.length - tokens);
  }
  forcedBytes(): Uint8Array {
    const before = this.#text;
    const bytes: number[] = [];
    for (let next = this.#next(); !this.canEnd && new Set(next).size === 1; next = this.#next()) {
      bytes.push(next[0]!);
      this.#text += String.fromCharCode(next[0]!);
    }
    this.#text = before;
    return Uint8Array.from(bytes);
  }
  #next(): readonly number[] {
    const longer = this.#choices.filter((one) => one.startsWith(this.#text) && one !== this.#text);
    return longer.map((one) => one.charCodeAt(this.#text.length));
  }
}

const tokenizer: Tokenizer = {
  vocabularySize: 256,
  bosToken: undefined,
  eosTokens: [END],
  strippedBlanks: 0,
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
  idToToken: (id) => String(id),
  tokenToId: Number,
  isSpecial: () => false,
  idToBytes: (id) => Uint8Array.of(id),
};

const code = (text: string): number => text.charCodeAt(0);

interface Given {
  readonly stopTokens?: readonly number[] | undefined;
  readonly pauses?: number;
  readonly now?: () => number;
}

const constrain = (choices: readonly string[], { stopTokens = [], pauses, now = () => 0 }: Given = {}) =>
  new Constraint(new ChoiceMatcher(choices, pauses), {
    tokenizer,
    endTokens: [END],
    stopTokens,
    now,
    counts: { masks: 0, matchSeconds: 0 },
    time: new GrammarTime(undefined, () => 0),
  });

function begin(constraint: Constraint, given: Partial<EngineRequest> = {}): Sequence {
  const bounds = { model: { vocabularySize: 256, maxLength: 1000 }, bytesPerPosition: 1, cacheMemory: 1e9 };
  const request = fullRequest({ prompt: [1, 2, 3], maxTokens: 99, ...given }, bounds);
  const sequence = new Sequence(7, request, { tokenizer, endTokens: [END], now: () => 0 });
  sequence.constraint = constraint;
  return sequence;
}

function logitsOf(liked: Readonly<Record<number, number>>): Float32Array {
  const logits = new Float32Array(256);
  for (const [id, z] of Object.entries(liked)) logits[Number(id)] = z;
  return logits;
}

/** An answer of one of these texts, by a model whose logits are these at every token. */
function answer(
  choices: readonly string[],
  liked: Readonly<Record<number, number>>,
  given: Partial<EngineRequest> = {},
) {
  const sequence = begin(constrain(choices, { stopTokens: given.stopTokens }), given);
  const logits = logitsOf(liked);
  let steps = 0;
  for (; !sequence.hasEnded; steps++) sequence.advance(logits);
  const { events = [], error } = sequence.takeUpdate() ?? {};
  const text = events.flatMap((event) => ("text" in event ? [event.text] : [])).join("");
  const finish = events.find((event) => event.type === "finish");
  return { text, steps, reason: finish?.finishReason, error };
}

describe("with a grammar, an answer", () => {
  test("is one of its texts, and ends without another step where nothing can follow", () => {
    expect(answer(["yes", "no"], { [code("x")]: 9, [code("n")]: 5 })).toMatchObject({
      text: "no",
      steps: 2,
      reason: "end",
    });
    expect(answer([""], { [code("x")]: 9 })).toMatchObject({ text: "", steps: 1, reason: "end" });
  });

  test("ends by an end token where it may, and only there", () => {
    const choices = ["a", "aaa"];
    expect(answer(choices, { [END]: 9 })).toMatchObject({ text: "a", steps: 2, reason: "end" });
    expect(answer(choices, { [END]: 1, [code("a")]: 5 })).toMatchObject({ text: "aaa", steps: 3 });
  });

  test("has no end before its shortest length while it can go on, and ends where it cannot", () => {
    const choices = ["a", "aaa"];
    expect(answer(choices, { [END]: 9 }, { minTokens: 3 }).text).toBe("aaa");
    expect(answer(choices, { [END]: 9 }, { minTokens: 9 })).toMatchObject({ text: "aaa", reason: "end" });
  });

  test("is cut by its length and by a stop text", () => {
    const liked = { [code("a")]: 5 };
    expect(answer(["abcd"], liked, { maxTokens: 2 })).toMatchObject({ text: "ab", reason: "length" });
    expect(answer(["abcd"], liked, { stop: ["c"] })).toMatchObject({ text: "ab", reason: "stop" });
    expect(answer(["ab"], liked, { maxTokens: 2 })).toMatchObject({ text: "ab", reason: "end" });
  });

  test("ends at a stop token where the grammar may end, although it does not spell it", () => {
    const [liked, stopTokens] = [{ [code(";")]: 9 }, [code(";")]];
    expect(answer(["ab", "abcd"], liked, { stopTokens })).toMatchObject({ text: "ab", reason: "end" });
    expect(answer(["ab;c"], liked, { stopTokens })).toMatchObject({ text: "ab", reason: "end" });
  });
});

describe("while its grammar needs more time, an answer", () => {
  const text = (sequence: Sequence): string => String.fromCharCode(...sequence.tokens.slice(3));

  test("keeps its logits, whatever the model computes meanwhile, and goes on with them", () => {
    const sequence = begin(constrain(["yes", "no"], { pauses: 2 }));
    const logits = logitsOf({ [code("n")]: 5 });
    sequence.advance(logits);
    logits.fill(0)[code("y")] = 9;
    for (let waits = 0; sequence.isWaiting; waits++) {
      expect(waits).toBeLessThan(7);
      sequence.advance(logits);
      sequence.resume();
    }
    expect(text(sequence)).toBe("n");
    sequence.resume(); // has nothing to go on with
    expect(text(sequence)).toBe("n");
    while (!sequence.hasEnded) {
      if (sequence.isWaiting) sequence.resume();
      else sequence.advance(logits);
    }
    expect(text(sequence)).toBe("no");
  });

  test("can be cancelled", () => {
    const sequence = begin(constrain(["yes"], { pauses: 9 }));
    sequence.advance(logitsOf({}));
    sequence.finish("cancelled");
    expect(sequence.isWaiting).toBe(false);
    expect(sequence.takeUpdate()?.events.at(-1)).toMatchObject({ finishReason: "cancelled" });
  });

  test("fails where it takes seconds", () => {
    let time = 0;
    const now = (): number => (time += 100);
    const sequence = begin(constrain(["yes"], { pauses: 1000, now }));
    sequence.advance(logitsOf({}));
    let waits = 0;
    for (; sequence.isWaiting && waits < 1000; waits++) {
      try {
        sequence.resume();
      } catch (error) {
        sequence.fail(error);
      }
    }
    expect(waits).toBeGreaterThan(40);
    expect(waits).toBeLessThan(60);
    expect(sequence.takeUpdate()?.error).toMatchObject({
      code: "bad_option",
      message: expect.stringContaining("more than 5 s"),
    });
  });

  test("has no draft", () => {
    expect(constrain(["hello"], { pauses: 1 }).forcedTokens(9)).toEqual([]);
  });
});

const draft = (text: string): readonly number[] => [...text].map(code);

test("tokens are forced up to where the text may end or go on in several ways", () => {
  expect(constrain(["hello", "help"]).forcedTokens(9)).toEqual(draft("hel"));
  expect(constrain(["hello", "help"]).forcedTokens(2)).toEqual(draft("he"));
  expect(constrain(["hello", "he"]).forcedTokens(9)).toEqual(draft("he"));
  expect(constrain(["yes", "no"]).forcedTokens(9)).toEqual([]);
  expect(constrain(["é"]).forcedTokens(9)).toEqual([]); // half a character cannot be spelled
});

describe("of a draft", () => {
  test("those tokens are left that the grammar allows one after another, and nothing is taken", () => {
    const constraint = constrain(["abc", "axy"]);
    expect(constraint.allowedPart(draft("axz"))).toEqual(draft("ax"));
    expect(constraint.allowedPart(draft("b"))).toEqual([]);
    expect(constraint.allowedPart(draft("abc"))).toEqual(draft("abc"));
    expect(constraint.next({ choose: () => code("a"), isEnd: () => false, isFirst: true })).toEqual({
      id: code("a"),
      isLast: false,
    });
    expect(constraint.allowedPart(draft("bcd"))).toEqual(draft("bc"));
  });

  test("none that ends the answer", () => {
    const constraint = constrain(["a", "ab;c"], { stopTokens: [code(";")] });
    expect(constraint.allowedPart([code("a"), END])).toEqual(draft("a"));
    expect(constraint.allowedPart(draft("ab;c"))).toEqual(draft("ab"));
  });
});
