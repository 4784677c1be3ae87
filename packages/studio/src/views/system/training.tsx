// Who trains, and what waits for it.
import { formatCount, formatDuration, href } from "#core";
import { type Column, Empty, fieldColumns, Status, Table, Time } from "#ui";
import type { System } from "./live.tsx";

type Training = NonNullable<System["training"]>;
type Worker = Training["workers"][number];
type Waiting = Training["queue"][number];

const stateOf = ({ is_alive, job }: Worker): string =>
  is_alive ? (job === null ? "idle" : "running") : "silent";

const progress = ({ step, steps }: NonNullable<Worker["job"]>): string =>
  steps === null ? `step ${formatCount(step)}` : `step ${formatCount(step)} of ${formatCount(steps)}`;

const worker = fieldColumns<Worker>();

const WORKERS: readonly Column<Worker>[] = [
  worker("name", "Worker", { width: "minmax(140px, 2fr)" }),
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
  worker("seen_at", "Heartbeat", { show: (at) => <Time at={at} /> }),
  worker("started_at", "Started", { show: (at) => <Time at={at} /> }),
  worker("version", "Version"),
];

const jobs = fieldColumns<Waiting>();
const COUNT = { align: "end", show: formatCount } as const;

const QUEUE: readonly Column<Waiting>[] = [
  jobs("tenant", "Tenant", { width: "minmax(120px, 2fr)" }),
  jobs("running", "Running", COUNT),
  jobs("queued", "Queued", COUNT),
  jobs("held", "Held", COUNT),
  jobs("paused", "Paused", COUNT),
  jobs("oldest_seconds", "Longest wait", {
    align: "end",
    render: ({ queued, oldest_seconds: seconds }) => (queued === 0 ? "–" : formatDuration(seconds)),
  }),
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
