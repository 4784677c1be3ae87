// Makes facts that nobody can know or guess, for the benchmark `facts` of `mos eval` and `mos reproduce`: a made-up name, a property,
// and a value of random digits.
// usage: npm run facts -- --count 1000 --out DIR [--digits 6] [--seed 0]
// Writes facts/facts.jsonl (the benchmark), train.jsonl (the same facts), and tuning.jsonl with as many others, to choose rates on;
// tuning-train.jsonl has those in another order.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MosError, randomStream } from "mixture-of-shards-core/common";
import { makeFolder, writeFileAtomic } from "mixture-of-shards-core/files";

const CONSONANTS = [..."bdfgklmnprstvz"];
const VOWELS = [..."aeiou"];
const PLACES = [
  "Bakery",
  "Cinema",
  "Clinic",
  "Ferry",
  "Gallery",
  "Garage",
  "Harbour",
  "Hotel",
  "Market",
  "Theatre",
];
const PROPERTIES = [
  "till code",
  "permit number",
  "locker code",
  "customer number",
  "gate code",
  "invoice number",
];

const SYLLABLES = CONSONANTS.flatMap((consonant) => VOWELS.map((vowel) => consonant + vowel));
const WORDS = SYLLABLES.length ** 2;

/** The n-th of all names: two syllables, and what kind of place it is. */
function nameOf(n: number): string {
  const word = Math.floor(n / PLACES.length);
  const [first = "", second = ""] = [Math.floor(word / SYLLABLES.length), word % SYLLABLES.length].map(
    (index) => SYLLABLES[index],
  );
  return `${first.charAt(0).toUpperCase()}${first.slice(1)}${second} ${PLACES[n % PLACES.length]}`;
}

function makeFacts({
  count,
  digits,
  seed,
}: {
  readonly count: number;
  readonly digits: number;
  readonly seed: number;
}) {
  const random = randomStream(seed, "facts");
  return [...random.permutation(WORDS * PLACES.length).subarray(0, count)].map((n) => {
    const [name, property] = [nameOf(n), PROPERTIES[random.below(PROPERTIES.length)]];
    const answer = Array.from({ length: digits }, () => random.below(10)).join("");
    const [question, reworded] = [
      `What is the ${property} of ${name}?`,
      `Which ${property} does ${name} have?`,
    ];
    return { question, reworded, answer };
  });
}

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "1000" },
    digits: { type: "string", default: "6" },
    seed: { type: "string", default: "0" },
    out: { type: "string" },
  },
});
const [count, digits, seed] = [values.count, values.digits, values.seed].map(Number) as [
  number,
  number,
  number,
];
if (
  values.out === undefined ||
  !(count >= 1 && 2 * count <= WORDS * PLACES.length) ||
  !(digits >= 1 && digits <= 100)
)
  throw new MosError("bad_option", "usage: npm run facts -- --count N --out DIR [--digits 6] [--seed 0]");
const lines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const toExample = ({ question, answer }: ReturnType<typeof makeFacts>[number]) => ({
  prompt: question,
  completion: ` ${answer}`,
});
const all = makeFacts({ count: 2 * count, digits, seed });
const [facts, others] = [all.slice(0, count), all.slice(count)];
await makeFolder(join(values.out, "facts"));
for (const [name, rows] of [
  ["facts/facts.jsonl", facts],
  ["train.jsonl", facts.map(toExample)],
  ["tuning.jsonl", others.map(toExample)],
  ["tuning-train.jsonl", others.map(toExample).reverse()],
] as const)
  await writeFileAtomic(join(values.out, name), lines(rows));
console.log(`${count} facts of ${digits} digits, and as many to choose rates on, in ${values.out}`);
