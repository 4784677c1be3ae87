import { MosError, type Random } from "mixture-of-shards-core/common";

/** Words to put in the places of a template, by the name of the place. */
export type Slots = Readonly<Record<string, string>>;

/** One item of a list, each as likely as the others. */
export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[random.below(items.length)];
  if (item === undefined) throw new MosError("bad_option", "cannot pick from an empty list");
  return item;
}

/** `count` different items of a list, in random order. */
export function pickSome<T>(random: Random, items: readonly T[], count: number): T[] {
  const chosen: T[] = [];
  for (const index of random.permutation(items.length)) {
    const item = items[index];
    if (item !== undefined && chosen.length < count) chosen.push(item);
  }
  return chosen;
}

/** True with probability `probability`. */
export const chance = (random: Random, probability: number): boolean => random.uniform() < probability;

const upperFirst = (_: string, before: string, letter: string): string => before + letter.toUpperCase();

/** "a apple" becomes "an apple", and each sentence starts with a capital letter. */
export const polish = (text: string): string =>
  text.replace(/\b([Aa]) (?=[aeiou])/g, "$1n ").replace(/(^"?|[.!?] "?)([a-z])/g, upperFirst);

/**
 * Fills a template: `[one|two]` chooses one of the variants (they may be empty, and may not be nested), then
 * `{name}` takes the word of that slot.
 */
export function fill(random: Random, template: string, slots: Slots): string {
  const chosen = template.replace(/\[([^\]]*)\]/g, (_, variants: string) =>
    pick(random, variants.split("|")),
  );
  const filled = chosen.replace(/\{(\w+)\}/g, (_, name: string) => {
    const word = slots[name];
    if (word === undefined) throw new MosError("bad_option", `no word for {${name}} in "${template}"`);
    return word;
  });
  return polish(filled.replace(/ {2,}/g, " ").trim());
}
