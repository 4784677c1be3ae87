import type { Random } from "mixture-of-shards-core/common";
import { chance, fill, pick } from "./grammar.ts";
import { cast } from "./words.ts";

/** A plot is a list of beats; each beat is a list of sentences of which one is told. */
type Plot = readonly (readonly string[])[];

const OPENINGS = [
  "[One day|One morning|Last {season}|On {day}], {hero} went to {place}[| with {heroHis} {pet}].",
  "{hero} was a [{good}|{size}|{good} little] {heroChild}. {heroHe} [liked to play|often played|lived] near {place}.",
  "Once there was a {heroChild} named {hero}. [Every day|On {day}|One day] {heroHe} walked to {place}.",
  "{hero} and {friend} were [good friends|at {place}|best friends]. [They played all day|They liked {food}|They were never bored].",
  "It was {season}. {hero} and {heroHis} {parent} were at {place}.",
];

const WEATHER = ["{weather}.", "{weather}.", "", "It was {day}, and {weather}."];

const PLOTS: readonly Plot[] = [
  // something is lost and found
  [
    [
      "{hero} had a {colour} {thing}. [{heroHe} loved it very much|It was new|It was a gift from {heroHis} {parent}].",
    ],
    [
      "But [then|in the evening|after lunch] the {thing} was gone.",
      "But {hero} lost the {thing} on the way.",
    ],
    [
      "{heroHe} was [very sad|sad] and began to cry.",
      "{hero} looked and looked, but {heroHe} could not find it.",
    ],
    ['{friend} saw this and [said, "Do not cry. I will help you."|came to help|asked, "What is wrong?"].'],
    ["They looked [{spot}|everywhere].", '"Let us look {spot}," said {friend}.'],
    ["There it was! The {colour} {thing} was {spot}.", "At last {friend} found the {thing} {spot}."],
    [
      '{hero} was [happy|so happy again] and said, "Thank you, {friend}!"',
      "{hero} gave {friend} a [big hug|{treat}].",
    ],
  ],
  // an animal needs help
  [
    ["{heroHe} saw a {size} {pet} {spot}.", "There {heroHe} met a {colour} {pet}."],
    ["The {pet} was [cold and hungry|hungry|afraid|very tired].", "The {pet} could not find its home."],
    ['"[Poor {pet}|Hello, little {pet}]! [Are you hungry|Are you cold|Do you need help]?" asked {hero}.'],
    [
      "{hero} gave the {pet} [some water and a {treat}|a {treat}|some bread].",
      "{heroHe} took the {pet} home and gave it a {treat}.",
    ],
    ["The {pet} ate [it|everything] and [was happy|looked at {hero}|felt warm again]."],
    ["{hero} named the {pet} {petName}.", '"I will call you {petName}," said {hero}.'],
    [
      "From that day on, {petName} and {hero} were [good friends|always together].",
      "{petName} stayed with {hero} [all {season}|and they were happy].",
    ],
  ],
  // making something to eat
  [
    [
      "{hero} wanted to make {food} for {heroHis} {parent}.",
      "It was the birthday of {friend}. {hero} wanted to make {food}.",
    ],
    [
      "First {heroHe} went to the market and got [flour and milk|{number} eggs|butter and sugar].",
      "{heroHe} needed {number} eggs and some milk.",
    ],
    [
      "{friend} came to help. [They worked for an hour|They washed their hands first|They sang a song as they worked].",
    ],
    [
      "But the {pet} [jumped on the table|ate the butter|wanted to eat too], and [there was flour on the floor|they all laughed].",
    ],
    ["Soon the {food} was ready. It smelled [very good|sweet and warm]."],
    [
      "They ate together and [were happy|gave some to the {pet}|were not hungry any more].",
      '"This is the best {food} in the village," said {friend}.',
    ],
  ],
  // two want the same thing
  [
    [
      "{hero} and {friend} both wanted the {colour} {thing}.",
      "There was only one {thing}, and {hero} and {friend} both wanted it.",
    ],
    ['"It is [mine|my {thing}]!" said {hero}. "No, [it is mine|I saw it first]!" said {friend}.'],
    ["They were [angry|angry and did not talk].", "{friend} sat down and began to cry."],
    [
      'Then {hero} [had an idea|was sorry]. "[We can share it|You can have it first|Let us play together]," {heroHe} said.',
    ],
    ['{friend} smiled. "[That is kind of you|Thank you|Good idea], {hero}," {friendHe} said.'],
    ["They played with the {thing} [all day|until it was dark] and were [friends|happy] again."],
  ],
  // a storm and the lighthouse
  [
    [
      "A [little|white] boat was out on the sea[| with {friend} in it].",
      "{friend} was out on the sea in a {colour} boat.",
    ],
    [
      "Then a [big|dark] storm came. The waves were [high|as high as a house], and the wind was [loud|strong].",
    ],
    [
      "In the lighthouse, {hero} was the keeper. {heroHe} climbed the [many|old] steps to the top.",
      "{hero} saw the storm and ran up the steps of the lighthouse.",
    ],
    ["{heroHe} lit the lamp, and the light [went far over the water|was bright and warm]."],
    [
      'The sailors saw the light. "[Ahoy|Look]! [There is the harbour|There is the light]!" they called.',
      '"Ahoy!" called the sailors when they saw the light.',
    ],
    [
      "The boat came home to the harbour, and everyone was safe.",
      "Soon all were safe in the harbour. [They drank hot chocolate|They thanked {hero}].",
    ],
  ],
  // learning to do something
  [
    [
      "{hero} wanted to [swim|ride a horse|climb the hill|play the drum|read a book], but it was [hard|too hard for {heroHim}].",
    ],
    ['"I cannot do it," {heroHe} said. {heroHe} was [sad|afraid].'],
    [
      '{heroHis} {parent} said, "[Try again|Do not be afraid|Try every day]. [I will help you|You will learn it]."',
    ],
    ["So {hero} tried again [and again|every day|for {number} days]."],
    ["[One day|At last|On {day}] {heroHe} could do it! {heroHe} was very proud."],
    [
      '"Look, I can do it!" {heroHe} called, and {friend} [clapped|laughed and clapped|was happy for {heroHim}].',
    ],
  ],
  // an open gate
  [
    ["{hero} forgot to close the [gate|door]. So the {pet} ran away."],
    [
      "{heroHe} [called the {pet}|ran after the {pet}|looked for the {pet} in {place}], but it did not come back.",
    ],
    [
      '{friend} said, "[I saw a {pet}|Your {pet} is] near {place}."',
      "Because {friend} had a {treat}, {friendHe} had an idea.",
    ],
    ["They put a {treat} on the ground and waited.", 'They went there and called, "Come here, {petName}!"'],
    ["Soon the {pet} came back, because it was hungry."],
    ["Now {hero} always closes the [gate|door].", '"I will never forget it again," said {hero}.'],
  ],
  // a gift
  [
    ["{hero} found a {colour} {thing} {spot}."],
    [
      '"Whose {thing} is this?" {heroHe} asked. [Nobody knew|{friend} did not know].',
      "It was not {heroHis} {thing}, so {heroHe} wanted to give it back.",
    ],
    [
      "{heroHe} asked [the baker|the teacher|an old man|a woman with a {otherColour} hat], but it was not theirs.",
    ],
    ['Then {heroHe} met {friend}. "That is my {thing}! I lost it [on {day}|last {season}]," said {friend}.'],
    [
      "{hero} gave it back. {friend} was [so glad|glad] that {friendHe} gave {heroHim} a {otherColour} {other}.",
    ],
    [
      "It [is good|feels good] to [help|be honest|give things back].",
      "They went home together and ate {food}.",
    ],
  ],
];

