// Whether an adapter belongs to a base. An adapter is trained on one file of numbers, but it is used on any quantisation of
// the same model: its update is added to weights that differ by rounding alone.
import { MosError } from "#core";
import type { SavedBase } from "./folder-config.ts";

/** What a base is known by. */
export interface BaseMarks {
  /** A digest of its numbers: another quantisation of the same model has another one. */
  readonly fingerprint: string;
  /** A digest that all quantisations of a model share; without it only equal numbers count as the same model. */
  readonly identity?: string | undefined;
}

/** The base that an adapter was trained on, where that is another quantisation of the model that it is used with. */
export interface TrainedOn {
  readonly name: string | undefined;
  readonly fingerprint: string;
}

/** As much of a fingerprint as people compare. */
const short = (fingerprint: string): string => `${fingerprint.slice(0, 19)}…`;

/**
 * Compares the base that an adapter was made for with the one that it is to be used with. Equal fingerprints, or a
 * folder without one, as PEFT saves them, say nothing; another quantisation of the same model is told.
 *
 * @throws MosError `bad_adapter` for another model, and for other numbers where one side has no identity.
 */
export function checkBase(
  folder: string,
  { name, fingerprint, identity }: SavedBase,
  actual: BaseMarks,
): TrainedOn | undefined {
  if (fingerprint === undefined || fingerprint === actual.fingerprint) return undefined;
  if (identity !== undefined && identity === actual.identity) return { name, fingerprint };
  throw new MosError(
    "bad_adapter",
    `${folder} was trained on another base: ${name ?? "unnamed"} (${short(fingerprint)}), this one is ${short(actual.fingerprint)}; use the base it was trained on`,
  );
}

/** The line that says so: "trained on another quantisation of the same model: SmolLM2 (sha256:0123456789ab…); used as it is". */
export const trainedOnText = ({ name, fingerprint }: TrainedOn): string =>
  `trained on another quantisation of the same model: ${name ?? "unnamed"} (${short(fingerprint)}); used as it is`;
