import { counted, formatDuration, paint, textTable } from "mixture-of-shards/kit";
import { percentDecimals } from "#evaluation";
import type { ReproduceEvent } from "./index.ts";

type EndEvent = Extract<ReproduceEvent, { readonly type: "finish" }>;
type PlanEvent = Extract<ReproduceEvent, { readonly type: "plan" }>;
type Trial = Extract<ReproduceEvent, { readonly type: "started" }>["trial"];

const trialName = ({ key, purpose, learningRate, seed }: Trial): string =>
  purpose === "tune" ? `${key} tuning at ${learningRate} seed ${seed}` : `${key} seed ${seed}`;

const planText = ({ title, rows, trials, finished, retrained }: PlanEvent, jobs: number): string =>
  [
    `${title}: ${counted(rows.length, "row")}`,
    counted(trials, "cell"),
    ...(finished > 0 ? [`${finished} of them finished before`] : []),
    ...(jobs > 1 ? [`${jobs} at a time`] : []),
    ...(retrained > 0
      ? [`${counted(retrained, "finished cell")} retrained for the benchmarks, as no adapter was kept`]
      : []),
  ].join(", ");

const resultText = ({
  trial,
  validationLoss,
  answers,
  scores = {},
  questions = {},
  seconds,
}: Extract<ReproduceEvent, { readonly type: "result" }>): string => {
  const exact = answers === undefined ? "" : `, ${answers.correct} of ${answers.total} answers right`;
  const marks = Object.entries(scores).map(
    ([title, score]) => `, ${title} ${score.toFixed(percentDecimals(questions[title] ?? 0))} %`,
  );
  const loss = trial.purpose === "tune" ? "tuning loss" : "validation loss";
  return `${trialName(trial)}: ${loss} ${validationLoss.toFixed(4)}${exact}${marks.join("")}, ${formatDuration(seconds)}`;
};

/** Guesses by the updates that are left. Cells that are made in parts count as such, so that the guess comes early. */
function clock({ tune, measure, left: planned }: PlanEvent["updates"], now: () => number) {
  const startedAt = now();
  let left = planned;
  const parts = new Map<string, number>();
  let done = 0;
  return {
    /** More updates are to be made than was planned. */
    add(updates: number): void {
      left += updates;
    },
    /** Updates made so far by a cell that runs; a tenth is for loading and measuring. */
    run(trial: Trial, made: number): void {
      parts.set(trialName(trial), 0.9 * made);
    },
    end(trial: Trial, isDone: boolean): void {
      parts.delete(trialName(trial));
      // the base model has nothing to train, and the rate 0
      if (isDone && trial.learningRate > 0) done += { tune, measure }[trial.purpose];
    },
    /** `  3 min left`; nothing before the first guess. */
    text(): string {
      const made = [...parts.values()].reduce((sum, part) => sum + part, done);
      if (made === 0 || made < 0.05 * measure) return "";
      return `  ${formatDuration(((now() - startedAt) / 1000 / made) * (left - made))} left`;
    },
  };
}

/** Follows an experiment. `now` is in milliseconds. */
export function reproduceProgress({ jobs, now }: { readonly jobs: number; readonly now: () => number }) {
  let [cells, done] = [0, 0];
  let left: ReturnType<typeof clock> | undefined;
  const running = new Map<string, string>();
  const end = (trial: Trial, isDone: boolean): void => {
    running.delete(trialName(trial));
    left?.end(trial, isDone);
    done += Number(isDone);
  };
  return {
    /** Takes an event in; gives a line that stays, of those that are worth one. */
    take(event: ReproduceEvent): string | undefined {
      switch (event.type) {
        case "plan":
          [cells, done, left] = [event.trials, event.finished, clock(event.updates, now)];
          return planText(event, jobs);
        case "started":
          running.set(trialName(event.trial), "starting");
          return undefined;
        case "phase":
          running.set(trialName(event.trial), event.phase);
          return undefined;
        case "progress":
          running.set(trialName(event.trial), `${event.step}/${event.steps} loss ${event.loss.toFixed(3)}`);
          left?.run(event.trial, event.step);
          return undefined;
        case "benchmark":
          running.set(trialName(event.trial), `${event.task} ${event.done}/${event.total}`);
          return undefined;
        case "result":
          end(event.trial, true);
          return resultText(event);
        case "failed":
          end(event.trial, !event.retried);
          return `${trialName(event.trial)} failed${event.retried ? ", trying once more" : ""}: ${event.message}`;
        case "refine":
          cells += event.trials;
          left?.add(event.updates);
          return `${event.key}: next rates ${event.learningRates.join(", ")}`;
        case "tuned":
          return event.learningRate === undefined
            ? `${event.key}: no learning rate could be chosen; not measured`
            : `${event.key}: learning rate ${event.learningRate}`;
        case "finish":
          return undefined;
      }
    },
    /** The live line. */
    text: (): string => {
      const states = [...running].map(([name, state]) => `${name} ${state}`);
      return [`${done}/${cells}${left?.text() ?? ""}`, ...states].join("  ·  ");
    },
    summary: summaryText,
  };
}

/** The table, how its rates were found, what is doubtful, and where all of it is. */
function summaryText({ table, rates, warnings, files, missing, stopped }: EndEvent): string {
  const why = stopped ? "; the same command resumes" : "; see the table's list of failed cells";
  return [
    textTable(table),
    ...(rates.length === 0 ? [] : [textTable(rates)]),
    ...(warnings.length === 0
      ? []
      : [warnings.map((text) => paint("yellow", `warning: ${text}`)).join("\n")]),
    files.join("\n"),
    ...(missing > 0 ? [`${counted(missing, "result")} missing${why}`] : []),
  ].join("\n\n");
}
