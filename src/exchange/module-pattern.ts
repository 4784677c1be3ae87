import { MosError } from "#core";

const LONGEST = 200;
const MOST_REPEATS = 3;

/**
 * A key of PEFT's rank_pattern or alpha_pattern as a test of module paths: Python's `re.match(rf"(.*\.)?({key})$", path)`.
 * Patterns come with a file, so those that could keep a backtracking matcher busy for long are refused: repeated groups,
 * more than three repeats, and what Python and JavaScript read differently.
 *
 * @throws MosError "unsupported"
 */
export function modulePattern(key: string, where: string): (path: string) => boolean {
  const refuse = (): never => {
    const shown = key.length > 60 ? `${key.slice(0, 60)}…` : key;
    throw new MosError(
      "unsupported",
      `${where}: the pattern ${JSON.stringify(shown)} is too intricate; write the names of the modules instead`,
    );
  };
  const plain = key.replaceAll("(?:", "(");
  const repeats = plain.match(/[*+?{]/g)?.length ?? 0;
  if (key.length > LONGEST || repeats > MOST_REPEATS || /\)[*+?{]|\(\?|\\[AZ1-9]/.test(plain))
    return refuse();
  try {
    new RegExp(key); // on its own, so that no stray parenthesis closes the group around it
    const pattern = new RegExp(`^(?:.*\\.)?(?:${key})$`);
    return (path) => pattern.test(path);
  } catch {
    return refuse();
  }
}
