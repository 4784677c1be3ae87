// Summaries of a training run: what it will do, before its first step, with the tokens of a dry run; and what came of it, at its end.
import { basename, dirname, extname } from "node:path";
import { findAdapter } from "mixture-of-shards-core/adapters";
import { describeBytes, describeCount, omitUndefined } from "mixture-of-shards-core/common";
import { placeText } from "mixture-of-shards-core/data";
import {
  type ChosenSettings,
  describeOutcome,
  type PreviewedLine,
  type PreviewedToken,
  type RunPreview,
  rewardOf,
} from "mixture-of-shards-core/training";
import {
  commandText,
  counted,
  displayWidth,
  formatDuration,
  formatInteger,
  labelled,
  paint,
  type Row,
  wrapText,
} from "./format.ts";
import { adapterText, budgetText } from "./model-text.ts";
import { heading, MOS, nextText, shellWord, terminalColumns } from "./terminal.ts";
import type { Options } from "./train.ts";
import {
  curveText,
  type MemoryEvent,
  type ReadyEvent,
  readHistory,
  rewardText,
  type TrainOutcome,
  validationText,
} from "./training-view.ts";

/** The options that a summary shows. */
type SummaryOptions = Pick<
  Options,
  | ("model" | "data" | "validationData" | "baseDtype" | "out" | "tensorboard")
  | ("gradientAccumulationSteps" | "packing" | "schedule")
>;
/** Those of a run that is made. */
type RunOptions = SummaryOptions & { readonly out: string };

/** Bytes of memory that the process has had at most. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;

/** A run that begins, or would. */
type Start = Omit<MemoryEvent, "type"> &
  Pick<ReadyEvent, "adapter" | "budget" | "train" | "validation" | "steps"> &
  ChosenSettings &
  Partial<Pick<ReadyEvent, "step" | "extended" | "augmented" | "shown">>;

/** Summary of the run before its first step. */
export function startRows(event: Start, options: SummaryOptions): readonly (Row | false)[] {
  const { model, validation, steps } = event;
  const { name, layers, hiddenSize, parameters } = model;
  const shape = `${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}`;
  return [
    ["model", `${name}: ${shape}, ${describeCount(parameters)} parameters`],
    ["data", dataText(event.train, namesText(options.data))],
    validation !== undefined && [
      "validation",
      dataText(validation, options.validationData && namesText(options.validationData)),
    ],
    ["adapter", adapterText(event.adapter)],
    ["", budgetText(event.budget, parameters)],
    ["memory", memoryText(event, options)],
    model.computeDtype === "int8" && [
      "products",
      "in int8; --compute-dtype float32 is exact, and takes 1.3 to 1.9 times as long",
    ],
    ["training", planText(event, options)],
    event.augmented !== undefined && hasMore(event.augmented) && ["", augmentedText(event.augmented)],
    steps < FEW_STEPS &&
      event.extended === undefined && [
        "",
        `note: ${counted(steps, "step")} will change little; raise --epochs or --steps`,
      ],
  ];
}

type Augmented = NonNullable<Start["augmented"]>;

/** False where no question is short enough, and the base had nothing to say. */
const hasMore = ({ reworded, replayed }: Augmented): boolean => reworded + replayed > 0;

function augmentedText({ reworded, wordings, replayed }: Augmented): string {
  const parts = [
    ...(reworded === 0 ? [] : [`${counted(wordings, "other wording")} of ${counted(reworded, "question")}`]),
    ...(replayed === 0 ? [] : [`${counted(replayed, "answer")} of the base`]),
  ];
  return `with ${parts.join(" and ")} (--reword, --keep)`;
}

/** Steps below which hardly anything is learnt at the usual learning rates. */
const FEW_STEPS = 20;

/** "base 86 MB (4 bits in blocks of 32, as stored) · activations 1.2 GB · … · 2.1 of 22.4 GB free". */
function memoryText({ plan, free, model, rematerialise }: Start, options: SummaryOptions): string {
  const dtype = options.baseDtype === "stored" ? "as stored" : options.baseDtype;
  return [
    ...plan.parts.map(
      ({ name, bytes }) =>
        `${name} ${describeBytes(bytes)}${name === "base" ? ` (${model.storage}, ${dtype})` : ""}`,
    ),
    `${describeBytes(plan.bytes)} of ${describeBytes(free.bytes + free.resident)} free`,
    ...(rematerialise === "layers" ? ["layers recomputed in the backward pass to save memory"] : []),
  ].join(" · ");
}

