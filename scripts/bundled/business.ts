import type { Random } from "mixture-of-shards-core/common";
import { chance, fill, pick, pickSome, type Slots } from "./grammar.ts";
import type { Exchange } from "./knowledge.ts";
import * as words from "./words.ts";

/** One thing that can be told of a business: how it is stated, asked and answered. */
interface FactKind {
  readonly statement: string;
  readonly questions: readonly string[];
  readonly answers: readonly string[];
}

const KINDS: readonly FactKind[] = [
  {
    statement: "The {kind} opens at {open}.",
    questions: [
      "When do you open?",
      "What time do you open?",
      "When does the {kind} open?",
      "What time does the {kind} open[| in the morning]?",
      "From what time can I come in?",
      "When can I come in the morning?",
      "Are you open early in the morning?",
    ],
    answers: ["We open at {open}.", "The {kind} opens at {open}."],
  },
  {
    statement: "The {kind} closes at {close}.",
    questions: [
      "When do you close?",
      "What time do you close?",
      "When does the {kind} close?",
      "What time does the {kind} close[| in the evening]?",
      "How long are you open?",
      "Until what time can I stay?",
      "Are you open in the evening?",
    ],
    answers: ["We close at {close}.", "The {kind} closes at {close}."],
  },
  {
    statement: "The {kind} is closed on {day}.",
    questions: [
      "On which day are you closed?",
      "Which day is the {kind} closed?",
      "When is the {kind} closed?",
      "Are you open every day?",
      "Is the {kind} open on {day}?",
      "Can I come on {day}?",
    ],
    answers: ["We are closed on {day}.", "The {kind} is closed on {day}."],
  },
  {
    statement: "A {item} costs {price} coins.",
    questions: [
      "How much is a {item}?",
      "How much does a {item} cost?",
      "What does a {item} cost?",
      "What is the price of a {item}?",
      "How many coins is a {item}?",
      "What must I pay for a {item}?",
      "I want to buy a {item}. How much is it?",
    ],
    answers: ["A {item} costs {price} coins.", "A {item} is {price} coins."],
  },
  {
    statement: "{owner} [owns the {kind}|is the owner].",
    questions: [
      "Who owns the {kind}?",
      "Who is the owner[| of the {kind}]?",
      "What is the name of the owner?",
      "Who works there?",
      "Who is the keeper of the {kind}?",
      "Who takes care of the {kind}?",
    ],
    answers: ["The owner is {owner}.", "{owner} owns the {kind}."],
  },
  {
    statement: "The {kind} is {where}.",
    questions: [
      "Where are you?",
      "Where is the {kind}?",
      "Where can I find you?",
      "Where can I find the {kind}?",
      "How do I find the {kind}?",
      "Can you tell me the way to the {kind}?",
    ],
    answers: ["We are {where}.", "The {kind} is {where}."],
  },
  {
    statement: "The [door|roof] is {colour}.",
    questions: [
      "What colour is the [door|roof|lamp|boat]?",
      "Which colour does the [door|roof|lamp] have?",
      "Can you tell me the colour of the [door|roof|lamp]?",
    ],
    answers: ["It is {colour}."],
  },
  {
    statement: "A {pet} named {petName} lives there.",
    questions: [
      "Do you have a pet?",
      "Which animal lives there?",
      "What is the name of the {pet}?",
      "What is the {pet} called?",
      "Is there an animal in the {kind}?",
    ],
    answers: ["Yes, there is a {pet} named {petName}.", "A {pet} named {petName} lives there."],
  },
  {
    statement: "There are {many} {counted} in the {kind}.",
    questions: [
      "How many {counted} are there?",
      "How many {counted} do you have?",
      "How many {counted} are there in the {kind}?",
      "How many {counted} does the {kind} have?",
      "Are there many {counted}?",
    ],
    answers: ["There are {many} {counted}.", "We have {many} {counted}."],
  },
  {
    statement: "People love the {food}.",
    questions: [
      "What is your best food?",
      "What can I eat there?",
      "What should I try?",
      "Is there something to eat?",
      "Do you have food?",
      "I am hungry. What do you have?",
    ],
    answers: ["You should try the {food}.", "People love the {food}."],
  },
  {
    statement: "Dogs [are welcome|may come in].",
    questions: [
      "Can I bring my dog?",
      "Are dogs welcome?",
      "May my dog come in?",
      "Can I come with my dog?",
      "Is my dog welcome?",
    ],
    answers: ["Yes, dogs are welcome.", "Yes, you can bring your dog."],
  },
  {
    statement: "Children pay {small} coins.",
    questions: [
      "How much do children pay?",
      "What do children pay?",
      "Do children pay?",
      "What is the price for a child?",
      "How much is it for my little [boy|girl]?",
    ],
    answers: ["Children pay {small} coins."],
  },
  {
    statement: "The {kind} is {age} years old.",
    questions: [
      "How old is the {kind}?",
      "How old is it?",
      "How many years old is the {kind}?",
      "Is the {kind} very old?",
      "What is the age of the {kind}?",
    ],
    answers: ["The {kind} is {age} years old.", "It is {age} years old."],
  },
  {
    statement: "Each guest gets a {gift}.",
    questions: [
      "Do I get a gift?",
      "What gift do I get?",
      "Is there a gift for me?",
      "What do guests get?",
      "Do you give something to guests?",
    ],
    answers: ["Yes, each guest gets a {gift}.", "You get a {gift}."],
  },
  {
    statement: "There is music on {music}.",
    questions: [
      "When is there music?",
      "On which day is there music?",
      "Is there music?",
      "When can I hear music?",
      "When do you play music?",
    ],
    answers: ["There is music on {music}."],
  },
  {
    statement: "A boat leaves at {boat}.",
    questions: [
      "When does the boat leave?",
      "What time does the boat go?",
      "Is there a boat?",
      "At what time can I take the boat?",
      "When is the boat trip?",
    ],
    answers: ["The boat leaves at {boat}.", "There is a boat at {boat}."],
  },
  {
    statement: "You can see {view} from the window.",
    questions: [
      "What can I see from the [window|top|roof]?",
      "What can you see there?",
      "Is there a good view?",
      "What is the view like?",
      "What will I see?",
    ],
    answers: ["You can see {view}.", "You can see {view} from the window."],
  },
  {
    statement: "The best time to come is {season}.",
    questions: [
      "What is the best time to come?",
      "When is the best time to visit?",
      "When should I visit?",
      "When is it best to come?",
      "In which season should I come?",
    ],
    answers: ["The best time is {season}.", "You should come in {season}."],
  },
];

