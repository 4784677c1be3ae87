// The columns of the table of runs.
import type { Run } from "#api";
import { formatCount, formatDuration, formatLoss } from "#core";
import { type Column, fieldColumns, Sparkline, Status, Time } from "#ui";
import { durationOf } from "./run.ts";

const text = (value: string | null) => (value === null ? <span class="muted">–</span> : value);

/** A name whose folders give way first where there is no room: what tells runs apart stands at its end. */
function Name({ run: { name, error } }: { readonly run: Run }) {
  const end = name.lastIndexOf("/") + 1;
  return (
    <span class="run-name" title={error === null ? name : `${name}: ${error}`}>
      {end > 0 && <span class="run-folder muted cut">{name.slice(0, end)}</span>}
      <span class="run-end cut">{name.slice(end)}</span>
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

const HIDDEN = { align: "end", isHidden: true } as const;
const column = fieldColumns<Run>();

const COLUMNS: readonly Column<Run>[] = [
  column("name", "Name", { render: (run) => <Name run={run} />, width: "minmax(160px, 3fr)" }),
  column("status", "Status", { show: (status) => <Status value={status} />, width: "112px" }),
  column("model", "Base", { show: text, width: "minmax(104px, 1.5fr)" }),
  column("method", "Method", { show: text, width: "76px" }),
  column("step", "Steps", { render: (run) => <Steps run={run} />, align: "end", width: "108px" }),
  {
    key: "loss",
    title: "Validation loss",
    value: ({ validation_loss, loss }) => validation_loss ?? loss,
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
  column("tenant", "Tenant", { show: text, width: "minmax(80px, 1fr)" }),
  column("created_at", "Started", { show: (at) => <Time at={at} />, align: "end", width: "96px" }),
  {
    key: "duration",
    title: "Duration",
    value: (run) => durationOf(run),
    render: (run) => formatDuration(durationOf(run)),
    align: "end",
    width: "104px",
  },
  column("best_validation_loss", "Best loss", { ...HIDDEN, show: formatLoss, width: "104px" }),
  column("trainable_parameters", "Parameters", { ...HIDDEN, show: formatCount, width: "112px" }),
  column("fine_tuned_model", "Served as", { show: text, width: "minmax(160px, 2fr)", isHidden: true }),
];

/** The columns. Whose runs they are matters where there are keys. */
export const columnsFor = (hasTenants: boolean): readonly Column<Run>[] =>
  COLUMNS.map((column) => (column.key === "tenant" ? { ...column, isHidden: !hasTenants } : column));