/** Data by their names, of files without their folders. */
function namesText(names: readonly string[]): string {
  const [first = "", ...more] = names.map((name) => (extname(name) === "" ? name : basename(name)));
  return more.length === 0 ? first : `${first} and ${formatInteger(more.length)} more`;
}

function dataText(
  { examples, tokens, targetTokens, truncated, truncatedTargets, dropped, longest }: ReadyEvent["train"],
  file: string | undefined,
): string {
  const share = Math.round((100 * targetTokens) / tokens);
  return [
    ...(file === undefined ? [] : [file]),
    counted(examples, "example"),
    `${counted(tokens, "token")}, ${share}% trained`,
    `longest ${formatInteger(longest)}`,
    ...(truncated > 0
      ? [`${formatInteger(truncated)} truncated, ${counted(truncatedTargets, "target token")} lost`]
      : []),
    ...(dropped > 0 ? [`${formatInteger(dropped)} dropped: no target tokens`] : []),
  ].join(" · ");
}

function planText(start: Start, { gradientAccumulationSteps, packing, schedule }: SummaryOptions): string {
  const { steps, epochs, batchSize, maxLength, learningRate, step = 0, extended } = start;
  const { evaluateEvery, earlyStoppingPatience, targetLoss, shown } = start;
  const rows = batchSize * gradientAccumulationSteps;
  const batch =
    shown?.includes("reward") === true
      ? `graded answers to ${counted(rows, "prompt")},`
      : counted(rows, packing ? "packed row" : "row");
  return [
    `${describeCount(Math.round(100 * epochs) / 100)} ${epochs === 1 ? "pass" : "passes"} over the data in ${counted(steps, "step")}`,
    `${batch} of up to ${formatInteger(maxLength)} tokens`,
    `learning rate ${learningRate} ${schedule}`,
    ...(evaluateEvery === 0 ? [] : [`evaluated every ${counted(evaluateEvery, "step")}`]),
    ...(earlyStoppingPatience === 0
      ? []
      : earlyStoppingPatience * evaluateEvery > steps
        ? ["keeps the best"]
        : [
            `stops after ${counted(earlyStoppingPatience, "evaluation")} without a better one, and keeps the best`,
          ]),
    ...(targetLoss === 0 ? [] : [`ends early once the loss of a pass is below ${targetLoss}`]),
    ...(extended !== undefined
      ? [
          `extending a finished run of ${counted(extended, "step")}; the learning rate follows the schedule of ${formatInteger(steps)}`,
        ]
      : step > 0
        ? [`resuming after step ${formatInteger(step)}`]
        : []),
  ].join(" · ");
}

/** Result of the run, and next steps. */
export async function endText(outcome: TrainOutcome, options: RunOptions): Promise<string> {
  const { tokens, seconds, stoppedAt, folder } = outcome;
  const history = await readHistory(stoppedAt === undefined ? options.out : folder);
  const validation = validationText(history.validation);
  const curve = curveText(history, terminalColumns());
  const reward = rewardText(history.validation);
  // of answers that are learnt from it is the reward once more
  const isReward = history.validation.every((one) => one.loss === -(rewardOf(one) ?? Number.NaN));
  const rows: readonly (Row | false)[] = [
    reward !== undefined && ["validation reward", reward],
    validation !== undefined && !isReward && ["validation loss", validation],
    ...outcomeRows(outcome),
    seconds > 0 && [
      "trained",
      `${counted(tokens, "token")} in ${formatDuration(seconds)}, ${formatInteger(tokens / seconds)} tokens/s, at most ${describeBytes(peakMemory())} of memory`,
    ],
    ["files", `${stoppedAt === undefined ? options.out : folder}/`],
    options.tensorboard && ["", `tensorboard --logdir ${shellWord(dirname(options.out))}`],
    outcome.replaced !== undefined && [
      "replaced",
      `the previous adapter, kept as version ${outcome.replaced}; ${MOS} adapters rollback ${shellWord(options.out)} restores it`,
    ],
  ];
  const next = stoppedAt === undefined ? finishedText(outcome, options) : await stoppedText(outcome, options);
  return [...(curve === "" ? [] : [curve, ""]), labelled(rows), "", ...next].join("\n");
}

