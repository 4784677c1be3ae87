import { basename } from "node:path";
import {
  type BaseModel,
  type FinetuneOptions,
  type FinetuneSettingsInput,
  finetune,
  parameterCount,
} from "#recipes";
import { adapterInput } from "./adapter-input.ts";
import { openBase } from "./base-model.ts";
import { adapterText, budgetText } from "./budget-text.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatBytes, formatCount, formatDuration, formatInteger, type LiveLine } from "./progress.ts";
import { columnsOf, counted, labelled, liveLine, MOS, sayJson, sayLine, shellWord } from "./terminal.ts";
import type { TrainOptions } from "./train-command.ts";
import { curveText, heldOutText, readHistory } from "./train-history.ts";
import { type ReadyEvent, type TrainOutcome, watchTraining } from "./train-watch.ts";

const EXIT_INTERRUPTED = 130;

/** What the training options of the command line are to the recipe. Epochs give way to steps. */
function settingsOf(options: TrainOptions): FinetuneSettingsInput {
  const { batchSize, accumulate, maxLength, packing, learningRate, schedule, warmup, weightDecay } = options;
  const { beta1, beta2, maxGradientNorm, promptFormat, heldOut, evaluateEvery, saveEvery, seed } = options;
  return {
    ...given({
      epochs: options.epochs,
      steps: options.steps,
      system: options.system,
      examples: options.examples,
    }),
    ...{ batchSize, accumulate, maxLength, packing, learningRate, schedule, warmup, weightDecay },
    ...{ beta1, beta2, maxGradientNorm, promptFormat, heldOut, evaluateEvery, saveEvery, seed },
  };
}

function recipeOptions(options: TrainOptions): Omit<FinetuneOptions, "model"> {
  return {
    data: options.data,
    out: options.out,
    adapter: adapterInput(options),
    settings: settingsOf(options),
    resume: options.resume === true,
    overwrite: options.overwrite === true,
    compile: { device: options.device ?? "cpu", ...given({ threads: options.threads }) },
    ...given({ heldOutData: options.heldOutData }),
  };
}

/** Trains, tells how it goes, and returns the exit code. */
export async function runTrain(options: TrainOptions): Promise<number> {
  const silent = options.quiet === true || options.json === true;
  let line: LiveLine | undefined;
  using interrupt = listenForInterrupt(() =>
    line?.print("stopping after this step; Ctrl-C again ends at once, without saving"),
  );
  const base = await openBase(options.model, { signal: interrupt.signal, silent });
  if (options.json === true)
    sayJson({ type: "model", name: base.model.name, parameters: parameterCount(base.model.config) });
  const outcome = await (async () => {
    using live = liveLine({ silent });
    line = live;
    const events = finetune({ ...recipeOptions(options), model: base, signal: interrupt.signal });
    return await watchTraining(events, {
      line: live,
      json: options.json === true,
      onReady: (event) => {
        if (!silent) sayLine(`${startText(event, { base, options })}\n`);
      },
    });
  })();
  if (options.json === true) sayJson({ type: "finished", ...outcome, peakMemoryBytes: peakMemory() });
  else if (options.quiet !== true) sayLine(await endText(outcome, options));
  return outcome.stoppedAt === undefined ? 0 : EXIT_INTERRUPTED;
}

/** Bytes of memory that the process has had at most. */
const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;

interface Started {
  readonly base: BaseModel;
  readonly options: TrainOptions;
}

/** What is about to happen, before the first step. */
function startText(event: ReadyEvent, { base, options }: Started): string {
  const { model } = base;
  const { layers, hiddenSize } = model.config;
  const parameters = parameterCount(base.model.config);
  const rows: (readonly [string, string])[] = [
    [
      "model",
      `${model.name}: ${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}, ${formatCount(parameters)} parameters`,
    ],
    ["data", dataText(event.train, basename(options.data))],
  ];
  if (event.heldOut !== undefined)
    rows.push([
      "held out",
      dataText(event.heldOut, options.heldOutData === undefined ? undefined : basename(options.heldOutData)),
    ]);
  rows.push(["adapter", adapterText(event.adapter)]);
  rows.push(["", budgetText(event.budget, { parameters })]);
  rows.push(["training", planText(event, options)]);
  return labelled(rows);
}

function dataText(
  { examples, tokens, targetTokens, truncated, truncatedTargets, dropped, longest }: ReadyEvent["train"],
  file: string | undefined,
): string {
  const share = Math.round((100 * targetTokens) / tokens);
  return [
    ...(file === undefined ? [] : [file]),
    counted(examples, "example"),
    `${counted(tokens, "token")}, ${share}% of them trained`,
    `longest ${formatInteger(longest)}`,
    ...(truncated > 0
      ? [`${formatInteger(truncated)} cut off, ${counted(truncatedTargets, "token")} not trained for it`]
      : []),
    ...(dropped > 0 ? [`${formatInteger(dropped)} left out: nothing to learn`] : []),
  ].join(" · ");
}

function planText({ steps, step }: ReadyEvent, options: TrainOptions): string {
  const rows = options.batchSize * options.accumulate;
  return [
    counted(steps, "step"),
    `${counted(rows, options.packing ? "packed row" : "row")} of up to ${formatInteger(options.maxLength)} tokens`,
    `learning rate ${options.learningRate} ${options.schedule}`,
    ...(step > 0 ? [`going on after step ${formatInteger(step)}`] : []),
  ].join(" · ");
}

/** What came of it, and what to do next. */
async function endText(outcome: TrainOutcome, options: TrainOptions): Promise<string> {
  const { tokens, seconds, stoppedAt, steps } = outcome;
  const history = await readHistory(options.out);
  const heldOut = heldOutText(history.heldOut);
  const curve = curveText(history, columnsOf());
  const rows: (readonly [string, string])[] = [];
  if (heldOut !== undefined) rows.push(["held-out loss", heldOut]);
  if (seconds > 0)
    rows.push([
      "trained",
      `${counted(tokens, "token")} in ${formatDuration(seconds)}, ${formatInteger(tokens / seconds)} tokens/s, at most ${formatBytes(peakMemory())} of memory`,
    ]);
  rows.push(["files", `${options.out}/`]);
  const next =
    stoppedAt === undefined
      ? ["", "Next:", ...nextCommands(options)]
      : [
          "",
          `Stopped after step ${formatInteger(stoppedAt)} of ${formatInteger(steps)}; everything is saved. Go on with:`,
          `  ${resumeCommand(process.argv.slice(2))}`,
        ];
  return [...(curve === "" ? [] : ["training loss", curve, ""]), labelled(rows), ...next].join("\n");
}

function nextCommands({ model, out }: TrainOptions): readonly string[] {
  const common = `${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)}`;
  return [`  ${common} --chat`, `  ${common} --compare --prompt "…"`];
}

/** The command that continues a run that these arguments started. */
export function resumeCommand(args: readonly string[]): string {
  const kept = args.filter((arg) => arg !== "--overwrite" && arg !== "--resume");
  return [MOS, ...kept.map(shellWord), "--resume"].join(" ");
}
