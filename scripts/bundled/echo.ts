import type { Random } from "#core";
import { chance, fill, pick, pickSome, polish } from "./grammar.ts";
import type { Exchange } from "./knowledge.ts";
import * as words from "./words.ts";

/** Words of every kind, so that what comes next in a list of them can only be known by looking back. */
const ANY_WORD = [
  ...[...words.GIRLS, ...words.BOYS, ...words.PET_NAMES, ...words.COLOURS, ...words.NUMBERS, ...words.TENS],
  ...[...words.DAYS, ...words.SEASONS, ...words.FOODS, ...words.THINGS, ...words.PETS, ...words.ITEMS],
  ...[...words.COUNTED, ...words.SHOPS, ...words.FEELINGS, ...words.GOOD, ...words.TREATS],
];

const REQUESTS = ["Please say: ", "Say this again: ", "Repeat after me: ", "Can you say this? "];

const SENTENCES = [
  "The {colour} {thing} is {spot}.",
  "{hero} has a {colour} {pet}.",
  "{hero} gave a {treat} to {friend} on {day}.",
  "{friend} and {hero} are at {place}.",
  "{petName} is a {otherColour} {pet}.",
  "{hero} found {number} coins {spot}.",
];

const wordList = (random: Random, count: number): string =>
  polish(`${pickSome(random, ANY_WORD, count).join(", ")}.`);

function sentences(random: Random): string {
  const slots = words.cast(random);
  return pickSome(random, SENTENCES, 1 + random.below(2))
    .map((sentence) => fill(random, sentence, slots))
    .join(" ");
}

/** A request to repeat words or sentences, and the same words again: practice in copying from the context. */
export function echo(random: Random): Exchange {
  const answer = chance(random, 0.6) ? wordList(random, 3 + random.below(8)) : sentences(random);
  return { question: pick(random, REQUESTS) + answer, answer };
}

/** Who has what, told once and asked in another order. */
export function ownersTalk(random: Random): readonly Exchange[] {
  const count = 2 + random.below(4);
  const names = pickSome(random, [...words.GIRLS, ...words.BOYS], count);
  const things = pickSome(random, words.THINGS, count);
  const colours = pickSome(random, words.COLOURS, count);
  const told = names.map((name, i) => `${name} has a ${colours[i]} ${things[i]}.`).join(" ");
  const asked = pickSome(random, [...names.keys()], Math.min(count, 3)).map((i): Exchange => {
    const [name, thing, colour] = [names[i] ?? "", things[i] ?? "", colours[i] ?? ""];
    return pick(random, [
      { question: `Who has the ${thing}?`, answer: `${name} has the ${thing}.` },
      { question: `What does ${name} have?`, answer: polish(`${name} has a ${colour} ${thing}.`) },
      { question: `What colour is the ${thing}?`, answer: `The ${thing} is ${colour}.` },
    ]);
  });
  const [first, ...rest] = asked;
  if (first === undefined) return [];
  return [{ ...first, question: `${polish(told)} ${first.question}` }, ...rest];
}
