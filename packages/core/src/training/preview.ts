// Preview of a run, without running it: its examples, updates and memory. Of the model the header and the
// tokenizer are read, and nothing is written.
import { type AdapterConfig, type Budget, budget } from "#adapters";
import { type FreeMemory, kinds, type MemoryPlan, MosError, withProgress } from "#common";
import {
  type AnswerKind,
  CallChecker,
  type ChatExample,
  type EncodedExample,
  type EncodingReport,
  type Example,
  encodeSequences,
  hasTools,
  IGNORED,
  type Place,
  placeText,
  type Role,
} from "#data";
import { type LocateCalls, toLayerShapes } from "#models";
import { createDetokenizer } from "#text";
import type { AugmentedCounts } from "./run/augment.ts";
import { checkRunOptions, type ModelSummary, modelSummary, type RunOptions } from "./run/interface.ts";
import { encodingOptions, planRun, type RunPlan } from "./run/plan.ts";
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
  /** What there is besides the examples; as the base has not answered yet, `steps` may be a few more or less. */
  readonly augmented: AugmentedCounts | undefined;
  /** Updates. */
  readonly steps: number;
  /** Tokens of all passes, with what there is besides the examples; of sampled answers the prompts alone. */
  readonly tokens: number;
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
    tokens: Math.round(
      (settings.epochs / (plan.augmented?.record.copies ?? 1)) *
        train.encoded.reduce((sum, { ids }) => sum + ids.length, 0),
    ),
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

function checkCalls(train: readonly Example[]) {
  const withTools = train.filter(hasTools).slice(0, MAX_CHECKED);
  const checker = withTools.length === 0 ? undefined : new CallChecker();
  const problems = withTools.flatMap((one) => {
    const message = checker?.findProblem(one);
    return message === undefined ? [] : [{ ...placeOf(one), reason: "calls" as const, message }];
  });
  return { checked: withTools.length, problems };
}

function callWarnings({ checked, problems }: ReturnType<typeof checkCalls>): readonly PreviewWarning[] {
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
  const { examples, truncated, truncatedTargets, dropped } = train.report;
  const found: PreviewWarning[] = [];
  if (dropped > 0)
    found.push({
      reason: "dropped",
      message: `${dropped} of ${examples + dropped} examples have no target tokens within the first ${maxLength} and are dropped`,
    });
  if (truncatedTargets > 0)
    found.push({
      reason: "truncated",
      message: `${truncated} examples are truncated to ${maxLength} tokens, which loses ${truncatedTargets} target tokens`,
    });
  if (validation === undefined)
    found.push({
      reason: "no_validation",
      message: "there are no validation examples, so generalisation is not measured",
    });
  return found;
}

// The messages of an example among its tokens, so that a preview shows who speaks.

/** A message of a previewed line: its content's tokens among those that are shown. @inline */
interface PreviewedTurn {
  readonly role: Role | "prompt" | "completion";
  /** Index of its first token. */
  readonly start: number;
  /** Index after its last token. */
  readonly end: number;
}

type Spoken = Pick<ChatExample["turns"][number], "content" | "isTarget"> & Pick<PreviewedTurn, "role">;

/** An example of one sequence. */
type OneSequence = Exclude<Example, { readonly kind: "pair" | "rated" }>;

function spokenIn(example: OneSequence): readonly Spoken[] {
  switch (example.kind) {
    case "chat":
    case "prompt":
      return example.turns;
    case "completion":
      return [
        { role: "prompt", content: example.prompt, isTarget: false },
        { role: "completion", content: example.completion, isTarget: true },
      ];
    case "text":
      return [];
  }
}

type ShownToken = Pick<PreviewedToken, "text" | "isTrained">;

type Located = ReturnType<typeof locate>;

/** The text of tokens, and where in it that of each begins; `starts` has one more than there are tokens. */
function locate(tokens: readonly ShownToken[]) {
  const starts = [0];
  for (const { text } of tokens) starts.push((starts.at(-1) ?? 0) + text.length);
  return { text: tokens.map(({ text }) => text).join(""), tokens, starts };
}

type Span = readonly [begin: number, end: number];

/** Occurrences of a content that are looked at: a letter may occur in every word of the format. */
const MAX_OCCURRENCES = 1000;

function occurrences(text: string, content: string, from: number): readonly Span[] {
  const found: Span[] = [];
  for (let at = text.indexOf(content, from); at >= 0; at = text.indexOf(content, at + 1)) {
    found.push([at, at + content.length]);
    if (found.length === MAX_OCCURRENCES) break;
  }
  return found;
}

/** Index of the token that holds a character. */
function tokenAt({ starts }: Located, character: number): number {
  let [low, high] = [0, starts.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= character) low = middle;
    else high = middle;
  }
  return low;
}

/** How well a place suits a content: it is trained as the content is, and no token holds more than white space beside it. */
function suitability(located: Located, [begin, end]: Span, { isTarget }: Spoken): number {
  const { text, tokens, starts } = located;
  const [first, last] = [tokenAt(located, begin), tokenAt(located, end - 1)];
  const before = text.slice(starts[first], begin);
  const after = text.slice(end, starts[last + 1]);
  const isAlone = before.trim() === "" && after.trim() === "";
  return Number(tokens[last]?.isTrained === isTarget) * 2 + Number(isAlone);
}

/** Characters by which the beginning of a content is found that is cut off. */
const BEGINNING = 16;

/** Where a content begins and ends: at the first of the most suitable places. One that is cut off ends with the text. */
function findContent(located: Located, spoken: Spoken, from: number): Span | undefined {
  const { text } = located;
  const content = spoken.content.trim(); // templates may strip
  if (content === "") return undefined;
  let best: Span | undefined;
  let most = -1;
  for (const span of occurrences(text, content, from)) {
    const suits = suitability(located, span, spoken);
    if (suits > most) [best, most] = [span, suits];
    if (suits === 3) break;
  }
  if (best !== undefined) return best;
  const begin = text.indexOf(content.slice(0, BEGINNING), from);
  return begin >= 0 && content.startsWith(text.slice(begin)) ? [begin, text.length] : undefined;
}

/**
 * Finds the messages of an example among its tokens, in their order. What a prompt format writes otherwise than the data do,
 * such as calls of tools, is left out.
 */
export function findTurns(example: OneSequence, tokens: readonly ShownToken[]): readonly PreviewedTurn[] {
  const located = locate(tokens);
  let position = 0;
  return spokenIn(example).flatMap((spoken) => {
    const found = findContent(located, spoken, position);
    if (found === undefined) return [];
    position = found[1];
    let start = tokenAt(located, found[0]);
    while (tokens[start - 1]?.text === "") start--; // bytes of its first character
    return [{ role: spoken.role, start, end: tokenAt(located, found[1] - 1) + 1 }];
  });
}
