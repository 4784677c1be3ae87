import type { Random } from "mixture-of-shards-core/common";
import { businessTalk } from "./business.ts";
import { chance, fill, pick, pickSome, polish } from "./grammar.ts";
import { type Exchange, generalQuestion } from "./knowledge.ts";
import { shortStory } from "./stories.ts";
import * as words from "./words.ts";
import { cast } from "./words.ts";

/** One message of a chat. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

const SMALL_TALK: readonly (readonly [question: string, answer: string])[] = [
  ["[Hello|Hi|Good morning|Good evening|Hello there][!|.]", "Hello! How can I help you?"],
  ["[Hello, how|How] are you[| today]?", "I am well, thank you. How can I help you?"],
  ["[Thank you|Thanks|Thank you very much|Thank you for your help][!|.]", "You are welcome."],
  ["[Goodbye|Bye|See you soon|Good night][!|.]", "Goodbye! Have a good day."],
  ["[Who are you|What are you|What is your name]?", "I am a small helper. I can talk with you."],
  ["What can you do?", "I can answer simple questions and tell short stories."],
  ["[Can you help me|Please help me|I need help][?|.]", "Yes, I can help you. What do you want to know?"],
  ["Are you a [person|child|man|woman]?", "No, I am a small helper."],
  ["I am [sad|tired|hungry|cold|afraid] [today|now].", "I am sorry. I hope you feel better soon."],
  ["I am [happy|glad|proud] [today|now].", "I am glad to hear that."],
  ["[It is a good day|The sun is warm today|What a good day][!|.]", "Yes, it is a good day."],
];

const smallTalk = (random: Random): Exchange => {
  const [question, answer] = pick(random, SMALL_TALK);
  return { question: fill(random, question, {}).replace(/ \./, "."), answer: fill(random, answer, {}) };
};

const MEMORY: readonly (readonly [told: string, reply: string, question: string, answer: string])[] = [
  ["My name is {hero}.", "Hello, {hero}!", "What is my name?", "Your name is {hero}."],
  [
    "I have a {pet} named {petName}.",
    "That is a good name for a {pet}.",
    "What is the name of my {pet}?",
    "Your {pet} is named {petName}.",
  ],
  ["My {pet} is {colour}.", "I like {colour}.", "What colour is my {pet}?", "Your {pet} is {colour}."],
  ["I have {number} books.", "That is good.", "How many books do I have?", "You have {number} books."],
  ["I live {where}.", "That is a good place to live.", "Where do I live?", "You live {where}."],
  ["The {thing} is {spot}.", "Thank you for telling me.", "Where is the {thing}?", "The {thing} is {spot}."],
  ["{hero} has a {colour} {thing}.", "I see.", "What does {hero} have?", "{hero} has a {colour} {thing}."],
  ["I like {food}.", "I am glad to hear that.", "What do I like?", "You like {food}."],
];

function memoryTalk(random: Random): readonly Exchange[] {
  const slots = { ...cast(random), where: pick(random, ["near the river", "on the hill", "by the sea"]) };
  const [told, reply, question, answer] = pick(random, MEMORY);
  const between = chance(random, 0.4) ? [generalQuestion(random)] : [];
  return [
    { question: fill(random, told, slots), answer: fill(random, reply, slots) },
    ...between,
    { question: fill(random, question, slots), answer: fill(random, answer, slots) },
  ];
}

function storyRequest(random: Random): Exchange {
  const { text, about } = shortStory(random);
  const plain = { question: pick(random, ["Tell me a story.", "Please tell me a story."]), answer: text };
  return chance(random, 0.3) ? plain : { ...plain, question: polish(`Tell me a story about ${about}.`) };
}

const SYSTEMS = [
  "",
  "",
  "",
  "You are a kind helper.",
  "You answer in short sentences.",
  "You are a small helper.",
];

/** A chat: questions about a business, general questions, small talk, things to remember, or a wish for a story. */
export function chat(random: Random): readonly Message[] {
  const kind = random.below(26);
  let system = pick(random, SYSTEMS);
  let exchanges: readonly Exchange[];
  if (kind < 10) ({ system, exchanges } = businessTalk(random));
  else if (kind < 13) exchanges = Array.from({ length: 1 + random.below(3) }, () => generalQuestion(random));
  else if (kind < 16) exchanges = memoryTalk(random);
  else if (kind < 17) exchanges = [storyRequest(random)];
  else if (kind < 21) exchanges = Array.from({ length: 1 + random.below(2) }, () => echo(random));
  else if (kind < 24) exchanges = ownersTalk(random);
  else exchanges = pickSome(random, [smallTalk, smallTalk, generalQuestion], 2).map((make) => make(random));
  const opening = chance(random, 0.12) ? [smallTalk(random)] : [];
  const turns = [...opening, ...exchanges].flatMap(({ question, answer }): Message[] => [
    { role: "user", content: question },
    { role: "assistant", content: answer },
  ]);
  return system === "" ? turns : [{ role: "system", content: system }, ...turns];
}

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
