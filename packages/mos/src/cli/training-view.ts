// Display of a training run: the live line while it runs, its losses afterwards.
import { describeBytes } from "mixture-of-shards-core/common";
import {
  baseOf,
  type Evaluated,
  type FinetuneEvent,
  isBetter,
  type Measurement,
  measureOf,
  readMeasurements,
  rewardOf,
} from "mixture-of-shards-core/training";
import { formatDuration, formatInteger, formatRate, isTerminal, paint } from "./format.ts";
import { heading, type LiveLine, printJson, warningText } from "./terminal.ts";

/** An event of a run by its type. */
type EventOf<T extends FinetuneEvent["type"]> = Extract<FinetuneEvent, { readonly type: T }>;

/** Steps that speed and remaining time are averaged over. */
const WINDOW = 20;
/** Share of the smoothed loss that one more step keeps. */
const MEMORY = 0.9;

/** The live line of a run of so many steps; `shown` are metrics of its objective that stand beside the loss. */
export function trainProgress(planned: number, shown: readonly string[] = []) {
  let steps = planned;
  const recent: EventOf<"step">[] = [];
  let sum = 0;
  let weight = 0;
  let validation: readonly string[] = [];
  let next: readonly string[] = [];
  return {
    step(event: EventOf<"step">): void {
      next = [];
      steps = event.ending?.step ?? steps;
      recent.push(event);
      if (recent.length > WINDOW) recent.shift();
      sum = MEMORY * sum + event.loss;
      weight = MEMORY * weight + 1;
    },
    /** Says what is going on within a step or an evaluation that takes long. */
    within(text: string): void {
      next = [text];
    },
    evaluation(evaluated: Evaluated): void {
      next = [];
      const [name, value] = measureOf(evaluated);
      validation = [`validation ${name === "loss" ? "" : `${name} `}${value}`];
    },
    /** The line in parts, of which the first ones matter most. `residentBytes` is the memory of the process now. */
    parts(residentBytes: number): readonly string[] {
      const last = recent.at(-1);
      if (last === undefined) return [...next, ...validation];
      const seconds = recent.reduce((total, event) => total + event.seconds, 0);
      const tokens = recent.reduce((total, event) => total + event.tokens, 0);
      return [
        `${formatInteger(last.step)}/${formatInteger(steps)}`,
        `loss ${(sum / weight).toFixed(3)}`,
        ...shown.map((name) => metricText(name, meanMetric(recent, name))),
        formatRate(tokens / seconds, "tok"),
        `${formatDuration(((steps - last.step) * seconds) / recent.length)} left`,
        ...next,
        ...validation,
        `lr ${last.learningRate.toExponential(1)}`,
        describeBytes(residentBytes),
      ];
    },
  };
}

const meanMetric = (events: readonly EventOf<"step">[], name: string): number =>
  events.reduce((sum, { metrics }) => sum + (metrics?.[name] ?? 0), 0) / events.length;

/** `rewards/margins` as `margins 0.42`. */
const metricText = (name: string, value: number): string =>
  `${name.slice(name.lastIndexOf("/") + 1)} ${value.toFixed(2)}`;

export type ReadyEvent = EventOf<"ready">;

export type MemoryEvent = EventOf<"memory">;

interface WatchOptions {
  readonly line: LiveLine;
  /** Write each event to stdout as a line of JSON. */
  readonly json: boolean;
  /** Called with the plan of the memory where that is known: before anything is loaded. */
  readonly onReady: (event: ReadyEvent, memory: MemoryEvent | undefined) => void;
}

/** The last event of each type. */
type LastEvents = { readonly [T in FinetuneEvent["type"]]?: EventOf<T> };

