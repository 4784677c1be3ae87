// Compatibility of an adapter with a base. An adapter is trained on one file of numbers, but it is used on any quantisation of
// the same model: its update is added to weights that differ by rounding alone.
import { MosError } from "#core";
import type { SavedBase } from "./folder-config.ts";
import type { DecoderSettings } from "./method.ts";

/** Identity of a base. */
export interface BaseMarks {
  /** A digest of its numbers: another quantisation of the same model has another one. */
  readonly fingerprint: string;
  /** A digest that all quantisations of a model share; without it only equal numbers count as the same model. */
  readonly identity?: string | undefined;
  /** A digest of how its tokenizer turns text into ids; left out, that is not compared. */
  readonly tokens?: string | undefined;
}

/** The base that an adapter was trained on, where that differs from the one that it is used with. @inline */
export interface TrainedOn {
  readonly name: string | undefined;
  readonly fingerprint: string;
  /** True if the numbers are the same and only token ids differ; otherwise it is another quantisation. */
  readonly sameNumbers?: true;
  /** True if some texts had other token ids in training than they have now. */
  readonly otherTokens?: true;
}

/** Marker of imported adapters, whose training ids are unknown. */
export const UNKNOWN_TOKENS = "unknown";

const hasOtherTokens = (saved: string | undefined, actual: string | undefined): boolean =>
  actual !== undefined && saved !== undefined && saved !== UNKNOWN_TOKENS && saved !== actual;

/** As much of a fingerprint as people compare. */
const short = (fingerprint: string): string => `${fingerprint.slice(0, 19)}…`;

/**
 * Compares the base that an adapter was made for with the one that it is to be used with. Equal fingerprints, or a
 * folder without one, as PEFT saves them, say nothing; another quantisation of the same model is told, and so are other
 * token ids.
 *
 * @throws MosError `bad_adapter` for another model, and for other numbers where one side has no identity.
 */
export function checkBase(
  folder: string,
  { name, fingerprint, identity, tokens }: SavedBase,
  actual: BaseMarks,
): TrainedOn | undefined {
  if (fingerprint === undefined) return undefined;
  const other = hasOtherTokens(tokens, actual.tokens) ? ({ otherTokens: true } as const) : undefined;
  if (fingerprint === actual.fingerprint)
    return other === undefined ? undefined : { name, fingerprint, sameNumbers: true, ...other };
  if (identity !== undefined && identity === actual.identity) return { name, fingerprint, ...other };
  throw new MosError(
    "bad_adapter",
    `${folder} was trained on another base: ${name ?? "unnamed"} (${short(fingerprint)}), this one is ${short(actual.fingerprint)}; use the base it was trained on`,
  );
}

/** Relative. Files state some numbers in float32, and lists of rotary factors for the rule that they follow. */
const CLOSE_ENOUGH = 1e-4;

const isClose = (a: unknown, b: unknown): boolean =>
  typeof a === "number" && typeof b === "number"
    ? Math.abs(a - b) <= CLOSE_ENOUGH * Math.max(Math.abs(a), Math.abs(b))
    : a === b;

/** Where two settings differ: the name, with an index in a list, and both values. */
function findDifference(
  name: string,
  saved: unknown,
  actual: unknown,
): readonly [string, unknown, unknown] | undefined {
  if (!Array.isArray(saved) || !Array.isArray(actual) || saved.length !== actual.length)
    return isClose(saved, actual) ? undefined : [name, saved, actual];
  const at = saved.findIndex((value, i) => !isClose(value, actual[i]));
  return at < 0 ? undefined : [`${name}[${at}]`, saved[at], actual[at]];
}

const describeValue = (value: unknown): string =>
  value === undefined || value === null ? "none" : `${JSON.stringify(value).slice(0, 80)}`;

/**
 * Compares what the base of an adapter computed beside its weights with what this one does. PEFT's folders say nothing.
 *
 * @throws MosError `bad_adapter` with the first setting that differs.
 */
export function checkDecoder(
  folder: string,
  { name, decoder: saved }: SavedBase,
  actual: DecoderSettings | undefined,
): void {
  if (saved === undefined || actual === undefined) return;
  const names = [...new Set([...Object.keys(actual), ...Object.keys(saved)])];
  const found = names
    .map((key) => findDifference(key, saved[key] ?? null, actual[key] ?? null))
    .find((one) => one !== undefined);
  if (found === undefined) return;
  const [setting, before, now] = found;
  throw new MosError(
    "bad_adapter",
    `${folder} was trained on another base: in ${name ?? "the unnamed one"} ${setting} is ${describeValue(before)}, in this one ${describeValue(now)}; use the base it was trained on`,
  );
}

/** The line that says so: "trained on another quantisation of the same model: SmolLM2 (sha256:0123456789ab…); used unchanged". */
export function describeTrainedOn({ name, fingerprint, sameNumbers, otherTokens }: TrainedOn): string {
  const numbers = `trained on another quantisation of the same model: ${name ?? "unnamed"} (${short(fingerprint)})`;
  const said = [...(sameNumbers ? [] : [numbers]), ...(otherTokens ? [OTHER_TOKENS] : [])];
  return `${said.join("; ")}; used unchanged`;
}

/** Warns that the ids of the base's tokenizer have changed since the adapter was trained. */
export const OTHER_TOKENS =
  "trained with token ids that differ from this base's, such as those of numbers in lists and tables: train it again";
