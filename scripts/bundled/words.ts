import type { Random } from "mixture-of-shards-core/common";
import { pick, pickSome, type Slots } from "./grammar.ts";

const words = (list: string): readonly string[] => list.trim().split(/\s+/);
const phrases = (list: string): readonly string[] => list.split(",").map((phrase) => phrase.trim());

export const GIRLS = words("Anna Lily Rose Emma Mia Ella Nora Ruby Clara Ivy Sara Lucy");
export const BOYS = words("Tom Ben Max Sam Leo Jack Finn Oscar Paul Hugo Peter Adam");
export const PET_NAMES = words("Button Pepper Socks Biscuit Star Shadow Honey Snowy");
export const COLOURS = words("red blue green yellow white black brown pink orange grey purple");
export const NUMBERS = words(
  "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty",
);
export const TENS = words("twenty thirty forty fifty sixty seventy eighty ninety");
export const DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday");
export const SEASONS = words("spring summer autumn winter");
export const FOODS = phrases(
  "apple cake, bread, soup, cheese, honey cake, fish soup, plum pie, hot chocolate, rice, pancakes, cherry pie, fresh bread, lemon cake, nut cake",
);
export const ITEMS = phrases(
  "hat, ball, book, cake, lamp, kite, basket, cup, map, ticket, drum, bell, candle, toy boat, blanket, apple, loaf of bread, flower, pencil, coat, box, spoon, chair, picture",
);
export const THINGS = phrases(
  "ball, kite, hat, key, shell, book, box, bell, map, lamp, drum, coin, ring, button, feather, stone, letter, spoon, basket, boat",
);
export const COUNTED = phrases(
  "rooms, chairs, windows, steps, tables, books, trees, lamps, boats, beds, pictures, doors, clocks, cups",
);
export const PLACES = phrases(
  "the park, the beach, the forest, the garden, the river, the lake, the market, the hill, the school, the farm, the village, the harbour, the old bridge, the field, the lighthouse",
);
export const WHERE = phrases(
  "near the river, on the hill, by the sea, next to the school, behind the church, in the old town, near the bridge, on the main street, by the lake, next to the park, at the harbour, near the station, across from the market, in the forest",
);
export const SPOTS = phrases(
  "under a tree, behind a big stone, in the tall grass, under the bed, behind the door, in a small box, near the gate, under the table, on the wall, in the wet sand, next to the well, on the roof",
);
export const TREATS = phrases("apple, cake, pear, carrot, plum, cookie, sandwich, nut");
export const FEELINGS = words("happy sad tired proud cold hungry afraid calm angry glad");
export const GOOD = words("kind brave clever gentle quiet funny friendly careful");
export const SIZES = words("small big little tiny huge");
export const SHOPS = phrases(
  "shop, bakery, farm, library, museum, school, inn, garden, zoo, toy shop, book shop, mill, lighthouse, cafe, castle, theatre, tea house",
);
export const WEATHER = phrases(
  "the sun was warm and the sky was blue, it was cold and snow fell on the ground, the wind was strong, it was a quiet morning, rain fell on the roof, the sky was grey, it was a hot day, the air was fresh and the birds sang",
);

/** What the corpus world knows about an animal; every story and answer agrees with this table. */
export interface Animal {
  readonly name: string;
  readonly says: string;
  readonly legs: string;
  readonly eats: string;
  readonly lives: string;
  readonly can: string;
  readonly cannot: string;
  /** Rank by size: a larger number is a larger animal. */
  readonly size: number;
}

const ANIMAL_TABLE = `
mouse|squeak|four|cheese|in a hole|run|fly|1
bee|buzz|six|honey|in a garden|fly|swim|0
frog|croak|four|flies|in a pond|jump|fly|2
bird|tweet|two|seeds|in a tree|fly|read|3
gull|nothing|two|fish|by the sea|fly|read|4
duck|quack|two|bread|on a lake|swim|read|5
hen|cluck|two|corn|on a farm|run|swim|6
cat|meow|four|fish|in a house|climb|fly|7
rabbit|nothing|four|carrots|in a hole|jump|fly|6
fox|yap|four|meat|in the forest|run|fly|8
dog|woof|four|meat|in a house|run|fly|9
sheep|baa|four|grass|on a farm|walk|fly|10
goat|maa|four|leaves|on a hill|climb|fly|10
pig|oink|four|apples|on a farm|run|fly|11
donkey|hee haw|four|hay|on a farm|walk|fly|13
cow|moo|four|grass|on a farm|walk|fly|14
horse|neigh|four|hay|on a farm|run|fly|15
bear|growl|four|honey|in the forest|climb|fly|14
whale|nothing|no|fish|in the sea|swim|walk|20
fish|nothing|no|flies|in the water|swim|fly|2
owl|hoot|two|mice|in the forest|fly|swim|4
`;

export const ANIMALS: readonly Animal[] = ANIMAL_TABLE.trim()
  .split("\n")
  .map((line) => {
    const [name = "", says = "", legs = "", eats = "", lives = "", can = "", cannot = "", size = "0"] =
      line.split("|");
    return { name, says, legs, eats, lives, can, cannot, size: Number(size) };
  });

/** The animals that a child of the stories may have at home or meet on the way. */
export const PETS = words("cat dog rabbit duck goat hen horse mouse frog bird pig donkey sheep fox");

/** A person with pronouns, under a prefix: `hero`, `heroHe`, `heroHim`, `heroHis`. */
function person(random: Random, prefix: string, taken: string): Slots {
  const girl = random.below(2) === 0;
  const name = pick(
    random,
    (girl ? GIRLS : BOYS).filter((candidate) => candidate !== taken),
  );
  return {
    [prefix]: name,
    [`${prefix}He`]: girl ? "she" : "he",
    [`${prefix}Him`]: girl ? "her" : "him",
    [`${prefix}His`]: girl ? "her" : "his",
    [`${prefix}Child`]: girl ? "girl" : "boy",
  };
}

/** A fresh cast for one story: two people, a pet, a place, things and feelings that stay the same throughout. */
export function cast(random: Random): Slots {
  const hero = person(random, "hero", "");
  const friend = person(random, "friend", hero["hero"] ?? "");
  const [thing = "", other = ""] = pickSome(random, THINGS, 2);
  const [colour = "", otherColour = ""] = pickSome(random, COLOURS, 2);
  return {
    ...hero,
    ...friend,
    thing,
    other,
    colour,
    otherColour,
    pet: pick(random, PETS),
    petName: pick(random, PET_NAMES),
    place: pick(random, PLACES),
    spot: pick(random, SPOTS),
    treat: pick(random, TREATS),
    food: pick(random, FOODS),
    size: pick(random, SIZES),
    good: pick(random, GOOD),
    day: pick(random, DAYS),
    season: pick(random, SEASONS),
    weather: pick(random, WEATHER),
    number: pick(random, NUMBERS.slice(1, 10)),
    parent: pick(random, ["mother", "father", "grandmother", "grandfather", "aunt", "uncle"]),
  };
}
