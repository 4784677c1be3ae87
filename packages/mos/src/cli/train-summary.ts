// Summaries of a training run: what it will do, before its first step, and what came of it, at its end.
import { basename, dirname, extname } from "node:path";
import { findAdapter } from "mixture-of-shards-core/adapters";
import { describeBytes, describeCount, type SettingValues } from "mixture-of-shards-core/common";
import { type ChosenSettings, type finetuneSettings, rewardOf } from "mixture-of-shards-core/training";
import { commandText, counted, formatDuration, formatInteger, labelled, paint } from "./format.ts";
import { adapterText, budgetText } from "./model-text.ts";
import { heading, MOS, nextText, shellWord, terminalColumns } from "./terminal.ts";
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
interface SummaryOptions
  extends Pick<SettingValues<typeof finetuneSettings>, "gradientAccumulationSteps" | "packing" | "schedule"> {
  readonly model: string;
  readonly data: readonly string[];
  readonly validationData: readonly string[] | undefined;
  readonly baseDtype: string;
  readonly out: string | undefined;
  readonly tensorboard: boolean;
}
/** Those of a run that is made. */
type RunOptions = SummaryOptions & { readonly out: string };

/** Bytes of memory that the process has had at most. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;

/** A run that begins, or would. */
type Start = Omit<MemoryEvent, "type"> &
  Pick<ReadyEvent, "adapter" | "budget" | "train" | "validation" | "steps"> &
  ChosenSettings &
  Partial<Pick<ReadyEvent, "step" | "extended">>;

/** Summary of the run before its first step. */
export function startRows(event: Start, options: SummaryOptions): readonly (readonly [string, string])[] {
  const { model } = event;
  const { layers, hiddenSize, parameters } = model;
  const rows: (readonly [string, string])[] = [
    [
      "model",
      `${model.name}: ${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}, ${describeCount(parameters)} parameters`,
    ],
    ["data", dataText(event.train, namesText(options.data))],
  ];
  if (event.validation !== undefined)
    rows.push([
      "validation",
      dataText(event.validation, options.validationData && namesText(options.validationData)),
    ]);
  rows.push(["adapter", adapterText(event.adapter)]);
  rows.push(["", budgetText(event.budget, { parameters })]);
  rows.push(["memory", memoryText(event, options)]);
  if (model.computeDtype === "int8")
    rows.push(["products", "in int8; --compute-dtype float32 is exact, and takes 1.3 to 1.9 times as long"]);
  rows.push(["training", planText(event, options)]);
  if (event.steps < FEW_STEPS && event.extended === undefined)
    rows.push(["", `note: ${counted(event.steps, "step")} will change little; raise --epochs or --steps`]);
  return rows;
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
  const { evaluateEvery, earlyStoppingPatience } = start;
  const rows = batchSize * gradientAccumulationSteps;
  return [
    `${describeCount(Math.round(100 * epochs) / 100)} ${epochs === 1 ? "pass" : "passes"} over the data in ${counted(steps, "step")}`,
    `${counted(rows, packing ? "packed row" : "row")} of up to ${formatInteger(maxLength)} tokens`,
    `learning rate ${learningRate} ${schedule}`,
    ...(evaluateEvery === 0 ? [] : [`evaluated every ${counted(evaluateEvery, "step")}`]),
    ...(earlyStoppingPatience === 0
      ? []
      : earlyStoppingPatience * evaluateEvery > steps
        ? ["keeps the best"]
        : [
            `stops after ${counted(earlyStoppingPatience, "evaluation")} without a better one, and keeps the best`,
          ]),
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
  const rows: (readonly [string, string])[] = [];
  const reward = rewardText(history.validation);
  if (reward !== undefined) rows.push(["validation reward", reward]);
  // of answers that are learnt from it is the reward once more
  const isReward = history.validation.every((one) => one.loss === -(rewardOf(one) ?? Number.NaN));
  if (validation !== undefined && !isReward) rows.push(["validation loss", validation]);
  if (seconds > 0)
    rows.push([
      "trained",
      `${counted(tokens, "token")} in ${formatDuration(seconds)}, ${formatInteger(tokens / seconds)} tokens/s, at most ${describeBytes(peakMemory())} of memory`,
    ]);
  rows.push(["files", `${stoppedAt === undefined ? options.out : folder}/`]);
  if (options.tensorboard) rows.push(["", `tensorboard --logdir ${shellWord(dirname(options.out))}`]);
  if (outcome.replaced !== undefined)
    rows.push([
      "replaced",
      `the previous adapter, kept as version ${outcome.replaced}; ${MOS} adapters rollback ${shellWord(options.out)} restores it`,
    ]);
  const next = stoppedAt === undefined ? finishedText(outcome, options) : await stoppedText(outcome, options);
  return [...(curve === "" ? [] : [curve, ""]), labelled(rows), "", ...next].join("\n");
}

function finishedText({ warnings }: TrainOutcome, options: RunOptions): readonly string[] {
  const said = warnings.map(({ message }) => paint("yellow", `Warning: ${message}`));
  return [...said, ...(said.length === 0 ? [] : [""]), nextText(nextCommands(options))];
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

function nextCommands({ model, out }: RunOptions): readonly string[] {
  const common = `${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)}`;
  return [`${common} --chat`, `${common} --compare --prompt "…"`];
}

/** The command that continues a run that these arguments started. */
export function resumeCommand(args: readonly string[]): string {
  const kept = args.filter((arg) => arg !== "--overwrite" && arg !== "--resume");
  return [MOS, ...kept.map(shellWord), "--resume"].join(" ");
}
