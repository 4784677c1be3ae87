// Who trains, and what waits for it.
import { formatCount, formatDuration, href } from "#core";
import { type Column, Empty, Status, Table, Time } from "#ui";
import type { System } from "./live.tsx";

type Training = NonNullable<System["training"]>;
type Worker = Training["workers"][number];
type Waiting = Training["queue"][number];

const stateOf = ({ is_alive, job }: Worker): string => {
  if (!is_alive) return "silent";
  return job === null ? "idle" : "running";
};

const progress = ({ step, steps }: NonNullable<Worker["job"]>): string =>
  steps === null ? `step ${formatCount(step)}` : `step ${formatCount(step)} of ${formatCount(steps)}`;

const WORKERS: readonly Column<Worker>[] = [
  { key: "name", title: "Worker", value: ({ name }) => name, width: "minmax(140px, 2fr)" },
  { key: "state", title: "State", value: stateOf, render: (worker) => <Status value={stateOf(worker)} /> },
  {
    key: "job",
    title: "Job",
    width: "minmax(200px, 3fr)",
    render: ({ job }) =>
      job && (
        <>
          <a href={href("run", job.id)}>{job.id}</a>{" "}
          <span class="muted">
            of {job.tenant}, {progress(job)}
          </span>
        </>
      ),
  },
  { key: "models", title: "Bases", value: ({ models }) => models.join(", "), width: "minmax(120px, 2fr)" },
  {
    key: "seen",
    title: "Heartbeat",
    value: ({ seen_at: at }) => at,
    render: ({ seen_at: at }) => <Time at={at} />,
  },
  {
    key: "started",
    title: "Started",
    value: ({ started_at: at }) => at,
    render: ({ started_at: at }) => <Time at={at} />,
  },
  { key: "version", title: "Version", value: ({ version }) => version },
];

const number = (key: "queued" | "held" | "running" | "paused", title: string): Column<Waiting> => ({
  key,
  title,
  align: "end",
  value: (row) => row[key],
  render: (row) => formatCount(row[key]),
});

const QUEUE: readonly Column<Waiting>[] = [
  { key: "tenant", title: "Tenant", value: ({ tenant }) => tenant, width: "minmax(120px, 2fr)" },
  number("running", "Running"),
  number("queued", "Queued"),
  number("held", "Held"),
  number("paused", "Paused"),
  {
    key: "oldest",
    title: "Longest wait",
    align: "end",
    value: ({ oldest_seconds: seconds }) => seconds,
    render: ({ queued, oldest_seconds: seconds }) => (queued === 0 ? "–" : formatDuration(seconds)),
  },
];

export function TrainingState({ training }: { readonly training: Training }) {
  return (
    <>
      <section class="stack" aria-label="Workers">
        <h2>Workers</h2>
        <Table
          label="Workers"
          columns={WORKERS}
          rows={training.workers}
          keyOf={({ name }) => name}
          empty={
            <Empty title="No workers running">
              Jobs stay queued until a worker starts. Start the server with --workers 1, or run mos worker
              elsewhere.
            </Empty>
          }
        />
      </section>
      {training.queue.length > 0 && (
        <section class="stack" aria-label="Jobs by tenant">
          <h2>Unfinished jobs by tenant</h2>
          <Table
            label="Unfinished jobs by tenant"
            columns={QUEUE}
            rows={training.queue}
            keyOf={({ tenant }) => tenant}
          />
        </section>
      )}
    </>
  );
}
