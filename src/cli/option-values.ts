import { InvalidArgumentError } from "commander";

/** A whole number, at least `least`. Underscores may group digits. */
export const whole =
  (least = 0) =>
  (text: string): number => {
    const value = /^\d[\d_]*$/.test(text) ? Number(text.replaceAll("_", "")) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
  };

/** A finite number; 5e-4 is one. */
export function decimal(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError("It must be a number, such as 0.05 or 5e-4.");
}

const BYTES: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** A size in bytes, at least `least`: `2GB`, `500 MB`, `1.5GiB`, and without a unit the bytes themselves. */
export const byteSize =
  (least = 0) =>
  (text: string): number => {
    const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgt]?i?b)?$/i.exec(text.trim()) ?? [];
    const factor = BYTES[unit.toLowerCase()];
    const bytes = digits === "" || factor === undefined ? Number.NaN : Math.round(Number(digits) * factor);
    if (Number.isSafeInteger(bytes) && bytes >= least) return bytes;
    throw new InvalidArgumentError(`It must be a size of ${least}B or more, such as 500MB, 2GB or 1.5GiB.`);
  };

/** Some of these names, with commas between them. */
export const namesOf =
  <const Name extends string>(known: readonly Name[]) =>
  (text: string): readonly Name[] =>
    text.split(",").map((part) => {
      const name = known.find((candidate) => candidate === part.trim());
      if (name !== undefined) return name;
      throw new InvalidArgumentError(
        `It must be one or more of ${known.join(", ")}, with commas between them.`,
      );
    });

/** An option that may be given several times. */
export const collected = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text,
];

/** Backslash escapes of a text that no shell quotes easily: \n, \t and \\. */
export const unescaped = (text: string): string =>
  text.replace(/\\(n|t|\\)/g, (_, letter: string) => (letter === "n" ? "\n" : letter === "t" ? "\t" : "\\"));

/** The entries that were given. */
export function given<T extends object>(values: T): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
