// The adapter_config.json of a LoRA that Hugging Face PEFT saved: what it says about each site, and what is refused.
import { z } from "zod";
import { decoderFields } from "#adapters";
import { MosError } from "#core";
import type { FileModule } from "./file-modules.ts";

const LONGEST = 200;
/** Ways to match that all patterns of a file may have together: three seconds at most on 560 layers, usually none. */
const MAX_WAYS = 2 ** 15;
/** Where a repeat can end, on average: the path of a module has about twice as many characters. */
const ENDS = 16;
/** What a plain name counts: 1024 of them are read, more than models have linear layers. */
const LEAST = 32;

/** What Python and JavaScript read differently, and repeated groups, whose number of matches has no bound. */
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
    if (key.length > LONGEST || ways > MAX_WAYS || INTRICATE.test(plain)) return refuse();
    try {
      new RegExp(key); // on its own, so that no stray parenthesis closes the group around it
      const pattern = new RegExp(`^(?:.*\\.)?(?:${key})$`);
      return (path) => pattern.test(path);
    } catch {
      return refuse();
    }
  });
}

const names = z.union([z.array(z.string()), z.string()]).nullish();
const pattern = z.record(z.string(), z.number()).nullish();

export const peftFields = z.looseObject({
  peft_type: z.string(),
  base_model_name_or_path: z.string().nullish(),
  base_fingerprint: z.string().optional(),
  base_identity: z.string().optional(),
  base_decoder: decoderFields.optional(),
  r: z.int(),
  lora_alpha: z.number(),
  lora_dropout: z.number().min(0).lt(1).nullish(),
  target_modules: names,
  exclude_modules: names,
  layers_to_transform: z.union([z.array(z.int()), z.int()]).nullish(),
  layers_pattern: names,
  rank_pattern: pattern,
  alpha_pattern: pattern,
  use_rslora: z.boolean().nullish(),
});
export type PeftFields = z.output<typeof peftFields>;

const MERGE =
  "merge the adapter into its base with PEFT (merge_and_unload) and use the merged model as the base";

/** PEFT's options that change what a LoRA computes beyond A, B and a scale, with what would do instead. */
const REFUSED: Readonly<Record<string, string>> = {
  use_dora: `DoRA also trains magnitudes, which no plain LoRA has; ${MERGE}`,
  lora_bias: `biases beside B have no place in a plain LoRA; ${MERGE}`,
  modules_to_save: `whole modules were trained and saved along; ${MERGE}`,
  trainable_token_indices: `rows of the embedding were trained along; ${MERGE}`,
  target_parameters: "it adapts parameters that are not linear layers",
  layer_replication: "it repeats layers of the base; build that model first, and train on it",
  alora_invocation_tokens: "it switches on in the middle of a text, which no plain LoRA does",
  arrow_config: "it chooses among several adapters for each token; import them one by one",
  use_qalora: "it pools the inputs of A; train again without it",
  use_bdlora: "its factors are block-diagonal; train again without it",
  kasa_config: `it changes the base and puts singular values between A and B; ${MERGE}`,
  monteclora_config: "its factors are drawn at random; train again without it",
  megatron_config: "its layers are Megatron's; save it from a Hugging Face model",
};

/** Ways to start that leave the base as it is; the others move a part of it into A and B. */
const PLAIN_STARTS: readonly unknown[] = [
  ...[undefined, null, true, false],
  ...["gaussian", "orthogonal", "eva", "mica"],
];

const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== false &&
  !(typeof value === "object" && Object.keys(value).length === 0);

const shown = (value: unknown): string => {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};

/** Throws `unsupported`, naming the field, for anything but a plain LoRA. */
export function refuseOtherThanLora(fields: PeftFields, where: string): void {
  const refuse = (message: string): never => {
    throw new MosError("unsupported", `${where}: ${message}`);
  };
  const { peft_type: type, bias, init_lora_weights: start } = fields;
  if (type !== "LORA")
    refuse(
      `peft_type ${shown(type)} is not a LoRA; only "LORA" is imported, and adapters of this program need no import`,
    );
  for (const [name, reason] of Object.entries(REFUSED))
    if (isSet(fields[name])) refuse(`${name} is ${shown(fields[name])}: ${reason}`);
  if (isSet(bias) && bias !== "none")
    refuse(`bias is ${shown(bias)}: biases of the base were trained along; ${MERGE}`);
  if (!PLAIN_STARTS.includes(start))
    refuse(
      `init_lora_weights is ${shown(start)}, a start that changes the base; let PEFT save it as a plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)`,
    );
}

const asList = (value: string | readonly string[] | null | undefined): readonly string[] =>
  value === undefined || value === null ? [] : typeof value === "string" ? [value] : value;

const listed = (path: string, entries: readonly string[]): boolean =>
  entries.some((entry) => path === entry || path.endsWith(`.${entry}`));

function inLayers({ layers_to_transform: given }: PeftFields, layer: number): boolean {
  if (given === undefined || given === null) return true;
  if (typeof given === "number") return given === layer;
  return given.length === 0 || given.includes(layer);
}

/**
 * Whether PEFT adapts a module by these fields. Undefined where only its tensors can tell: target_modules that is absent
 * or a pattern, an exclude_modules that is a pattern, a layers_pattern for other models.
 */
export function targetTest(fields: PeftFields): ((module: FileModule) => boolean) | undefined {
  const { target_modules: targets, exclude_modules: excluded, layers_pattern: layers } = fields;
  const isAll = typeof targets === "string" && targets.toLowerCase() === "all-linear";
  if (targets === undefined || targets === null || (typeof targets === "string" && !isAll)) return undefined;
  if (typeof excluded === "string" && excluded !== "") return undefined;
  const patterns = asList(layers).filter((entry) => entry !== "");
  if (patterns.length > 0 && !patterns.includes("layers")) return undefined;
  return ({ path, layer }) => {
    if (listed(path, asList(excluded))) return false;
    if (isAll || asList(targets).includes(path)) return true; // a whole path is meant, whatever the layers
    return listed(path, asList(targets)) && inLayers(fields, layer);
  };
}

/** What a module's rank and scale are by these fields. */
export interface ModuleRule {
  readonly rank: number;
  /** The scale of a factor pair of a rank: alpha / r, or alpha / √r with rank-stabilised LoRA. */
  readonly scaleAt: (rank: number) => number;
}

/** Rank and scale of each module: rank_pattern and alpha_pattern before r and lora_alpha, the first key that fits. */
export function moduleRules(fields: PeftFields, where: string): (module: FileModule) => ModuleRule {
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
