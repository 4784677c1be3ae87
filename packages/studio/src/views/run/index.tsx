// One run: how far it is, its curves, what happened, what it was started with and what came of it.
import { hasEnded, type Run } from "#api";
import { formatCount, formatDuration, formatLoss, formatValue, href, labelOf, type ViewProps } from "#core";
import { Empty, LinkButton, Pending, Problem, Status, Time } from "#ui";
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
    <div class="page run">
      <header class="page-head">
        <h1>{run.name}</h1>
        {run.kind === "job" && <JobActions run={run} refresh={refresh} />}
      </header>
      <Progress {...state} />
      {run.error !== null && <Problem error={run.error} />}
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
    </div>
  );
}

/** How far the run is, and its losses. */
function Progress({ run, metrics, speed }: RunState) {
  const { step, total_steps, status, loss, validation_loss, best_validation_loss, best_step } = run;
  const left = secondsLeft({ run, speed });
  const end = run.finished_at;
  const facts = [
    { title: "Training loss", value: formatLoss(loss) },
    { title: "Validation loss", value: formatLoss(validation_loss) },
    {
      title: best_step === null ? "Best validation loss" : `Best, at step ${formatCount(best_step)}`,
      value: formatLoss(best_validation_loss),
    },
    { title: "Tokens per second", value: formatCount(metrics.training.tokens_per_second.at(-1)) },
  ];
  return (
    <section class="card run-progress" aria-label="Progress">
      <div class="run-steps">
        <p class="row">
          <Status value={status} />
          <span>
            {total_steps === null
              ? `Step ${formatCount(step)}`
              : `Step ${formatCount(step)} of ${formatCount(total_steps)}`}
          </span>
          <span class="muted">
            {left !== undefined && `about ${formatDuration(left)} left · `}
            {end === null ? "created " : "ended "}
            <Time at={end ?? run.created_at} />
          </span>
        </p>
        <progress aria-label="Steps" max={Math.max(1, total_steps ?? 1)} value={step} data-status={status} />
      </div>
      <dl class="run-facts">
        {facts.map(({ title, value }) => (
          <div key={title}>
            <dt>{title}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

const TITLES: Readonly<Record<string, string>> = {
  model: "Base",
};

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
  return (
    <section class="card" aria-label="Settings">
      <h2>Settings</h2>
      <dl class="run-settings">
        {sorted.map(([name, value]) => (
          <div key={name}>
            <dt>{TITLES[name] ?? labelOf(name)}</dt>
            <dd>{formatValue(value)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
