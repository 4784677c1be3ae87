import { MosError } from "#core";
import { LANGUAGES, type Language } from "../data/languages.ts";
import type { TydiqaLanguage, TydiqaRow } from "../data/tydiqa.ts";
import { pythonRandom } from "../python-random.ts";

/** The indices that the original draws from each language's train file, all of them being at hand. */
export function drawnIndices(shots: number): ReadonlyMap<Language, readonly number[]> {
  const random = pythonRandom(42);
  return new Map(LANGUAGES.map(({ name, train }) => [name, random.sample(train, shots)]));
}

export interface TydiqaExamples {
  readonly byLanguage: ReadonlyMap<Language, readonly TydiqaRow[]>;
  readonly notes: readonly string[];
}

/**
 * The examples that each language's questions are shown. A language with fewer train questions borrows English's
 * examples, or those of the first language that has some; its own words stay around them.
 *
 * @throws MosError `not_found` where no language has so many.
 */
export function drawExamples(languages: readonly TydiqaLanguage[], shots: number): TydiqaExamples {
  const indices = drawnIndices(shots);
  const own = new Map<Language, readonly TydiqaRow[]>();
  const notes: string[] = [];
  if (shots === 0) return { byLanguage: own, notes };
  for (const { name, train } of languages) {
    if (train === undefined || train.length < shots) continue;
    const whole = train.length === LANGUAGES.find((language) => language.name === name)?.train;
    const drawn = whole ? (indices.get(name) ?? []) : pythonRandom(42).sample(train.length, shots);
    if (!whole) notes.push(`${name}: the examples are drawn from ${train.length} questions, not from all`);
    own.set(
      name,
      drawn.flatMap((index) => train[index] ?? []),
    );
  }
  const lender = own.has("english") ? "english" : [...own.keys()][0];
  if (lender === undefined)
    throw new MosError(
      "not_found",
      `tydiqa: no train file of ${shots} or more questions is there to draw examples from; add one, such as english-train.json, or ask for 0 shots`,
    );
  const borrowers = languages.map(({ name }) => name).filter((name) => !own.has(name));
  if (borrowers.length > 0)
    notes.push(
      `${borrowers.join(", ")}: too few train questions of their own, so they are shown the examples of ${lender}`,
    );
  const lent = own.get(lender) ?? [];
  return { byLanguage: new Map(languages.map(({ name }) => [name, own.get(name) ?? lent])), notes };
}