/** Runs a training to its end and shows on the live line how it goes. */
export async function watchTraining(
  events: AsyncIterable<FinetuneEvent>,
  { line, json, onReady }: WatchOptions,
): Promise<TrainOutcome> {
  const last: LastEvents = {};
  const sums: Sums = { tokens: 0, seconds: 0, warnings: [] };
  let progress = trainProgress(0);
  let base: Evaluated | undefined;
  for await (const event of events) {
    // the command says with its outcome that the run has ended
    if (json && event.type !== "finish" && event.type !== "stopped") printJson(event);
    Object.assign(last, { [event.type]: event });
    switch (event.type) {
      case "ready":
        line.clear();
        onReady(event, last.memory);
        progress = trainProgress(event.steps, event.shown);
        base = baseOf(event);
        break;
      case "step":
        progress.step(event);
        if (event.ending !== undefined) line.print(endingText(event.ending));
        sums.tokens += event.tokens;
        sums.seconds += event.seconds;
        break;
      case "progress":
        progress.within(`${formatInteger(event.tokens)} tokens of the next step`);
        break;
      case "replay":
        progress.within(`${formatInteger(event.done)}/${formatInteger(event.total)} answers of the base`);
        break;
      case "reference":
        progress.within(
          `${formatInteger(event.examples)}/${formatInteger(event.total)} examples by the reference`,
        );
        break;
      case "evaluating":
        progress.within(`${formatInteger(event.batches)} validation batches`);
        break;
      case "evaluation":
        if (event.step === 0) base = evaluatedOf(event);
        progress.evaluation(evaluatedOf(event));
        line.print(evaluationText(event, { base, shown: last.ready?.shown ?? [] }));
        break;
      case "warning":
        sums.warnings.push({ reason: event.reason, step: event.step, message: event.message });
        line.print(warningText(event.message));
        break;
      case "earlyStop":
        line.print(earlyStopText(event));
        break;
    }
    const state = progress.parts(process.memoryUsage.rss());
    if (state.length > 0) line.update(state);
  }
  return toOutcome(last, sums, base);
}

interface Sums {
  /** Tokens and seconds of the training steps of this run, without those before a break. */
  tokens: number;
  seconds: number;
  /** Signs that training has gone wrong. */
  readonly warnings: Pick<EventOf<"warning">, "reason" | "step" | "message">[];
}

export type TrainOutcome = ReturnType<typeof toOutcome>;

/** What came of a run. */
function toOutcome(last: LastEvents, sums: Sums, base: Evaluated | undefined) {
  const { ready, evaluation, saved, stopped, finish } = last;
  const isCompared = base !== undefined && evaluation !== undefined && evaluation.step > 0;
  // the best adapter is better than the base
  const isBest = finish !== undefined && finish.step < finish.lastStep;
  return {
    steps: ready?.steps ?? 0,
    /** After which update the adapter was taken, or the run was stopped. */
    step: (finish ?? stopped)?.step ?? 0,
    /** The last step of a run that was stopped. */
    stoppedAt: stopped?.step,
    ...sums,
    /** Where the run is, if it was stopped. */
    folder: ready?.folder ?? "",
    /** The version that a replaced adapter is kept as. */
    replaced: saved?.replaced,
    /** What was taught and lost, where it was measured. */
    outcome: last.outcome && measuredOf(last.outcome),
    /** Why the run ended, unless it was stopped: all updates were made, or evaluations got no better. */
    reason: finish?.reason,
    /** True if the evaluation of the adapter is better than before training; null if there was none. */
    isBetterThanBase: isBest || (isCompared ? isBetter(evaluatedOf(evaluation), base) : null),
  };
}

const measuredOf = ({ taught, hasty, kept, textLoss }: EventOf<"outcome">) => ({
  taught,
  hasty,
  kept,
  textLoss,
});

const evaluatedOf = (event: Pick<Measurement, "loss" | "metrics">): Evaluated => ({
  loss: event.loss,
  reward: rewardOf(event),
});

function evaluationText(
  event: EventOf<"evaluation">,
  { base, shown }: { readonly base: Evaluated | undefined; readonly shown: readonly string[] },
): string {
  const { step, loss, accuracy, best, metrics } = event;
  const evaluated = evaluatedOf(event);
  const more = shown.filter((name) => name !== "reward");
  const [name, value] = measureOf(evaluated);
  const measured = [
    step === 0 ? `validation ${name} before training ${value}` : `validation ${name} ${value}`,
    // of answers that are learnt from it is the reward once more
    ...(evaluated.reward === undefined || loss === -evaluated.reward ? [] : [`loss ${loss.toFixed(3)}`]),
    ...more.map((one) => metricText(one, metrics?.[`eval_${one}`] ?? Number.NaN)),
    ...(shown.length === 0 ? [`${(100 * accuracy).toFixed(1)}% of tokens correct`] : []),
  ].join(", ");
  if (step === 0) return measured;
  const said = best
    ? ", best so far"
    : base !== undefined && !isBetter(evaluated, base)
      ? `, no better than before training (${measureOf(base)[1]})`
      : "";
  return `step ${formatInteger(step)}  ${measured}${said}`;
}