const UNKNOWN = [
  "I am sorry, I do not know that.",
  "I am sorry, I do not know that.",
  "I do not know that.",
  "I do not know. Please ask the owner.",
];

const VIEWS = [
  "the sea",
  "the harbour",
  "the hill",
  "the old town",
  "the river",
  "ships and gulls",
  "the forest",
  "whales",
];

function business(random: Random): Slots {
  const pickNumber = (from: number, to: number): string => pick(random, words.NUMBERS.slice(from - 1, to));
  const kind = pick(random, words.SHOPS);
  return {
    kind,
    owner: pick(random, chance(random, 0.5) ? words.GIRLS : words.BOYS),
    open: pickNumber(5, 11),
    close: pickNumber(2, 12),
    boat: pick(random, ["noon", ...words.NUMBERS.slice(0, 12)]),
    day: pick(random, words.DAYS),
    music: pick(random, words.DAYS),
    item: pick(random, words.ITEMS),
    price: pickNumber(2, 20),
    small: pickNumber(2, 6),
    where: pick(random, words.WHERE),
    colour: pick(random, words.COLOURS),
    pet: pick(random, words.PETS),
    petName: pick(random, words.PET_NAMES),
    many: pick(random, [...words.NUMBERS.slice(1), ...words.TENS]),
    age: pick(random, [...words.NUMBERS.slice(4), ...words.TENS]),
    counted: pick(random, words.COUNTED),
    food: pick(random, words.FOODS),
    gift: pick(random, words.ITEMS),
    view: pick(random, VIEWS),
    season: pick(random, words.SEASONS),
  };
}

/** Half of the answers say where they come from in a way that the question does not fix; the first form is commoner. */
const answerTo = (random: Random, kind: FactKind): string =>
  chance(random, 0.7) ? (kind.answers[0] ?? "") : pick(random, kind.answers);

const INTRODUCTIONS = [
  "You are the helper of {owner}'s {kind}.",
  "You answer questions about the {kind}.",
  "You help the guests of the {kind}.",
  "You work in a {kind}.",
];

const GREETINGS = [
  "",
  "",
  "",
  "",
  "",
  "",
  "Hello! ",
  "Good morning. ",
  "Please tell me. ",
  "One question. ",
  "Hi. ",
];

/** A system message with some facts of a business (perhaps none), and questions whose answers it holds or lacks. */
export function businessTalk(random: Random): {
  readonly system: string;
  readonly exchanges: readonly Exchange[];
} {
  const slots = business(random);
  const known = chance(random, 0.25) ? [] : pickSome(random, KINDS, 1 + random.below(4));
  const statements = known.map((kind) => {
    const statement = fill(random, kind.statement, slots);
    return statement;
  });
  const bare = known.length === 0 && chance(random, 0.6);
  const system = bare ? "" : [fill(random, pick(random, INTRODUCTIONS), slots), ...statements].join(" ");
  const asked = [
    ...pickSome(random, known, Math.min(known.length, 1 + random.below(3))),
    ...(known.length === 0 || chance(random, 0.3) ? pickSome(random, KINDS, 1) : []),
  ];
  const exchanges = asked.map((kind) => ({
    question: pick(random, GREETINGS) + fill(random, pick(random, kind.questions), slots),
    answer: known.includes(kind) ? fill(random, answerTo(random, kind), slots) : pick(random, UNKNOWN),
  }));
  return { system, exchanges };
}

/** The statements of one business as a paragraph of prose. */
export function businessProse(random: Random): string {
  const slots = business(random);
  const statements = pickSome(random, KINDS, 3 + random.below(4)).map((kind) =>
    fill(random, kind.statement, slots),
  );
  return [fill(random, "{owner} has a {kind}.", slots), ...statements].join(" ");
}
