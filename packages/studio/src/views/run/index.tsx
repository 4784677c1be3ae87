// One run: how far it is, its curves, what happened, what it was started with and what came of it.
import { hasEnded, type Run } from "#api";
import { formatCount, formatDuration, formatLoss, formatValue, href, labelOf, type ViewProps } from "#core";
import { Empty, Facts, LinkButton, Page, Pending, Problem, Status, Time } from "#ui";
import { JobActions } from "./actions.tsx";
import { RunCharts } from "./charts.tsx";
import { Events } from "./events.tsx";
import { type RunState, secondsLeft, useRun } from "./feed.ts";
import { FolderModels, JobModels } from "./models.tsx";
import "./run.css";

/** The view of a run, by its id. */
export default function View({ id }: ViewProps) {
  if (id !== undefined) return <RunPage id={id} />;
  return (
    <Empty title="No run selected" action={<LinkButton href={href("runs")}>All runs</LinkButton>}>
      Choose one from the list of runs.
    </Empty>
  );
}

function RunPage({ id }: { readonly id: string }) {
  const { data, error, refresh } = useRun(id);
  const state = data.value;
  if (state === undefined)
    return (
      <div class="page">
        <Pending error={error.value} retry={refresh} />
      </div>
    );
  const { run, metrics } = state;
  return (
    <Page
      title={run.name}
      kind="run"
      beside={run.kind === "job" && <JobActions run={run} refresh={refresh} />}
    >
      <Progress {...state} />
      {run.error !== null && <Problem error={run.error} />}
      {run.outcome !== null && (
        <section class="card" aria-label="Outcome">
          <h2>Outcome</h2>
          <p>{run.outcome.text}</p>
          {run.outcome.warning !== null && <Problem error={run.outcome.warning} />}
        </section>
      )}
      <RunCharts id={id} metrics={metrics} />
      <div class="run-below">
        <div class="stack">
          {run.kind === "job" ? <JobModels run={run} isLive={!hasEnded(run)} /> : <FolderModels run={run} />}
          {run.kind === "job" ? (
            <Events id={id} />
          ) : (
            <p class="muted">
              This run was started with <code>mos train</code>, which records no events. Its metrics appear
              here as they are written.
            </p>
          )}
        </div>
        <Settings run={run} />
      </div>
    </Page>
  );
}

/** How far the run is, and its losses. */
function Progress({ run, metrics, speed }: RunState) {
  const { step, total_steps, status, loss, validation_loss, best_validation_loss, best_step } = run;
  const left = secondsLeft({ run, speed });
  const end = run.finished_at;
  const best = best_step === null ? "Best validation loss" : `Best, at step ${formatCount(best_step)}`;
  return (
    <section class="card run-progress" aria-label="Progress">
      <div class="run-steps">
        <p class="row">
          <Status value={status} />
          <span>
            Step {formatCount(step)}
            {total_steps !== null && ` of ${formatCount(total_steps)}`}
          </span>
          <span class="muted">
            {left !== undefined && `about ${formatDuration(left)} left · `}
            {end === null ? "created " : "ended "}
            <Time at={end ?? run.created_at} />
          </span>
        </p>
        <progress aria-label="Steps" max={Math.max(1, total_steps ?? 1)} value={step} data-status={status} />
      </div>
      <Facts
        kind="run-facts"
        facts={[
          ["Training loss", formatLoss(loss)],
          ["Validation loss", formatLoss(validation_loss)],
          [best, formatLoss(best_validation_loss)],
          ["Tokens per second", formatCount(metrics.training.tokens_per_second.at(-1))],
        ]}
      />
    </section>
  );
}

/** What a run was started with. */
function Settings({ run }: { readonly run: Run }) {
  const { model, method, tenant, trainable_parameters, settings } = run;
  const head = {
    model,
    method,
    ...(tenant === null ? {} : { tenant }),
    trainable_parameters: trainable_parameters === null ? null : formatCount(trainable_parameters),
  };
  const entries = Object.entries({ ...settings, ...head });
  // what says most first, the rest by name
  const first = [...Object.keys(head), "learning_rate", "epochs", "batch_size", "max_length", "rank"];
  const place = (name: string): number => (first.indexOf(name) + first.length + 1) % (first.length + 1);
  const sorted = entries.sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
  const titleOf = (name: string): string => (name === "model" ? "Base" : labelOf(name));
  return (
    <section class="card" aria-label="Settings">
      <h2>Settings</h2>
      <Facts kind="run-settings" facts={sorted.map(([name, value]) => [titleOf(name), formatValue(value)])} />
    </section>
  );
}