const endingText = ({ decided, step, loss }: NonNullable<EventOf<"step">["ending"]>): string =>
  `step ${formatInteger(decided)}  nothing is left to learn, the loss of a pass is ${loss.toFixed(3)}: the run ends after step ${formatInteger(step)}`;

function earlyStopText({ step, best, reason }: EventOf<"earlyStop">): string {
  const why =
    reason === "learnt"
      ? "nothing is left to learn"
      : best === undefined
        ? "no evaluation was better than the one before training"
        : `keeping the adapter of step ${formatInteger(best.step)}, with a validation ${measureOf(best).join(" of ")}`;
  return `stopped early after step ${formatInteger(step)}: ${why}`;
}

export type TrainHistory = Awaited<ReturnType<typeof readHistory>>;

/** Reads the metrics of a run folder: the measurements from its first step on, those before a break included. */
export async function readHistory(folder: string) {
  const found: Record<Measurement["type"], Measurement[]> = { step: [], evaluation: [] };
  for await (const { measurement } of readMeasurements(folder)) found[measurement.type].push(measurement);
  return { steps: found.step, validation: found.evaluation };
}

type ShownEvaluation = Pick<Measurement, "step" | "loss" | "metrics">;

/** An objective with metrics of its own has no cross-entropy of tokens, and so no perplexity. */
const lossText = ({ loss, metrics }: ShownEvaluation): string =>
  metrics === undefined ? `${loss.toFixed(3)} (perplexity ${Math.exp(loss).toFixed(2)})` : loss.toFixed(3);

/** `2.310 (perplexity 10.07) → 1.204 (perplexity 3.33)`, and the best in between where it is another. */
export function validationText(validation: readonly ShownEvaluation[]): string | undefined {
  const [before, after] = [validation[0], validation.at(-1)];
  if (before === undefined || after === undefined) return undefined;
  if (before.step === after.step) return lossText(after);
  return `${lossText(before)} → ${lossText(after)}${bestBetween(validation.map(({ step, loss }) => ({ step, loss })))}`;
}

/** The same of rewards, where answers are graded: `0.312 → 0.667`. */
export function rewardText(validation: readonly ShownEvaluation[]): string | undefined {
  const points = validation
    .map((one) => ({ step: one.step, ...evaluatedOf(one) }))
    .filter(({ reward }) => reward !== undefined);
  const [before, after] = [points[0], points.at(-1)];
  if (before === undefined || after === undefined) return undefined;
  const [first, last] = [measureOf(before)[1], measureOf(after)[1]];
  return before.step === after.step ? last : `${first} → ${last}${bestBetween(points)}`;
}

/** The best of some evaluations, where it is neither the first nor the last. */
function bestBetween(points: readonly (Evaluated & { readonly step: number })[]): string {
  const best = points.reduce((found, point) => (isBetter(point, found) ? point : found));
  const isBetween = best.step !== points[0]?.step && best.step !== points.at(-1)?.step;
  return isBetween ? `, best ${measureOf(best)[1]} at step ${best.step}` : "";
}

/** The curve of the training loss, or of the reward where answers are graded, below its title; "" where two steps do not make one. */
export function curveText({ steps }: TrainHistory, columns: number): string {
  if (steps.length < 3) return "";
  const ascii = process.stdout.isTTY === true && !isTerminal(process.stdout);
  const rewards = steps.flatMap(({ step, metrics }) => {
    const reward = metrics?.["reward"];
    return reward === undefined ? [] : [{ step, loss: reward }];
  });
  const isGraded = rewards.length > 0;
  const curve = drawCurve(isGraded ? rewards : steps, { width: Math.min(columns, 72), height: 8, ascii });
  return [
    heading(isGraded ? "reward" : "training loss"),
    ...curve.split("\n").map((line) => paint("cyan", line)),
  ].join("\n");
}

/** One measured loss. */
type CurvePoint = Pick<Measurement, "step" | "loss">;

// A cell has `across` × `down` dots; braille numbers its dots by column.
const BRAILLE = { across: 2, down: 4, bits: [0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80] } as const;
const ASCII = { across: 1, down: 1, bits: [1] } as const;

/**
 * Draws a loss over steps as text: points that share a column are averaged, gaps are joined by straight lines, and
 * what is not a finite number is left out. The highest and lowest values stand at the left, the steps below.
 * The picture has `width` columns, labels included, and `height` lines besides the one of the steps. `ascii` is for terminals
 * without braille: one `*` per cell in place of 2 × 4 dots.
 *
 * @returns Lines joined by newlines; "" where there is nothing to draw.
 * @example
 * drawCurve(history, { width: 60, height: 8 });
 */
