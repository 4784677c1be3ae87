import type { ReproduceEvent } from "#experiments";
import { formatDuration } from "./progress.ts";
import { counted } from "./terminal.ts";

type Cell = Extract<ReproduceEvent, { readonly type: "started" }>["cell"];

/** What the terminal shows of an experiment. */
export interface ReproduceProgress {
  /** Takes an event in; gives a line that stays, of those that are worth one. */
  take(event: ReproduceEvent): string | undefined;
  /** The live line. */
  text(): string;
  summary(end: Extract<ReproduceEvent, { readonly type: "end" }>): string;
}

const nameOf = ({ key, purpose, learningRate, seed }: Cell): string =>
  purpose === "tune" ? `${key} at ${learningRate}` : `${key} seed ${seed}`;

const planText = (
  { title, rows, cells, finished }: Extract<ReproduceEvent, { readonly type: "plan" }>,
  jobs: number,
): string =>
  [
    `${title}: ${counted(rows.length, "row")}`,
    counted(cells, "cell"),
    ...(finished > 0 ? [`${finished} of them finished before`] : []),
    ...(jobs > 1 ? [`${jobs} at a time`] : []),
  ].join(", ");

const resultText = ({
  cell,
  heldOutLoss,
  answers,
  seconds,
}: Extract<ReproduceEvent, { readonly type: "result" }>): string => {
  const exact = answers === undefined ? "" : `, ${answers.correct} of ${answers.total} answers right`;
  return `${nameOf(cell)}: held-out loss ${heldOutLoss.toFixed(4)}${exact}, ${formatDuration(seconds)}`;
};

/** Follows an experiment. `now` is in milliseconds. */
export function reproduceProgress({
  jobs,
  now,
}: {
  readonly jobs: number;
  readonly now: () => number;
}): ReproduceProgress {
  let [cells, done, made] = [0, 0, 0];
  let startedAt: number | undefined;
  const running = new Map<string, string>();
  /** Cells that are done in parts count as such, so that the first estimate comes early. */
  const parts = new Map<string, number>();
  const end = (cell: Cell, count: 0 | 1): void => {
    running.delete(nameOf(cell));
    parts.delete(nameOf(cell));
    [done, made] = [done + count, made + count];
  };
  const left = (): string => {
    const part = [...parts.values()].reduce((sum, share) => sum + share, made);
    if (startedAt === undefined || part < 0.05) return "";
    const seconds = ((now() - startedAt) / 1000 / part) * (cells - done - (part - made));
    return `  ${formatDuration(seconds)} left`;
  };
  return {
    take(event) {
      switch (event.type) {
        case "plan":
          [cells, done] = [event.cells, event.finished];
          return planText(event, jobs);
        case "started":
          startedAt ??= now();
          running.set(nameOf(event.cell), "starting");
          return undefined;
        case "phase":
          running.set(nameOf(event.cell), event.phase);
          return undefined;
        case "progress":
          running.set(nameOf(event.cell), `${event.step}/${event.steps} loss ${event.loss.toFixed(3)}`);
          parts.set(nameOf(event.cell), (0.9 * event.step) / event.steps);
          return undefined;
        case "result":
          end(event.cell, 1);
          return resultText(event);
        case "failed":
          end(event.cell, event.retried ? 0 : 1);
          return `${nameOf(event.cell)} failed${event.retried ? ", trying once more" : ""}: ${event.message}`;
        case "tuned":
          return event.learningRate === undefined
            ? `${event.key}: no rate could be chosen, and it is not measured`
            : `${event.key}: learning rate ${event.learningRate}`;
        case "end":
          return undefined;
      }
    },
    text: () => {
      const states = [...running].map(([name, state]) => `${name} ${state}`);
      return [`${done}/${cells}${left()}`, ...states].join("  ·  ");
    },
    summary: ({ files, missing, stopped }) =>
      [
        ...files,
        ...(missing > 0
          ? [
              "",
              `${counted(missing, "result")} missing${stopped ? "; the same command goes on" : "; see the table's list of failed cells"}`,
            ]
          : []),
      ].join("\n"),
  };
}
