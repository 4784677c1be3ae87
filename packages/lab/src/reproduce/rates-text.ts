// Search of each row's learning rate, and warnings about the choice.
import type { Grid } from "./grid.ts";
import { MISSING, namedRow, plain, plural } from "./main-table.ts";
import { findBest, findRateSteps, type RateStep } from "./rate-search.ts";
import type { Comparison, RowSummary } from "./summary.ts";

const lossText = (loss: number): string => (Number.isFinite(loss) ? loss.toFixed(4) : "diverged");

const stepText = (step: RateStep | undefined): string => {
  if (step === undefined) return MISSING;
  const { learningRate, change } = step;
  return `${learningRate}: ${Number.isFinite(change) ? `+${change.toFixed(4)}` : "diverged"}`;
};

/** A line for each row that has been tuned: its best rate, its neighbours, and all rates. */
export function rateTable(rows: readonly RowSummary[]): readonly (readonly string[])[] {
  const lines = rows.flatMap(({ row, tuning }) => {
    const [best, steps] = [findBest(tuning), findRateSteps(tuning)];
    if (tuning.length === 0) return [];
    const all = [...tuning]
      .sort((a, b) => a.learningRate - b.learningRate)
      .map(({ learningRate, loss }) => `${learningRate}: ${lossText(loss)}`);
    return [
      [
        namedRow(row),
        best === undefined ? MISSING : String(best.learningRate),
        plain(best?.loss, 4),
        stepText(steps?.below),
        stepText(steps?.above),
        all.join(", "),
      ],
    ];
  });
  if (lines.length === 0) return [];
  return [["Method", "Best rate", "Tuning loss", "One step lower", "One step higher", "All rates"], ...lines];
}

/** Rows whose search ended at an end of the rates tried. */
function endText(rows: readonly RowSummary[]): readonly string[] {
  const at = (end: "lowest" | "highest"): readonly string[] => {
    const found = rows.flatMap(({ row, learningRate, tuning }) => {
      const rates = tuning.map((one) => one.learningRate);
      const last = end === "lowest" ? Math.min(...rates) : Math.max(...rates);
      return rates.length > 0 && learningRate === last ? [`${namedRow(row)} (${last})`] : [];
    });
    return found.length === 0
      ? []
      : [
          `Best at the ${end} rate tried: ${found.join(", ")}. These may do better at a rate that was not tried, and rows beside them may only seem to win.`,
        ];
  };
  return [...at("lowest"), ...at("highest")];
}

/** Whether a difference between two rows is smaller than what the choice of their rates decides. */
export const isWithinRateStep = ({ difference, rateStep }: Comparison): boolean =>
  rateStep !== undefined && Math.abs(difference) < rateStep;

function stepWarnings(rows: readonly RowSummary[], comparisons: readonly Comparison[]): readonly string[] {
  const named = (key: string): string => {
    const found = rows.find(({ row }) => row.key === key);
    return found === undefined ? key : namedRow(found.row);
  };
  const within = comparisons.filter(isWithinRateStep);
  return [...new Set(within.map(({ ours }) => ours))].map((ours) => {
    const others = within
      .filter((one) => one.ours === ours)
      .map(
        ({ theirs, difference, rateStep }) =>
          `${named(theirs)} (${difference.toFixed(4)}, a step ${plain(rateStep, 4)})`,
      );
    return `${named(ours)} differs in validation loss by less than one step of the learning rates changes from ${others.join(", ")}. Such a difference may come from the choice of rates.`;
  });
}

/** Warnings about comparisons of the rows, in sentences. */
export function listWarnings(
  { settings: { steps, tuneSteps, learningRates } }: Pick<Grid, "settings">,
  rows: readonly RowSummary[],
  comparisons: readonly Comparison[],
): readonly string[] {
  const isShort = learningRates.length > 1 && tuneSteps < steps;
  return [
    ...(isShort
      ? [
          `Learning rates were chosen after ${plural(tuneSteps, "update")} and used for ${steps}: the best rates of shorter runs are often others.`,
        ]
      : []),
    ...endText(rows),
    ...stepWarnings(rows, comparisons),
  ];
}