export function drawCurve(
  points: readonly CurvePoint[],
  { width = 60, height = 8, ascii = false } = {},
): string {
  const finite = points.filter(({ step, loss }) => Number.isFinite(step) && Number.isFinite(loss));
  const ordered = finite.toSorted((a, b) => a.step - b.step);
  const [first, last] = [ordered[0], ordered.at(-1)];
  if (first === undefined || last === undefined) return "";
  const losses = ordered.map(({ loss }) => loss).toSorted((a, b) => a - b);
  const [low, high] = [losses[0] ?? 0, losses.at(-1) ?? 0];
  const [top, bottom] = [formatLoss(high), formatLoss(low)];
  const margin = Math.max(top.length, bottom.length);
  const cell = ascii ? ASCII : BRAILLE;
  const columns = Math.max(8, width - margin - 2);
  const rows = Math.max(2, height);
  const values = resample(ordered, columns * cell.across);
  const lastDot = rows * cell.down - 1;
  // Dot rows count from the top. A flat curve lies in the middle.
  const dots = values.map((loss) =>
    high > low ? Math.round(((high - loss) / (high - low)) * lastDot) : lastDot >> 1,
  );
  const cells = plot(dots, { columns, rows, cell });
  const axis = ascii ? "|" : "│";
  const lines = cells.map((row, index) => {
    const label = index === 0 ? top : index === rows - 1 ? bottom : "";
    const text = row.map((bits) => glyph(bits, ascii)).join("");
    return `${label.padStart(margin)} ${axis}${text}`.trimEnd();
  });
  const steps = `step ${first.step}`;
  const end = String(last.step);
  const space = Math.max(1, columns - steps.length - end.length);
  return [...lines, `${" ".repeat(margin + 2)}${steps}${" ".repeat(space)}${end}`].join("\n");
}

/** Marks each dot, and the dots between its neighbours' heights so that the curve has no holes. */
function plot(
  dots: readonly number[],
  { columns, rows, cell }: { columns: number; rows: number; cell: typeof BRAILLE | typeof ASCII },
): number[][] {
  const cells = Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
  dots.forEach((dot, x) => {
    const before = dots[x - 1] ?? dot;
    // Stop one short of the last column's dot: it is marked there.
    const from = before < dot ? before + 1 : dot;
    const to = before > dot ? before - 1 : dot;
    for (let y = from; y <= to; y++) {
      const row = cells[Math.floor(y / cell.down)];
      const column = Math.floor(x / cell.across);
      const bit = cell.bits[(x % cell.across) * cell.down + (y % cell.down)] ?? 0;
      if (row !== undefined) row[column] = (row[column] ?? 0) | bit;
    }
  });
  return cells;
}

/** One value per dot column: the mean of the points in it, or on the line between the nearest columns that have one. */
function resample(points: readonly CurvePoint[], columns: number): readonly number[] {
  const start = points[0]?.step ?? 0;
  const span = (points.at(-1)?.step ?? 0) - start;
  const known: { readonly column: number; sum: number; count: number }[] = [];
  for (const { step, loss } of points) {
    const column = span === 0 ? 0 : Math.round(((step - start) / span) * (columns - 1));
    if (known.at(-1)?.column !== column) known.push({ column, sum: 0, count: 0 });
    const last = known.at(-1) as (typeof known)[number];
    last.sum += loss;
    last.count++;
  }
  const means = known.map(({ column, sum, count }) => ({ column, mean: sum / count }));
  return Array.from({ length: columns }, (_, column) => {
    const right = means.find((one) => one.column >= column) ?? means.at(-1);
    const left = means.findLast((one) => one.column <= column) ?? right;
    if (left === undefined || right === undefined) return 0;
    const share = left.column === right.column ? 0 : (column - left.column) / (right.column - left.column);
    return left.mean + share * (right.mean - left.mean);
  });
}

const glyph = (bits: number, ascii: boolean): string =>
  bits === 0 ? " " : ascii ? "*" : String.fromCodePoint(0x2800 + bits);

const formatLoss = (loss: number): string =>
  loss !== 0 && (Math.abs(loss) < 0.001 || Math.abs(loss) >= 10_000)
    ? loss.toExponential(2)
    : loss.toFixed(3);
