import { MosError } from "#core";

const LONGEST = 200;
/** Ways to match that all patterns of a file may have together: three seconds at most on 560 layers, usually none. */
const MOST_WAYS = 2 ** 15;
/** Where a repeat can end, on average: the path of a module has about twice as many characters. */
const ENDS = 16;
/** What a plain name counts: 1024 of them are read, more than models have linear layers. */
const LEAST = 32;

/** What Python and JavaScript read differently, and repeated groups, whose ways to match nobody can count. */
const INTRICATE = /\)[*+?{]|\(\?|\\[AZ1-9]|\{,|\[\^?\]/;

/** How many ways a backtracking matcher may have to try: the product of its choices, or more. */
function waysOf(plain: string): number {
  const repeats = ENDS ** (plain.match(/[*+{]/g)?.length ?? 0) * 2 ** (plain.match(/\?/g)?.length ?? 0);
  return plain.split(/[()]/).reduce((product, part) => product * part.split("|").length, repeats);
}

/**
 * The keys of PEFT's rank_pattern or alpha_pattern as tests of module paths: Python's
 * `re.match(rf"(.*\.)?({key})$", path)`. They come with a file, so those that could keep a backtracking matcher busy for
 * long are refused, alone or all together, and what Python and JavaScript read differently.
 *
 * @throws MosError "unsupported"
 */
export function modulePatterns(
  keys: readonly string[],
  where: string,
): readonly ((path: string) => boolean)[] {
  let ways = 0;
  return keys.map((key) => {
    const refuse = (): never => {
      const shown = key.length > 60 ? `${key.slice(0, 60)}…` : key;
      throw new MosError(
        "unsupported",
        `${where}: the pattern ${JSON.stringify(shown)} is too intricate; write the names of the modules instead`,
      );
    };
    const plain = key.replaceAll("(?:", "(");
    ways += Math.max(LEAST, waysOf(plain));
    if (key.length > LONGEST || ways > MOST_WAYS || INTRICATE.test(plain)) return refuse();
    try {
      new RegExp(key); // on its own, so that no stray parenthesis closes the group around it
      const pattern = new RegExp(`^(?:.*\\.)?(?:${key})$`);
      return (path) => pattern.test(path);
    } catch {
      return refuse();
    }
  });
}
