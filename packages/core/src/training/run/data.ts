// Data of a run: its examples, those that are held out, and how they become tokens.
import { MosError, withProgress } from "#common";
import {
  type DataKind,
  type DataSource,
  dataPaths,
  type EncodedExample,
  type Example,
  type ExampleInput,
  locateData,
  parseColumns,
  placeText,
  readDataset,
  splitValidation,
} from "#data";
import type { LocateOptions, PlannedBase } from "#models";
import { type LoadedText, parseResponseFormat, withVariables } from "#text";
import { OBJECTIVES } from "../objectives/index.ts";
import { OBJECTIVE_NAMES } from "../objectives/settings.ts";
import { chooseValidationSplit } from "../resolve-settings.ts";
import type { FinetuneSettings, ResolvedSettings } from "../settings.ts";

/**
 * Names of data, or examples, each as a line of a file would have it. An iterable is gone through once, so that a generator
 * serves one run.
 * @inline
 */
export type DataInput = string | readonly string[] | Iterable<ExampleInput> | AsyncIterable<ExampleInput>;

/** The examples of a run. */
export interface RunData {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  /** Those of the data that were read, whatever is done with them. */
  readonly all: readonly Example[];
}

interface DataOptions extends LocateOptions {
  readonly data: DataInput;
  readonly validationData?: DataInput | undefined;
  /** Lines that are to be shown, which may be beyond the examples of the run: files are read to their end. */
  readonly lines?: readonly number[];
}

/** Reads as much of the data as is used, and holds out a part of it. */
export async function readRunData(
  { data, validationData, lines, ...location }: DataOptions,
  settings: FinetuneSettings,
): Promise<RunData> {
  const { maxExamples, seed, dataColumns, evaluateBy } = settings;
  const { data: kind } = OBJECTIVES[settings.objective];
  const keepsFields = evaluateBy !== undefined;
  const options = { columns: parseColumns(dataColumns), kind, describeUse, keepsFields };
  const find = async (input: DataInput) => {
    const names = dataPaths(input);
    const paths = names === undefined ? undefined : await withProgress(locateData(names, location));
    return { source: paths ?? (input as DataSource), paths };
  };
  const { source, paths } = await find(data);
  const apart = validationData === undefined ? undefined : await find(validationData);
  const limit = paths !== undefined && lines !== undefined ? undefined : maxExamples;
  const { examples: all } = await readDataset(source, { ...options, limit });
  const chosen = maxExamples === undefined ? all : all.slice(0, maxExamples);
  if (apart !== undefined)
    return { all, train: chosen, validation: (await readDataset(apart.source, options)).examples };
  const split = chooseValidationSplit(chosen.length, settings);
  return { all, ...splitValidation(chosen, split < 1 ? { seed, fraction: split } : { seed, count: split }) };
}

/** The objectives that learn from data of a kind, in a part of a message. */
function describeUse(kind: DataKind): string {
  const names = OBJECTIVE_NAMES.filter((name) => OBJECTIVES[name].data === kind);
  return `the objective for it is ${names.join(" or ")} (--objective)`;
}

/** Settings that decide how examples become tokens. */
type EncodingSettings = Pick<
  ResolvedSettings,
  | ("maxLength" | "promptFormat" | "system" | "chatTemplateKwargs" | "lastAnswerOnly")
  | ("objective" | "responseFormat")
>;

/** Options of encoding a run's examples. */
export const encodingOptions = ({
  text: { tokenizer, template },
  settings: {
    maxLength,
    promptFormat,
    system,
    chatTemplateKwargs,
    lastAnswerOnly,
    objective,
    responseFormat,
  },
}: {
  readonly text: LoadedText;
  readonly settings: EncodingSettings;
}) => ({
  template: withVariables(template, chatTemplateKwargs),
  tokenizer,
  maxLength,
  promptFormat,
  system,
  lastAnswerOnly,
  responseFormat: responseFormat && parseResponseFormat(responseFormat),
  splitPairs: OBJECTIVES[objective].data === "rated",
});

/** A tokenizer may know tokens that its model has no embedding for. */
export function checkTokens(examples: readonly EncodedExample[], { name, config }: PlannedBase): void {
  const { vocabularySize } = config;
  for (const { ids, ...place } of examples) {
    const odd = ids.find((id) => id >= vocabularySize);
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `${placeText(place)} has token ${odd}, outside the vocabulary of ${vocabularySize} of ${name}; check that the tokenizer belongs to this model`,
      );
  }
}
