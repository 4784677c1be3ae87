// Defaults of a request's settings: the operator's options before the model's files. The
// engine fills them in, and so the same for every caller.
import { MosError, parseSettings, pick, type SettingInput } from "#core";
import type { GenerationConfig } from "#text";
import type { SamplingOptions } from "./sampler.ts";
import { defaultsSettings, samplingSettings } from "./settings.ts";
import type { AnswerDefaults } from "./types.ts";

/** The settings of `defaultsSettings` that were given. */
export interface DefaultsInput extends SettingInput<typeof defaultsSettings> {}

/** Defaults of an engine that was created without any. */
export const NO_DEFAULTS: AnswerDefaults = { sampling: {}, sources: {} };

/** Defaults in a model's files that no option sets. Throws `bad_model` for invalid ones. */
function modelDefaults({ where, sampling, maxTokens }: GenerationConfig, options: object) {
  const found = Object.entries({ ...sampling, ...(maxTokens === undefined ? {} : { maxTokens }) });
  const needed = Object.fromEntries(found.filter(([name]) => !(name in options)));
  try {
    const { generationConfig: _, ...checked } = parseSettings(defaultsSettings, needed);
    return pick(defaultsSettings, checked);
  } catch (cause) {
    if (!(cause instanceof MosError)) throw cause;
    throw new MosError(
      "bad_model",
      `${where}: ${cause.message}; correct it, or ignore the file with --generation-config none`,
      { cause },
    );
  }
}

/**
 * The defaults of an engine: what was given, and of what was not, what the model's files have.
 *
 * @throws MosError `bad_option` for a setting out of range, `bad_model` for one of the model's, naming the file.
 */
export function answerDefaults(given: DefaultsInput, model: GenerationConfig): AnswerDefaults {
  const { generationConfig, ...checked } = parseSettings(defaultsSettings, pick(defaultsSettings, given));
  const options = pick(defaultsSettings, checked);
  const found = generationConfig === "none" ? {} : modelDefaults(model, options);
  const all = { ...found, ...options };
  const findSource = (name: string): string => (name in options ? "option" : model.where);
  return {
    sampling: pick(samplingSettings, all),
    ...(all.maxTokens === undefined ? {} : { maxTokens: all.maxTokens }),
    sources: Object.fromEntries(Object.keys(all).map((name) => [name, findSource(name)])),
  };
}

/** Whether anything beside the temperature asks for a choice among tokens. */
const narrows = ({ topP = 1, topK = 0, minP = 0 }: SamplingOptions): boolean =>
  topP < 1 || topK > 0 || minP > 0;

/** A request's sampling with the defaults filled in, the temperature among them. */
export function samplingBy({ sampling }: Pick<AnswerDefaults, "sampling">, given: SamplingOptions = {}) {
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const merged: SamplingOptions = { ...sampling, ...own };
  return { ...merged, temperature: merged.temperature ?? (narrows(merged) ? 1 : 0) };
}
