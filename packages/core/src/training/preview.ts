// Preview of a run, without running it: its examples, updates and memory. Of the model the header and the
// tokenizer are read, and nothing is written.
import { type AdapterConfig, type Budget, budget } from "#adapters";
import { type FreeMemory, kinds, type MemoryPlan, MosError, withProgress } from "#common";
import {
  type AnswerKind,
  CallChecker,
  type EncodedExample,
  type EncodingReport,
  type Example,
  encodeSequences,
  hasTools,
  IGNORED,
  placeText,
} from "#data";
import { type LocateCalls, toLayerShapes } from "#models";
import { createDetokenizer } from "#text";
import { findTurns, type PreviewedTurn } from "./preview-turns.ts";
import type { AugmentedCounts } from "./run/augment.ts";
import { encodingOptions } from "./run/data.ts";
import { type ModelSummary, modelSummary } from "./run/events.ts";
import { checkRunOptions, type RunOptions } from "./run/options.ts";
import { planRun, type RunPlan } from "./run/plan.ts";
import { type ChosenSettings, pickChosen } from "./settings.ts";
import type { Rematerialise } from "./step-graph.ts";

/** A run, and what is shown of it. @inline */
export interface PreviewOptions extends RunOptions, Pick<LocateCalls, "onDownload"> {
  /** Lines of the data whose tokens are shown, of each file that has them; the first three examples. */
  readonly lines?: readonly number[];
  /** Tokens that are shown of a line at most; all. */
  readonly maxShown?: number;
}

/** A token of an example. */
export interface PreviewedToken {
  readonly id: number;
  /** The text that it completes: of tokens that have bytes of one character, the last has it, and the others "". */
  readonly text: string;
  /** True if the loss counts it. */
  readonly isTrained: boolean;
}

/** A line of the data as the run sees it, or one of its answers where it has several. @inline */
export interface PreviewedLine
  extends Pick<EncodedExample, "line" | "targetTokens" | "truncated" | "truncatedTargets"> {
  /** Unit of `line`: lines of a file, rows of a table, or examples of a list. */
  readonly unit: "line" | "row" | "example";
  /** The file, where there are several. */
  readonly file?: string;
  /** What the answer is in a preference: one of a pair, or rated. */
  readonly answer?: AnswerKind;
  /** "unused": beyond the first `examples`. */
  readonly part: "train" | "validation" | "unused";
  /** Up to where the example is cut off, or `maxShown` of these. */
  readonly shown: readonly PreviewedToken[];
  /** Messages whose contents are found among `shown`. */
  readonly turns: readonly PreviewedTurn[];
  readonly tokens: number;
  /** Left out, since no target is left in it. */
  readonly dropped: boolean;
}

/** Warning to consider before the run. */
export interface PreviewWarning {
  readonly reason: "dropped" | "truncated" | "no_validation" | "calls";
  readonly message: string;
}

/** A training example that is not learnt as the data have it. @inline */
export interface PreviewProblem extends Pick<EncodedExample, "line" | "source"> {
  readonly reason: "dropped" | "truncated" | "calls";
  readonly message: string;
}

/** Preview of a run. */
export interface RunPreview extends ChosenSettings {
  readonly model: ModelSummary;
  readonly adapter: AdapterConfig;
  readonly budget: Budget;
  readonly train: EncodingReport;
  readonly validation: EncodingReport | undefined;
  /** What is learnt besides the examples; as the base has not answered yet, `steps` may be a few more or less. */
  readonly augmented: AugmentedCounts | undefined;
  /** Updates. */
  readonly steps: number;
  /** Updates of warm-up. */
  readonly warmup: number;
  readonly plan: MemoryPlan;
  readonly free: FreeMemory;
  readonly rematerialise: Rematerialise;
  readonly lines: readonly PreviewedLine[];
  readonly warnings: readonly PreviewWarning[];
  /** The first 50 of each reason, in the order of lines. */
  readonly problems: readonly PreviewProblem[];
}

const DEFAULT_LINES = 3;

/**
 * Previews `finetune` with the same options. The base is not loaded, and nothing is written.
 *
 * @throws MosError as `finetune` does before it loads the base; `bad_option` for a line that has no example.
 * @example
 * const { steps, plan, lines } = await previewRun({ model, data: "train.jsonl", adapter: { method: "lora", rank: 8 } });
 */
export async function previewRun(options: PreviewOptions): Promise<RunPreview> {
  checkRunOptions("previewRun", options, {
    lines: kinds.array.optional(),
    maxShown: kinds.number.optional(),
    onDownload: kinds.function.optional(),
  });
  const plan = await withProgress(planRun({ ...options, isPreview: true }), (event) => {
    if (event.type === "download") options.onDownload?.(event.transfer);
  });
  const { settings, config, base, free, train, validation, run, memory } = plan;
  const { maxLength } = settings;
  const calls = checkCalls(plan.data.train);
  const cut = { train, all: plan.data.train, maxLength };
  return {
    model: modelSummary(plan),
    adapter: config,
    budget: budget(config, toLayerShapes(base.config)),
    train: train.report,
    validation: validation?.report,
    augmented: plan.augmented?.counts,
    steps: run.steps,
    ...pickChosen(settings),
    warmup: run.warmup,
    plan: memory.plan,
    free,
    rematerialise: memory.rematerialise,
    lines: previewLines(plan, options),
    warnings: [...listWarnings({ train, validation, maxLength }), ...callWarnings(calls)],
    problems: [...droppedLines(cut), ...truncatedLines(cut), ...calls.problems.slice(0, MAX_PROBLEMS)].sort(
      (a, b) => a.line - b.line,
    ),
  };
}