function outcomeRows({ outcome }: TrainOutcome): readonly (Row | false)[] {
  if (outcome === undefined) return [];
  const { learnt, kept } = describeOutcome(outcome);
  return [learnt !== "" && ["learnt", learnt], ["kept", kept]];
}

function finishedText({ warnings }: TrainOutcome, { model, out }: RunOptions): readonly string[] {
  const said = warnings.map(({ message }) => paint("yellow", `Warning: ${message}`));
  const next = `${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)}`;
  const commands = nextText([`${next} --chat`, `${next} --compare --prompt "…"`]);
  return [...said, ...(said.length === 0 ? [] : [""]), commands];
}

/** Where a run that was stopped stands, and what can be used of it. */
async function stoppedText(
  { stoppedAt = 0, steps, folder }: TrainOutcome,
  { out }: RunOptions,
): Promise<readonly string[]> {
  const found = await findAdapter(folder);
  const what = found?.what === "best" ? "Its best adapter so far" : "The adapter of the last checkpoint";
  return [
    `Stopped after step ${formatInteger(stoppedAt)} of ${formatInteger(steps)}; everything is saved.`,
    ...(folder === out ? [] : [`The adapter in ${out} is unchanged.`]),
    ...(found === undefined ? [] : [`${what} is in ${found.path}.`]),
    heading("Resume with:"),
    commandText(resumeCommand(process.argv.slice(2))),
  ];
}

/** The command that continues a run that these arguments started. */
export function resumeCommand(args: readonly string[]): string {
  const kept = args.filter((arg) => arg !== "--overwrite" && arg !== "--resume");
  return [MOS, ...kept.map(shellWord), "--resume"].join(" ");
}

/** Between tokens. */
const EDGE = "│";

/** Schedule of a run, and warnings to consider before starting it. */
export function scheduleRows({ warmup, warnings }: RunPreview): readonly Row[] {
  const notes = warnings.map(({ message }): Row => ["", `note: ${message}`]);
  return [["schedule", `${counted(warmup, "step")} of warm-up`], ...notes];
}

/** The tokens of lines of the data; those that are trained follow a plus sign, and are green where colour is shown. */
export const linesText = (lines: readonly PreviewedLine[], columns: number): string =>
  [
    ...lines.flatMap((line) => [
      ...wrapText(lineTitle(line), columns),
      ...tokenRows(line.shown, columns).map(({ isTrained, text }) =>
        isTrained ? paint("green", `+ ${text}`) : `  ${text}`,
      ),
      "",
    ]),
    ...wrapText(`${EDGE} separates tokens; tokens behind a + are trained. Nothing was written.`, columns),
  ].join("\n");

const PARTS = { train: "", validation: ", validation", unused: ", not used" } as const;

function lineTitle({ line, unit, file, part, answer, tokens, targetTokens, ...lost }: PreviewedLine): string {
  const cut = `, truncated here: ${counted(lost.truncatedTargets, "target token")} lost`;
  const place = placeText({ line, source: { unit, ...omitUndefined({ file }) } });
  const dropped = `, dropped: ${targetTokens > 0 ? "the other answer has no target tokens" : "no target tokens"}`;
  const what = answer === undefined ? "" : `, ${answer} answer`;
  const counts = `${counted(tokens, "token")}, ${targetTokens} trained`;
  return `${place}${what}${PARTS[part]}: ${counts}${lost.truncated ? cut : ""}${lost.dropped ? dropped : ""}`;
}

/** Rows of tokens that fit with two columns before them; each row is of one kind. */
function tokenRows(tokens: readonly PreviewedToken[], columns: number) {
  const rows: { readonly isTrained: boolean; text: string }[] = [];
  for (const { text, isTrained } of tokens) {
    if (text === "") continue; // a part of the next one's character
    const shown = visible(text);
    const row = rows.at(-1);
    const isNext =
      row?.isTrained === isTrained && displayWidth(row.text) + displayWidth(shown) + 4 <= columns;
    if (row !== undefined && isNext) row.text += EDGE + shown;
    else rows.push({ isTrained, text: shown });
  }
  return rows;
}

const visible = (text: string): string =>
  text
    .replaceAll("\n", "\\n")
    .replaceAll("\t", "\\t")
    .replace(/\p{Cc}/gu, "\ufffd");