const ENDINGS = [
  "Then they went home.",
  "It was a good day.",
  "That night {hero} slept well.",
  "They all had {food} for dinner.",
  "And that was the end of a [long|good|happy] day.",
  "",
  "",
];

/** A short story of 5 to 10 sentences with one cast and one plot. */
export function story(random: Random): string {
  const slots = cast(random);
  const plot = pick(random, PLOTS);
  const beats = [OPENINGS, WEATHER, ...plot, ENDINGS];
  return beats
    .map((beat) => fill(random, pick(random, beat), slots))
    .filter((sentence) => sentence !== "")
    .join(" ");
}

const SHORT = [
  "{hero} had a {colour} {pet} named {petName}. The {pet} [liked to run|ate a {treat} every day|slept {spot}]. One day it [found|took] a {thing} {spot}. {hero} laughed and gave it a {treat}.",
  '{hero} and {friend} went to {place}. They saw a {size} {pet}. "[Look|Oh]! It is {colour}," said {friend}. The {pet} [ran away|came to them|looked at them], and they [laughed|smiled].',
  "It was {season}. {hero} made {food}. {friend} was hungry, so {hero} gave {friendHim} some. They were happy.",
  "A {colour} {pet} lived near {place}. It was [lonely|sad], because it had no friend. Then {hero} came and played with it. Now the {pet} is happy every day.",
];

/** Three or four sentences, the length of a spoken answer, and the person or animal that they tell of. */
export function shortStory(random: Random): { readonly text: string; readonly about: string } {
  const slots = cast(random);
  const template = pick(random, SHORT);
  const { hero = "", pet = "" } = slots;
  const withHero = template.startsWith("{hero}");
  const aboutPet = template.includes("{pet}") && (!withHero || chance(random, 0.5));
  return { text: fill(random, template, slots), about: aboutPet ? `a ${pet}` : withHero ? hero : "a friend" };
}
