import { isRecord, MosError } from "#common";

/** GPT-2's split of text into words. `\s` is Unicode White_Space, as in Rust, not JavaScript's. */
export const GPT2_SPLIT =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Error for a broken tokenizer.json. */
export const broken = (what: string): MosError => new MosError("bad_model", `tokenizer.json: ${what}`);

/** Error for what a tokenizer.json may hold and this version does not read. */
export const unsupported = (what: string, advice = ""): MosError =>
  new MosError("unsupported", `tokenizer.json: ${what} is not supported${advice}`);

/** A step of tokenizer.json, not validated yet. */
export type Step = Readonly<Record<string, unknown>>;

/** Splits by a regular expression (Oniguruma's syntax), each match and each gap a piece. */
export const splitStep = (pattern: string): Step => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});

/** Spells bytes in GPT-2's alphabet, without splitting. */
export const BYTE_LEVEL_STEP: Step = {
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: false,
};

/**
 * tokenizer.json's `pre_tokenizer`, rewritten so that the JavaScript library gives the same results as the Rust one. Its
 * ByteLevel uses JavaScript's `\s` (with U+FEFF and without U+0085), its Digits are ASCII digits only, its Metaspace
 * never splits, and its Split has only two of the behaviours.
 *
 * @throws MosError `unsupported` for a step that the library runs differently.
 */
export function exactPreTokenizer(step: unknown): unknown {
  if (!isRecord(step)) return step;
  switch (step["type"]) {
    case "Sequence": {
      const inner = step["pretokenizers"];
      if (!Array.isArray(inner)) throw broken("pre_tokenizer.pretokenizers must be a list");
      return { ...step, pretokenizers: inner.map(exactPreTokenizer) };
    }
    case "ByteLevel":
      return exactByteLevel(step);
    case "Digits":
      return splitStep(step["individual_digits"] === true ? "\\p{N}" : "\\p{N}+");
    case "Metaspace":
      return exactMetaspace(step);
    case "Split":
      return exactSplit(step);
    default:
      return step;
  }
}

function exactByteLevel(step: Step): Step {
  if (step["add_prefix_space"] === true) throw unsupported("ByteLevel with add_prefix_space");
  if (step["use_regex"] === false) return step;
  return { type: "Sequence", pretokenizers: [splitStep(GPT2_SPLIT), BYTE_LEVEL_STEP] };
}

function exactMetaspace(step: Step): Step {
  const replacement = step["replacement"] ?? "▁";
  if (replacement !== "▁") throw unsupported(`Metaspace with "${String(replacement)}"`);
  const scheme = step["prepend_scheme"] ?? (step["add_prefix_space"] === false ? "never" : "always");
  const metaspace = { type: "Metaspace", replacement, prepend_scheme: scheme };
  if (step["split"] === false) return metaspace;
  return { type: "Sequence", pretokenizers: [metaspace, splitStep("▁[^▁]*")] };
}

function exactSplit(step: Step): Step {
  const behavior = String(step["behavior"]);
  const inverted = step["invert"] === true;
  const exact = inverted ? behavior === "Removed" : behavior === "Isolated" || behavior === "Removed";
  if (exact) return step;
  const character = oneCharacter(step["pattern"]);
  // a piece up to the character and with it, as Gemma's file has it for blanks
  if (behavior === "MergedWithPrevious" && !inverted && character !== undefined)
    return splitStep(`[^${character}]+${character}?|${character}`);
  throw unsupported(`Split with behavior "${behavior}"${inverted ? ", inverted," : ""}`);
}

/** The character that a pattern is, for a regular expression; undefined for another pattern. */
function oneCharacter(pattern: unknown): string | undefined {
  const text = isRecord(pattern) ? pattern["String"] : undefined;
  if (typeof text !== "string" || [...text].length !== 1) return undefined;
  return `\\x{${text.codePointAt(0)?.toString(16)}}`;
}