function previewLines(
  { data: { all, train, validation }, ...plan }: RunPlan,
  { lines, maxShown }: Pick<PreviewOptions, "lines" | "maxShown">,
): readonly PreviewedLine[] {
  const encoding = encodingOptions(plan);
  const { tokenizer } = encoding;
  const wanted =
    lines === undefined ? all.slice(0, DEFAULT_LINES) : lines.flatMap((line) => onLine(line, all));
  return wanted.flatMap((example) => {
    const part = train.includes(example) ? "train" : validation.includes(example) ? "validation" : "unused";
    const sequences = encodeSequences(example, encoding);
    const isLost = sequences.some(({ encoded, answer }) => encoded.targetTokens === 0 && isOfPair(answer));
    return sequences.map(({ example: own, encoded: one, answer }): PreviewedLine => {
      const { ids, labels, source = { unit: "line" }, columns: _, ...encoded } = one;
      const detokenizer = createDetokenizer(tokenizer, { continues: true });
      const shown = [...ids.subarray(0, maxShown)].map((id, i, { length }) => ({
        id,
        text: detokenizer.push(id) + (i + 1 === length ? detokenizer.flush() : ""),
        isTrained: i > 0 && labels[i] !== IGNORED, // nothing predicts the first one
      }));
      const turns = findTurns(own, shown);
      const dropped = own.kind === "prompt" ? encoded.truncated : isLost || encoded.targetTokens === 0;
      const named = answer === undefined ? {} : { answer };
      return { ...source, ...named, part, shown, turns, tokens: ids.length, ...encoded, dropped };
    });
  });
}

/** Without one of its answers, a pair says nothing. */
const isOfPair = (answer: AnswerKind | undefined): boolean => answer === "chosen" || answer === "rejected";

/** The examples on a line: one of each file that has it. */
function onLine(number: number, all: readonly Example[]): readonly Example[] {
  const found = all.filter(({ line }) => line === number);
  if (found.length > 0) return found;
  throw new MosError(
    "bad_option",
    `line ${number} has no example; the data has ${all.length}, on lines ${all[0]?.line} to ${all.at(-1)?.line}`,
  );
}

/** Examples with tools whose calls are checked, each of which may take some milliseconds. */
const MAX_CHECKED = 100;

/** Problems of a reason that are listed. */
const MAX_PROBLEMS = 50;

type Place = Pick<EncodedExample, "line" | "source">;

interface CheckedCalls {
  readonly checked: number;
  readonly problems: readonly PreviewProblem[];
}

function checkCalls(train: readonly Example[]): CheckedCalls {
  const withTools = train.filter(hasTools).slice(0, MAX_CHECKED);
  const checker = withTools.length === 0 ? undefined : new CallChecker();
  const problems = withTools.flatMap((one) => {
    const message = checker?.findProblem(one);
    return message === undefined ? [] : [{ ...placeOf(one), reason: "calls" as const, message }];
  });
  return { checked: withTools.length, problems };
}

function callWarnings({ checked, problems }: CheckedCalls): readonly PreviewWarning[] {
  const [first] = problems;
  if (first === undefined) return [];
  const message = `${problems.length} of the first ${checked} examples with tools have calls that the schemas do not allow; ${placeText(first)}: ${first.message}`;
  return [{ reason: "calls", message }];
}

const placeOf = ({ line, source }: Place): Place => ({ line, ...(source === undefined ? {} : { source }) });

interface CutOptions extends Pick<RunPlan, "train"> {
  readonly all: readonly Example[];
  readonly maxLength: number;
}

/** Examples of which nothing is learnt. */
function droppedLines({ train, all, maxLength }: CutOptions): readonly PreviewProblem[] {
  if (train.report.dropped === 0) return [];
  const kept = new Set(train.encoded.map(placeText));
  const message = `dropped: no target token is among the first ${maxLength} tokens`;
  return all
    .filter((one) => !kept.has(placeText(one)))
    .slice(0, MAX_PROBLEMS)
    .map((one) => ({ ...placeOf(one), reason: "dropped", message }));
}

/** Examples of which a part is learnt. */
const truncatedLines = ({ train, maxLength }: CutOptions): readonly PreviewProblem[] =>
  train.encoded
    .filter(({ truncatedTargets }) => truncatedTargets > 0)
    .slice(0, MAX_PROBLEMS)
    .map((one) => ({
      ...placeOf(one),
      reason: "truncated",
      message: `truncated to ${maxLength} tokens, which loses ${one.truncatedTargets} target tokens`,
    }));

function listWarnings({
  train,
  validation,
  maxLength,
}: Pick<RunPlan, "train" | "validation"> & { readonly maxLength: number }): readonly PreviewWarning[] {
  const { truncated, truncatedTargets, dropped } = train.report;
  return [
    ...(dropped === 0
      ? []
      : [
          {
            reason: "dropped",
            message: `${dropped} of ${train.report.examples + dropped} examples have no target tokens within the first ${maxLength} and are dropped`,
          } as const,
        ]),
    ...(truncatedTargets === 0
      ? []
      : [
          {
            reason: "truncated",
            message: `${truncated} examples are truncated to ${maxLength} tokens, which loses ${truncatedTargets} target tokens`,
          } as const,
        ]),
    ...(validation !== undefined
      ? []
      : [
          {
            reason: "no_validation",
            message: "there are no validation examples, so generalisation is not measured",
          } as const,
        ]),
  ];
}
