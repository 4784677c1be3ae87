import type { Random } from "mixture-of-shards-core/common";
import { chance, fill, pick, pickSome, polish } from "./grammar.ts";
import { ANIMALS, type Animal, DAYS, NUMBERS, SEASONS } from "./words.ts";

/** A question and its answer. */
export interface Exchange {
  readonly question: string;
  readonly answer: string;
}

const OPPOSITES = [
  ["big", "small"],
  ["hot", "cold"],
  ["day", "night"],
  ["happy", "sad"],
  ["open", "closed"],
  ["old", "new"],
  ["fast", "slow"],
  ["high", "low"],
  ["wet", "dry"],
  ["loud", "quiet"],
  ["light", "dark"],
  ["up", "down"],
] as const;

const COLOURED = [
  ["the sky", "blue"],
  ["grass", "green"],
  ["snow", "white"],
  ["the sun", "yellow"],
  ["a plum", "purple"],
  ["a lemon", "yellow"],
  ["a cherry", "red"],
  ["the night", "black"],
  ["a carrot", "orange"],
  ["a leaf", "green"],
  ["milk", "white"],
] as const;

const PURPOSES = [
  ["a lamp", "gives light"],
  ["a clock", "shows the time"],
  ["a key", "opens a door"],
  ["a bed", "is for sleeping"],
  ["a boat", "goes over the water"],
  ["a bell", "makes a sound"],
  ["a map", "shows the way"],
  ["a bridge", "goes over a river"],
  ["a lighthouse", "shows ships the way"],
  ["a hat", "keeps your head warm"],
  ["a book", "tells a story"],
  ["a bakery", "makes bread and cake"],
  ["a school", "is for learning"],
  ["a museum", "shows old things"],
  ["a library", "has many books"],
] as const;

const animalSlots = (animal: Animal): Record<string, string> => ({
  name: animal.name,
  says: animal.says,
  legs: animal.legs,
  eats: animal.eats,
  lives: animal.lives,
  can: animal.can,
  cannot: animal.cannot,
});

const ANIMAL_QUESTIONS = [
  ["How many legs does a {name} have?", "A {name} has {legs} legs."],
  ["What does a {name} eat?", "A {name} eats {eats}."],
  ["Where does a {name} live?", "A {name} lives {lives}."],
  ["Can a {name} {can}?", "Yes, a {name} can {can}."],
  ["Can a {name} {cannot}?", "No, a {name} cannot {cannot}."],
] as const;

function aboutAnimal(random: Random): Exchange {
  const animal = pick(random, ANIMALS);
  if (animal.says !== "nothing" && chance(random, 0.2))
    return {
      question: polish(`What does a ${animal.name} say?`),
      answer: polish(`A ${animal.name} says ${animal.says}.`),
    };
  const [question, answer] = pick(random, ANIMAL_QUESTIONS);
  const slots = animalSlots(animal);
  return { question: fill(random, question, slots), answer: fill(random, answer, slots) };
}

function compareAnimals(random: Random): Exchange {
  const [first, second] = pickSome(random, ANIMALS, 2);
  if (first === undefined || second === undefined || first.size === second.size) return aboutAnimal(random);
  const [large, small] = first.size > second.size ? [first, second] : [second, first];
  const [word, winner, other] = chance(random, 0.5) ? ["bigger", large, small] : ["smaller", small, large];
  return {
    question: polish(`Which is ${word}, a ${first.name} or a ${second.name}?`),
    answer: polish(`A ${winner.name} is ${word} than a ${other.name}.`),
  };
}

const number = (n: number): string => NUMBERS[n - 1] ?? "";

function sum(random: Random): Exchange {
  const a = 1 + random.below(9);
  const b = 1 + random.below(9);
  const question = pick(random, ["What is", "How much is"]);
  if (a > b && chance(random, 0.4))
    return {
      question: `${question} ${number(a)} minus ${number(b)}?`,
      answer: polish(`${number(a)} minus ${number(b)} is ${number(a - b)}.`),
    };
  return {
    question: `${question} ${number(a)} and ${number(b)}?`,
    answer: polish(`${number(a)} and ${number(b)} is ${number(a + b)}.`),
  };
}

function order(random: Random): Exchange {
  const list = pick(random, [DAYS, NUMBERS, SEASONS, NUMBERS]);
  const index = random.below(list.length - 1);
  const first = list[index] ?? "";
  const second = list[index + 1] ?? "";
  return chance(random, 0.6)
    ? { question: `What comes after ${first}?`, answer: polish(`${second} comes after ${first}.`) }
    : { question: `What comes before ${second}?`, answer: polish(`${first} comes before ${second}.`) };
}

function counting(random: Random): Exchange {
  const last = 3 + random.below(8);
  const words = NUMBERS.slice(0, last).join(", ");
  return { question: `Can you count to ${number(last)}?`, answer: polish(`yes. ${words}.`) };
}

function opposite(random: Random): Exchange {
  const pair = pick(random, OPPOSITES);
  const [a, b] = chance(random, 0.5) ? pair : [pair[1], pair[0]];
  return { question: `What is the opposite of ${a}?`, answer: `The opposite of ${a} is ${b}.` };
}

function askColour(random: Random): Exchange {
  const [thing, colour] = pick(random, COLOURED);
  return { question: polish(`What colour is ${thing}?`), answer: polish(`${thing} is ${colour}.`) };
}

function purpose(random: Random): Exchange {
  const [thing, what] = pick(random, PURPOSES);
  const question = pick(random, [
    `What does ${thing} do?`,
    `What is ${thing}?`,
    `Can you tell me what ${thing} is?`,
  ]);
  return { question: polish(question), answer: polish(`${thing} ${what}.`) };
}

const MAKERS = [
  aboutAnimal,
  aboutAnimal,
  aboutAnimal,
  compareAnimals,
  sum,
  sum,
  order,
  counting,
  opposite,
  askColour,
  purpose,
];

/** A question that the corpus world can answer without any context, with its one true answer. */
export const generalQuestion = (random: Random): Exchange => pick(random, MAKERS)(random);

/** A few sentences about one animal, or a question with its answer as plain prose. */
export function description(random: Random): string {
  if (chance(random, 0.3))
    return pickSome(random, MAKERS, 4)
      .map((make) => polish(make(random).answer.replace(/^(Yes|No)[.,] /, "")))
      .join(" ");
  const slots = animalSlots(pick(random, ANIMALS));
  const facts = pickSome(
    random,
    ANIMAL_QUESTIONS.map(([, answer]) => answer.replace(/^(Yes|No), /, "")),
    4,
  );
  const [first = "", ...others] = facts;
  return [first, ...others.map((fact) => fact.replace(/^[Aa] \{name\}/, "It"))]
    .map((sentence) => fill(random, sentence, slots))
    .join(" ");
}
