// Facts of many tenants that can only be memorised: each has a random number as its value, and an adapter has to keep them
// all. The same options give the same bytes.
// usage: node --conditions=source --import tsx scripts/study/tenants.ts --out DIR [--tenants 40] [--facts 5]
//   [--digits 4 | --words 3]
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MosError, type Random, randomStream } from "#core";
import { writeFileAtomic } from "#files";

const PLACES = [
  ...["Amber", "Birch", "Cedar", "Copper", "Coral", "Crystal", "Eagle", "Elm", "Falcon", "Forest"],
  ...["Garden", "Golden", "Granite", "Harbor", "Hazel", "Ivory", "Jade", "Lake", "Laurel", "Lemon"],
  ...["Maple", "Marble", "Meadow", "Mill", "Moon", "North", "Oak", "Ocean", "Olive", "Orchid"],
  ...["Pearl", "Pine", "River", "Rose", "Ruby", "Silver", "Spring", "Stone", "Summer", "Willow"],
] as const;
const TRADES = [
  ...["Archive", "Bakery", "Bank", "Books", "Brewery", "Cafe", "Cinema", "Clinic", "College", "Dairy"],
  ...["Farm", "Ferry", "Fitness", "Florist", "Gallery", "Garage", "Hotel", "Kitchen", "Laundry", "Library"],
  ...["Market", "Motors", "Museum", "Music", "Nursery", "Optics", "Pharmacy", "Press", "Printing", "School"],
  ...["Shoes", "Studio", "Tailors", "Theatre", "Toys", "Travel", "Vineyard", "Watches", "Wool", "Yachts"],
] as const;
const THINGS = [
  ...["account number", "alarm code", "badge number", "box number", "customer number"],
  ...["door code", "extension", "invoice number", "locker code", "member number"],
  ...["order number", "parking permit", "permit number", "phone code", "room code"],
  ...["safe code", "stock number", "ticket number", "till code", "voucher code"],
] as const;

/** What values are of for a model that knows no digits: five bits each, and one token each of the bundled model. */
const WORDS = [
  ...["red", "blue", "green", "yellow", "white", "black", "brown", "pink", "orange", "grey", "purple"],
  ...["boat", "coin", "book", "lamp", "cake", "hat", "bird", "door", "stone", "map", "drum", "bell"],
  ...["ball", "kite", "basket", "spoon", "key", "shell", "box", "ring", "feather"],
] as const;

export interface TenantSizes {
  readonly tenants: number;
  /** Facts of a tenant. */
  readonly facts: number;
  /** Digits of a value, log2(10) bits each; or with `words`, words of five bits each. */
  readonly digits: number;
  readonly words?: number | undefined;
  readonly seed: number;
}

export interface Fact {
  readonly tenant: string;
  readonly thing: string;
  readonly value: string;
}

/** So many different indices below `count`, in random order. */
const choose = (random: Random, count: number, wanted: number): readonly number[] =>
  [...random.permutation(count)].slice(0, wanted);

function checkSizes({ tenants, facts, digits, words = 1 }: TenantSizes): void {
  const most = PLACES.length * TRADES.length;
  const check = (name: string, value: number, highest: number): void => {
    if (!Number.isSafeInteger(value) || value < 1 || value > highest)
      throw new MosError("bad_option", `${name}: ${value} is not usable; give 1 to ${highest}`);
  };
  check("tenants", tenants, most);
  check("facts", facts, THINGS.length);
  check("digits", digits, 12);
  check("words", words, 12);
}

/** Every fact of every tenant. Values are drawn independently of everything else. */
export function tenantFacts(sizes: TenantSizes): readonly Fact[] {
  checkSizes(sizes);
  const { tenants, facts, digits, words, seed } = sizes;
  const random = randomStream(seed, "study.tenants");
  return choose(random, PLACES.length * TRADES.length, tenants).flatMap((index) => {
    const tenant = `${PLACES[index % PLACES.length]} ${TRADES[Math.floor(index / PLACES.length)]}`;
    return choose(random, THINGS.length, facts).map((thing) => ({
      tenant,
      thing: THINGS[thing] ?? "",
      value:
        words === undefined
          ? Array.from({ length: digits }, () => random.below(10)).join("")
          : Array.from({ length: words }, () => WORDS[random.below(WORDS.length)] ?? "").join(" "),
    }));
  });
}

/** A fact as it is asked, in training and afterwards: what is measured is what was kept, not what can be inferred. */
export const lineOf = ({ tenant, thing, value }: Fact): string =>
  `${JSON.stringify({ prompt: `What is the ${thing} of ${tenant}?`, completion: ` ${value}` })}\n`;

/** The lines of a file in an order of their own, so that its first lines are of all tenants. */
export function linesOf(
  facts: readonly Fact[],
  order: { readonly seed: number; readonly name: string },
): string {
  const random = randomStream(order.seed, `study.tenants.${order.name}`);
  return [...random.permutation(facts.length)].map((index) => lineOf(facts[index] ?? NONE)).join("");
}
const NONE: Fact = { tenant: "", thing: "", value: "" };

/** Other tenants, to choose learning rates on. */
const TUNING_SEED = 1_000_003;

/** The files of a folder by name. Facts to be kept are both trained and measured on. */
export function tenantFiles(sizes: TenantSizes): Readonly<Record<string, string>> {
  const { seed } = sizes;
  const [facts, others] = [tenantFacts(sizes), tenantFacts({ ...sizes, seed: seed + TUNING_SEED })];
  return {
    "train.jsonl": linesOf(facts, { seed, name: "train" }),
    "held-out.jsonl": linesOf(facts, { seed, name: "held-out" }),
    "tuning-train.jsonl": linesOf(others, { seed, name: "tuning-train" }),
    "tuning.jsonl": linesOf(others, { seed, name: "tuning" }),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      tenants: { type: "string", default: "40" },
      facts: { type: "string", default: "5" },
      digits: { type: "string", default: "4" },
      words: { type: "string" },
      seed: { type: "string", default: "0" },
    },
  });
  const { out, tenants, facts, digits, words, seed } = values;
  if (out === undefined) throw new MosError("bad_option", "give --out");
  const files = tenantFiles({
    tenants: Number(tenants),
    facts: Number(facts),
    digits: Number(digits),
    seed: Number(seed),
    words: words === undefined ? undefined : Number(words),
  });
  await mkdir(out, { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFileAtomic(join(out, name), text);
  console.log(`${Number(tenants) * Number(facts)} facts of ${tenants} tenants`);
}

if (process.argv[1] === import.meta.filename) await main();
