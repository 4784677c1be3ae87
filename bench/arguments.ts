// Command lines of the benchmarks: options with defaults, numbers checked, help on request.
import { type ParseArgsConfig, parseArgs } from "node:util";

export interface Arguments {
  text(name: string): string | undefined;
  /** The option, or where it was not given `fallback`. */
  number(name: string, fallback: number): number;
  flag(name: string): boolean;
  /** One of `choices`; the first where it was not given. */
  choice<T extends string>(name: string, choices: readonly T[]): T;
}

/** Parses the process's arguments; `flags` take no value. Prints `help` and ends where it is asked for. */
export function readArguments(
  help: string,
  names: { readonly values: readonly string[]; readonly flags: readonly string[] },
): Arguments {
  const options: ParseArgsConfig["options"] = {
    ...Object.fromEntries(names.values.map((name) => [name, { type: "string" as const }])),
    ...Object.fromEntries([...names.flags, "help"].map((name) => [name, { type: "boolean" as const }])),
  };
  const values: Readonly<Record<string, unknown>> = parseArgs({ options }).values;
  if (values["help"] === true) {
    console.log(help);
    process.exit(0);
  }
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  return {
    text,
    number: (name, fallback) => {
      const value = text(name);
      const number = Number(value ?? fallback);
      if (Number.isFinite(number) && value !== "") return number;
      return fail(`--${name} ${value} is not a number`);
    },
    flag: (name) => values[name] === true,
    choice: (name, choices) => {
      const value = text(name) ?? choices[0];
      const chosen = choices.find((one) => one === value);
      return chosen ?? fail(`--${name} ${value}: ${choices.join(", ")} are possible`);
    },
  };
}

/** Ends the program with one line of explanation. */
export function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

export const median = (numbers: readonly number[]): number => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (i: number): number => sorted[Math.floor(i)] ?? Number.NaN;
  return (at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2;
};

export const rounded = (number: number, digits: number): number => Number(number.toFixed(digits));

/** The most memory this process has had, in the unit of the peers' scripts: thousands of KiB × 1000. */
export const peakMemory = (): number => rounded(process.resourceUsage().maxRSS / 1e6, 2);

/** CPU seconds of all threads of this process since it began. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** One JSON line, or one line for each field. */
export function printResult(result: Readonly<Record<string, unknown>>, json: boolean): void {
  if (json) console.log(JSON.stringify(result));
  else for (const [name, value] of Object.entries(result)) console.log(`${name.padEnd(20)} ${value ?? "-"}`);
}
