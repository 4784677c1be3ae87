// Modules that a LoRA of Hugging Face PEFT adapts, each with its rank and scale, by the fields of its adapter_config.json.
import type { SavedFields } from "#adapters";
import { MosError } from "#core";
import type { FileModule } from "./file-modules.ts";

const MAX_PATTERN_LENGTH = 200;
/** Ways to match that all patterns of a file may have together: three seconds at most on 560 layers, usually none. */
const MAX_WAYS = 2 ** 15;
/** Average number of ends of a repeat: a module's path has about twice as many characters. */
const ENDS = 16;
/** Cost of a plain name: 1024 of them are read, more than models have linear layers. */
const PLAIN_NAME_WAYS = 32;

/** Syntax that Python and JavaScript read differently, and repeated groups, whose matches are unbounded. */
const INTRICATE = /\)[*+?{]|\(\?|\\[AZ1-9]|\{,|\[\^?\]/;

/** Upper bound of the ways that a backtracking matcher tries: the product of its choices, or more. */
function countWays(plain: string): number {
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
    ways += Math.max(PLAIN_NAME_WAYS, countWays(plain));
    if (key.length > MAX_PATTERN_LENGTH || ways > MAX_WAYS || INTRICATE.test(plain)) return refuse();
    try {
      new RegExp(key); // on its own, so that no stray parenthesis closes the group around it
      const pattern = new RegExp(`^(?:.*\\.)?(?:${key})$`);
      return (path) => pattern.test(path);
    } catch {
      return refuse();
    }
  });
}

/** The fields of a LoRA, whose scale is known. */
export type LoraFields = SavedFields & { readonly lora_alpha: number };

const asList = (value: string | readonly string[] | null | undefined): readonly string[] =>
  value === undefined || value === null ? [] : typeof value === "string" ? [value] : value;

const isListed = (path: string, entries: readonly string[]): boolean =>
  entries.some((entry) => path === entry || path.endsWith(`.${entry}`));

function inLayers({ layers_to_transform: given }: LoraFields, layer: number): boolean {
  if (given === undefined || given === null) return true;
  if (typeof given === "number") return given === layer;
  return given.length === 0 || given.includes(layer);
}

/**
 * Whether PEFT adapts a module by these fields. Undefined where only its tensors can tell: target_modules that is absent
 * or a pattern, an exclude_modules that is a pattern, a layers_pattern for other models.
 */
export function targetTest(fields: LoraFields): ((module: FileModule) => boolean) | undefined {
  const { target_modules: targets, exclude_modules: excluded, layers_pattern: layers } = fields;
  const isAll = typeof targets === "string" && targets.toLowerCase() === "all-linear";
  if (targets === undefined || targets === null || (typeof targets === "string" && !isAll)) return undefined;
  if (typeof excluded === "string" && excluded !== "") return undefined;
  const patterns = asList(layers).filter((entry) => entry !== "");
  if (patterns.length > 0 && !patterns.includes("layers")) return undefined;
  return ({ path, layer }) => {
    if (isListed(path, asList(excluded))) return false;
    if (isAll || asList(targets).includes(path)) return true; // a whole path is meant, whatever the layers
    return isListed(path, asList(targets)) && inLayers(fields, layer);
  };
}

/** What a module's rank and scale are by these fields. */
export interface ModuleRule {
  readonly rank: number;
  /** The scale of a factor pair of a rank: alpha / r, or alpha / √r with rank-stabilised LoRA. */
  readonly scaleAt: (rank: number) => number;
}

/** Rank and scale of each module: rank_pattern and alpha_pattern before r and lora_alpha, the first key that fits. */
export function moduleRules(fields: LoraFields, where: string): (module: FileModule) => ModuleRule {
  const tests = (field: "rank_pattern" | "alpha_pattern") => {
    const given = fields[field] ?? {};
    const values = Object.values(given);
    return modulePatterns(Object.keys(given), `${where}: ${field}`).map((fits, i) => ({
      fits,
      value: values[i],
    }));
  };
  const [ranks, alphas] = [tests("rank_pattern"), tests("alpha_pattern")];
  const stabilised = fields.use_rslora === true;
  return ({ path }) => {
    const rank = ranks.find(({ fits }) => fits(path))?.value ?? fields.r;
    const alpha = alphas.find(({ fits }) => fits(path))?.value ?? fields.lora_alpha;
    return { rank, scaleAt: (r) => alpha / (stabilised ? Math.sqrt(r) : r) };
  };
}
