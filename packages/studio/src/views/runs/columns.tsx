// The columns of the table of runs.
import type { Run } from "#api";
import { formatCount, formatDuration, formatLoss } from "#core";
import { type Column, Sparkline, Status, Time } from "#ui";
import { durationOf, judgedLoss } from "./run.ts";

const text = (value: string | null) => (value === null ? <span class="muted">–</span> : value);

/** A name whose folders give way first where there is no room: what tells runs apart stands at its end. */
function Name({ run: { name, error } }: { readonly run: Run }) {
  const end = name.lastIndexOf("/") + 1;
  return (
    <span class="run-name" title={error === null ? name : `${name}: ${error}`}>
      {end > 0 && <span class="run-folder">{name.slice(0, end)}</span>}
      <span class="run-end">{name.slice(end)}</span>
    </span>
  );
}

/** Steps of all steps; those that are left are pale. */
function Steps({ run: { step, total_steps } }: { readonly run: Run }) {
  return (
    <>
      {formatCount(step)}
      {total_steps !== null && <span class="muted"> / {formatCount(total_steps)}</span>}
    </>
  );
}

/** The loss on validation data; of a run without any, the training loss, which says so. */
function Loss({ run }: { readonly run: Run }) {
  const { validation_loss, loss, best_step, best_validation_loss } = run;
  if (validation_loss === null) {
    if (loss === null) return <span class="muted">–</span>;
    return (
      <span title="Training loss: this run has no validation data">
        {formatLoss(loss)}
        <span class="muted"> train</span>
      </span>
    );
  }
  return (
    <span title={`Lowest at step ${best_step}: ${formatLoss(best_validation_loss)}`}>
      {formatLoss(validation_loss)}
    </span>
  );
}

const COLUMNS: readonly Column<Run>[] = [
  {
    key: "name",
    title: "Name",
    value: ({ name }) => name,
    render: (run) => <Name run={run} />,
    width: "minmax(160px, 3fr)",
  },
  {
    key: "status",
    title: "Status",
    value: ({ status }) => status,
    render: ({ status }) => <Status value={status} />,
    width: "112px",
  },
  {
    key: "model",
    title: "Base",
    value: ({ model }) => model,
    render: ({ model }) => text(model),
    width: "minmax(104px, 1.5fr)",
  },
  {
    key: "method",
    title: "Method",
    value: ({ method }) => method,
    render: ({ method }) => text(method),
    width: "76px",
  },
  {
    key: "steps",
    title: "Steps",
    value: ({ step }) => step,
    render: (run) => <Steps run={run} />,
    align: "end",
    width: "108px",
  },
  {
    key: "loss",
    title: "Validation loss",
    value: judgedLoss,
    render: (run) => <Loss run={run} />,
    align: "end",
    width: "120px",
  },
  {
    key: "curve",
    title: "Training loss",
    render: ({ name, sparkline }) => <Sparkline values={sparkline} label={`Training loss of ${name}`} />,
    width: "120px",
  },
  {
    key: "tenant",
    title: "Tenant",
    value: ({ tenant }) => tenant,
    render: ({ tenant }) => text(tenant),
    width: "minmax(80px, 1fr)",
  },
  {
    key: "started",
    title: "Started",
    value: ({ created_at }) => created_at,
    render: ({ created_at }) => <Time at={created_at} />,
    align: "end",
    width: "96px",
  },
  {
    key: "duration",
    title: "Duration",
    value: (run) => durationOf(run),
    render: (run) => formatDuration(durationOf(run)),
    align: "end",
    width: "104px",
  },
  {
    key: "best",
    title: "Best loss",
    value: ({ best_validation_loss }) => best_validation_loss,
    render: ({ best_validation_loss }) => formatLoss(best_validation_loss),
    align: "end",
    width: "104px",
    isHidden: true,
  },
  {
    key: "parameters",
    title: "Parameters",
    value: ({ trainable_parameters }) => trainable_parameters,
    render: ({ trainable_parameters }) => formatCount(trainable_parameters),
    align: "end",
    width: "112px",
    isHidden: true,
  },
  {
    key: "served",
    title: "Served as",
    value: ({ fine_tuned_model }) => fine_tuned_model,
    render: ({ fine_tuned_model }) => text(fine_tuned_model),
    width: "minmax(160px, 2fr)",
    isHidden: true,
  },
];

/** The columns. Whose runs they are matters where there are keys. */
export const columnsFor = (hasTenants: boolean): readonly Column<Run>[] =>
  COLUMNS.map((column) => (column.key === "tenant" ? { ...column, isHidden: !hasTenants } : column));
