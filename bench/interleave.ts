// Runs commands alternately, so that other load on the machine affects all of them alike, and compares their medians.
import { writeFile } from "node:fs/promises";
import { fail, median, readArguments, rounded } from "./arguments.ts";
import { type Result, runForJson } from "./child.ts";

const HELP = `usage: bench:interleave -- --ours "COMMAND" --theirs "COMMAND" [--tuned] [--field tokens_per_s] [--rounds 3] [--out FILE]

Each command must print one JSON line at its end. A round runs ours, then theirs, then (with --tuned) theirs once more
with glibc set to keep large buffers instead of returning each to the system. Printed for every number that both
report: medians, least and most, and the ratios of --field and of peak_rss_gb; --out keeps every run as JSON.`;

/** glibc hands every large buffer back at once by default, which costs PyTorch much time in page faults. */
const KEEP_BUFFERS = {
  MALLOC_MMAP_THRESHOLD_: "4294967296",
  MALLOC_TRIM_THRESHOLD_: "4294967296",
  MALLOC_TOP_PAD_: "268435456",
};

interface Variant {
  readonly name: string;
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly results: Result[];
}

const given = readArguments(HELP, {
  values: ["ours", "theirs", "field", "rounds", "out"],
  flags: ["tuned"],
});
const field = given.text("field") ?? "tokens_per_s";
const rounds = given.number("rounds", 3);
const variant = (name: string, command: string, environment = {}): Variant => ({
  name,
  command,
  environment,
  results: [],
});
const theirs = given.text("theirs") ?? fail(HELP);
const ours = variant("ours", given.text("ours") ?? fail(HELP));
const others = [
  variant("theirs", theirs),
  ...(given.flag("tuned") ? [variant("theirs tuned", theirs, KEEP_BUFFERS)] : []),
];

for (let round = 1; round <= rounds; round++)
  for (const one of [ours, ...others]) {
    const result = await runForJson(one.name, one.command, one.environment);
    one.results.push(result);
    console.error(`${round}/${rounds} ${one.name}: ${JSON.stringify(result)}`);
  }

const readNumbers = ({ results }: Variant, name: string): readonly number[] =>
  results.map((result) => result[name]).filter((value) => typeof value === "number");
const summary = [ours, ...others].map((one) => ({
  name: one.name,
  numbers: Object.fromEntries(
    Object.keys(one.results[0] ?? {})
      .filter((name) => readNumbers(one, name).length === rounds)
      .map((name) => {
        const values = readNumbers(one, name);
        return [name, { median: median(values), least: Math.min(...values), most: Math.max(...values) }];
      }),
  ),
}));

for (const { name, numbers } of summary)
  for (const shown of new Set([field, "median_step_s", "peak_rss_gb"])) {
    const found = numbers[shown];
    if (found !== undefined)
      console.log(
        `${name.padEnd(13)} ${shown.padEnd(20)} ${rounded(found.median, 3)}  (${found.least}–${found.most})`,
      );
  }
/** Median over median, and the least and the most of the rounds. */
function ratios(name: string, other: Variant): readonly number[] {
  const [mine, against] = [readNumbers(ours, name), readNumbers(other, name)];
  const each = mine.map((value, i) => value / (against[i] ?? Number.NaN));
  return [median(mine) / median(against), Math.min(...each), Math.max(...each)].map((x) => rounded(x, 3));
}
for (const other of others)
  for (const name of new Set([field, "peak_rss_gb"])) {
    const [ratio, least, most] = ratios(name, other);
    if (readNumbers(other, name).length > 0)
      console.log(`ours / ${other.name}: ${name} × ${ratio}  (rounds ${least}–${most})`);
  }

const out = given.text("out");
if (out !== undefined)
  await writeFile(
    out,
    `${JSON.stringify({ field, rounds, variants: [ours, ...others], summary }, null, 2)}\n`,
  );
